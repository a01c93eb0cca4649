"""The run's folder `runs/NAME/version_N/`: who names it, and what is written into it while training."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from ..atomic import replacing
from ..names import VALIDATION
from ..results.new_run import reserve
from ..results.run_folder import CONFIG
from ..where import RUNS


def rank() -> int:
    """This process's rank, also before there is a trainer."""
    return getattr(rank_zero_only, "rank", 0)


class RunLogger(TensorBoardLogger):
    """TensorBoard logger that reserves the next version by making its folder.

    Two jobs of one name that start at the same moment, as in a SLURM array, get two folders.

    Args:
        name: The runs' name.
        version: An earlier run to go on with, or a control's name; None reserves a new one.
        runs: Folder of all runs.
    """

    def __init__(self, name: str, version: int | str | None = None, runs: Path = RUNS) -> None:
        super().__init__(runs, name=name, version=version, default_hp_metric=False)

    def save(self) -> None:
        """Flush the events; config.yaml says what hparams.yaml would."""
        if rank() == 0:
            self.experiment.flush()

    def _get_next_version(self) -> int:
        return reserve(Path(self.root_dir)) if rank() == 0 else 0  # the others' folder comes from rank 0


def folder_of(trainer: Trainer) -> Path:
    """The run's folder, on every rank that of rank 0.

    All ranks must ask together, since it is sent by rank 0: one that asks alone waits for the others for ever.
    """
    return Path(str(trainer.log_dir))


class ConfigWriter(SaveConfigCallback):
    """Writes `config.yaml`, which appears whole: a kill amid Lightning's own writing leaves an empty one."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.already_saved:
            return
        folder = folder_of(trainer)
        if trainer.is_global_zero:
            with replacing(folder / CONFIG) as partial:
                self.parser.save(self.config, partial, skip_none=False, multifile=False)
        self.already_saved = True


class EpochSeed(Callback):
    """Seeds every epoch by its number, so that a resumed run draws the dropout that an undisturbed one does.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


class HistoryWriter(Callback):
    """Everything that is logged, by epoch, in `history.csv`: TensorBoard's curves as a table.

    The columns of `COLUMNS` come first, then the others by name. Checkpoints carry it, so a resumed curve is whole.
    """

    COLUMNS = ("epoch", "train/loss", "validation/loss", "validation/pearson")

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.validation: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.validation = _logged(trainer, validation=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows.append({"epoch": trainer.current_epoch, **_logged(trainer, validation=False), **self.validation})
        self.validation = {}  # an epoch without validation has none
        self._write(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)  # also where a resumed run had no epoch left

    def _write(self, trainer: Trainer) -> None:
        folder = folder_of(trainer)
        if trainer.is_global_zero:
            others = sorted({name for row in self.rows for name in row} - set(self.COLUMNS))
            with replacing(folder / "history.csv") as partial, partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, [*self.COLUMNS, *others], lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def _logged(trainer: Trainer, validation: bool) -> dict[str, float]:
    """What stands logged of validation, or else of training."""
    logged = trainer.callback_metrics.items()
    return {name: float(value) for name, value in logged if name.startswith(VALIDATION) == validation}
