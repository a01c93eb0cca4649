"""Fit, restore the best, and predict the held-out stimuli: what a run, a control and a study's trial have in common."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.fabric.utilities.distributed import _InfiniteBarrier
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.trainer.states import TrainerStatus

from ..errors import InputError, one_line
from ..evaluation import SplitPredictions
from ..names import WITHHELD
from ..results.new_run import discard
from ..results.prediction_files import FOLDER
from .checkpoints import CHECKPOINTS
from .folder import folder_of, rank
from .members import trained_members
from .predictions import by_recording
from .together import check_processes, ending_together, ends_by_itself

if TYPE_CHECKING:
    from .cli import EncodingCLI

log = logging.getLogger(__name__)

BEST = "best.ckpt"

_OTHER_WEIGHTS = re.compile(r"Error\(s\) in loading state_dict|loaded state dict (has|contains)")
"""What torch says of a checkpoint of another model, or of another optimiser's parameters."""


def train(cli: EncodingCLI, keep: bool) -> Path | None:
    """Fit, restore the best and write the predictions of the held-out stimuli.

    Args:
        cli: The run.
        keep: Write the restored model's checkpoint.

    Returns:
        The run's folder; None where it was to be tried out alone.

    Raises:
        InputError: A flag cannot be obeyed, or the training diverged.
        KeyboardInterrupt: It was interrupted.
    """
    trainer, model, data = cli.trainer, cli.model, cli.datamodule
    try:
        trainer.fit(model, data, ckpt_path=cli.checkpoint and str(cli.checkpoint), weights_only=True)
        if cli.config.trainer.fast_dev_run:
            log.info("fast_dev_run: one batch of each split ran, nothing was written")
            return None
        folder = folder_of(trainer)
        if keep:
            trainer.save_checkpoint(folder / CHECKPOINTS / BEST, weights_only=True)
        trainer.test(model, data, verbose=False)
        cli.checkpoint_io.wait()
    except BaseException as error:
        ends_by_itself()
        _finish_writing(cli, error)
        _discard_if_empty(cli)
        if isinstance(error, SystemExit) and trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from None
        if isinstance(error, MisconfigurationException):  # what a model that solves by itself cannot obey, as clipping
            raise InputError(f"--trainer: {one_line(error)}") from error
        if isinstance(error, (RuntimeError, ValueError)) and cli.checkpoint and _OTHER_WEIGHTS.search(str(error)):
            raise InputError(
                f"--ckpt_path {cli.checkpoint}: expected this model's weights, found another's; resume with that run's "
                "own --model flags, or start anew without --ckpt_path"
            ) from error
        raise
    return folder


def _finish_writing(cli: EncodingCLI, ending: BaseException) -> None:
    """Wait for the checkpoint that is being written; what ended the training is what will be raised."""
    if cli.checkpoint_io.busy:
        log.warning("the last checkpoint is being written")
    try:
        cli.checkpoint_io.wait()
    except Exception as error:
        if error is not ending:
            log.warning("%s", one_line(error))


def predicted_splits(cli: EncodingCLI, folder: Path) -> list[SplitPredictions]:
    """What a trained run predicts for each subject, of each split with responses."""
    data = cli.datamodule
    found = []
    for split in data.evaluated:
        if split == WITHHELD:
            continue
        answers = data.table.answers(split)
        for recording, stimuli, predicted in by_recording(data, split, folder / FOLDER):
            found.append(SplitPredictions(recording, split, stimuli, predicted, answers[recording.subject]))
    return found


def _discard_if_empty(cli: EncodingCLI) -> None:
    """Remove the folder of a run that its input ended before it began."""
    folder = Path(cli.run_logger.log_dir)
    began = (folder / CHECKPOINTS).is_dir() or trained_members(folder)
    if folder.is_dir() and not began and rank() == 0:
        discard(folder, Path(cli.run_logger.save_dir))


def encode(cli: EncodingCLI) -> None:
    """Fill the embedding cache and stop; ranks divide it."""
    trainer, data = cli.trainer, cli.datamodule
    check_processes(trainer)
    data.trainer = trainer

    def fill() -> None:
        trainer.strategy.setup_environment()
        with _InfiniteBarrier():
            if trainer.local_rank == 0:
                data.prepare_data()
        data.setup()

    with ending_together(trainer.world_size):
        if trainer.strategy.launcher is None:
            fill()
        else:
            trainer.strategy.launcher.launch(fill, trainer=trainer)
