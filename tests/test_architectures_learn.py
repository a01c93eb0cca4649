"""Every architecture explains a simulated subject, beyond the interval around its own shuffled control."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.cli import main

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
ADAM = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}}
GABOR = {"encoder": {"class_path": "src.encoders.GaborEncoder"}}
MAPS = {"encoder": {"class_path": "src.encoders.GaborEncoder", "init_args": {"grid": 8, "colour_grid": 8}}}

# What differs from the configuration below: settings of the data, of the model, and of everything else.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "linear": {"data": GABOR},
}


def configuration(changes: dict[str, Any]) -> dict[str, Any]:
    source = {"class_path": "src.data.Simulated", "init_args": {"images": 600, "test_images": 200, "targets": 60}}
    model = {"optimizer": ADAM, "scheduler": None, **changes.get("model", {})}
    return {
        "data": {"source": source, "batch_size": 32, "cache_dir": "cache", **changes["data"]},
        "model": {"class_path": "src.models.EncodingModule", "init_args": model},
        "early_stopping": {"patience": 5},
        "trainer": {"max_epochs": 20},
        **{part: values for part, values in changes.items() if part not in ("data", "model")},
    }


def row_of_test(name: str) -> dict[str, str]:
    with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["roi"] == "all"]
    (row,) = [row for row in rows if row["hemisphere"] == "both"]
    return row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all architectures run, so that the simulated subject is made once."""
    return tmp_path_factory.mktemp("architectures")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_beats_its_shuffled_control(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path(f"{name}.yaml").write_text(yaml.safe_dump(configuration(ARCHITECTURES[name])))
    assert main([*QUIET, f"--config={name}.yaml"]) == 0
    assert main([*QUIET, f"--config={name}.yaml", f"--name={name}_control", "--data.source.shuffle=true"]) == 0
    real, control = row_of_test(name), row_of_test(f"{name}_control")
    assert float(real["pearson_ci_low"]) > float(control["pearson_ci_high"])
    assert abs(float(control["pearson_mean"])) < 0.1
