"""TimeLeft: what the first batches tell of the whole training."""

import logging
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..batch import Batch
from ..space import as_bytes

FIRST = 10.0
"""Seconds of training from which on an epoch's length is known."""
LONG = 60.0
"""Seconds of training left below which nothing is said."""

log = logging.getLogger(__name__)


class TimeLeft(Callback):
    """Says once how long an epoch takes and all of them take at most; on a GPU also how much memory a step takes.

    What training needs of a GPU beside weights is known only when a step was made.
    """

    def __init__(self) -> None:
        self.begun = 0.0
        self.first = 0.0
        self.said = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begun = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if self.said:
            return
        if batch_idx == 0:  # of the first batch much is done once
            self.first = time.monotonic()
            if pl_module.device.type == "cuda":
                taken = torch.cuda.max_memory_allocated(pl_module.device)
                total = torch.cuda.get_device_properties(pl_module.device).total_memory
                log.info("GPU memory after the first step: %s of %s", as_bytes(taken), as_bytes(total))
        elif (passed := time.monotonic() - self.first) > FIRST:
            self._say(trainer, pl_module, passed / batch_idx * float(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.said:
            self._say(trainer, pl_module, time.monotonic() - self.begun, done=1)

    def _say(self, trainer: Trainer, pl_module: LightningModule, epoch: float, done: int = 0) -> None:
        self.said = True
        last = trainer.max_epochs if pl_module.automatic_optimization else trainer.current_epoch + 1
        if last is None or last < 0:  # no end is set
            log.info("an epoch takes about %s", as_time(epoch))
            return
        left = last - trainer.current_epoch - done
        if left * epoch >= LONG:
            log.info("an epoch takes about %s: at most %s for %d more", as_time(epoch), as_time(left * epoch), left)


def as_time(seconds: float) -> str:
    """A time for people, in the largest unit of which it has two: "3.5 s", "12 min", "7 h"."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
