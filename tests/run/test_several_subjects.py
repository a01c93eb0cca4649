"""A run of several subjects who differ in stimuli and targets: what it leaves, and what the commands make of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data.simulation.write import simulate
from calcarine.run.main import main

SUBJECTS = {"anna": (120, 30), "bert": (90, 44)}  # images and targets


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects' folders, and a ridge on both."""
    root = tmp_path_factory.mktemp("several")
    for seed, (name, (images, targets)) in enumerate(SUBJECTS.items()):
        simulate(root / name, format="folder", images=images, targets=targets, seed=seed)
    assert main([*flags(root), "--model=RidgeModule", "--name=ridge"]) == 0
    return root


def flags(root: Path) -> list[str]:
    folders = ",".join(str(root / name) for name in SUBJECTS)
    return [
        "--data.source=Folder",
        f"--data.source.root=[{folders}]",
        f"--data.cache_dir={root / 'cache'}",
        f"--runs={root / 'runs'}",
        "--data.encoder=PixelEncoder",
        "--data.batch_size=16",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]


def scores(run: Path, split: str = "test") -> dict[str, float]:
    table = pd.read_csv(run / "scores.csv")
    rows = table[(table["split"] == split) & (table["hemisphere"] == "both") & (table["roi"] == "all")]
    return dict(zip(rows["subject"], rows["pearson_mean"], strict=True))


def test_each_subject_has_a_folder_of_its_own_stimuli_and_targets(root: Path) -> None:
    run = root / "runs/ridge/version_0"
    files = {str(path.relative_to(run / "predictions")) for path in (run / "predictions").rglob("*.*")}
    endings = [f"{split}{end}" for split in ("validation", "test") for end in (".npy", "_stimuli.csv")]
    assert files == {f"{subject}/{ending}" for subject in SUBJECTS for ending in endings}
    for subject, (_, targets) in SUBJECTS.items():
        predicted = np.load(run / f"predictions/{subject}/test.npy")
        with (run / f"predictions/{subject}/test_stimuli.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert predicted.shape == (len(rows), targets)
        assert {row["subject"] for row in rows} == {subject}
        names = sorted(path.name for path in (root / subject / "images").iterdir())
        measured = np.load(root / subject / "responses.npy")[[names.index(row["stimulus"]) for row in rows]]
        found = [np.corrcoef(p, y)[0, 1] for p, y in zip(predicted.T, measured.T, strict=True)]
        assert scores(run)[subject] == pytest.approx(np.mean(found), abs=1e-6)


def test_the_report_names_every_folder(root: Path) -> None:
    told = json.loads((root / "runs/ridge/version_0/run.json").read_text())["data"]
    assert told == f"Folder {', '.join(str(root / name) for name in SUBJECTS)}, PixelEncoder"


@pytest.mark.slow
def test_finished_runs_are_compared_combined_predicted_and_scored_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run, other = root / "runs/ridge/version_0", root / "runs/other/version_0"
    assert main([*flags(root), "--model=RidgeModule", "--model.folds=3", "--name=other"]) == 0
    assert calcarine(["compare", str(run), str(other), "--out=compared"]) == 0
    assert set(pd.read_csv("compared/rois.csv")["subject"]) == set(SUBJECTS)
    assert calcarine(["ensemble", str(run), str(other), "--runs=ensembles"]) == 0
    made = Path("ensembles/ensemble/version_0")
    for subject in SUBJECTS:
        members = [np.load(each / f"predictions/{subject}/test.npy") for each in (run, other)]
        averaged = np.load(made / f"predictions/{subject}/test.npy")
        np.testing.assert_allclose(averaged, np.mean(members, axis=0), rtol=1e-4, atol=1e-4)
    source = ["--data.source=Folder", f"--data.source.root={root / 'bert'}", "--data.cache_dir=cache"]
    assert calcarine(["evaluate", str(run), *source, "--out=again"]) == 0
    assert np.array_equal(np.load("again/predictions/bert/test.npy"), np.load(run / "predictions/bert/test.npy"))
    assert scores(Path("again"))["bert"] == pytest.approx(scores(run)["bert"], abs=1e-6)
    assert calcarine(["predict", str(run), f"--images={root / 'bert/images'}", "--subject=bert", "--out=new"]) == 0
    images = len(list((root / "bert/images").iterdir()))
    assert np.load("new/predictions.npy").shape == (images, SUBJECTS["bert"][1])
    assert calcarine(["export", str(run), "--format=brainscore-assembly", "--out=assembly"]) == 0
    assert {path.name for path in Path("assembly").glob("test_*.nc")} == {f"test_{name}.nc" for name in SUBJECTS}
    (run / "predictions/bert/test_stimuli.csv").rename("kept.csv")
    capsys.readouterr()
    assert calcarine(["compare", str(run), str(other), "--out=broken"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "predictions/bert/test_stimuli.csv: expected the stimuli of the predictions, found no such file" in line
    Path("kept.csv").rename(run / "predictions/bert/test_stimuli.csv")


@pytest.mark.slow
def test_a_shared_trunk_has_controls_and_goes_on_where_it_was(root: Path) -> None:
    trunk = ["--model.head=TrunkHead", "--model.head.trunk=MlpTrunk", "--model.head.trunk.dims=[64]"]
    trunk += ["--model.head.subject_layers=true", "--model.head.subject_dropout=0.4"]
    adam = ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=3e-3"]
    given = [*flags(root), *trunk, *adam, "--early_stopping.patience=30"]
    assert main([*given, "--trainer.max_epochs=30", "--controls=true", "--name=whole"]) == 0
    whole = root / "runs/whole/version_0"
    controls = pd.read_csv(whole / "controls.csv")
    assert set(controls["subject"]) == set(SUBJECTS)
    for subject in SUBJECTS:
        assert (whole / f"controls/shuffled/predictions/{subject}/test.npy").is_file()
    assert main([*given, "--trainer.max_epochs=12", "--name=halves"]) == 0
    assert main([*given, "--trainer.max_epochs=30", "--name=halves", "--ckpt_path=last"]) == 0
    halves = root / "runs/halves/version_0"
    for file in ("scores.csv", "targets.csv", "history.csv"):
        assert (halves / file).read_bytes() == (whole / file).read_bytes()
