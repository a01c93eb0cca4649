"""A trunk trained on three simulated subjects serves a fourth of whom there is little."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from calcarine.run.main import main

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def scored(name: str, source: dict[str, Any], trunk: str | None = None) -> dict[str, float]:
    """Mean test correlation and its interval of one run of the cross-subject model on simulated subjects."""
    head: dict[str, Any] = {"trunk": {"class_path": "calcarine.models.MlpTrunk", "init_args": {"dims": [256, 128]}}}
    if trunk is not None:
        head |= {"trunk_weights": f"runs/{trunk}/version_0/checkpoints/best.ckpt", "freeze_trunk": True}
    config = {
        "data": {
            "source": {"class_path": "calcarine.data.Simulated", "init_args": {"targets": 60, **source}},
            "encoder": {"class_path": "calcarine.encoders.GaborEncoder"},
            "batch_size": 16 if source["subject"] == 4 else 64,
        },
        "model": {
            "class_path": "calcarine.models.EncodingModule",
            "init_args": {
                "head": {"class_path": "calcarine.models.TrunkHead", "init_args": head},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                "scheduler": None,
            },
        },
        "early_stopping": {"patience": 5},
        "trainer": {"max_epochs": 40},
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump(config))
    assert main([*QUIET, f"--config={name}.yaml"]) == 0
    with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["roi"] == "all"]
    (row,) = [row for row in rows if row["hemisphere"] == "both" and row["subject"] == rows[-1]["subject"]]
    return {name: float(row[f"pearson_{name}"]) for name in ("mean", "ci_low", "ci_high")}


@pytest.mark.slow
def test_a_trunk_of_three_subjects_helps_a_fourth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subjects share what their areas compute, in other receptive fields and tunings; seed 0.

    The control is a trunk of the same three subjects with responses shuffled over their stimuli: it has seen the same
    images, and nothing of what the areas compute.
    """
    monkeypatch.chdir(tmp_path)
    three = {"subject": [1, 2, 3], "images": 400, "test_images": 20}
    fourth = {"subject": 4, "images": 100, "test_images": 200}
    scored("three", three)
    scored("shuffled", {**three, "shuffle": True})
    scratch = scored("scratch", fourth)
    transferred = scored("transferred", fourth, trunk="three")
    control = scored("control", fourth, trunk="shuffled")
    assert transferred["ci_low"] > scratch["ci_high"]
    assert transferred["ci_low"] > control["ci_high"]


def test_held_out_stimuli_that_a_trunk_was_trained_on_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first run had this subject too, with another split; each is said once, though the test asks again.

    Which images these are stands in `tests/models/heads/test_seen_before.py`.
    """
    monkeypatch.chdir(tmp_path)
    base = [
        *QUIET,
        "--data.source=planted.Planted",
        "--data.source.stimuli=60",
        "--data.encoder=planted.Identity",
        "--model.head=TrunkHead",
        "--model.head.trunk=MlpTrunk",
        "--model.head.trunk.dims=[8]",
        "--trainer.max_epochs=1",
    ]
    assert main([*base, "--data.source.subjects=2", "--data.split_seed=1", "--name=two"]) == 0
    assert not [each for each in caplog.messages if "not new" in each]
    trunk = "--model.head.trunk_weights=runs/two/version_0/checkpoints/best.ckpt"
    assert main([*base, trunk, "--data.split_seed=2", "--name=other"]) == 0
    warned = [each for each in caplog.messages if "not new" in each]
    assert [each.partition(" of ")[0] for each in warned] == ["subj01, validation: 4", "subj01, test: 10"]
    page = Path("runs/other/version_0/report.html").read_text()
    assert all(each in page for each in warned)
    assert "with 10 of 12 stimuli not new to its trunk" in page
    assert "with 10 of 12 stimuli not new to its trunk" in capsys.readouterr().out.splitlines()[-1]
