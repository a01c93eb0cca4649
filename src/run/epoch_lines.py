"""EpochLines: a line per epoch, where there is no terminal for a progress bar."""

import logging
import time

from lightning.pytorch import Callback, LightningModule, Trainer

from .folder import HistoryWriter

log = logging.getLogger(__name__)


class EpochLines(Callback):
    """Says after each epoch what `history.csv` holds of it, and how long it took."""

    def __init__(self) -> None:
        self.begun = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begun = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seen = trainer.callback_metrics
        figures = [f"{name} {float(seen[name]):.4g}" for name in HistoryWriter.COLUMNS[1:] if name in seen]
        seconds = time.monotonic() - self.begun
        log.info("epoch %d: %s, %.1f s", trainer.current_epoch, ", ".join(figures), seconds)
