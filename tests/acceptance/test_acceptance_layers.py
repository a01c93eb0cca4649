"""What layer selection promises: on the simulated subject the planted encoder wins in every ROI that it drives."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from calcarine.data import Simulated
from calcarine.recording import stopping_groups
from calcarine.run.main import main

CONFIG = """
data:
  encoder:
    class_path: calcarine.encoders.JointEncoder
    init_args:
      encoders:
        gabor: {class_path: calcarine.encoders.GaborEncoder, init_args: {layers: [luminance]}}
        pixels: {class_path: calcarine.encoders.PixelEncoder, init_args: {size: 16}}
        network:
          class_path: calcarine.encoders.TorchvisionEncoder
          init_args: {model: resnet18, weights: random, layers: [relu, layer1, layer2, layer3], image_size: 64, pool: 3}
  validation: 0.0
model:
  class_path: calcarine.models.LayerSelectionModule
"""
LAYERS = ["gabor:luminance", "pixels:pixels", *(f"network:{name}" for name in ("relu", "layer1", "layer2", "layer3"))]
RETINOTOPIC = {f"{side}.{name}" for side in ("lh", "rh") for name in ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4")}
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def run(name: str, *flags: str) -> dict[str, dict[str, torch.Tensor]]:
    """Run the command line; what the model found."""
    Path("layers.yaml").write_text(CONFIG)
    assert main(["--config=layers.yaml", f"--name={name}", *flags, *QUIET]) == 0
    return torch.load(f"runs/{name}/version_0/checkpoints/best.ckpt", weights_only=True)["findings"]


def correlations(name: str, roi: str) -> Iterator[float]:
    """Mean test correlation in a ROI, by hemisphere."""
    with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "test" and row["roi"] == roi:
                yield float(row["pearson_mean"]) / np.sqrt(float(row["noise_ceiling_mean"]))


@pytest.mark.slow
def test_the_planted_layer_wins_in_every_roi_that_it_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found, control = run("layers"), run("control", "--data.source.shuffle=true")
    (recording,) = Simulated().read()
    groups, names = stopping_groups(recording)
    chosen = {name: np.unique(found["layer"].numpy()[groups == group]) for group, name in enumerate(names)}
    assert set(names) >= RETINOTOPIC
    for name in RETINOTOPIC:
        assert [LAYERS[index] for index in chosen[name]] == ["gabor:luminance"], name
    assert list(found["layer_r2"]) == LAYERS
    for relative in correlations("layers", "early"):
        assert relative > 0.85

    assert control["cv_r2"].nanmean() < 0.01
    assert all(abs(r2.nanmean()) < 0.01 for r2 in control["layer_r2"].values())
    for relative in correlations("control", "early"):
        assert abs(relative) < 0.1
