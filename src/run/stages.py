"""What one run does, in order: fit, restore the best, predict the held-out stimuli, evaluate, report."""

from __future__ import annotations

import csv
import logging
import re
import resource
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.trainer.states import TrainerStatus
from PIL import Image

from ..errors import InputError, one_line
from ..evaluation import History, SplitPredictions, Summary, evaluate_run
from ..findings import Findings
from ..models import RoiEarlyStopping
from ..names import HEMISPHERES, WITHHELD
from ..results.configuration import flat
from ..tensor_file import read_tensors
from .folder import folder_of, rank
from .predictions import by_recording
from .resume import CHECKPOINTS, LAST
from .submissions import write_submission

if TYPE_CHECKING:
    from .cli import EncodingCLI

log = logging.getLogger(__name__)

BEST = "best.ckpt"

_OTHER_WEIGHTS = re.compile(r"Error\(s\) in loading state_dict|loaded state dict (has|contains)")
"""What torch says of a checkpoint of another model, or of another optimiser's parameters."""


def run(cli: EncodingCLI) -> None:
    """Train, evaluate and write the run's folder; the last line says where it is and how well it did."""
    try:
        folder = train(cli, keep=True)
    except KeyboardInterrupt:
        _say_how_to_go_on(cli)
        raise
    if folder is not None and cli.trainer.is_global_zero:
        evaluate(cli, folder)


def _say_how_to_go_on(cli: EncodingCLI) -> None:
    """Where an interrupted run is, and the command that goes on with it."""
    folder = Path(cli.run_logger.root_dir) / f"version_{cli.run_logger.version}"
    if rank() != 0:
        return
    if not (folder / CHECKPOINTS / LAST).is_file():
        log.warning("interrupted before the first epoch had ended: nothing to go on with")
        return
    own = [each for each in cli.args if not each.startswith(("--ckpt_path=", "--name="))]
    for flag in ("--ckpt_path", "--name"):
        if flag in own:
            del own[own.index(flag) : own.index(flag) + 2]
    again = shlex.join([*own, f"--name={cli.config.name}", "--ckpt_path=last"])
    epochs = read_tensors(folder / CHECKPOINTS / LAST, mapped=True)["epoch"] + 1
    log.warning("interrupted: %s holds %d epochs; to go on: train.py %s", folder, epochs, again)


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
    except BaseException as error:
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


def predicted_splits(cli: EncodingCLI, folder: Path) -> list[SplitPredictions]:
    """What a trained run predicts for each subject, of each split with responses."""
    data = cli.datamodule
    return [
        SplitPredictions(recording, split, stimuli, predicted)
        for split in data.evaluated
        if split != WITHHELD
        for recording, stimuli, predicted in by_recording(data, split, folder / "predictions")
    ]


def _discard_if_empty(cli: EncodingCLI) -> None:
    """Remove the folder of a run that its input ended before it began."""
    folder = Path(cli.run_logger.root_dir) / f"version_{cli.run_logger.version}"
    if folder.is_dir() and not (folder / CHECKPOINTS).is_dir() and rank() == 0:
        shutil.rmtree(folder)


def encode(cli: EncodingCLI) -> None:
    """Fill the embedding cache and stop."""
    cli.datamodule.prepare_data()
    cli.datamodule.setup()


def evaluate(cli: EncodingCLI, folder: Path) -> None:
    """Score the predictions of a run, and write all that people read of it into its folder."""
    splits = predicted_splits(cli, folder)
    categories = _categories(cli)
    facts = {**categories, "Peak memory": peak_memory(), **cli.provenance.end(folder)}
    summary = evaluate_run(
        folder,
        splits,
        _history(folder, _restored(cli)),
        (folder / "config.yaml").read_text(),
        facts,
        _findings(cli),
        fsaverage=cli.config.report.fsaverage,
    )
    cli.provenance.conclude(folder, summary)
    _log_final(cli, summary)
    submission = write_submission(cli.datamodule, folder / "predictions", folder)
    if submission:
        log.info("%s", submission)
    for name, value in categories.items():
        log.info("%s: %s", name, value)
    log.info("peak memory %s", peak_memory())
    print(f"{folder}: {summary.headline()}", flush=True)  # noqa: T201 what the command answers


def _categories(cli: EncodingCLI) -> dict[str, str]:
    """How many stimuli of each split a hybrid network names rightly."""
    shares = cli.trainer.callback_metrics
    choice = f"of stimuli, among {len(cli.datamodule.facts.categories)}"
    return {
        f"Category named rightly, {split}": f"{float(shares[name]):.1%} {choice}"
        for split in cli.datamodule.evaluated
        if (name := f"{split}/category_accuracy") in shares
    }


def _findings(cli: EncodingCLI) -> dict[str, Findings]:
    """What the model found, by subject; nothing where it is one that only predicts."""
    found: Findings | None = getattr(cli.model, "findings", None)
    if found is None:
        return {}
    data = cli.datamodule
    return {each.subject: found.of(data.targets_of(index)) for index, each in enumerate(data.recordings)}


def _restored(cli: EncodingCLI) -> dict[str, int]:
    """Epoch whose weights each ROI has in the end, by the ROI's name; "all" where all targets share one."""
    stopping: RoiEarlyStopping = cli.config_init["early_stopping"]
    epochs = stopping.best_epoch.tolist() if stopping.best else []
    if len(epochs) == 1:
        return {"all": epochs[0]}
    names = cli.datamodule.facts.group_names
    return dict(zip(names if cli.model.independent_targets else HEMISPHERES, epochs, strict=False))


def _history(folder: Path, restored: Mapping[str, int]) -> History:
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> list[float]:
        return [float(row[name] or "nan") for row in rows]

    return History(column("train/loss"), column("validation/loss"), column("validation/pearson"), restored)


def _log_final(cli: EncodingCLI, summary: Summary) -> None:
    """Put the hyperparameters beside the final metric, and the figures, into TensorBoard."""
    logger = cli.run_logger
    hyperparameters = flat(yaml.safe_load(cli.parser.dump(cli.config, skip_link_targets=True)))
    logger.log_hyperparams(hyperparameters, {f"final/{summary.split}_pearson": summary.correlation})
    for name, path in summary.figures.items():
        picture = np.asarray(Image.open(path).convert("RGB"))
        logger.experiment.add_image(f"figures/{name}", picture, dataformats="HWC")
    logger.finalize("success")


def peak_memory() -> str:
    """Most memory that this process has held, and most of the GPU's, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    text = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"
    if torch.cuda.is_available():
        text += f", GPU {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    return text
