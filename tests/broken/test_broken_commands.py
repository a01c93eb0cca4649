"""Broken files through the real command line: exit status 2, one line, and nothing written."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from broken import FAULTS, listing, watched
from calcarine.commands.main import main
from finished_runs import write_data, write_run
from foreign import write_submission
from hostile import CASES, TEXTS, Code, header, saved, unstored
from hostile import written as made

TRAIN = ["train", "--data.source=Folder", "--data.source.root=data", "--data.encoder=PixelEncoder"]
TRAIN += ["--model=RidgeModule", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
CHECK, SCORE = ["check", "data"], ["score", "data/submission.zip", "--truth", "data/truth"]
COMPARE = ["compare", "data/runs/a/version_0", "data/runs/b/version_0", "--out", "compared"]
ENSEMBLE = ["ensemble", "data/runs/a/version_0", "data/runs/b/version_0", "--name", "both"]
PREDICT = ["predict", "data/package", "--images", "data/images"]
TUNE = ["tune", "--trials=1", "--data.source=Folder", "--data.source.root=data", "--data.encoder=PixelEncoder"]
RUN = "data/runs/a/version_0"

Fault = Callable[[Path], None]
BYTES = ("a third", "zeros", "an image", "a folder", "a dangling link")


def _cases() -> dict[str, tuple[str, Fault, list[str]]]:
    """By name: the file, what becomes of it, and the command that reads it."""
    cases: dict[str, tuple[str, Fault, list[str]]] = {}
    for command in (CHECK, TRAIN):
        cases |= {
            f"{command[0]}, responses: {fault}": ("data/responses.npy", FAULTS[fault], command) for fault in BYTES
        }
        hostile = {"objects": saved(np.array([[Code()]], dtype=object)), "a vast shape": header("<f4", (1 << 40, 5))}
        hostile["not a number"] = saved(np.full((12, 5), np.nan, dtype=np.float32))
        cases |= {
            f"{command[0]}, responses: {fault}": ("data/responses.npy", make, command)
            for fault, make in hostile.items()
        }
        cases |= {
            f"{command[0]}, {name}: {fault}": (f"data/{name}", FAULTS[fault], command)
            for name in ("split.csv", "rois.csv", "coordinates.npy", "noise_ceiling.npy")
            for fault in ("zeros", "an image", "a dangling link")
        }
        cases[f"{command[0]}, an image: a third"] = ("data/images/image3.png", FAULTS["a third"], command)
        cases[f"{command[0]}, an image: a bomb"] = ("data/images/image3.png", CASES["image.png", "a bomb"], command)
        cases[f"{command[0]}, no folder"] = ("data", _file_in_place, command)
    cases |= {
        f"train, config: {name}": ("mine.yaml", made(text), [*TRAIN, "--config=mine.yaml"])
        for name, text in TEXTS.items()
    }
    cases |= {
        f"tune, space: {name}": ("mine.yaml", made(text), [*TUNE, "--search=mine.yaml"]) for name, text in TEXTS.items()
    }
    cases |= {
        f"score: {fault}": ("data/submission.zip", FAULTS[fault], SCORE) for fault in BYTES if fault != "a folder"
    }
    cases |= {
        f"score: {fault}": ("data/submission.zip", make, SCORE)
        for (reader, fault), make in CASES.items()
        if reader == "submission" and "method" not in fault
    }
    for command in (COMPARE, ENSEMBLE):
        cases |= {
            f"{command[0]}, {name}: {fault}": (f"{RUN}/{name}", FAULTS[fault], command)
            for name in ("config.yaml", "predictions/test.npy", "predictions/test_stimuli.csv")
            for fault in ("zeros", "an image", "a dangling link")
        }
    cases |= {
        f"predict, {name}: {fault}": (f"data/package/{name}", FAULTS[fault], PREDICT)
        for name in ("model.json", "model.safetensors")
        for fault in BYTES
    }
    cases |= {
        f"predict, model.json: {name}": ("data/package/model.json", made(text), PREDICT) for name, text in TEXTS.items()
    }
    cases["predict, a checkpoint: a bomb"] = ("data/best.ckpt", unstored, ["predict", "data/best.ckpt", *PREDICT[2:]])
    cases["predict, a checkpoint: code"] = (
        "data/best.ckpt",
        CASES["PyTorch", "code"],
        ["predict", "data/best.ckpt", *PREDICT[2:]],
    )
    journal = [*TUNE, "--search=good.yaml", "--storage=journal:///data/study.log"]
    cases["tune, journal: an image"] = ("data/study.log", FAULTS["an image"], journal)
    return cases


def _file_in_place(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


FAST = (
    "check, responses: a third",
    "check, an image: a third",
    "check, no folder",
    "score: a way out",
    "compare, predictions/test.npy: zeros",
    "compare, config.yaml: an image",
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound files of every kind below "data"."""
    place = tmp_path_factory.mktemp("sound")
    data = place / "data"
    write_data(data, 12, 5)
    (data / "split.csv").write_text(
        "stimulus,split\n" + "".join(f"image{n}.png,{'test' if n > 8 else 'train'}\n" for n in range(1, 13))
    )
    np.save(data / "noise_ceiling.npy", np.full(5, 0.5))
    held = {"test": (list(range(8, 12)), np.random.default_rng(1).standard_normal((4, 5)))}
    about = {"packages": {}, "commit": None}
    for name in "ab":
        write_run(data / "runs" / name / "version_0", data, held, about=about)
    (data / "package").mkdir()
    (data / "package/model.json").write_text(json.dumps({"format": 1}))
    for name in ("package/model.safetensors", "best.ckpt", "study.log"):
        (data / name).write_bytes(b"a")
    submission = write_submission(place)
    submission.rename(data / "submission.zip")
    (place / "truth").rename(data / "truth")
    for name in ("mine.yaml", "good.yaml"):
        (place / name).write_text(yaml.safe_dump({"model.ridge_min": {"type": "float", "low": 0.1, "high": 1.0}}))
    return place


@pytest.mark.parametrize(
    "case", [pytest.param(each, marks=[] if each in FAST else [pytest.mark.slow]) for each in _cases()]
)
def test_it_ends_in_one_line(
    case: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    file, fault, command = _cases()[case]
    fault(Path(file))
    if command[0] in ("train", "tune", "predict"):  # what they import takes longer than an answer may
        importlib.import_module("calcarine.run.cli")
        importlib.import_module("calcarine.study.session")
        importlib.import_module("calcarine.python.predicting")
    before = listing(Path())
    with watched(Path("nothing"), 1 << 27):
        status = main(command)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert (status, len(said)) == (2, 1), said
    made_anew = {path for path in listing(Path()) if path not in before and not path.startswith("cache")}
    assert made_anew <= {"runs"}  # where a run's number is reserved before the data are read; it is empty
    assert not Path("hacked").exists()


@pytest.mark.slow
def test_a_name_that_is_no_text_is_printed(tmp_path: Path) -> None:
    """Of what stands on standard output, too, where Python would end in a traceback."""
    root = tmp_path / "a\udcff"
    write_data(root, 12, 5)
    run = [sys.executable, "-m", "calcarine", "check", str(root)]
    done = subprocess.run(run, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can write, root included")
@pytest.mark.parametrize("command", [[*SCORE, "--csv", "/proc/x/a.csv"], [*COMPARE[:-1], "/proc/x"]])
def test_a_folder_that_cannot_be_written_is_one_line(
    command: list[str], sound: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sound)
    assert main(command) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "/proc/x" in line
