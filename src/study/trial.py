"""One trial: a run of `train.py` with other values, that ends with a figure instead of a folder."""

from __future__ import annotations

import gc
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from ..atomic import out_of_space
from ..batch import Facts
from ..data.datamodule import EncodingDataModule
from ..data.demand import DataDemand
from ..errors import FullDisk, InputError, one_line
from ..evaluation import SplitPredictions
from ..evaluation.scores import TargetScores, mean_known, target_scores
from ..models import EncodingModule
from ..names import TEST, VALIDATION
from ..results.prediction_files import FOLDER
from ..run.cli import EncodingCLI
from ..run.folder import RunLogger
from ..run.predictions import PredictionWriter
from ..run.training import predicted_splits, train
from .crew import CREW
from .ledger.attributes import DEFAULT, SECONDS, TEST_SCORE
from .search.flags import Config, make_flags
from .search.space import SearchSpace
from .worker import TrialFailed, TrialOutcome

log = logging.getLogger(__name__)

MOST_MODULES = 4


class TrialCLI(EncodingCLI):
    """The objects of one trial: those of `train.py`, without checkpoints, and with data that are there already.

    Args:
        args: Flags of `train.py`.
        name: Where below runs/ the trials of the study keep their curves.
        number: The trial's number.
        modules: Data modules of earlier trials by the data's part of their configs; ours is added.
        callbacks: What else takes part in training.
    """

    def __init__(
        self,
        args: Sequence[str],
        name: str,
        number: int,
        modules: dict[str, EncodingDataModule],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.trials_name = name
        self.number = number
        self.modules = modules
        self.own_callbacks = callbacks
        super().__init__(args)

    def place(self) -> list[Callback]:
        check_one_device(self.config.trainer)
        self.checkpoint = None
        self.save_config_callback = None
        self.run_logger = RunLogger(self.trials_name, self.number, self.config.runs)
        return [PredictionWriter(image_alone=False), *self.own_callbacks]

    def instantiate_classes(self) -> None:
        key = repr(self.config.data)
        known = self.modules.get(key)
        config = self.config
        if known is not None:  # its parts are reading, encoders and their weights
            self.config = config.clone()
            parts = {"source": known.source, "encoder": known.inputs.encoder, "reduction": known.inputs.reduction}
            for name, part in {**parts, "random_control": False}.items():
                self.config.data[name] = part
        super().instantiate_classes()
        self.config = config
        if known is not None:
            self.datamodule = known
            return
        if len(self.modules) >= MOST_MODULES:
            self.modules.pop(next(iter(self.modules)))
        self.modules[key] = self.datamodule

    def announce(self, data: DataDemand, facts: Facts) -> None:
        """As a run's, of a trial with the configuration's own values; each worker of this machine trains one."""
        self.tell_needs(data, self.model.demand(facts), checkpoints=False, processes=int(os.environ.get(CREW, 1)))
        self.tell_precision()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        trainer = super().instantiate_trainer(enable_progress_bar=False, enable_model_summary=False, **kwargs)
        trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, ModelCheckpoint)]  # type: ignore[attr-defined]
        return trainer


def check_one_device(trainer: Any) -> None:
    """Have a trial's trainer, a part of its config, run on one device.

    Raises:
        InputError: It shall run on several, or is a rehearsal.
    """
    if trainer.fast_dev_run:
        raise InputError("--trainer.fast_dev_run: a trial needs a figure; to try a study out, give --trials 1")
    if trainer.devices == "auto":
        trainer.devices = 1
    if str(trainer.devices) != "1" and not (isinstance(trainer.devices, list) and len(trainer.devices) == 1):
        raise InputError(
            f"--trainer.devices {trainer.devices}: a trial runs on one device; to use several, give --workers"
        )


