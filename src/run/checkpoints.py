"""How checkpoints come to disk: whole, beside the training, and no more often than they are worth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ..atomic import out_of_space, remove_partials, replacing
from ..errors import FullDisk, InputError

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
BYTES_A_SECOND = 2e7
"""Bytes of weights whose first checkpoint is worth a second of training: copied with the optimiser's state, and written
beside the training, they take a twentieth of it."""


class LastCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt`, from which a run resumes.

    One is written after the first epoch and after the last, and in between as often as asked for. The first of large
    weights waits until training has taken a while, 14 s for 280 MB: written at once, it would cost more than it saves.

    Args:
        every_n_epochs: Epochs between checkpoints at least; then the last epoch's is one only if its turn has come.
        every_n_seconds: Seconds from one checkpoint to the next at least: what a kill may cost. A checkpoint holds the
            weights three or four times over (the optimiser's state and the best rows so far).
    """

    def __init__(self, every_n_epochs: int = 1, every_n_seconds: float = 60.0) -> None:
        if not every_n_seconds >= 0:
            raise InputError(f"--checkpoint.every_n_seconds {every_n_seconds:g}: expected 0 or more")
        super().__init__(
            filename=Path(LAST).stem,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,  # after the epoch's validation and its row in the history
            enable_version_counter=False,
        )
        self.every_n_seconds = every_n_seconds
        self.next = 0.0  # when one is due, by the monotonic clock

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        size = sum(each.nbytes for each in pl_module.parameters())
        self.next = time.monotonic() + min(self.every_n_seconds, size / BYTES_A_SECOND)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        due = time.monotonic() >= self.next or _ends(trainer)
        writer = trainer.strategy.checkpoint_io
        next_one = due and (trainer.current_epoch + 1) % self._every_n_epochs == 0
        failed = writer.failed(wait=next_one) if isinstance(writer, BackgroundCheckpointIO) else None
        # All ranks write together, or none; and what the first met ends all.
        due, fault = trainer.strategy.broadcast((due, None if failed is None else str(failed)))
        if fault is not None:
            raise failed or InputError(fault)
        if not due:
            return
        before = self._last_global_step_saved
        super().on_train_epoch_end(trainer, pl_module)
        if self._last_global_step_saved != before:
            self.next = time.monotonic() + self.every_n_seconds


def _ends(trainer: Trainer) -> bool:
    """Whether training ends with this epoch."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (
        trainer.should_stop
        or (epochs is not None and 0 <= epochs <= trainer.current_epoch + 1)
        or 0 <= steps <= trainer.global_step
    )


class BackgroundCheckpointIO(TorchCheckpointIO):
    """Writes `last.ckpt` from a copy in memory while training goes on, beside its place, and moves it there.

    A checkpoint of another name is there when `save_checkpoint` returns: a run's best, a callback's own.

    Lightning's own passes through the system's temporary folder: on another file system than the run's its move is a
    copy, and a kill leaves half a checkpoint. Its asynchronous one queues as many copies as there are checkpoints to
    write; here the next one waits for the one before. What went wrong is raised by `wait`, or at the next checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[Exception | None] | None = None
        self._places: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        self.wait()
        place = Path(path)
        if place not in self._places:
            self._places.add(place)
            remove_partials(place)  # of an earlier process that was killed
        if place.name != LAST:
            _raise(_write(checkpoint, place))
            return
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing = self._writer.submit(_write, copied(checkpoint), place)

    def wait(self) -> None:
        """Until the checkpoint that is being written is there; one that is interrupted can be called again.

        Raises:
            InputError: The disk is full.
        """
        failed = self.failed(wait=True)
        self._writing = None
        _raise(failed)

    def failed(self, wait: bool = False) -> Exception | None:
        """What went wrong with the last checkpoint, which `wait` would raise.

        Args:
            wait: For one that is being written; without, it has not gone wrong.
        """
        if self._writing is None or not (wait or self._writing.done()):
            return None
        return self._writing.result()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writing is not None and not self._writing.done()


def copied(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The same on the processor, of which training changes nothing; tensors that share their memory still do."""
    return _copied(dict(checkpoint), {})


def _copied(value: Any, made: dict[object, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key: object = id(value)  # an empty one has no place, a sparse one several
        if value.layout == torch.strided and value.numel():
            key = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if key not in made:
            made[key] = value.detach().to("cpu", copy=True)
        return made[key]
    if isinstance(value, dict):
        same = copy(value)  # of its own class, with what hangs on it, as a state dict's versions do
        for name, each in value.items():  # no `update`, by which a Counter adds
            same[name] = _copied(each, made)
        return same
    if isinstance(value, list):
        return [_copied(each, made) for each in value]
    return tuple(_copied(each, made) for each in value) if type(value) is tuple else value


def _write(checkpoint: dict[str, Any], path: Path) -> Exception | None:
    """Write it, or return what went wrong, without the frames that hold the checkpoint and its half-written file."""
    try:
        with replacing(path) as partial:
            try:
                torch.save(checkpoint, partial)
            except (OSError, RuntimeError) as error:
                if not out_of_space(error, path.parent):
                    raise
                raise FullDisk(
                    f"{path}: expected space for a checkpoint, found a full disk or quota; make room, or put runs "
                    "elsewhere (--runs), and go on with --ckpt_path last"
                ) from None
    except Exception as error:
        inner: BaseException | None = error
        while inner is not None:
            inner.__traceback__ = None
            inner = inner.__cause__ or inner.__context__
        return error
    return None


def _raise(failed: Exception | None) -> None:
    if failed is not None:
        raise failed
