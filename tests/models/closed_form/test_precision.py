"""What is solved predicts in float32, whatever --trainer.precision says: its weights cancel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calcarine.run.cli import build_cli
from calcarine.run.training import train

GABOR = {"class_path": "GaborEncoder", "init_args": {"frequencies": [2, 4], "grid": 3}}
SOURCE = {"images": 60, "test_images": 10, "targets": 24, "image_size": 32}
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
MODELS: dict[str, dict[str, Any]] = {
    "RidgeModule": {},
    "BandedRidgeModule": {"candidates": 5},
    "WindowedModule": {"centers": 2, "kernel": "rbf"},
    "LayerSelectionModule": {"regression": {"class_path": "Ridge"}},
    "ElasticNetModule": {"path_length": 5},
    "SimilarityModule": {},
    "StackedModule": {
        "folds": 2,
        "members": {
            "ridge": {"model": {"class_path": "RidgeModule"}},
            "windowed": {
                "model": {"class_path": "WindowedModule", "init_args": {"centers": 2, "kernel": "rbf"}},
            },
        },
    },
}


@pytest.mark.parametrize("kind", MODELS)
def test_bf16_changes_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = {
        "data": {"source": {"class_path": "Simulated", "init_args": SOURCE}, "encoder": GABOR, "batch_size": 16},
        "model": {"class_path": kind, "init_args": MODELS[kind]},
        "trainer": QUIET,
    }
    Path("run.yaml").write_text(yaml.safe_dump(config))
    cli = build_cli(["--config=run.yaml"])
    assert train(cli, keep=False) is not None
    (recording,) = cli.datamodule.recordings
    images = np.stack([recording.stimuli.read(index) for index in range(10)])
    expected = cli.model.predict(images)
    cli.model.precision = "bf16-mixed"
    apart = (cli.model.predict(images) - expected).abs() / cli.datamodule.facts.response_scale
    assert apart.max() < 1e-4
