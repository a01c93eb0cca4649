import pytest
import torch
from calcarine.errors import InputError
from calcarine.models import MlpHead, ResidualMlpHead
from torch import nn

SHAPES = {"frames": (4, 5, 5), "vector": (28,)}  # 128 features in all


def given(batch=16):
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(batch, *shape, generator=generator) for layer, shape in SHAPES.items()}


def block(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.LeakyReLU())


def take_weights(reference, head):
    reference.load_state_dict(dict(zip(reference.state_dict(), head.state_dict().values(), strict=True)))


def test_four_blocks_of_linear_batch_norm_leaky_relu_then_linear():
    head = MlpHead(SHAPES, 6, width=10)
    reference = nn.Sequential(block(128, 10), block(10, 10), block(10, 10), block(10, 10), nn.Linear(10, 6))
    take_weights(reference, head)
    flat = torch.cat([each.flatten(1) for each in given().values()], dim=1)
    assert torch.equal(head(given()), reference(flat))
    assert torch.equal(head.eval()(given()), reference.eval()(flat))


def test_residual_blocks_keep_the_width_and_the_others_widen_it_by_a_quarter():
    head = ResidualMlpHead(SHAPES, 6)
    blocks = nn.ModuleList([block(128, 160), block(160, 160), block(160, 200), block(200, 200)])
    last = nn.Linear(200, 6)
    take_weights(nn.ModuleList([*blocks, last]), head)
    flat = torch.cat([each.flatten(1) for each in given().values()], dim=1)
    wide = blocks.eval()[0](flat)
    wide = blocks[2](wide + blocks[1](wide))
    assert torch.equal(head.eval()(given()), last(wide + blocks[3](wide)))


def test_each_residual_head_block_drops_five_per_cent():
    assert [layer.p for layer in ResidualMlpHead(SHAPES, 6).modules() if isinstance(layer, nn.Dropout)] == [0.05] * 4


@pytest.mark.parametrize("stimuli", [0, 1])
@pytest.mark.parametrize("head_class", [MlpHead, ResidualMlpHead])
def test_a_training_batch_without_spread_is_survived(head_class, stimuli):
    assert head_class(SHAPES, 6)(given(stimuli)).shape == (stimuli, 6)


@pytest.mark.parametrize(
    ("head_class", "options", "message"),
    [
        (MlpHead, {"width": 0}, r"--model\.head\.width 0: expected 1 or more"),
        (MlpHead, {"blocks": 0}, r"--model\.head\.blocks 0: expected 1 or more"),
        (ResidualMlpHead, {"blocks": 0}, r"--model\.head\.blocks 0: expected 1 or more"),
        (ResidualMlpHead, {"dropout": -0.1}, r"--model\.head\.dropout -0\.1: expected a share"),
        (ResidualMlpHead, {"widening": 0.5}, r"--model\.head\.widening 0\.5: expected 1 or more"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(head_class, options, message):
    with pytest.raises(InputError, match=message):
        head_class(SHAPES, 6, **options)
