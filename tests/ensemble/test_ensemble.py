"""`calcarine ensemble` on runs whose predictions are given: what it leaves, and what it refuses."""

import csv
import json
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
from calcarine.data import Folder
from calcarine.ensemble.stacking import stack
from finished_runs import write_data, write_run
from trees import write_array

N, TARGETS, FIRST_TEST = 130, 12, 60
HELD = {"validation": range(20, FIRST_TEST), "test": range(FIRST_TEST, N)}


def predict(responses: np.ndarray, noise: np.ndarray | float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (responses + noise * rng.standard_normal(responses.shape)).astype(np.float32)


def held(predictions: np.ndarray, splits: dict[str, range] = HELD) -> dict[str, tuple[range, np.ndarray]]:
    return {split: (stimuli, predictions[stimuli]) for split, stimuli in splits.items()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs one, good at even targets, two, good at the others, and three, a faint one."""
    monkeypatch.chdir(tmp_path)
    responses = write_data(tmp_path / "data", N, TARGETS)
    even = np.arange(TARGETS) % 2 == 0
    for name, noise, seed in (("one", np.where(even, 0.8, 4), 1), ("two", np.where(even, 4, 0.8), 2), ("three", 6, 3)):
        about = {"data_fingerprint": "abc", "model": name}
        write_run(
            tmp_path / f"runs/{name}/version_0", tmp_path / "data", held(predict(responses, noise, seed)), about=about
        )
    return tmp_path


def runs(*names: str) -> list[str]:
    return [f"runs/{name}/version_0" for name in names]


def of_run(run: str | Path, split: str = "test") -> np.ndarray:
    return np.load(Path(run) / "predictions" / f"{split}.npy")


def correlations(predictions: np.ndarray, responses: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(p, y)[0, 1] for p, y in zip(predictions.T, responses.T, strict=True)])


@pytest.fixture
def again(place: Path) -> list[str]:
    """The models of one and two, trained again without a validation split: they err less."""
    responses = np.load(place / "data/responses.npy")
    for name, seed in (("one_again", 11), ("two_again", 12)):
        own = held(predict(responses, 0.5, seed), {"test": HELD["test"]})
        write_run(place / f"runs/{name}/version_0", place / "data", own)
    return runs("one_again", "two_again")


def test_models_of_before_a_flag_are_refitted_after_it(place: Path, again: list[str]) -> None:
    for run in again:
        config = Path(run) / "config.yaml"
        content = yaml.safe_load(config.read_text())
        content["data"] |= {"frame_spread": False, "encode_precision": "32-true"}
        config.write_text(yaml.safe_dump(content))
    assert main(["ensemble", *runs("one", "two"), "--stack", "--refitted", *again]) == 0


def test_weights_of_members_are_handed_on_to_the_same_models_trained_again(place: Path, again: list[str]) -> None:
    assert main(["ensemble", *runs("one", "two"), "--stack", "--refitted", *again]) == 0
    responses = np.load(place / "data/responses.npy")[HELD["validation"]]
    weights = stack([of_run(run, "validation") for run in runs("one", "two")], responses)
    folder = Path("runs/ensemble/version_0")
    assert of_run(folder) == pytest.approx(weights.predict([of_run(run) for run in again]), abs=1e-6)
    own = weights.predict([of_run(run, "validation") for run in runs("one", "two")])
    assert of_run(folder, "validation") == pytest.approx(own, abs=1e-6)
    about = json.loads((folder / "run.json").read_text())
    assert [each["run"] for each in about["refitted"]] == again
    report = (folder / "report.html").read_text()
    assert "trained again: runs/one_again/version_0" in report
    assert "Member one/version_0, again as one_again/version_0" in report
    assert main(["ensemble", str(folder), *runs("three"), "--name=more"]) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--refitted", *runs("one_again", "two_again")], "add --stack"),
        (["--stack", "--refitted", *runs("one_again")], "expected 2 runs, one for each member"),
        (["--stack", "--refitted", *runs("one_again", "other_model")], "expected the model of runs/two/version_0"),
        (["--stack", "--refitted", *runs("other_test", "other_test_too")], "expected the 70 test stimuli of one"),
        (["--stack", "--refitted", *runs("one_again", "two")], "found 40 of them held out; train it with"),
        (["--stack", "--refitted", *runs("other_data", "two_again")], "found others to the same stimuli"),
        (["--stack", "--refitted", *runs("one_again", "other_size")], "found another --data.image_size"),
    ],
)
def test_runs_that_cannot_take_the_weights_are_refused(
    flags: list[str], said: str, place: Path, again: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    responses = np.load(place / "data/responses.npy")
    test = held(responses, {"test": HELD["test"]})
    write_run(place / "runs/other_model/version_0", place / "data", test, settings={"model": {"class_path": "Other"}})
    write_run(place / "runs/other_size/version_0", place / "data", test)
    config = yaml.safe_load(Path("runs/other_size/version_0/config.yaml").read_text())
    config["data"]["image_size"] = 32
    Path("runs/other_size/version_0/config.yaml").write_text(yaml.safe_dump(config))
    write_array(place / "elsewhere/data/responses.npy", 1 - write_data(place / "elsewhere/data", N, TARGETS))
    write_run(place / "runs/other_data/version_0", place / "elsewhere/data", test)
    for name in ("other_test", "other_test_too"):
        write_run(place / f"runs/{name}/version_0", place / "data", held(responses, {"test": range(30, N)}))
    assert main(["ensemble", *runs("one", "two"), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not Path("runs/ensemble").exists()


def test_an_ensemble_cannot_take_part_in_a_refitted_one(
    place: Path, again: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ensemble", *runs("one", "two"), "--name=both"]) == 0
    capsys.readouterr()
    assert main(["ensemble", *runs("both", "three"), "--stack", "--refitted", *again]) == 2
    assert "expected members that were trained, found runs/both/version_0, an ensemble" in capsys.readouterr().err


def shuffle(name: str) -> None:
    """Let a run be a control."""
    path = Path(f"runs/{name}/version_0/config.yaml")
    config = yaml.safe_load(path.read_text())
    config["data"]["source"]["init_args"]["shuffle"] = True
    path.write_text(yaml.safe_dump(config))


def test_a_stack_of_controls_learns_its_weights_from_shuffled_pairs(place: Path) -> None:
    for name in ("one", "two"):
        shuffle(name)
    assert main(["ensemble", *runs("one", "two"), "--stack"]) == 0
    responses = np.load(place / "data/responses.npy")[HELD["validation"]]
    given = [of_run(run, "validation") for run in runs("one", "two")]
    expected = stack(given, np.random.default_rng(0).permutation(responses))
    of_test = [of_run(run) for run in runs("one", "two")]
    assert of_run("runs/ensemble/version_0") == pytest.approx(expected.predict(of_test), abs=1e-6)
    assert np.abs(expected.weights).max() < 0.9 * np.abs(stack(given, responses).weights).max()


def test_a_control_is_no_member_beside_others(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shuffle("two")
    assert main(["ensemble", *runs("one", "two")]) == 2
    assert "found one of shuffled ones" in capsys.readouterr().err
    assert not Path("runs/ensemble").exists()


def test_an_average_is_a_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in (place / "runs").rglob("*") if path.is_file())
    assert main(["ensemble", *runs("one", "two", "three"), "--name=both"]) == 0
    output = capsys.readouterr().out
    folder = Path("runs/both/version_0")
    expected = np.mean([of_run(run) for run in runs("one", "two", "three")], axis=0)
    assert of_run(folder) == pytest.approx(expected, abs=1e-6)
    assert (folder / "predictions/test_stimuli.csv").read_text() == Path(
        "runs/one/version_0/predictions/test_stimuli.csv"
    ).read_text()
    responses = np.load(place / "data/responses.npy")
    mean = correlations(expected, responses[HELD["test"]]).mean()
    (row,) = [
        row
        for row in csv.DictReader((folder / "scores.csv").open())
        if (row["split"], row["hemisphere"], row["roi"]) == ("test", "both", "all")
    ]
    assert float(row["pearson_mean"]) == pytest.approx(mean, abs=1e-6)
    assert output.splitlines()[-1].startswith(f"{folder}: test correlation {mean:.3f}")
    assert re.search(rf"^average +[\d.]+ +{mean:.3f} ", output, re.M)
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml",
        "run.json",
        "report.html",
        "benchmarks.csv",
        "targets.csv",
        "figures",
    }
    made = json.loads((folder / "run.json").read_text())
    assert made["command"] == shlex_of("one", "two", "three") + " --name=both --runs=runs"
    assert [each["weight"] for each in made["members"]] == pytest.approx([1 / 3] * 3)
    assert made["result"]["correlation"] == pytest.approx(mean)
    assert (
        sorted(
            (path, path.stat().st_mtime_ns)
            for name in ("one", "two", "three")
            for path in (place / "runs" / name).rglob("*")
            if path.is_file()
        )
        == before
    )


def shlex_of(*names: str) -> str:
    return " ".join(["calcarine", "ensemble", *runs(*names)])


def test_a_stack_learns_from_validation_alone_what_each_member_is_good_at(place: Path, capsys) -> None:
    members = runs("one", "two", "three")
    assert main(["ensemble", *members, "--stack"]) == 0
    output = capsys.readouterr().out
    folder, responses = Path("runs/ensemble/version_0"), np.load(place / "data/responses.npy")
    found = stack([of_run(run, "validation") for run in members], responses[HELD["validation"]])
    table = pd.read_csv(folder / "targets.csv")
    for split in ("validation", "test"):
        own = table[table["split"] == split]
        for run, weights in zip(members, found.weights, strict=True):
            name = run.removeprefix("runs/")
            assert own[f"weight_{name}"].to_numpy() == pytest.approx(weights, rel=1e-6)
        assert of_run(folder, split) == pytest.approx(found.predict([of_run(run, split) for run in members]), abs=1e-6)
    test = responses[HELD["test"]]
    best = max(correlations(of_run(run), test).mean() for run in members)
    assert correlations(of_run(folder), test).mean() > best + 0.1
    assert re.search(r"^stack +0\.\d+ +0\.\d+ +–$", output, re.M)
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in ("Weights of the members", "it taught the weights, so its scores are too good", "Member one/version_0"):
        assert text in page
    by_roi = pd.read_csv(folder / "members.csv")
    assert set(by_roi["member"]) == {run.removeprefix("runs/") for run in members}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["ensemble"]["stack"] is True
    assert [each["run"] for each in config["ensemble"]["members"]] == members
    assert np.load("data/responses.npy") == pytest.approx(responses)


@pytest.mark.slow
def test_other_commands_take_an_ensemble_as_a_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", *runs("one", "two"), "--stack"]) == 0
    assert main(["ensemble", *runs("one", "three", "ensemble")]) == 0  # an ensemble may be a member
    capsys.readouterr()
    assert main(["compare", *runs("one", "ensemble")]) == 0
    assert re.search(r"^data: ensemble/version_0 less one/version_0 \+0\.\d+", capsys.readouterr().out, re.M)
    assert main(["runs", "--sort=correlation"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[1].startswith("ensemble/version_0")
    assert "stack of 2 runs" in output
    for command in (["export", *runs("ensemble")], ["predict", *runs("ensemble"), "--images=data/images"]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "an ensemble has no model of its own" in line


@pytest.mark.parametrize("wide", [False, True], ids=["a folder each", "one table of earlier versions"])
def test_subjects_are_stacked_each_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    monkeypatch.chdir(tmp_path)
    roots = [tmp_path / "s1", tmp_path / "s2"]
    responses = [write_data(root, N, n_targets) for root, n_targets in zip(roots, (4, 6), strict=True)]
    for name, noises in (("one", (0.5, 5.0)), ("two", (5.0, 0.5))):
        parts = [predict(own, noise, 1) for own, noise in zip(responses, noises, strict=True)]
        splits = {split: [(stimuli, part[stimuli]) for part in parts] for split, stimuli in HELD.items()}
        write_run(Path(f"runs/{name}/version_0"), roots, splits, wide=wide and name == "two")
    assert main(["ensemble", *runs("one", "two"), "--stack"]) == 0
    for root, n_targets in zip(roots, (4, 6), strict=True):
        made = Path("runs/ensemble/version_0/predictions", root.name)
        assert np.load(made / "test.npy").shape == (N - FIRST_TEST, n_targets)
        assert {line.split(",")[1] for line in (made / "test_stimuli.csv").read_text().split()[1:]} == {root.name}
    assert not list(Path("runs/ensemble/version_0/predictions").glob("*.npy"))
    table = pd.read_csv("runs/ensemble/version_0/targets.csv")
    first = table["subject"] == "s1"
    assert (table.loc[first, "weight_one/version_0"] > table.loc[first, "weight_two/version_0"]).all()
    assert (table.loc[~first, "weight_one/version_0"] < table.loc[~first, "weight_two/version_0"]).all()
    benchmarks = pd.read_csv("runs/ensemble/version_0/benchmarks.csv")
    whole = benchmarks[(benchmarks["split"] == "test") & (benchmarks["hemisphere"] == "both")]
    assert whole["rsa"].min() > 0.3
    assert (whole["rsa_ceiling_low"] < whole["rsa_ceiling_high"]).all()  # who saw the same images


def test_responses_far_from_0_keep_their_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    responses = write_data(tmp_path / "data", N, 4).astype(np.float64)
    np.save("data/responses.npy", responses + 1e8)
    for name, seed in (("one", 1), ("two", 2)):
        own = held(predict(responses, 1, seed))
        write_run(Path(f"runs/{name}/version_0"), tmp_path / "data", own)
        folder = Path(f"runs/{name}/version_0/predictions")
        for split, (_, centred) in own.items():
            np.save(folder / f"{split}_centred.npy", centred)
            np.save(folder / f"{split}.npy", (centred + 1e8).astype(np.float32))
    assert main(["ensemble", *runs("one", "two"), "--stack"]) == 0
    folder = Path("runs/ensemble/version_0/predictions")
    assert np.abs(np.load(folder / "test.npy") - 1e8).max() < 100
    own = correlations(np.load(folder / "test_centred.npy"), responses[HELD["test"]])
    told = pd.read_csv("runs/ensemble/version_0/targets.csv")
    assert told.loc[told["split"] == "test", "pearson"].to_numpy() == pytest.approx(own, abs=1e-6)
    assert own.mean() > 0.7


def test_test_sets_are_combined_under_their_names(place: Path) -> None:
    responses = write_data(place / "elsewhere", 30, TARGETS)
    for seed, run in enumerate(runs("one", "two")):
        folder = Path(run)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        source = {"class_path": "calcarine.data.Folder", "init_args": {"root": str(place / "elsewhere")}}
        config["data"]["test_sets"] = {"other": source}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        np.save(folder / "predictions/other.npy", predict(responses, 1, seed))
        names = [f"other/{name},data" for name in Folder(place / "elsewhere").read()[0].stimuli.names]
        (folder / "predictions/other_stimuli.csv").write_text("\n".join(["stimulus,subject", *names]) + "\n")
    assert main(["ensemble", *runs("one", "two"), "--stack"]) == 0
    table = pd.read_csv("runs/ensemble/version_0/targets.csv")
    own = correlations(of_run("runs/ensemble/version_0", "other"), responses)
    assert table.loc[table["split"] == "other", "pearson"].to_numpy() == pytest.approx(own, abs=1e-6)


def other_stimuli(place: Path, responses: np.ndarray) -> None:
    splits = {"validation": range(20, FIRST_TEST), "test": range(FIRST_TEST, N - 10)}
    write_run(place / "runs/bad/version_0", place / "data", held(responses, splits))


def other_validation(place: Path, responses: np.ndarray) -> None:
    write_run(place / "runs/bad/version_0", place / "data", held(responses, HELD | {"validation": range(10, 50)}))


def another_order(place: Path, responses: np.ndarray) -> None:
    order = [*reversed(HELD["test"])]
    write_run(place / "runs/bad/version_0", place / "data", held(responses) | {"test": (order, responses[order])})


def other_responses(place: Path, responses: np.ndarray) -> None:
    shutil.copytree(place / "data", place / "elsewhere/data")
    np.save(place / "elsewhere/data/responses.npy", responses * 2)  # other units
    write_run(place / "runs/bad/version_0", place / "elsewhere/data", held(responses))


def other_targets(place: Path, responses: np.ndarray) -> None:
    fewer = write_data(place / "elsewhere/data", N, TARGETS - 2)
    write_run(place / "runs/bad/version_0", place / "elsewhere/data", held(fewer))


def another_subject(place: Path, responses: np.ndarray) -> None:
    shutil.copytree(place / "data", place / "another")
    write_run(place / "runs/bad/version_0", place / "another", held(responses))


def no_validation(place: Path, responses: np.ndarray) -> None:
    write_run(place / "runs/bad/version_0", place / "data", {"test": held(responses)["test"]})


def diverged(place: Path, responses: np.ndarray) -> None:
    write_run(place / "runs/bad/version_0", place / "data", held(responses))
    np.save(place / "runs/bad/version_0/predictions/test.npy", np.full((N - FIRST_TEST, TARGETS), np.nan, np.float32))


def unfinished(place: Path, responses: np.ndarray) -> None:
    (place / "runs/bad/version_0").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "flags", "message"),
    [
        (other_stimuli, [], r"bad/version_0: expected the 70 test stimuli of one/version_0, found 60, of which 60 are"),
        (
            other_validation,
            [],
            r"expected the 40 validation stimuli of one.*of which 30 are the same; .*--data.split_seed",
        ),
        (another_order, [], r"expected the 70 test stimuli of one/version_0, found the same in another order; "),
        (other_responses, [], r"expected the responses of data that one/version_0 was evaluated on, found others"),
        (
            other_targets,
            [],
            r"expected the subjects and targets of one/version_0 \(data with 12\), found data with 10; ",
        ),
        (
            another_subject,
            [],
            r"expected the 40 validation stimuli of one/version_0, found 40, of which 0 are the same",
        ),
        (no_validation, ["--stack"], r"bad/version_0/predictions: expected validation.npy.* --data.validation 0.1$"),
        (diverged, [], r"bad/version_0/predictions/test.npy: expected finite predictions, found .* 12 targets of data"),
        (unfinished, [], r"bad/version_0: expected the folder of a finished run, found no scores.csv"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused_in_one_line(
    place: Path, make, flags: list[str], message: str, capsys
) -> None:
    make(place, np.load(place / "data/responses.npy"))
    assert main(["ensemble", *runs("one", "bad"), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert not Path("runs/ensemble").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (runs("one", "one"), r"runs/one/version_0: expected different runs, found this one twice"),
        ([*runs("one", "two"), "--name=../x"], r"--name \.\./x: expected a name below runs/"),
        (
            [*runs("one", "two"), "--runs=runs/one/version_0"],
            r"--runs runs/one/version_0/.*: expected a folder outside",
        ),
        ([*runs("one", "two"), "--runs=data/runs"], r"--data.source.root .*: expected a folder that is only read"),
        ([*runs("one", "two"), "--min_ceiling=20"], r"--min_ceiling 20: expected .* from 0 to 1"),
    ],
)
def test_wrong_flags_are_one_line(place: Path, flags: list[str], message: str, capsys) -> None:
    assert main(["ensemble", *flags]) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])
    assert not Path("runs/ensemble").exists()


def test_a_stack_needs_more_than_a_few_validation_stimuli(place: Path, capsys) -> None:
    responses = np.load("data/responses.npy")
    for name, seed in (("few", 1), ("also", 2)):
        splits = HELD | {"validation": range(19)}
        write_run(place / f"runs/{name}/version_0", place / "data", held(predict(responses, 1, seed), splits))
    assert main(["ensemble", *runs("few", "also"), "--stack"]) == 2
    assert "--stack: expected 20 validation stimuli of data or more" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_validation_is_averaged_on_the_test_split(place: Path) -> None:
    no_validation(place, np.load("data/responses.npy"))
    assert main(["ensemble", *runs("one", "bad")]) == 0
    assert not Path("runs/ensemble/version_0/predictions/validation.npy").exists()


@pytest.mark.slow
def test_the_command_imports_neither_torch_nor_lightning(place: Path) -> None:
    code = (
        "import sys; from calcarine.commands.main import main; "
        f"code = main(['ensemble', *{runs('one', 'two')!r}, '--stack']); "
        "print(code, sorted({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
