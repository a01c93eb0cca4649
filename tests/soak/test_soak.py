"""The soak in short, and the ends that it found wrong."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from calcarine import front_door
from calcarine.run.folder import ConfigWriter
from places import REPOSITORY
from victim import Victim
from whole import broken
from workloads import WORKLOADS, Workload

MINUTE = 60
BY_NAME = {each.name: each for each in WORKLOADS}


def test_sigterm_ends_a_command_as_ctrl_c_does_and_leaves_the_handler_as_it_was():
    before = signal.getsignal(signal.SIGTERM)
    done = []

    def command(args: list[str]) -> None:
        signal.raise_signal(signal.SIGTERM)
        done.append(args)

    assert front_door.enter([], command) == front_door.INTERRUPTED
    assert not done
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_python_drops_comes_again(number, capsys):
    class Closed:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def command(_: list[str]) -> None:
        Closed()
        for _ in range(500):
            time.sleep(0.01)
        raise AssertionError("it went on")

    hook = sys.unraisablehook
    assert front_door.enter([], command) == front_door.INTERRUPTED
    assert sys.unraisablehook is hook
    assert not capsys.readouterr().err


def test_a_full_disk_is_one_line_whoever_finds_it(capsys):
    def command(_: list[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert front_door.enter([], command) == front_door.WRONG_INPUT
    assert capsys.readouterr().err == "error: No space left on device: make room, and give the command again\n"


def test_what_is_cut_off_is_found_and_what_is_hidden_may_be(tmp_path):
    np.save(tmp_path / "whole.npy", np.arange(9.0))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert not broken(tmp_path)
    content = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / ".hidden.npy").write_bytes(content[:20])
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "half.npy").write_bytes(content[:20])
    assert not broken(tmp_path)
    (tmp_path / "cut.npy").write_bytes(content[:-9])
    (tmp_path / "cut.csv").write_text("a,b\n1,2\n3")
    (tmp_path / "cut.json").write_text('{"a": 1')
    (tmp_path / "cut.html").write_text("<html><body>")
    assert [line.partition(":")[0] for line in broken(tmp_path)] == ["cut.csv", "cut.html", "cut.json", "cut.npy"]


def test_an_end_amid_the_configuration_leaves_the_one_before(tmp_path):
    class Parser:
        def save(self, config: object, path: Path, **_: object) -> None:
            assert path != tmp_path / "config.yaml"
            path.write_text("half")
            raise KeyboardInterrupt

    (tmp_path / "config.yaml").write_text("a: 1\n")
    trainer = SimpleNamespace(log_dir=str(tmp_path), is_global_zero=True)
    with pytest.raises(KeyboardInterrupt):
        ConfigWriter(Parser(), None).setup(trainer, None, "fit")  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "a: 1\n"


def started(name: str, folder: Path, sign: str) -> Victim:
    """A workload's command, once a file is there."""
    workload: Workload = BY_NAME[name]
    for place, text in workload.files.items():
        (folder / place).write_text(text)
    victim = Victim(workload.words(), folder)
    while not any(folder.glob(sign)):
        assert not victim.over, victim.said()
        time.sleep(0.05)
    return victim


@pytest.mark.slow
def test_sigterm_ends_an_extraction_at_once(tmp_path):
    """Lightning's own handler waits for a step of training."""
    victim = started("linear", tmp_path, "cache/embeddings")
    os.kill(victim.process.pid, signal.SIGTERM)
    assert victim.end(MINUTE) is not None
    assert victim.status == front_door.INTERRUPTED
    assert "nothing to go on with" in victim.said()
    assert not any(tmp_path.glob("runs/linear/*/predictions"))


@pytest.mark.slow
def test_workers_end_when_who_started_them_is_killed(tmp_path):
    victim = started("crew", tmp_path, "runs/crew/workers/1.log")
    while len(victim.members()) < 3:
        time.sleep(0.05)
    os.kill(victim.process.pid, signal.SIGKILL)
    assert victim.end(MINUTE) is not None


@pytest.mark.slow
def test_a_rank_ends_when_the_first_is_killed_before_they_have_met(tmp_path):
    """It would wait for it for half an hour."""
    victim = started("two ranks", tmp_path, "log.txt")
    while len(victim.members()) < 2:
        time.sleep(0.05)
    os.kill(victim.process.pid, signal.SIGKILL)
    assert victim.end(2 * MINUTE) is not None  # most of which it takes to import torch
    assert victim.said().count("error: rank 0 is gone") == 1


@pytest.mark.slow
def test_the_soak_in_short(tmp_path):
    """Fixed moments of the quickest workloads."""
    script = REPOSITORY / "tests" / "soak" / "soak.py"
    flags = ["--seed=7", f"--folder={tmp_path}", "--turns=2", "--only", "ridge", "encode"]
    soak = subprocess.run([sys.executable, str(script), *flags], capture_output=True, text=True, check=False)
    assert soak.returncode == 0, soak.stdout + soak.stderr
    assert "right ends" in soak.stdout.splitlines()[-1]