class Reporter(Callback):
    """Reports the validation correlation of each epoch, and ends a trial that falls behind.

    Optuna's own, of the package optuna-integration, would do on one device with any storage. But it prunes a trial that
    early stopping ends in the same epoch, which has come to its end, and reports what is not finite.

    Args:
        trial: Where to report.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.prunable = DEFAULT not in trial.user_attrs  # what the others are compared with runs to its end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        assert isinstance(pl_module, EncodingModule)
        value = float(trainer.callback_metrics["validation/pearson"])
        if not math.isfinite(value):
            raise TrialFailed(f"the validation correlation is {value} in epoch {trainer.current_epoch}")
        finite = pl_module.target_losses.isfinite().double().mean()  # what has diverged correlates with nothing
        self.trial.report(min(value, value * float(finite)), trainer.current_epoch + 1)  # never better for it
        if self.prunable and not trainer.should_stop and self.trial.should_prune():
            raise optuna.TrialPruned


@dataclass(frozen=True)
class FinishedTrial:
    """A trained trial, its best rows restored, before its objects are let go.

    Args:
        number: Of the trial.
        cli: Its model, data module and trainer.
        splits: Its predictions, of each subject and split; memory maps that end with the trial.
        scores: Scores of each target, in the order of `splits`.
    """

    number: int
    cli: EncodingCLI
    splits: Sequence[SplitPredictions]
    scores: Sequence[TargetScores]

    def correlation(self, split: str) -> float | None:
        """Mean Pearson correlation over the scored targets of all subjects, as scores.csv has it."""
        own = [scores.pearson for part, scores in zip(self.splits, self.scores, strict=True) if part.split == split]
        return mean_known(np.concatenate(own)) if own else None


Hook = Callable[[FinishedTrial], Mapping[str, Any]]
"""What else is done with a trained trial; returns user attributes for it."""


@dataclass(kw_only=True)
class Trials:
    """Runs the trials of a study in this process; called with one.

    Args:
        args: Flags of `train.py` beneath all trials.
        name: Of the study.
        space: What is searched, with shares of the input dimension resolved.
        config: The resolved config of `args`.
        modules: Data modules that stand, shared by the trials.
        hooks: What else is done with each trained trial.
    """

    args: Sequence[str]
    name: str
    space: SearchSpace
    config: Config
    modules: dict[str, EncodingDataModule]
    hooks: Sequence[Hook] = field(default_factory=list)

    def __call__(self, trial: optuna.Trial) -> TrialOutcome:
        try:
            with quiet():
                return self._run(trial)
        except (optuna.TrialPruned, TrialFailed, FullDisk, optuna.exceptions.OptunaError):
            raise
        except InputError as error:
            raise TrialFailed(one_line(error)) from None
        except Exception as error:
            if isinstance(error, OSError) and out_of_space(error, Path.cwd()):
                raise FullDisk(f"{one_line(error)}: make room, and give the command again") from error
            if not (reason := _out_of_memory(error)):
                log.exception("trial %d", trial.number)
                reason = f"{type(error).__name__}: {one_line(error)}"
            raise TrialFailed(reason) from None
        finally:
            gc.collect()  # a trainer and its module hold each other, and the GPU's memory

    def flags(self, trial: optuna.trial.BaseTrial) -> list[str]:
        """All flags of one trial."""
        return [*self.args, *make_flags(self.space.suggest(trial), self.config, self.space.parameters)]

    def _run(self, trial: optuna.Trial) -> TrialOutcome:
        cli = TrialCLI(self.flags(trial), f"{self.name}/trials", trial.number, self.modules, [Reporter(trial)])
        start = time.perf_counter()
        value = None
        try:
            folder = train(cli, keep=False)
            seconds = time.perf_counter() - start
            assert folder is not None
            done = _scored(trial.number, cli, folder)
            value = done.correlation(VALIDATION)
            if value is None:
                raise TrialFailed("no validation response varies, so there is no correlation")
            attributes = {TEST_SCORE: done.correlation(TEST), SECONDS: round(seconds, 3)}
            for hook in self.hooks:
                attributes |= hook(done)
            shutil.rmtree(folder / FOLDER)
            return TrialOutcome(value, attributes)
        finally:
            with suppress(OSError):  # what ended the trial is what is told
                _log_hyperparameters(cli.run_logger, trial.params, value)


def _scored(number: int, cli: EncodingCLI, folder: Path) -> FinishedTrial:
    splits = predicted_splits(cli, folder)
    scores = [scores_of(part) for part in splits]
    for each in scores:
        diverged = int((~np.isfinite(each.mse[each.n > 0])).sum())
        if diverged:  # leaving them out of the mean would reward it
            raise TrialFailed(f"training diverged: predictions of {diverged} targets are not finite")
    return FinishedTrial(number, cli, splits, scores)


def scores_of(part: SplitPredictions) -> TargetScores:
    """Scores of each target of one subject and split."""
    responses = part.responses()
    return target_scores(part.predictions, responses, part.noise_ceiling)


def _log_hyperparameters(logger: RunLogger, values: Mapping[str, Any], value: float | None) -> None:
    """Put a trial's values beside its figure into TensorBoard, where the trial came to have a folder."""
    if Path(logger.log_dir).is_dir():
        logger.log_hyperparams(dict(values), {"study/validation_pearson": math.nan if value is None else value})
        logger.finalize("success")


def _out_of_memory(error: Exception) -> str | None:
    text = one_line(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in text:
        return f"out of memory: {text[:200]}"
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Leave what a single run says of itself out of a study."""
    logger, own = logging.getLogger(__name__.partition(".")[0]), logging.getLogger(__package__)
    level = logger.level
    own.setLevel(logger.getEffectiveLevel())
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
