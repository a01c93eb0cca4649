"""Banded ridge through the module: bands of layers, findings by band, and a linear head's artefact."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calcarine.batch import Features, FeatureShapes
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import Encoder
from calcarine.errors import InputError
from calcarine.models import BandedRidgeModule, EncodingModule
from calcarine.models.closed_form.banded_ridge import layers_by_band
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from lightning.pytorch import Trainer
from planted import Planted
from torch import Tensor
from trees import write_folder

PENALTIES = [1.0, 10.0, 100.0, 1000.0, 10000.0]
LAYERS = ("a:first", "a:second", "b:only")
SHAPES: FeatureShapes = dict.fromkeys(LAYERS, (16,))


class Thirds(Encoder):
    """The pixels of 4×4 images in three layers of 16: red, green, blue."""

    def forward(self, images: Tensor) -> Features:
        return dict(zip(LAYERS, images.float().flatten(2).unbind(1), strict=True))

    def feature_shapes(self) -> FeatureShapes:
        return dict(SHAPES)

    def settings(self) -> dict[str, object]:
        return {}


class Coloured(Planted):
    """Of a target's signal, red drives 70 %, green 30 % and blue nothing, in the first half; else blue all."""

    def _read(self, subject: int) -> Any:
        recording = super()._read(subject)
        rng = np.random.default_rng((7, self.seed, subject))
        images = np.stack([recording.stimuli.read(i) for i in range(self.stimuli)])
        pixels = (images / 127.5 - 1).transpose(3, 0, 1, 2).reshape(3, self.stimuli, 16)
        array: np.ndarray = recording.responses.parts[0].array
        count = array.shape[1]
        driven = np.stack([part @ rng.standard_normal((16, count)) for part in pixels])
        driven /= driven.std(1, keepdims=True)
        share = np.where(np.arange(count) < count // 2, [[0.7], [0.3], [0.0]], [[0.0], [0.0], [1.0]])
        noise = self.noise * rng.standard_normal(array.shape)
        array[:] = (np.sqrt(share)[:, None] * driven).sum(0) + noise + 3
        return recording


def fit(folder: Path, source: Planted, **model: Any) -> tuple[BandedRidgeModule, EncodingDataModule, Trainer]:
    data = EncodingDataModule(source, Thirds(), cache_dir=folder / "cache", batch_size=64, validation=0.0)
    settings = {"penalties": PENALTIES, "candidates": 20} | model
    module = BandedRidgeModule(data.num_targets, data.feature_shapes, **settings)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    run = Trainer(accelerator="cpu", max_epochs=1, **quiet)
    run.fit(module, data, weights_only=True)
    return module, data, run


def test_planted_shares_are_found_and_the_checkpoint_is_a_linear_heads(tmp_path: Path) -> None:
    module, data, run = fit(tmp_path, Coloured(800))
    found = module.findings
    assert found is not None
    assert found.cv_r2 is not None
    assert found.penalty is not None
    assert list(found.band_r2) == list(found.band_weight) == list(LAYERS)
    assert not found.unique_r2
    np.testing.assert_allclose(sum(found.band_r2.values()), found.cv_r2, atol=1e-5)
    np.testing.assert_allclose(sum(found.band_weight.values()), 1, atol=1e-6)
    shares = np.stack([found.band_r2[layer] / found.cv_r2 for layer in LAYERS])
    np.testing.assert_allclose(shares[:, :20].mean(1), [0.7, 0.3, 0.0], atol=0.05)
    np.testing.assert_allclose(shares[:, 20:].mean(1), [0.0, 0.0, 1.0], atol=0.05)
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > 0.85

    run.save_checkpoint(tmp_path / "banded.ckpt")
    state = torch.load(tmp_path / "banded.ckpt", weights_only=True)
    linear = EncodingModule(data.num_targets, data.feature_shapes)
    linear.load_state_dict(state["state_dict"], strict=True)
    batch = next(iter(data.test_dataloader()["test"]))
    assert torch.equal(linear.predict_batch(batch), module.predict_batch(batch))
    again = BandedRidgeModule(data.num_targets, data.feature_shapes)
    again.on_load_checkpoint(state)
    assert again.findings is not None
    np.testing.assert_array_equal(again.findings.band_weight["b:only"], found.band_weight["b:only"])


def test_a_shuffled_control_is_at_zero(tmp_path: Path) -> None:
    module, data, run = fit(tmp_path, Coloured(800, shuffle=True))
    assert module.findings is not None
    assert module.findings.cv_r2 is not None
    assert abs(np.median(module.findings.cv_r2)) < 0.02
    assert all(abs(r2.mean()) < 0.02 for r2 in module.findings.band_r2.values())
    assert abs(run.test(module, data, verbose=False)[0]["test/pearson"]) < 0.1


def test_two_encoders_divide_the_variance_of_each_subjects_rois(tmp_path: Path) -> None:
    both, data, _ = fit(tmp_path, Coloured(300, subjects=2), bands="encoder", selection="roi")
    assert both.findings is not None
    assert both.findings.cv_r2 is not None
    unique = both.findings.unique_r2
    assert list(unique) == ["a", "b", "shared"]
    np.testing.assert_allclose(sum(unique.values()), both.findings.cv_r2, atol=1e-5)
    assert unique["a"][:20].mean() > 0.5 > unique["b"][:20].mean() + 0.4
    assert unique["b"][20:40].mean() > 0.5
    assert abs(unique["shared"]).mean() < 0.1  # a ROI whose targets differ has one choice for all of them
    assert len(np.unique(both.findings.band_weight["a"][data.targets_of(0)])) <= 2, "one choice for each ROI"


@pytest.mark.parametrize("targets", [[3], None])
def test_ten_stimuli_are_enough(tmp_path: Path, targets: Sequence[int] | None) -> None:
    module, data, run = fit(tmp_path, Planted(13, targets=targets), folds=2)
    assert len(data.positions("train")) <= 10 + 1
    assert module.head.state_dict()["weight"].isfinite().all()
    run.test(module, data, verbose=False)


def test_bands_hold_each_layer_once() -> None:
    assert layers_by_band(LAYERS, "layer") == {layer: [layer] for layer in LAYERS}
    assert layers_by_band(LAYERS, "encoder") == {"a": ["a:first", "a:second"], "b": ["b:only"]}
    mixed = {"x": ["b:only", "a:first"], "y": ["a:second"]}
    assert layers_by_band(LAYERS, mixed) == mixed
    module = BandedRidgeModule(3, SHAPES, bands=mixed)
    assert module.band.tolist() == [0] * 16 + [1] * 16 + [0] * 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": {"x": ["a:first", "a:second"]}}, "--model.bands: .* found 'b:only' in 0"),
        ({"bands": {"x": list(LAYERS), "y": ["b:only"]}}, "--model.bands: .* found 'b:only' in 2"),
        ({"bands": {"x": [*LAYERS, "c"]}}, "--model.bands: .* found 'c' in 1"),
        ({"bands": {"x": list(LAYERS), "y": []}}, "--model.bands: .* found 'y' with 0 layers"),
        ({"bands": {"x": list(LAYERS[:2]), "shared": ["b:only"]}}, "none named 'shared' of two"),
        ({"folds": 0}, r"--model\.folds 0: expected 2 or more"),
        ({"folds": 1}, r"--model\.folds 1: expected 2 or more"),
        ({"candidates": 3}, r"--model\.candidates 3: expected at least 4"),
        ({"penalties": [-1.0]}, r"--model\.penalties: expected"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        BandedRidgeModule(3, SHAPES, **settings)
    assert "\n" not in str(caught.value)


def test_what_the_data_cannot_give_is_refused() -> None:
    with pytest.raises(InputError, match=r"--data\.encoder: BandedRidgeModule needs features"):
        BandedRidgeModule(3, None)
    with pytest.raises(InputError, match=r"--model\.bands encoder: expected layers named ENCODER:LAYER.*'pixels'"):
        BandedRidgeModule(3, {"pixels": (3,)}, bands="encoder")


def test_the_command_line_takes_bands_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=40, n_targets=6)
    flags = [
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=GaborEncoder",
        "--model=BandedRidgeModule",
        "--model.candidates=5",
        "--name=banded",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    assert build_cli([*flags]).model.bands == {layer: [layer] for layer in ("luminance", "opponent", "colour")}
    assert main([*flags, '--model.bands={"energy": ["luminance", "opponent"], "colour": ["colour"]}']) == 0
    last = torch.load("runs/banded/version_0/checkpoints/last.ckpt", weights_only=True)
    assert list(last["findings"]["unique_r2"]) == ["energy", "colour", "shared"]
