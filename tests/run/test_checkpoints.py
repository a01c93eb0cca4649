"""How checkpoints come to disk: when, from a copy, one at a time, and what is said of a full disk."""

import shutil
import threading
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


@pytest.mark.parametrize(("free", "kind", "said"), [(100, InputError, "make room"), (2**40, RuntimeError, "of torch")])
def test_a_full_disk_is_told_at_the_next_one_and_the_last_stays(free, kind, said, tmp_path, monkeypatch):
    writer, path = BackgroundCheckpointIO(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"epoch": 1}, path)
    writer.wait()

    def fail(*_):
        raise RuntimeError("a fault of torch")

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, free))
    writer.save_checkpoint({"epoch": 2}, path)
    with pytest.raises(kind, match=said):
        writer.save_checkpoint({"epoch": 3}, path)
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 1}


@pytest.mark.parametrize(
    ("seconds", "stop", "expected"), [(0, False, [0, 1, 2, 3]), (1e9, False, [0, 3]), (1e9, True, [0, 2])]
)
def test_the_first_and_the_last_epoch_are_kept_and_others_as_often_as_asked_for(seconds, stop, expected, tmp_path):
    data = EncodingDataModule(Planted(60), PixelEncoder(size=8), cache_dir=tmp_path / "cache")
    written = []

    class Noting(BackgroundCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            written.append(checkpoint["epoch"])
            super().save_checkpoint(checkpoint, path, storage_options)

    class Stop(RoiEarlyStopping):
        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            trainer.should_stop = stop and trainer.current_epoch == 2

    writer = Noting()
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Stop(), LastCheckpoint(every_n_seconds=seconds)],
        plugins=[writer],
    )
    trainer.fit(EncodingModule(data.num_targets, data.feature_shapes), data)
    writer.wait()
    assert written == expected
    assert torch.load(next(Path(tmp_path).rglob("last.ckpt")), weights_only=True)["epoch"] == expected[-1]


def test_seconds_below_0_are_refused():
    with pytest.raises(InputError, match=r"every_n_seconds -1: expected 0 or more"):
        LastCheckpoint(every_n_seconds=-1)
