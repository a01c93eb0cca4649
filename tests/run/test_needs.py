"""What a run says that it will need, against what it took."""

import errno
import logging
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data.demand import DataDemand, buffer_bytes
from calcarine.data.loader import Sizes
from calcarine.errors import FullDisk, InputError
from calcarine.evaluation.controls import Control
from calcarine.models.demand import ModelDemand
from calcarine.run import cli as run_cli
from calcarine.run import inside
from calcarine.run.controls import Planned, run_controls
from calcarine.run.main import main
from calcarine.run.needs import AFTERWARDS, Needs, Room, check_needs, needs_of
from calcarine.space import Memory
from calcarine.study.trial import Trials
from trees import write_folder

Usage = namedtuple("Usage", "total used free")
GB = 10**9
FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=PixelEncoder",
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
    "--trainer.max_epochs=2",
]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(90 * GB, 0, 90 * GB))  # whatever this machine has


@pytest.fixture
def needed(monkeypatch):
    """What the runs of a test said that they need."""
    found = []

    def kept(*args, **options):
        found.append(needs_of(*args, **options))
        return found[-1]

    monkeypatch.setattr(run_cli, "needs_of", kept)
    return found


DATA = DataDemand({"a": 3 * GB, "b": GB}, 10, 100, 7 * GB, 20, 0, 30, 40)
MODEL = ModelDemand(weights=10, made=4, gradients=8, optimizer=16, kept=8, step=5)


def test_arithmetic_of_a_run():
    needs = needs_of(DATA, MODEL, now=1000)
    last = 10 + 16 + 8
    assert needs.memory == 1000 + (10 - 4) + 8 + 16 + 8 + 30 + AFTERWARDS  # evaluation is the most
    assert (needs.files, needs.cache, needs.run) == (7 * GB, 4 * GB, 40 + 10 + last)
    assert needs.held == 10 + 8 + 16 + 8
    assert needs.gpu is None
    busy = needs_of(DATA, ModelDemand(10, 4, gathered=9 * GB), now=1000)
    assert busy.memory == 1000 + 6 + 20 + 9 * GB  # solving is
    averaged = needs_of(DATA, MODEL, now=1000, averages=True)
    assert (averaged.memory - needs.memory, averaged.run - needs.run) == (8, 8)


def test_arithmetic_on_a_gpu():
    needs = needs_of(DATA, MODEL, now=1000, on_gpu=True)
    assert (needs.gpu, needs.held_gpu) == (10 + 8 + 16 + 5 + 20 // 2, 10 + 8 + 16)
    assert needs.memory == 1000 + 6 + 8 + 30 + AFTERWARDS
    assert needs.held == 10 + 8


def test_arithmetic_of_extraction_alone():
    assert needs_of(DATA, None, now=1000) == Needs(1100, 7 * GB, 0, None, 4 * GB, 0)


def test_buffers_of_a_loader():
    assert buffer_bytes([Sizes(101, 50, 1)], [3], 10) == 2 * 34 * (12 + 10)  # three batches of nearly equal size
    assert buffer_bytes([Sizes(101, 200, 1)], [3], 10) == 101 * (12 + 10)
    assert buffer_bytes([Sizes(101, 50, 2)], [3], 10) == 2 * 26 * (12 + 10)
    assert buffer_bytes([Sizes(0, 50, 2)], [3], 10) == 0
    assert buffer_bytes([Sizes(40, 50, 1), Sizes(20, 50, 1)], [3, 9], 10) == 2 * (20 * 36 + 40 * 10)


def test_the_line():
    room = Room(Memory(8 * GB, 6 * GB), None, 9 * GB, 9 * GB, one_disk=True)
    needs = Needs(GB, 2 * GB, 1, None, 3 * GB, 4 * GB, processes=2)
    assert needs.told(room) == (
        "needs: memory 2 × 1 GB, and 2 GB of mapped files (6 GB available); disk 3 GB for the cache, 4 GB for the run "
        "(9 GB free)"
    )
    apart = Room(None, 80 * GB, 5 * GB, 9 * GB, one_disk=False)
    assert Needs(GB, 2 * GB, 1, 7 * GB, 3 * GB, 4 * GB).told(apart) == (
        "needs: memory 1 GB, and 2 GB of mapped files; GPU 7 GB and activations (80 GB); disk 3 GB for the cache (5 GB "
        "free); disk 4 GB for the run (9 GB free)"
    )
    assert Needs(GB, 2 * GB, 1, None, 0, 0).told(apart) == "needs: memory 1 GB, and 2 GB of mapped files"


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        (Needs(GB, 0, 5 * GB, None, 0, 0, processes=2), "--model: expected 10 GB of memory for weights, .* found 8 GB"),
        (Needs(GB, 0, 1, 99 * GB, 0, 0, held_gpu=81 * GB), "--model: expected 81 GB of GPU memory .* found 80 GB"),
        (Needs(GB, 0, 1, None, 5 * GB, 5 * GB), "--runs runs: expected 10 GB of space .* found 9 GB"),
    ],
)
def test_what_cannot_be_had_is_refused(needs, found):
    with pytest.raises(InputError, match=found):
        check_needs(needs, Room(Memory(8 * GB, 6 * GB), 80 * GB, 9 * GB, 9 * GB, one_disk=True), Path("runs"))


