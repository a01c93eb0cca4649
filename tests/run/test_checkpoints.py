"""How checkpoints come to disk: when, from a copy, one at a time, and what is said of a full disk."""

import errno
import gc
import shutil
import signal
import threading
import weakref
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import PixelEncoder
from calcarine.errors import InputError
from calcarine.models import EncodingModule, RoiEarlyStopping
from calcarine.run.checkpoints import BackgroundCheckpointIO, LastCheckpoint, copied
from lightning.pytorch import Trainer
from planted import Planted

Usage = namedtuple("Usage", "total used free")


def made(folder, epochs, *callbacks, writer=None):
    """A trainer, a module, its data and who writes checkpoints."""
    data = EncodingDataModule(Planted(60), PixelEncoder(size=8), cache_dir=folder / "cache")
    writer = writer or BackgroundCheckpointIO()
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        plugins=[writer],
    )
    return trainer, EncodingModule(data.num_targets, data.feature_shapes), data, writer


def test_a_copy_is_not_changed_by_training_and_what_shares_memory_still_does():
    weight = torch.arange(6.0).reshape(2, 3)
    history = [{"epoch": 0}]
    given = {"weight": weight, "tied": weight.view(2, 3), "rows": weight[1], "history": history, "pair": (weight, 1)}
    given["projection"] = torch.eye(2).to_sparse_csr()
    made = copied(given)
    weight += 1
    history[0]["epoch"] = 5
    history.append({"epoch": 1})
    assert made["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert made["tied"].data_ptr() == made["weight"].data_ptr() == made["pair"][0].data_ptr()
    assert made["rows"].tolist() == [3, 4, 5]
    assert made["projection"].layout == torch.sparse_csr
    assert made["history"] == [{"epoch": 0}]


def test_training_goes_on_while_one_is_written_and_the_next_waits(tmp_path, monkeypatch):
    may_end, save, saved = threading.Event(), torch.save, []

    def slowly(checkpoint, path):
        assert may_end.wait(10)
        save(checkpoint, path)
        saved.append(int(checkpoint["epoch"]))

    monkeypatch.setattr(torch, "save", slowly)
    writer, path, epoch = BackgroundCheckpointIO(), tmp_path / "checkpoints/last.ckpt", torch.tensor(1)
    writer.save_checkpoint({"epoch": epoch}, path)
    assert not path.exists()
    epoch += 1
    threading.Timer(0.2, may_end.set).start()
    writer.save_checkpoint({"epoch": epoch}, path)
    assert saved == [1]
    writer.wait()
    assert torch.load(path, weights_only=True) == {"epoch": torch.tensor(2)}
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


def test_a_copy_goes_when_nothing_needs_it():
    gc.disable()
    try:
        made = copied({"state": {"weight": torch.zeros(3)}})
        gone = weakref.ref(made["state"]["weight"])
        del made
        assert gone() is None
    finally:
        gc.enable()


def test_what_hangs_on_a_state_dict_is_copied_too():
    state = torch.nn.BatchNorm1d(2).state_dict()
    made = copied({"state_dict": state})["state_dict"]
    assert made._metadata == state._metadata
    assert made["weight"] is not state["weight"]


def test_counters_are_copied_as_they_are():
    steps = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([torch.zeros(1)]), [2, 4]).state_dict()
    assert copied({"schedule": steps})["schedule"]["milestones"] == {2: 1, 4: 1}


def test_a_checkpoint_of_another_name_is_there_when_it_was_asked_for(tmp_path):
    writer = BackgroundCheckpointIO()
    writer.save_checkpoint({"epoch": 1}, tmp_path / "hpc_ckpt_1.ckpt")
    assert not writer.busy
    assert torch.load(tmp_path / "hpc_ckpt_1.ckpt", weights_only=True) == {"epoch": 1}


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    left = [tmp_path / f".{name}.{'0a' * 16}.ckpt" for name in ("last", "best")]
    for each in left:
        each.write_bytes(b"half")
    writer = BackgroundCheckpointIO()
    writer.save_checkpoint({}, tmp_path / "last.ckpt")
    writer.wait()
    assert [each.exists() for each in left] == [False, True]
    writer.save_checkpoint({}, tmp_path / "best.ckpt")
    assert not left[1].exists()


def test_one_that_is_interrupted_while_it_waits_waits_again(tmp_path, monkeypatch):
    may_end, save = threading.Event(), torch.save
    monkeypatch.setattr(torch, "save", lambda checkpoint, path: may_end.wait(10) and save(checkpoint, path))
    writer = BackgroundCheckpointIO()
    writer.save_checkpoint({"epoch": 1}, tmp_path / "last.ckpt")
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        writer.wait()
    assert writer.busy
    may_end.set()
    writer.wait()
    assert (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize(("free", "kind", "said"), [(100, InputError, "make room"), (2**40, RuntimeError, "of torch")])
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_full_disk_is_told_and_the_last_stays(free, kind, said, name, tmp_path, monkeypatch):
    writer, path = BackgroundCheckpointIO(), tmp_path / name
    writer.save_checkpoint({"epoch": 1}, path)
    writer.wait()
    halves = []

    def fail(_, partial):
        file = partial.open("wb")
        halves.append(weakref.ref(file))
        raise RuntimeError("a fault of torch")

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, free))

    def attempt():
        writer.save_checkpoint({"epoch": 2}, path)
        assert writer.failed(wait=True)
        assert halves[0]() is None  # its space is free again, before anybody is told
        writer.wait()

    with pytest.raises(kind, match=said):
        attempt()
    writer.wait()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_training_ends_with_the_epoch_in_which_a_checkpoint_failed(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    trainer, module, data, _ = made(tmp_path, 50, LastCheckpoint(every_n_seconds=1e9))
    with pytest.raises(InputError, match="found a full disk or quota"):
        trainer.fit(module, data)
    assert trainer.current_epoch < 49


@pytest.mark.parametrize(
    ("seconds", "stop", "expected"), [(0, False, [0, 1, 2, 3]), (1e9, False, [0, 3]), (1e9, True, [0, 2])]
)
def test_the_first_and_the_last_epoch_are_kept_and_others_as_often_as_asked_for(seconds, stop, expected, tmp_path):
    written = []

    class Noting(BackgroundCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            written.append(checkpoint["epoch"])
            super().save_checkpoint(checkpoint, path, storage_options)

    class Stop(RoiEarlyStopping):
        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            trainer.should_stop = stop and trainer.current_epoch == 2

    trainer, module, data, writer = made(tmp_path, 4, LastCheckpoint(every_n_seconds=seconds), Stop(), writer=Noting())
    trainer.fit(module, data)
    writer.wait()
    assert written == expected
    assert torch.load(next(Path(tmp_path).rglob("last.ckpt")), weights_only=True)["epoch"] == expected[-1]


def test_seconds_below_0_are_refused():
    with pytest.raises(InputError, match=r"every_n_seconds -1: expected 0 or more"):
        LastCheckpoint(every_n_seconds=-1)
