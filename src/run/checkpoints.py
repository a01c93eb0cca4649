"""How checkpoints come to disk: whole, beside the training, and no more often than they are worth."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ..atomic import replacing
from ..errors import InputError

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"


class LastCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt`, from which a run resumes.

    One is written after the first epoch and after the last, and in between as often as asked for.

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
        self.written = -float("inf")  # when, by the monotonic clock

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        due = time.monotonic() >= self.written + self.every_n_seconds or _ends(trainer)
        if not trainer.strategy.broadcast(due):  # all ranks write together, or none
            return
        before = self._last_global_step_saved
        super().on_train_epoch_end(trainer, pl_module)
        if self._last_global_step_saved != before:
            self.written = time.monotonic()


def _ends(trainer: Trainer) -> bool:
    """Whether training ends with this epoch."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (
        trainer.should_stop
        or (epochs is not None and 0 <= epochs <= trainer.current_epoch + 1)
        or 0 <= steps <= trainer.global_step
    )


class BackgroundCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint from a copy in memory while training goes on, beside its place, and moves it there.

    Lightning's own passes through the system's temporary folder: on another file system than the run's its move is a
    copy, and a kill leaves half a checkpoint. Its asynchronous one queues as many copies as there are checkpoints to
    write; here the next one waits for the one before. What went wrong is raised at the next checkpoint, or by `wait`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        self.wait()
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing = self._writer.submit(_write, copied(checkpoint), Path(path))

    def wait(self) -> None:
        """Until the checkpoint that is being written is there.

        Raises:
            InputError: The disk is full.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def copied(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The same on the processor, of which training changes nothing; tensors that share their memory still do."""
    made: dict[object, Tensor] = {}

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor):
            key: object = id(value)  # an empty one has no place, a sparse one several
            if value.layout == torch.strided and value.numel():
                key = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
            if key not in made:
                made[key] = value.detach().to("cpu", copy=True)
            return made[key]
        if isinstance(value, dict):
            return {name: copy(each) for name, each in value.items()}
        if isinstance(value, list):
            return [copy(each) for each in value]
        return tuple(copy(each) for each in value) if type(value) is tuple else value

    return copy(dict(checkpoint))


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    try:
        with replacing(path) as partial:
            torch.save(checkpoint, partial)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk in words of its own
        free = shutil.disk_usage(path.parent).free
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or free < 2**20:
            raise InputError(
                f"{path}: expected space for a checkpoint, found {free / 2**20:.0f} MiB; make room, or put runs "
                "elsewhere (--runs), and go on with --ckpt_path last"
            ) from error
        raise