def test_what_may_not_fit_is_warned_of(caplog):
    room = Room(Memory(8 * GB, 6 * GB), None, 9 * GB, 9 * GB, one_disk=False)
    check_needs(Needs(5 * GB, 0, 1, None, 5 * GB, 5 * GB), room, Path("runs"))
    assert not caplog.records
    check_needs(Needs(7 * GB, 0, 1, None, 0, 0), room, Path("runs"))
    assert "more memory than is available" in caplog.text


def size(*files: Path) -> int:
    return sum(file.stat().st_size for file in files)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_run_writes_what_it_said(optimizer, needed, caplog):
    write_folder(Path("mine"), n_stimuli=60, n_targets=900)
    flags = [f"--model.optimizer={optimizer}", "--model.optimizer.lr=1e-4", "--data.encoder.size=24"]
    with caplog.at_level(logging.INFO):
        assert main([*FLAGS, *flags, "--name=one"]) == 0
    (needs,) = needed
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("needs: ")]
    assert len(lines) == 1
    features = list(Path("cache/embeddings").glob("*/features.npy"))
    assert needs.cache == sum(np.load(file, mmap_mode="r").nbytes for file in features) > 0
    run = Path("runs/one/version_0")
    written = size(*run.glob("checkpoints/*.ckpt"), *run.glob("predictions/*.npy"))
    assert needs.run == pytest.approx(written, rel=0.05)
    needed.clear()
    assert main([*FLAGS, *flags, "--name=two"]) == 0
    assert needed[0].cache == 0  # it is there now


def test_extraction_alone_needs_no_model(needed):
    write_folder(Path("mine"), n_stimuli=20)
    assert calcarine(["encode", *FLAGS]) == 0
    (needs,) = needed
    assert (needs.run, needs.held) == (0, 0)
    assert needs.cache == np.load(next(Path("cache/embeddings").glob("*/*.npy"))).nbytes


@pytest.mark.parametrize("what", ["encode", "train"])
def test_a_disk_without_space_is_told_before_anything_is_written(what, monkeypatch, capsys):
    write_folder(Path("mine"), n_stimuli=20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(GB, GB - 5000, 5000))
    assert calcarine([what, *FLAGS]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("error: --data.cache_dir cache: expected ")
    assert "found 5 kB; take fewer --data.encoder.layers" in told[0]
    assert not list(Path().glob("cache/embeddings/*"))


def test_images_without_space(monkeypatch, capsys):
    write_folder(Path("mine"), n_stimuli=20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(GB, GB - 900, 900))
    flags = [flag for flag in FLAGS if "encoder" not in flag]
    backbone = ["--data.encoder=null", "--model.backbone=PixelEncoder", "--data.image_size=32"]
    assert main([*flags, *backbone]) == 2
    assert "take a smaller --data.image_size, or a cache on another disk" in capsys.readouterr().err


def test_weights_that_no_memory_holds_are_told_before_they_are_made(monkeypatch, capsys):
    write_folder(Path("mine"), n_stimuli=20, n_targets=200)
    monkeypatch.setattr("calcarine.models.heads.linear.memory", lambda: Memory(10**5, 10**5))
    assert main(FLAGS) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: --model.head: expected ")
    assert "features × 200 targets, found 100 kB" in told


def test_a_checkpoint_stands_there_until_the_next_one_is_whole() -> None:
    needs = Needs(GB, 0, 1, None, 0, 4 * GB, replaced=3 * GB)
    check_needs(needs, Room(None, None, 80 * GB, 6 * GB, one_disk=False), Path("runs"))
    with pytest.raises(FullDisk, match=r"--runs runs: expected 6 GB of space"):
        check_needs(needs, Room(None, None, 80 * GB, 5 * GB, one_disk=False), Path("runs"))


def test_a_full_disk_is_no_fault_of_a_control(monkeypatch, tmp_path) -> None:
    def full(*_):
        raise FullDisk("runs: expected space to write it, found a full disk")

    monkeypatch.setattr(inside, "_train", full)
    planned = Planned(Control("shuffled", "shuffled responses", ""), ["--data.source.shuffle=true"])
    with pytest.raises(FullDisk):
        run_controls(None, tmp_path, [planned])


def test_a_full_disk_is_no_fault_of_a_trial_whoever_says_so(monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Trials, "_run", full)
    with pytest.raises(FullDisk, match="make room, and give the command again"):
        Trials(args=[], name="study", space=None, config=None, modules={})(None)
