"""Real fMRI through the Algonauts 2021 format: what ridge explains of it, and their submission."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.unpickle import load_pickle
from calcarine.run.main import main
from calcarine.where import CONFIGS

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.mark.slow
def test_nine_folds_of_object2vec(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean and the spread of Gabor energy over ten photographs of a category; responses of others tell nothing."""
    monkeypatch.chdir(tmp_path)
    root = f"--data.source.root={shared_data / 'object2vec'}"

    def correlations(folds: range, *flags: str) -> list[float]:
        found = []
        for fold in folds:
            name = f"fold{fold}{len(flags)}"
            config = f"--config={CONFIGS / 'video_ridge.yaml'}"
            assert main([config, root, f"--data.fold={fold}/9", f"--name={name}", *flags, *QUIET]) == 0
            with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
                (row,) = [row for row in csv.DictReader(file) if row["split"] == "test" and row["roi"] == "all"]
            found.append(float(row["pearson_mean"]))
        return found

    assert np.mean(correlations(range(1, 10))) >= 0.42
    assert abs(np.mean(correlations(range(1, 7), "--data.source.shuffle=true"))) < 0.15  # of 48 stimuli


LAYER_SELECTION = ["--data.encoder=GaborEncoder", "--data.reduction.components=40", "--model.regression=Ridge"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "changes"),
    [("v4_ridge", ["--data.source=Algonauts2021"]), ("video_layer_selection", LAYER_SELECTION)],
    ids=["ridge", "layer_selection"],
)
def test_object2vec_is_predicted_and_submitted(
    config: str, changes: list[str], shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear models of Gabor features, mean over five seeds of the split."""
    monkeypatch.chdir(tmp_path)
    root = shared_data / "object2vec"
    flags = [
        f"--config={CONFIGS / f'{config}.yaml'}",
        *changes,
        f"--data.source.root={root}",
        "--data.source.frames=10",
        "--data.validation=0.2",
        "--data.test=0",
        "--name=object2vec",
        *QUIET,
    ]
    correlations = []
    for seed in range(5):
        assert main([*flags, f"--seed_everything={seed}"]) == 0
        with Path(f"runs/object2vec/version_{seed}/scores.csv").open(newline="") as file:
            (row,) = [row for row in csv.DictReader(file) if row["split"] == "validation" and row["roi"] == "all"]
        correlations.append(float(row["pearson_mean"]))
    assert np.mean(correlations) >= 0.25

    with zipfile.ZipFile("runs/object2vec/version_0/mini_track.zip") as archive:
        assert archive.namelist() == ["mini_track.pkl"]
        archive.extractall()
    submitted = load_pickle(Path("mini_track.pkl"))
    voxels = {path.stem: load_pickle(path)["train"].shape[2] for path in root.glob("participants*/mini_track/sub01/*")}
    assert {roi: {name: array.shape for name, array in own.items()} for roi, own in submitted.items()} == {
        roi: {"sub01": (9, count)} for roi, count in voxels.items()
    }
    arrays = [array for own in submitted.values() for array in own.values()]
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
