"""What is solved predicts in float32, whatever --trainer.precision says: its weights cancel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calcarine.names import TEST
from calcarine.run.cli import EncodingCLI, build_cli
from calcarine.run.predictions import by_recording
from calcarine.run.training import train

GABOR = {"class_path": "GaborEncoder", "init_args": {"frequencies": [2, 4], "grid": 3}}
SOURCE = {"images": 60, "test_images": 10, "targets": 24, "image_size": 32}
PCA = {"class_path": "PrincipalComponents", "init_args": {"components": 12}}
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
MODELS: dict[str, dict[str, Any]] = {
    "RidgeModule": {},
    "BandedRidgeModule": {"candidates": 5},
    "WindowedModule": {"centers": 2, "kernel": "rbf"},
    "LayerSelectionModule": {"regression": {"class_path": "Ridge"}},
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


def trained(kind: str, precision: str = "32-true") -> tuple[EncodingCLI, np.ndarray]:
    """A run, and its predictions of the test split in units of each target's spread."""
    data = {"source": {"class_path": "Simulated", "init_args": SOURCE}, "encoder": GABOR, "batch_size": 16}
    config = {
        "data": {**data, "reduction": PCA if kind == "RidgeModule" else None},
        "model": {"class_path": kind, "init_args": MODELS[kind]},
        "trainer": {**QUIET, "precision": precision},
    }
    Path("run.yaml").write_text(yaml.safe_dump(config))
    cli = build_cli(["--config=run.yaml"])
    folder = train(cli, keep=False)
    assert folder is not None
    ((_, _, rows),) = by_recording(cli.datamodule, TEST, folder / "predictions")
    return cli, np.asarray(rows) / cli.datamodule.facts.response_scale.numpy()


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_in_bf16_predicts_as_in_float32(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli, _ = trained(kind)
    (recording,) = cli.datamodule.recordings
    images = np.stack([recording.stimuli.read(index) for index in range(10)])
    expected = cli.model.predict(images)
    cli.model.precision = "bf16-mixed"
    apart = (cli.model.predict(images) - expected).abs() / cli.datamodule.facts.response_scale
    assert apart.max() < 1e-4


def test_a_stack_trained_in_bf16_is_that_of_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are learnt from predictions of folds, which are made by trainers of the run's precision."""
    monkeypatch.chdir(tmp_path)
    predicted = [trained("StackedModule", precision)[1] for precision in ("32-true", "bf16-mixed")]
    np.testing.assert_allclose(predicted[1], predicted[0], atol=1e-4)
