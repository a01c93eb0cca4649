"""JointEncoder, and the random control."""

import json

import pytest
import torch
from calcarine.encoders import (
    GaborEncoder,
    JointEncoder,
    PatchEncoder,
    PixelEncoder,
    RandomWeights,
    TimmEncoder,
    TorchvisionEncoder,
)
from calcarine.errors import InputError
from calcarine.recipe import make, recipe_of

IMAGES = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_layers_are_those_of_the_parts_with_their_names() -> None:
    gabor, pixels = GaborEncoder(), PixelEncoder(8)
    joint = JointEncoder({"gabor": gabor, "v1.5": pixels})
    expected = {f"gabor:{layer}": maps for layer, maps in gabor(IMAGES).items()}
    expected["v1.5:pixels"] = pixels(IMAGES)["pixels"]
    found = joint(IMAGES)
    assert list(found) == list(expected)
    assert all(torch.equal(found[layer], expected[layer]) for layer in expected)
    assert joint.feature_shapes() == {layer: tuple(maps.shape[1:]) for layer, maps in expected.items()}
    assert joint.parts() == {"gabor": gabor, "v1.5": pixels}
    fingerprint = joint.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert fingerprint != JointEncoder({"gabor": GaborEncoder(), "v1.5": PixelEncoder(9)}).fingerprint()


def test_joints_nest() -> None:
    inner = JointEncoder({"small": PixelEncoder(4), "large": PixelEncoder(8)})
    joint = JointEncoder({"pixels": inner, "gabor": GaborEncoder(layers=["colour"])})
    assert list(joint.parts()) == ["pixels:small", "pixels:large", "gabor"]
    assert list(joint(IMAGES)) == ["pixels:small:pixels", "pixels:large:pixels", "gabor:colour"]
    assert list(joint.feature_shapes()) == list(joint(IMAGES))


def test_shapes_are_known_before_a_part_is_fitted() -> None:
    joint = JointEncoder({"patches": PatchEncoder(patches=7, grid=3)})
    assert joint.feature_shapes() == {"patches:patches": (7, 3, 3)}


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--data\.encoder\.encoders: expected encoders by name, found none"):
        JointEncoder({})
    for name in ("", "a:b"):
        with pytest.raises(InputError, match=rf"expected names without a colon, found '{name}'"):
            JointEncoder({name: PixelEncoder()})
    with pytest.raises(InputError, match="expected different encoders, found 'a' and 'c' the same; leave one out"):
        JointEncoder({"a": PixelEncoder(4), "b": PixelEncoder(5), "c": PixelEncoder(4)})


def resnet(weights: str = "random", seed: int = 0, **settings: object) -> TorchvisionEncoder:
    return TorchvisionEncoder("resnet18", weights, ["layer1", "layer2"], "avg", 64, seed, **settings)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_random_control_is_the_same_architecture_with_random_weights(tmp_path) -> None:
    torch.save(resnet(seed=5).network.state_dict(), tmp_path / "own.pth")
    encoder = resnet(str(tmp_path / "own.pth")).eval()
    control = encoder.randomised().eval()
    assert control.fingerprint() == resnet("random").fingerprint()
    assert {**control.identity()} == {**encoder.identity()}
    assert control.feature_shapes() == encoder.feature_shapes()
    assert not torch.equal(control(IMAGES)["layer2"], encoder(IMAGES)["layer2"])
    # Together they are a joint encoder, and its control has its own.
    joint = JointEncoder({"pretrained": encoder, "random": control})
    assert list(joint.feature_shapes()) == [f"{kind}:layer{n}" for kind in ("pretrained", "random") for n in (1, 2)]
    nested = JointEncoder({"a": JointEncoder({"b": encoder})}).randomised()
    assert nested.parts()["a:b"].fingerprint() == control.fingerprint()
    mixed = JointEncoder({"pixels": PixelEncoder(), "a": encoder}).randomised()  # what has no weights stays
    assert mixed.parts()["a"].fingerprint() == control.fingerprint()
    assert mixed.parts()["pixels"].fingerprint() == PixelEncoder().fingerprint()


@torch.no_grad()
def test_random_weights_alone_keep_the_layers_names_and_are_made_again(tmp_path) -> None:
    torch.save(resnet(seed=5).network.state_dict(), tmp_path / "own.pth")
    encoder = resnet(str(tmp_path / "own.pth"))
    alone = RandomWeights(encoder).eval()
    assert alone.feature_shapes() == encoder.feature_shapes()
    assert torch.equal(alone(IMAGES)["layer2"], encoder.randomised().eval()(IMAGES)["layer2"])
    assert [part.fingerprint() for part in alone.parts().values()] == [resnet("random").fingerprint()]  # and its cache
    again = make(recipe_of(alone, weights_saved=False))
    assert again.fingerprint() == alone.fingerprint()
    with pytest.raises(InputError, match="compares weights with random ones"):
        RandomWeights(resnet("random"))


def test_the_random_control_keeps_the_weights_own_input(tmp_path) -> None:
    """Tags of one model differ in size and normalisation, of which random weights know nothing."""
    torch.save(TimmEncoder("resnet18", "random").network.state_dict(), tmp_path / "own.pth")
    encoder = TimmEncoder("resnet18", str(tmp_path / "own.pth"))
    encoder.spec = type(encoder.spec)(96, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "bilinear")
    encoder.mean = torch.full((3, 1, 1), 0.5)
    control = encoder.randomised()
    assert control.spec == encoder.spec
    assert torch.equal(control.mean, encoder.mean)
    assert control.feature_shapes() == encoder.feature_shapes()


def test_there_is_no_random_control_of_what_has_no_weights_or_random_ones() -> None:
    for encoder in (GaborEncoder(), PatchEncoder(), JointEncoder({"pixels": PixelEncoder()})):
        with pytest.raises(InputError, match=r"^--data\.random_control: \w+ has no weights to randomise"):
            encoder.randomised()
    with pytest.raises(InputError, match=r"^--data\.random_control: compares weights with random ones"):
        resnet("random").randomised()
