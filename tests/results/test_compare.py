"""`calcarine compare` on runs whose differences are planted, on other test sets, and on what cannot be compared."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from calcarine.commands.main import main
from finished_runs import write_data, write_run

N, TARGETS, FIRST_TEST = 120, 24, 40
WORSE = np.arange(TARGETS) % 2 == 0  # V4


def predict(responses: np.ndarray, noise: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return responses + noise * rng.standard_normal(responses.shape)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs one and two, the second worse in V4; three and four with other test sets; five on hemisphere lh alone."""
    root = tmp_path_factory.mktemp("compare")
    responses = write_data(root / "data", N, TARGETS)
    test = range(FIRST_TEST, N)
    first = predict(responses, 1, seed=1)
    second = first + np.where(WORSE, 2.5, 0.05) * np.random.default_rng(2).standard_normal(first.shape)
    layers = {"model": {"class_path": "calcarine.models.RidgeModule", "init_args": {"penalties": [1, 2]}}}
    write_run(root / "one/version_0", root / "data", {"test": (test, first[test])})
    write_run(root / "two/version_0", root / "data", {"test": (test, second[test])}, layers)
    context = {"class_path": "calcarine.data.TrialContext", "init_args": {"previous": 4}}
    for name in ("told", "told_too"):
        write_run(root / name / "version_0", root / "data", {"test": (test, second[test])})
        config = yaml.safe_load((root / name / "version_0/config.yaml").read_text())
        config["data"]["beside"] = context
        (root / name / "version_0/config.yaml").write_text(yaml.safe_dump(config))
    write_run(root / "three/version_0", root / "data", {"test": (range(70), predict(responses, 1, 3)[:70])})
    write_run(root / "four/version_0", root / "data", {"test": (range(30), predict(responses, 1, 4)[:30])})
    few = range(FIRST_TEST, FIRST_TEST + 15)
    write_run(root / "few/version_0", root / "data", {"test": (few, predict(responses, 1, 5)[few])})
    write_run(root / "unheld/version_0", root / "data", {"validation": (few, predict(responses, 1, 5)[few])})
    return root


def compare(place: Path, out: Path, *names: str) -> list[str]:
    return ["compare", *(str(place / name / "version_0") for name in names), "--out", str(out)]


