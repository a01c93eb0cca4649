"""What a run says while it runs, when it is interrupted, and when its input is wrong."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calcarine.commands.main import main as calcarine
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from places import REPOSITORY
from trees import write_folder

FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=PixelEncoder",
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=60, n_targets=6)


def test_where_there_is_no_terminal_each_epoch_is_a_line(caplog, capsys):
    with caplog.at_level("INFO"):
        assert main([*FLAGS, "--name=lines", "--trainer.max_epochs=2"]) == 0
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch ")]
    assert [line.partition(":")[0] for line in lines] == ["epoch 0", "epoch 1"]
    assert all(
        re.search(r"train/loss \S+, validation/loss \S+, validation/pearson \S+, [\d.]+ s$", line) for line in lines
    )
    assert "Epoch 0" not in capsys.readouterr().out  # no bar


def test_debug_shows_where_an_input_was_refused(capsys):
    wrong = [*FLAGS[:1], "--data.source.root=nowhere"]
    assert main([*wrong, "--debug"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert main(wrong) == 2
    assert capsys.readouterr().err.strip() == told.strip().splitlines()[-1]


def test_a_bar_of_ones_own_is_shown_though_nobody_looks(capsys):
    bar = "--trainer.callbacks=lightning.pytorch.callbacks.TQDMProgressBar"
    assert main([*FLAGS, bar, "--trainer.max_epochs=1"]) == 0
    assert "Epoch 0" in capsys.readouterr().out


def test_debug_may_stand_before_the_command(capsys):
    assert calcarine(["--debug", "train", "--data.source.root=nowhere"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert calcarine(["--debug", "score", "nothing.zip", "--truth", "nowhere"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_simulate_says_what_to_run_next(capsys):
    assert calcarine(["simulate", "data", "--format=folder", "--images=20", "--targets=20"]) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    assert command[:4] == ["calcarine", "train", "--data.source.root", "data"]


def test_a_class_that_is_typed_in_place_of_a_configs_says_with_what_it_starts(caplog):
    def told(*flags: str) -> list[str]:
        caplog.clear()
        with caplog.at_level("INFO"):
            build_cli([*FLAGS, *flags])
        return [line for line in caplog.messages if "has its own defaults" in line]

    (line,) = told("--model.optimizer", "AdamW", "--model.optimizer.weight_decay=0.1")
    assert line.startswith("model.optimizer AdamW: has its own defaults, not what SGD had: lr 0.0001 (0.0003)")
    assert "weight_decay" not in line  # which was typed
    assert told("--model.optimizer=AdamW", "--model.optimizer.lr=0.0001", "--model.optimizer.weight_decay=0") == []
    assert told() == []


@pytest.mark.slow
def test_an_interrupted_run_says_where_it_is_and_how_it_goes_on():
    command = [sys.executable, str(REPOSITORY / "train.py"), *FLAGS, "--trainer.max_epochs=3000", "--name", "mine"]
    patient = "--early_stopping.patience=3000"
    run = subprocess.Popen([*command, patient], stderr=subprocess.PIPE, text=True)
    while not Path("runs/mine/version_0/checkpoints/last.ckpt").exists():
        assert run.poll() is None
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=120)
    assert run.returncode == 130
    last = told.strip().splitlines()[-1]
    where, _, again = last.partition("; to go on: train.py ")
    assert re.match(r"interrupted: runs/mine/version_0 holds \d+ epochs?$", where)
    again = shlex.split(again.replace("max_epochs=3000", "max_epochs=2"))
    assert main(again) == 0
    assert Path("runs/mine/version_0/scores.csv").exists()
