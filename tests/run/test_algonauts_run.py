"""A simulated Algonauts 2023 tree through the real command to a submission and its score."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.simulation.write import simulate
from calcarine.run.main import main
from scipy.stats import pearsonr

TARGETS = 300


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tree") / "algonauts"
    simulate(out, images=60, targets=TARGETS, subjects=2, seed=3, test_responses=True)
    return out


def train(tree: Path, *flags: str) -> Path:
    arguments = [
        "--data.source=Algonauts2023",
        f"--data.source.root={tree}",
        f"--data.source.noise_ceiling={tree / 'noise_ceiling'}",
        "--data.encoder=PixelEncoder",
        "--data.encoder.size=8",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--trainer.max_epochs=2",
        "--name=challenge",
    ]
    assert main([*arguments, *flags]) == 0
    return sorted(Path("runs/challenge").iterdir())[-1]


def rows(run: Path, **where: str) -> list[dict[str, str]]:
    with (run / "scores.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[name] == value for name, value in where.items())]


def test_submission_and_score(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both subjects at once; the score recomputed from the zip alone equals scores.csv."""
    monkeypatch.chdir(tmp_path)
    run = train(tree, "--data.source.subject=[1,2]")
    with zipfile.ZipFile(run / "submission.zip") as archive:
        names = {f"{subject}/{side}_pred_test.npy" for subject in ("subj01", "subj02") for side in ("lh", "rh")}
        assert set(archive.namelist()) == names
        for subject in ("subj01", "subj02"):
            shares = []
            for side in ("lh", "rh"):
                with archive.open(f"{subject}/{side}_pred_test.npy") as file:
                    predicted = np.load(file)
                measured = np.load(tree / subject / f"test_split/test_fmri/{side}_test_fmri.npy")
                ceiling = np.load(tree / f"noise_ceiling/{subject}/{side}.npy").astype(np.float64)
                ceiling /= 100 if ceiling.max() > 1 else 1
                assert predicted.dtype == np.float32
                assert predicted.shape == measured.shape
                for vertex in np.flatnonzero(ceiling > 0):
                    r = pearsonr(predicted[:, vertex].astype(np.float64), measured[:, vertex].astype(np.float64))
                    shares.append(min(max(r.statistic, 0) ** 2 / ceiling[vertex], 1))
            (row,) = rows(run, split="test", subject=subject, hemisphere="both", roi="all")
            assert int(row["n_targets"]) == TARGETS
            assert float(row["score"]) == pytest.approx(100 * np.mean(shares), rel=1e-5)


@pytest.mark.slow
def test_withheld_test_images_are_predicted_and_a_seeded_test_split_is_scored(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    withheld = tmp_path / "withheld"
    withheld.mkdir()
    for path in tree.iterdir():
        (withheld / path.name).symlink_to(path)
    subject = withheld / "subj01"
    subject.unlink()
    subject.mkdir()
    for path in (tree / "subj01").iterdir():
        (subject / path.name).symlink_to(path)
    (subject / "test_split").unlink()
    (subject / "test_split").mkdir()
    (subject / "test_split/test_images").symlink_to(tree / "subj01/test_split/test_images")

    run = train(withheld, "--data.source.subject=1")
    predictions = np.load(run / "predictions/test.npy")
    assert predictions.shape == (round(0.2 * 60), TARGETS)
    assert {row["split"] for row in rows(run)} == {"validation", "test"}
    with zipfile.ZipFile(run / "submission.zip") as archive, archive.open("subj01/lh_pred_test.npy") as file:
        assert len(np.load(file)) == 12

    one_side = train(withheld, "--data.source.subject=1", "--data.source.hemisphere=lh")
    assert not (one_side / "submission.zip").exists()
    assert {row["hemisphere"] for row in rows(one_side)} == {"lh", "both"}