def test_inputs_beside_the_image_of_one_run_alone_are_said(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal and on the page, whichever has them, and of an ensemble with such a member."""
    assert main(["ensemble", str(place / "told/version_0"), str(place / "one/version_0"), "--runs", str(tmp_path)]) == 0
    mean = tmp_path / "ensemble/version_0"
    capsys.readouterr()
    line = "has inputs beside the image (--data.beside), one/version_0 sees the image alone"
    for given in ([place / "one/version_0", place / "told/version_0"], [mean, place / "one/version_0"]):
        assert main(["compare", *map(str, given), "--out", str(tmp_path / "out")]) == 0
        assert capsys.readouterr().out.count(line) == 1
        assert line in (tmp_path / "out/report.html").read_text()
    assert main(compare(place, tmp_path / "out", "told", "told_too")) == 0
    assert "inputs beside the image" not in capsys.readouterr().out


def test_a_planted_difference_is_found_where_it_is(place: Path, tmp_path: Path, capsys) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*"))
    assert main(compare(place, tmp_path / "out", "one", "two")) == 0
    output = capsys.readouterr().out
    rois = pd.read_csv(tmp_path / "out/rois.csv")
    for row in rois.itertuples():
        if row.roi == "V4":
            assert row.high < 0
            assert (row.better, row.worse) == (0, 6)
        elif row.roi == "V1":
            assert (row.better, row.worse) == (0, 0)
    targets = pd.read_csv(tmp_path / "out/targets.csv")
    assert ((targets["q"] <= 0.05) == WORSE).all()
    assert targets["difference"].to_numpy() == pytest.approx(targets["second"] - targets["first"])
    (headline,) = (line for line in output.splitlines() if line.startswith("data: "))
    assert re.match(
        r"data: two/version_0 less one/version_0 −0\.\d+ \(95 % .*\); 0 of 24 targets better, 12 wo", headline
    )
    assert re.search(r"^model +– +RidgeModule$", output, re.M)
    assert re.search(r"^model.penalties +– +\[1, 2\]$", output, re.M)
    assert "name " not in output
    assert sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) == before


def test_the_page_holds_everything(place: Path, tmp_path: Path) -> None:
    assert main(compare(place, tmp_path / "out", "one", "two", "three")) == 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    outside = page.replace(re.search(r"<script>.*?</script>", page, re.DOTALL)[0], "")  # pyright: ignore
    assert not re.search(r"(src|href)=", outside)
    for text in ("two/version_0 less one/version_0", "model.penalties", "RidgeModule", "scatter3d", "not evaluated on"):
        assert text in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "rois.csv", "targets.csv"]
    table = pd.read_csv(tmp_path / "out/rois.csv")
    assert set(table["run"]) == {"two/version_0", "three/version_0"}


def test_other_test_sets_are_compared_on_what_they_share_and_said(place: Path, tmp_path: Path, capsys) -> None:
    assert main(compare(place, tmp_path / "out", "one", "three")) == 0
    output = capsys.readouterr().out
    assert "compared on the 30 that both were, of 80 of one/version_0 and 70 of three/version_0" in output
    assert "50 of the 80 stimuli that one/version_0 was evaluated on were not held out in three/version_0" in output
    assert "40 of the 70 stimuli that three/version_0 was evaluated on were not held out in one/version_0" in output
    shared = range(FIRST_TEST, 70)
    responses = np.load(place / "data/responses.npy")[shared]
    predictions = np.load(place / "one/version_0/predictions/test.npy")[:30]
    expected = [np.corrcoef(p, y)[0, 1] for p, y in zip(predictions.T, responses.T, strict=True)]
    assert pd.read_csv(tmp_path / "out/targets.csv")["first"].to_numpy() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("wide", [False, True], ids=["a folder each", "one table of earlier versions"])
def test_subjects_are_compared_each_with_itself(tmp_path: Path, capsys, wide: bool) -> None:
    roots, held = [tmp_path / "s1", tmp_path / "s2"], []
    for root, n_targets in zip(roots, (6, 10), strict=True):
        held.append((range(20, 60), write_data(root, 60, n_targets)[20:]))
    good = [(stimuli, predict(responses, 0.5, 1)) for stimuli, responses in held]
    worse = [good[0], (held[1][0], predict(held[1][1], 5, 2))]
    write_run(tmp_path / "both/version_0", roots, {"test": good})
    write_run(tmp_path / "worse/version_0", roots, {"test": worse}, wide=wide)
    write_run(tmp_path / "alone/version_0", roots[1], {"test": worse[1]})
    assert main(compare(tmp_path, tmp_path / "out", "both", "worse", "alone")) == 0
    output = capsys.readouterr().out
    rois = pd.read_csv(tmp_path / "out/rois.csv")
    whole = rois[(rois["hemisphere"] == "both")]
    assert whole["run"].tolist() == ["worse/version_0", "worse/version_0", "alone/version_0"]
    assert whole["subject"].tolist() == ["s1", "s2", "s2"]
    assert whole["difference"].tolist()[0] == 0
    assert whole["worse"].tolist() == [0, 10, 10]
    assert "note: s1: in both/version_0 alone, alone/version_0 was not evaluated on them." in output
    expected = np.mean([np.corrcoef(p, y)[0, 1] for p, y in zip(good[1][1].T, held[1][1].T, strict=True)])
    assert whole["first"].tolist()[1:] == pytest.approx([expected, expected], abs=1e-6)


def test_few_stimuli_are_said_to_be_few(place: Path, tmp_path: Path, capsys) -> None:
    assert main(compare(place, tmp_path / "out", "one", "few")) == 0
    assert "Compared over 15 stimuli only, which is little" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("one", "four"), r"expected test stimuli of data that one/version_0 was evaluated on too, found 0 of 80"),
        (("one", "one"), r"expected different runs, found this one twice"),
        (
            ("one", "unheld"),
            r"unheld/version_0/predictions: expected test.npy, as other runs have it, found validation",
        ),
        (("one", "none"), r"none/version_0: expected the folder of a finished run, found no scores\.csv"),
    ],
)
def test_what_cannot_be_compared_is_one_line(place: Path, tmp_path: Path, capsys, names, words: str) -> None:
    assert main(compare(place, tmp_path / "out", *names)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(words, line), line
    assert not list(tmp_path.iterdir())


def test_changed_data_are_one_line(place: Path, tmp_path: Path, capsys) -> None:
    names = ("one", "two")
    copies = []
    for name in names:
        copies.append(tmp_path / name / "version_0")
        shutil.copytree(place / name / "version_0", copies[-1])
    arguments = ["compare", *map(str, copies), "--out", str(tmp_path / "out")]

    def refused(words: str) -> None:
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(words, line), line
        assert not (tmp_path / "out").exists()

    config = copies[1] / "config.yaml"
    good = config.read_text()
    config.write_text(good.replace(str(place / "data"), str(tmp_path / "gone")))
    refused(r"two/version_0/config.yaml: the run's responses cannot be read again.*gone: expected a folder with images")
    config.write_text(good.replace("calcarine.data.Folder", "os.system"))
    refused(r"expected data.source to be one of calcarine's, .* found os.system")
    config.write_text(good.replace("shuffle:", "colour:"))
    refused(r"Folder has other arguments in this version")
    config.write_text("- a\n")
    refused(r"config.yaml: expected settings as train.py writes them, found list")
    shutil.copytree(place / "data", tmp_path / "data")
    np.save(tmp_path / "data/responses.npy", np.load(place / "data/responses.npy") + 1)
    config.write_text(good.replace(str(place / "data"), str(tmp_path / "data")))
    refused(r"two/version_0: expected the responses of data that one/version_0 was evaluated on, found others")
    config.write_text(good)
    np.save(copies[1] / "predictions/test.npy", np.zeros((80, 23), np.float32))
    refused(r"expected \(80, 24\), the stimuli of test_stimuli.csv × the targets of the run's data, found \(80, 23\)")
    (copies[1] / "predictions/test_stimuli.csv").write_text("stimulus,subject\nother.png,data\n")
    np.save(copies[1] / "predictions/test.npy", np.zeros((1, 24), np.float32))
    refused(r"expected stimuli of the run's data, found 'other.png' of data")
    arguments[-1] = str(place / "one/version_0/inside")
    arguments[1:3] = [str(place / name / "version_0") for name in names]
    refused(r"expected a folder outside the runs")


def imported(code: str) -> str:
    """Which of torch and lightning a new process has imported when the code has run."""
    ending = "\nimport sys; print(sorted({'torch', 'lightning'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_results_import_neither_torch_nor_lightning() -> None:
    rooms = ("comparison_page", "listing", "responses", "score")
    assert imported("\n".join(f"import calcarine.results.{room}" for room in rooms)) == "[]"


@pytest.mark.slow
def test_the_commands_on_results_import_neither_torch_nor_lightning(place: Path, tmp_path: Path) -> None:
    code = (
        "from calcarine.commands.main import main\n"
        f"assert main({compare(place, tmp_path / 'out', 'one', 'two')!r}) == 0\n"
        f"assert main({['runs', str(place)]!r}) == 0"
    )
    assert imported(code) == "[]"
