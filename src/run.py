"""What one run does, in order: fit, restore the best, predict the held-out stimuli, evaluate, report."""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerStatus

from .run_folder import CHECKPOINTS

if TYPE_CHECKING:
    from .cli import EncodingCLI
    from .data.datamodule import EncodingDataModule

log = logging.getLogger(__name__)

BEST = "best.ckpt"


def run(cli: EncodingCLI) -> None:
    """Train, evaluate and write the run's folder; the last line says where it is and how well it did."""
    trainer, model, data = cli.trainer, cli.model, cli.datamodule
    try:
        trainer.fit(model, data, ckpt_path=cli.checkpoint and str(cli.checkpoint), weights_only=True)
    except SystemExit:
        if trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from None
        raise
    if trainer.fast_dev_run:
        log.info("fast_dev_run: one batch of each split ran, nothing was written")
        return
    folder = Path(str(trainer.log_dir))
    trainer.save_checkpoint(folder / CHECKPOINTS / BEST, weights_only=True)
    trainer.test(model, data, verbose=False)
    if trainer.is_global_zero:
        _evaluate(cli, folder)


def encode(cli: EncodingCLI) -> None:
    """Fill the embedding cache and stop."""
    cli.datamodule.prepare_data()
    cli.datamodule.setup()


def peak_memory() -> str:
    """Most memory that this process has held, and most of the GPU's, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    text = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"
    if torch.cuda.is_available():
        text += f", GPU {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    return text
