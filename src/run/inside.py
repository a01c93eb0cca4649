"""Runs inside a run's folder: the same run with other flags, held to the same held-out stimuli."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback

from ..errors import FullDisk, InputError, one_line
from ..evaluation import SplitPredictions, write_rows
from ..evaluation.predicted import scored
from ..results.run_folder import SCORES
from .checkpoints import CHECKPOINTS, LAST
from .cli import EncodingCLI
from .folder import RunLogger
from .training import predicted_splits, train

ALONE = ("--controls=false", "--learning_curve=null")
"""Flags of a run that has no others inside."""


class InsideCLI(EncodingCLI):
    """The objects of a run inside another's folder: those of `train.py`.

    Args:
        args: The outer run's flags and its own.
        folder: The outer run's.
        kind: Name of the folder, in that, of all of a kind.
        name: Its own folder's in there.
    """

    def __init__(self, args: Sequence[str], folder: Path, kind: str, name: str) -> None:
        self.outer, self.kind, self.inner = folder, kind, name
        super().__init__(args)

    def place(self) -> list[Callback]:
        last = self.outer / self.kind / self.inner / CHECKPOINTS / LAST
        self.config.name = self.config.name or self.outer.parent.name
        logger = RunLogger(self.kind, self.inner, self.outer)
        return self.write_into(logger, checkpoint=last if last.is_file() else None)


def run_inside(
    cli: EncodingCLI, folder: Path, kind: str, name: str, flags: Sequence[str]
) -> list[SplitPredictions] | str:
    """Train a run inside another, or go on with it, on all ranks.

    Args:
        cli: The outer run, trained.
        folder: The outer run's.
        kind: Of the inner one; see `InsideCLI`.
        name: Of the inner one.
        flags: What it has beside the outer run's own.

    Returns:
        What it predicts of the outer run's held-out stimuli, on rank 0, which writes their scores into its folder. Or
        why the flags do not go together, in its training's words.
    """
    try:
        _train(cli, folder, kind, name, flags)
    except FullDisk:  # no fault of the inner run's
        raise
    except InputError as error:
        return one_line(error)
    finally:
        gc.collect()  # a trainer and its module hold each other, and the GPU's memory
    if not cli.trainer.is_global_zero:
        return []
    splits = predicted_splits(cli, folder / kind / name)
    write_rows(folder / kind / name / SCORES, [row for part in splits for row in scored(part)[1]])
    return splits


def _train(cli: EncodingCLI, folder: Path, kind: str, name: str, flags: Sequence[str]) -> None:
    inner = InsideCLI([*cli.args, *ALONE, *flags], folder, kind, name)
    own = train(inner, keep=True)
    assert own is not None
    for split in cli.datamodule.evaluated:  # rows of its predictions are the outer run's
        ours, theirs = (each.datamodule.positions(split) for each in (cli, inner))
        assert np.array_equal(ours, theirs), f"{name} has another {split} split than its run"
    if inner.trainer.is_global_zero:
        inner.provenance.end(own)
