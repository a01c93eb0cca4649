import pytest
import torch
import yaml
from calcarine.errors import InputError
from calcarine.models import FullyConnectedHead
from calcarine.run.cli import build_cli
from torch import nn

SHAPES = {"maps": (2, 3, 4, 5), "vector": (7,)}  # frames of maps, 127 features in all


def features(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(batch, *shape, generator=generator) for layer, shape in SHAPES.items()}


def test_it_computes_what_torchs_own_layers_do():
    head = FullyConnectedHead(SHAPES, 6, [9, 8], activation=["tanh", "none"], batch_norm=[False, True])
    fc1, fc2, norm, fc3 = nn.Linear(127, 9), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.Linear(8, 6)
    reference = nn.Sequential(nn.Flatten(), fc1, nn.Tanh(), fc2, norm, fc3)
    reference.load_state_dict(dict(zip(reference.state_dict(), head.state_dict().values(), strict=True)))
    given = features(16)
    flat = torch.cat([each.flatten(1) for each in given.values()], dim=1)
    for mode in (True, False):
        head.train(mode)
        reference.train(mode)
        assert torch.equal(head(given), reference(flat))
    assert not torch.equal(norm.running_mean, torch.zeros(8))
    assert torch.equal(head.get_buffer("layers.fc2_norm.running_mean"), norm.running_mean)


def test_each_hidden_layer_is_linear_norm_activation_dropout_with_its_own_options():
    head = FullyConnectedHead(SHAPES, 6, [9, 8, 7], ["relu", "none", "tanh"], [True, False, True], [0.5, 0.25, 0.0])
    names = [type(layer).__name__ for layer in head.layers]
    first, second = ["Linear", "BatchNorm", "ReLU", "Dropout"], ["Linear", "Dropout"]
    assert names == [*first, *second, "Linear", "BatchNorm", "Tanh", "Linear"]
    assert [layer.p for layer in head.layers if isinstance(layer, nn.Dropout)] == [0.5, 0.25]


def test_dropout_can_be_switched_off_without_forgetting_its_shares():
    head = FullyConnectedHead(SHAPES, 6, [9, 8], dropout=[0.5, 0.25], use_dropout=[False, True])
    assert [layer.p for layer in head.layers if isinstance(layer, nn.Dropout)] == [0.25]


@pytest.mark.parametrize("stimuli", [0, 1])
def test_a_training_batch_without_spread_goes_through_the_running_statistics(stimuli):
    """Batches that mix subjects give a subject's head one stimulus or none; torch's own batch norm refuses them."""
    head = FullyConnectedHead(SHAPES, 6, [9], batch_norm=True)
    head(features(16))
    before = {name: value.clone() for name, value in head.named_buffers()}
    few = features(stimuli, seed=1)
    prediction = head(few)
    assert torch.equal(prediction, head.eval()(few))
    assert all(torch.equal(value, before[name]) for name, value in head.named_buffers())
    prediction.sum().backward()  # ranks without a stimulus still have gradients to share
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_dims": [9, 0]}, r"--model\.head\.hidden_dims \[9, 0\]: expected widths of 1 or more"),
        ({"dropout": [0.1, 0.2, 0.3]}, r"--model\.head\.dropout .* each of the 2 layers .* found 3"),
        ({"batch_norm": [True]}, r"--model\.head\.batch_norm .* found 1"),
        ({"activation": ["relu"]}, r"--model\.head\.activation .* found 1"),
        ({"use_dropout": []}, r"--model\.head\.use_dropout .* found 0"),
        ({"dropout": 1.0}, r"--model\.head\.dropout 1\.0: expected shares from 0 to below 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as refused:
        FullyConnectedHead(SHAPES, 6, **{"hidden_dims": [9, 8], **options})
    assert "\n" not in str(refused.value)


def test_its_options_are_flags_that_override_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = {"class_path": "calcarine.models.FullyConnectedHead", "init_args": {"hidden_dims": [30, 20], "dropout": 0.3}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"head": head}}}))
    flags = ["--model.head.hidden_dims=[8, 4]", "--model.head.activation=tanh", "--model.head.batch_norm=[true, false]"]
    layers = build_cli(["--config=mine.yaml", *flags]).model.head.layers
    assert [type(layer).__name__ for layer in layers] == [
        "Linear", "BatchNorm", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear",
    ]  # fmt: skip
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)][:2] == [8, 4]
    assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.3}
