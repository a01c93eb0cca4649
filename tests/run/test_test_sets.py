"""A run scored on more test sets than one, and a finished run on other data."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data.simulation.write import simulate
from calcarine.run.main import main
from scipy.stats import spearmanr


def scores(folder: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return {(row["split"], row["hemisphere"], row["roi"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run on a folder, scored on a copy of it too, of which another half tests, and whose responses are others."""
    root = tmp_path_factory.mktemp("sets")
    simulate(root / "one", format="folder", images=60, targets=40, seed=3)
    shutil.copytree(root / "one", root / "two")
    rng = np.random.default_rng(0)
    responses = np.load(root / "two/responses.npy")
    np.save(root / "two/responses.npy", responses + rng.standard_normal(responses.shape, dtype=np.float32))
    flags = [f"--data.source.root={root / 'one'}", "--data.test_sets.noisy=Folder"]
    flags += [f"--data.test_sets.noisy.root={root / 'two'}", f"--data.cache_dir={root / 'cache'}"]
    flags += ["--data.encoder=PixelEncoder", "--model=RidgeModule", f"--runs={root / 'runs'}", "--name=sets"]
    assert main(flags) == 0
    return root / "runs/sets/version_0"


def test_each_test_set_has_rows_of_its_own(run):
    found = scores(run)
    assert {key[0] for key in found} == {"test", "validation", "noisy"}
    predicted, truth = np.load(run / "predictions/noisy.npy"), np.load(run.parents[2] / "two/responses.npy")[60:]
    expected = [np.corrcoef(p, y)[0, 1] for p, y in zip(predicted.T, truth.T, strict=True)]
    assert float(found["noisy", "both", "all"]["pearson_mean"]) == pytest.approx(np.mean(expected), abs=1e-6)
    assert np.array_equal(predicted, np.load(run / "predictions/test.npy"))  # the same images
    assert "<h2>Test sets</h2>" in (run / "report.html").read_text()
    assert (run / "figures/noisy/pearson_per_roi.png").is_file()


def test_a_finished_run_is_scored_as_it_scored_itself(run, tmp_path, capsys):
    root = run.parents[2]
    out = tmp_path / "evaluated"
    flags = [f"--data.source.root={root / 'one'}", f"--data.cache_dir={tmp_path / 'cache'}", f"--out={out}"]
    assert calcarine(["evaluate", str(run), *flags]) == 0
    own, again = scores(run), scores(out)
    assert again == {key: row for key, row in own.items() if key[0] == "test"}
    assert np.array_equal(np.load(out / "predictions/test.npy"), np.load(run / "predictions/test.npy"))


def benchmarks(folder: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with (folder / "benchmarks.csv").open(newline="") as file:
        return {(row["split"], row["hemisphere"], row["roi"]): row for row in csv.DictReader(file)}


def test_benchmarks_stand_beside_the_scores_of_every_split_and_of_a_finished_run(run, tmp_path):
    root = run.parents[2]
    own = benchmarks(run)
    assert own.keys() == scores(run).keys()
    out = tmp_path / "evaluated"
    flags = [f"--data.source.root={root / 'one'}", f"--data.cache_dir={tmp_path / 'cache'}", f"--out={out}"]
    assert calcarine(["evaluate", str(run), *flags, "--min_ceiling=0.5"]) == 0
    again = benchmarks(out)
    assert again.keys() == {key for key in own if key[0] == "test"}
    whole, kept = own["test", "both", "all"], again["test", "both", "all"]
    assert (whole["min_ceiling"], kept["min_ceiling"]) == ("", "0.5")
    assert 0 < int(kept["n_kept"]) < int(whole["n_kept"]) <= int(whole["n_targets"])
    assert "<h2>Benchmarks</h2>" in (run / "report.html").read_text()
    responses = np.load(root / "one/responses.npy")[60:].astype(np.float64)
    predicted = np.load(run / "predictions/test.npy").astype(np.float64)
    matrices = [1 - np.corrcoef(each)[np.triu_indices(len(each), 1)] for each in (predicted, responses)]
    assert float(whole["rsa"]) == pytest.approx(spearmanr(*matrices)[0], abs=1e-6)
    assert calcarine(["evaluate", str(run), *flags, "--min_ceiling=50"]) == 2


def test_what_it_was_trained_on_is_left_out(run, tmp_path):
    root = run.parents[2]
    copy = tmp_path / "renamed"
    shutil.copytree(root / "one", copy)
    (copy / "split.csv").unlink()  # now nothing says what tests
    out = tmp_path / "out"
    flags = [f"--data.source.root={copy}", f"--data.cache_dir={tmp_path / 'cache'}", f"--out={out}"]
    assert calcarine(["evaluate", str(run), *flags]) == 0
    with (out / "predictions/test_stimuli.csv").open() as file:
        names = [row["stimulus"] for row in csv.DictReader(file)]
    assert names == [f"image-{index + 1:05d}.png" for index in range(60, 72)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--data.source: expected the data to score the model on"),
        (["--name=train", "--data.source.root=ONE"], "--name train: expected a name"),
        (["--data.source.root=NONE"], "expected a folder or a file of data"),
        (["--data.source.root=ONE", "--data.sauce=1"], "--data.sauce"),
        (["--data.source.root=FEW"], "expected the 40 targets of few that the model has, found 20"),
    ],
)
def test_a_fault_is_one_line(run, tmp_path, capsys, flags, message):
    root = run.parents[2]
    if "FEW" in "".join(flags) and not (root / "few").exists():
        simulate(root / "few", format="folder", images=10, targets=20, seed=3)
        (root / "few/coordinates.npy").unlink()  # by which targets are matched where both know it
    places = {"ONE": root / "one", "NONE": root / "none", "FEW": root / "few"}
    typed = [
        f"{flag.rpartition('=')[0]}={places.get(flag.rpartition('=')[2], flag.rpartition('=')[2])}" for flag in flags
    ]
    out = tmp_path / "out"
    assert calcarine(["evaluate", str(run), f"--out={out}", f"--data.cache_dir={tmp_path}", *typed]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert not out.exists()


def test_a_test_set_with_a_name_of_ours_is_refused(run, capsys):
    flags = ["--data.source=Folder", f"--data.source.root={run.parents[2] / 'one'}", "--data.test_sets.test=Folder"]
    assert main([*flags, f"--data.test_sets.test.root={run.parents[2] / 'two'}"]) == 2
    assert "--data.test_sets.test: expected a name of letters" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_command_line(run, tmp_path):
    args = [sys.executable, "-m", "calcarine", "evaluate", str(run), f"--data.source.root={run.parents[2] / 'two'}"]
    done = subprocess.run([*args, "--name=noisy"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "evaluated-noisy: noisy correlation" in done.stdout
