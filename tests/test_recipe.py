"""Recipes: what is made again from one, and what a file may not have made."""

from functools import partial

import numpy as np
import pytest
import torch
from calcarine.encoders import GaborEncoder, JointEncoder, PixelEncoder, TorchvisionEncoder
from calcarine.errors import InputError
from calcarine.models import Lora, MlpTrunk, TrunkHead
from calcarine.recipe import make, recipe_of


def again(value, folder, weights_saved=False):
    """Made from the recipe that a checkpoint gives back."""
    torch.save(recipe_of(value, weights_saved), folder / "recipe.pt")
    return make(torch.load(folder / "recipe.pt", weights_only=True))


def test_parts_within_parts_are_made_again(tmp_path):
    encoder = JointEncoder({"a": PixelEncoder(4, grayscale=True), "b": GaborEncoder((2, 4), layers=["luminance"])})
    assert again(encoder, tmp_path).fingerprint() == encoder.fingerprint()
    head = again(partial(TrunkHead, trunk=partial(MlpTrunk, dims=[5, 3])), tmp_path)({"x": (7,)}, 2)
    assert head.trunk.feature_shapes() == MlpTrunk({"x": (7,)}, dims=[5, 3]).feature_shapes()
    assert again(Lora(rank=2, modules=("qkv",)), tmp_path).modules == ("qkv",)


def test_numbers_of_numpy_and_of_a_parser_are_plain_in_a_checkpoint(tmp_path):
    class Positive(int):
        """As the parser's own kinds of int are."""

    values = [np.int64(3), np.float32(0.5), np.float64(1.5), np.str_("a"), np.bool_(True), Positive(7)]
    found = again(values, tmp_path)
    assert found == values
    assert [type(each) for each in found] == [int, float, float, str, bool, int]


def test_weights_that_will_be_loaded_are_not_looked_for(tmp_path):
    head = partial(TrunkHead, trunk=MlpTrunk, trunk_weights=tmp_path / "gone.ckpt", freeze_trunk=True)
    assert again(head, tmp_path, weights_saved=True).keywords.keys() == {"trunk"}
    arguments = {"model": "resnet18", "weights": str(tmp_path / "gone.pth")}
    assert TorchvisionEncoder.for_saved_weights(arguments)["weights"] == "random"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os.system", "refused, because a file may have encoders and parts of models made"),
        ("calcarine.data.Folder", "refused, because a file may have encoders and parts of models made"),
        ("theirs.Encoder", "import theirs first"),
        ("calcarine.encoders.Eye", "expected a class that is here"),
    ],
)
def test_only_encoders_and_parts_of_models_that_are_here_are_made(path, message):
    import calcarine.data  # noqa: F401 it is here, and may not be made

    with pytest.raises(InputError, match=message):
        make({"class_path": path, "init_args": {}})


def test_what_is_not_plain_has_no_recipe():
    with pytest.raises(TypeError, match="found <function"):
        recipe_of({"head": lambda shapes, targets: None}, weights_saved=True)
