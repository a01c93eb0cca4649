"""An ensemble of trained runs through the real commands, from a tree whose test responses are withheld to a score."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from calcarine.commands.main import main
from calcarine.data.simulation.write import simulate


def predictions_in(run: str) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(Path(run) / "submission.zip") as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                found[name] = np.load(file)
    return found


@pytest.mark.slow
def test_an_ensemble_is_submitted_like_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, told in (("data", False), ("truth", True)):
        simulate(tmp_path / name, images=120, targets=60, subjects=2, seed=3, test_responses=told)
    flags = ["--data.source.root=data", "--data.source.subject=[1,2]", "--model=RidgeModule", "--data.validation=0.2"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    encoders = {"fine": ["--data.encoder=PixelEncoder", "--data.encoder.size=8"], "gabor": []}
    for name, encoder in encoders.items():
        assert main(["train", *flags, *quiet, *encoder, f"--name={name}"]) == 0
    members = [f"runs/{name}/version_0" for name in encoders]
    assert main(["ensemble", *members]) == 0
    assert "submission.zip: predictions of the withheld images of subj01, subj02" in capsys.readouterr().out
    found, parts = predictions_in("runs/ensemble/version_0"), [predictions_in(member) for member in members]
    assert list(found) == list(parts[0])
    for name, predicted in found.items():
        assert predicted == pytest.approx(np.mean([part[name] for part in parts], axis=0), abs=1e-5)
    assert main(["ensemble", *members, "--stack"]) == 0
    scores = []
    for run in (*members, "runs/ensemble/version_1"):
        capsys.readouterr()
        assert main(["score", f"{run}/submission.zip", "--truth=truth", "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out)["rows"][0]["pearson_mean"])
    assert scores[-1] >= max(scores[:-1]) - 0.01
