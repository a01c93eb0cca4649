"""ShallowCnn against torch's own layers: grids, stages, shifts."""

import pytest
import torch
import torch.nn.functional as F
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import PixelEncoder
from calcarine.errors import InputError
from calcarine.models import (
    EncodingModule,
    FactorizedReadout,
    GaussianMaskReadout,
    GaussianReadout,
    ShallowCnn,
    TrunkHead,
)
from lightning.pytorch import Trainer
from planted import Planted
from torch import nn

SHAPES = {"fine": (4, 12, 12), "coarse": (3, 6, 6)}


def features(batch=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(batch, *shape, generator=generator) for layer, shape in SHAPES.items()}


def test_layers_of_different_grids_are_brought_to_the_finest_and_stacked():
    trunk = ShallowCnn(SHAPES, kernels=[1], channels=7, batch_norm=False).eval()
    given = features()
    stacked = torch.cat(
        [given["fine"], F.interpolate(given["coarse"], size=(12, 12), mode="bilinear", antialias=True)], dim=1
    )
    weight, bias = trunk.get_parameter("stages.0.0.weight"), trunk.get_parameter("stages.0.0.bias")
    expected = F.gelu(torch.einsum("bchw,kc->bkhw", stacked, weight[:, :, 0, 0]) + bias[:, None, None])
    torch.testing.assert_close(trunk(given)["stage_1"], expected)


@pytest.mark.parametrize("strides", [None, [2, 1, 1], [2, 2, 3]])
@pytest.mark.parametrize(("stages", "grid"), [(None, None), ([3, 1], 13)])
def test_shapes_are_known_before_the_first_batch(strides, stages, grid):
    trunk = ShallowCnn(SHAPES, kernels=[5, 3, 1], channels=6, strides=strides, stages=stages, grid=grid)
    made = trunk(features())
    assert {layer: tuple(each.shape[1:]) for layer, each in made.items()} == trunk.feature_shapes()
    assert list(made) == (["stage_1", "stage_2", "stage_3"] if stages is None else ["stage_1", "stage_3"])


def test_stages_are_convolution_batch_norm_gelu_in_turn():
    torch.manual_seed(0)
    trunk = ShallowCnn({"fine": SHAPES["fine"]}, kernels=[3, 3], channels=6, dropout=0.0, shift=0)
    maps = features()["fine"]
    for number in (1, 2):
        convolved = F.conv2d(maps, trunk.get_parameter(f"stages.{number - 1}.0.weight"), padding=1)
        mean, variance = convolved.mean((0, 2, 3), keepdim=True), convolved.var((0, 2, 3), keepdim=True, correction=0)
        maps = F.gelu((convolved - mean) / (variance + 1e-5).sqrt())
        torch.testing.assert_close(trunk({"fine": features()["fine"]})[f"stage_{number}"], maps, atol=1e-5, rtol=1e-5)


def test_stimuli_are_shifted_in_training_alone_each_by_its_own_whole_cells():
    torch.manual_seed(0)
    trunk = ShallowCnn({"map": (1, 9, 9)}, kernels=[1], channels=1, batch_norm=False, dropout=0.0, shift=2)
    nn.init.constant_(trunk.get_parameter("stages.0.0.weight"), 10.0)  # where a GELU changes nothing
    nn.init.zeros_(trunk.get_parameter("stages.0.0.bias"))
    point = torch.zeros(400, 1, 9, 9)
    point[:, :, 4, 4] = 1.0
    moved = trunk({"map": point})["stage_1"]
    assert torch.equal(moved.sum((1, 2, 3)), torch.full((400,), 10.0))  # it moves, and nothing else enters
    rows, columns = moved.flatten(1).argmax(1) // 9 - 4, moved.flatten(1).argmax(1) % 9 - 4
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == 25
    assert int(rows.abs().max()) == int(columns.abs().max()) == 2
    assert torch.equal(trunk.eval()({"map": point})["stage_1"], 10 * point)


def test_whole_maps_are_dropped_in_training_alone():
    torch.manual_seed(0)
    trunk = ShallowCnn({"map": (2, 8, 8)}, kernels=[1], channels=64, dropout=0.5, shift=0)
    maps = {"map": torch.randn(10, 2, 8, 8)}
    dropped = (trunk(maps)["stage_1"] == 0).flatten(2)
    assert torch.equal(dropped.all(2), dropped.any(2))
    assert 0.4 < dropped.float().mean() < 0.6
    assert not (trunk.eval()(maps)["stage_1"] == 0).any()


def test_a_map_is_standardised_as_a_whole():
    maps = 3 * torch.randn(50, 3, 6, 6, generator=torch.Generator().manual_seed(0)) + torch.arange(6)
    maps[:, 1, 2:4] = 7.0  # does not vary there
    maps[:, 2] = -1.0  # nor anywhere
    scale = maps.std(0, correction=0)
    trunk = ShallowCnn({"map": (3, 6, 6)})
    mean, spread = trunk.feature_statistics({"map": maps.mean(0)}, {"map": torch.where(scale > 0, scale, 1)})
    expected = maps.std((0, 2, 3), correction=0)
    expected[2] = 1.0
    torch.testing.assert_close(mean["map"], maps.mean((0, 2, 3))[:, None, None].expand(3, 6, 6))
    torch.testing.assert_close(spread["map"], expected[:, None, None].expand(3, 6, 6))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kernels": []}, "trunk.kernels"),
        ({"kernels": [2]}, "trunk.kernels"),
        ({"strides": [1]}, "trunk.strides"),
        ({"strides": [1, 0, 1]}, "trunk.strides"),
        ({"stages": [0]}, "trunk.stages"),
        ({"stages": [4]}, "trunk.stages"),
        ({"stages": []}, "trunk.stages"),
        ({"channels": 0}, "trunk.channels 0"),
        ({"shift": -1}, "trunk.shift -1"),
        ({"grid": 0}, "trunk.grid 0"),
        ({"dropout": 1.0}, "trunk.dropout 1"),
    ],
)
def test_a_number_out_of_range_is_named(arguments, said):
    with pytest.raises(InputError, match=said):
        ShallowCnn(SHAPES, **arguments)


def test_a_layer_that_is_no_map_is_named():
    with pytest.raises(InputError, match=r"components \(100,\)"):
        ShallowCnn({"map": (3, 8, 8), "components": (100,)})


@pytest.mark.parametrize("readout", [FactorizedReadout, GaussianReadout, GaussianMaskReadout])
def test_a_checkpoint_restores_the_predictions(readout, tmp_path):
    data = EncodingDataModule(Planted(60), PixelEncoder(size=8), cache_dir=tmp_path / "cache")

    def model():
        return EncodingModule(
            data.num_targets,
            data.feature_shapes,
            lambda shapes, targets: TrunkHead(shapes, targets, lambda each: ShallowCnn(each, channels=6), readout),
        )

    def trainer(epochs):
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        return Trainer(max_epochs=epochs, accelerator="cpu", **quiet)

    trained, run = model(), trainer(2)
    run.fit(trained, data)
    run.save_checkpoint(tmp_path / "half.ckpt")
    restored = model()
    trainer(2).fit(restored, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)  # nothing is left to train
    trained.eval()
    restored.eval()
    for batch in data.val_dataloader():
        expected, found = trained.predict_batch(batch), restored.predict_batch(batch)
        assert torch.equal(found, expected)
        assert found.std(0).min() > 0
