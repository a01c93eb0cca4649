import pytest
import torch
import torch.nn.functional as F
from calcarine.errors import InputError
from calcarine.models import MlpTrunk

SHAPES = {"a": (3, 2, 2), "b": (5,)}


def features(count):
    torch.manual_seed(0)
    return {layer: torch.randn(count, *shape) for layer, shape in SHAPES.items()}


def test_it_computes_what_its_layers_say():
    trunk = MlpTrunk(SHAPES, [8, 6]).eval()
    given = features(4)
    vector = torch.cat([given["a"].reshape(4, 12), given["b"]], dim=1)
    for name, width in (("0", 8), ("1", 6)):
        weights = {key: value for key, value in trunk.state_dict().items() if key.startswith(f"blocks.{name}.")}
        vector = vector @ weights[f"blocks.{name}.0.weight"].T + weights[f"blocks.{name}.0.bias"]
        centred = vector - vector.mean(1, keepdim=True)
        normed = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        vector = F.gelu(normed * weights[f"blocks.{name}.1.weight"] + weights[f"blocks.{name}.1.bias"])
        assert vector.shape == (4, width)
    torch.testing.assert_close(trunk(given)["trunk"], vector)
    assert trunk.feature_shapes() == {"trunk": (6,)}


@pytest.mark.parametrize("count", [0, 1])
def test_a_stimulus_is_represented_alike_in_any_batch(count):
    trunk = MlpTrunk(SHAPES, [8]).train()
    given = features(5)
    few = {layer: each[:count] for layer, each in given.items()}
    torch.testing.assert_close(trunk(few)["trunk"], trunk(given)["trunk"][:count])


def test_dropout_is_for_training():
    trunk, given = MlpTrunk(SHAPES, [400], dropout=0.5), features(1)
    assert (trunk.train()(given)["trunk"] == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert not (trunk.eval()(given)["trunk"] == 0).any()


@pytest.mark.parametrize(("flag", "value"), [("dims", []), ("dims", [4, 0]), ("dropout", 1.0)])
def test_impossible_sizes_are_refused(flag, value):
    with pytest.raises(InputError, match=rf"--model\.head\.trunk\.{flag}: expected"):
        MlpTrunk(SHAPES, **{flag: value})
