"""What one run does, in order: fit, restore the best, predict the held-out stimuli, evaluate, report."""

from __future__ import annotations

import csv
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from PIL import Image

from ..data.facts import held_out_seen
from ..errors import InputError
from ..evaluation import Beside, Control, History, LearningCurve, Summary, evaluate_run, write_submission
from ..findings import Attention, Findings
from ..models import RoiEarlyStopping
from ..names import IMAGE_ALONE
from ..recording import Recording
from ..results.configuration import flat
from ..results.prediction_files import FOLDER
from ..space import as_bytes, held_at_most
from ..tensor_file import read_tensors
from .checkpoints import CHECKPOINTS, LAST
from .controls import plan_controls, run_controls
from .folder import rank
from .learning_curve import plan_curve, run_curve
from .members import trained_members
from .predictions import by_recording
from .requeue import requeued_on_signal
from .together import check_processes, ending_together
from .training import predicted_splits, train

if TYPE_CHECKING:
    from .cli import EncodingCLI

log = logging.getLogger(__name__)


def run(cli: EncodingCLI) -> None:
    """Train, evaluate and write the run's folder; the last line says where it is and how well it did.

    A run with controls, or a learning curve, is whole before they are begun, and is evaluated once more beside them.
    """
    check_processes(cli.trainer)
    plan = plan_controls(cli) if cli.config.controls else []
    counts = plan_curve(cli)
    try:
        with ending_together(cli.trainer.world_size), requeued_on_signal(Path(cli.run_logger.root_dir), cli.args):
            folder = train(cli, keep=True)
            if folder is None:
                return
            if cli.trainer.is_global_zero:
                evaluate(cli, folder, last=not (plan or counts))
            if plan or counts:
                controls = run_controls(cli, folder, plan)
                curve = run_curve(cli, folder, counts) if counts else None
                if cli.trainer.is_global_zero:
                    evaluate(cli, folder, controls, curve)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"--data.batch_size {cli.datamodule.batch_size}: expected a step that fits the GPU's memory, found that it "
            "does not; set a smaller one with --trainer.accumulate_grad_batches, --trainer.precision bf16-mixed, or "
            "train less of a backbone (--model.finetuning Lora)"
        ) from error
    except KeyboardInterrupt:
        _say_how_to_go_on(cli)
        raise


def _say_how_to_go_on(cli: EncodingCLI) -> None:
    """Where an interrupted run is, and the command that goes on with it."""
    folder = Path(cli.run_logger.log_dir)
    if rank() != 0:
        return
    held = _held(folder)
    if held is None:
        log.warning("interrupted before the first checkpoint: nothing to go on with")
        return
    own = [each for each in cli.args if not each.startswith(("--ckpt_path=", "--name="))]
    for flag in ("--ckpt_path", "--name"):
        if flag in own:
            del own[own.index(flag) : own.index(flag) + 2]
    again = shlex.join([*own, f"--name={cli.config.name}", "--ckpt_path=last"])
    log.warning("interrupted: %s holds %s; to go on: train.py %s", folder, held, again)


def _held(folder: Path) -> str | None:
    """What an interrupted run goes on with; None where there is nothing."""
    last, members = folder / CHECKPOINTS / LAST, trained_members(folder)
    if last.is_file():
        epochs = read_tensors(last, mapped=True)["epoch"] + 1
        return f"{epochs} epoch{'' if epochs == 1 else 's'}"
    return f"{members} training{'' if members == 1 else 's'} of members" if members else None


def evaluate(
    cli: EncodingCLI,
    folder: Path,
    controls: Sequence[Control] = (),
    curve: LearningCurve | None = None,
    last: bool = True,
) -> None:
    """Score the predictions of a run, and write all that people read of it into its folder.

    Args:
        cli: The run.
        folder: The run's.
        controls: What it is held against.
        curve: What the same run predicts after training on fewer stimuli.
        last: Whether this is all that is said of it.
    """
    splits = predicted_splits(cli, folder)
    categories = _categories(cli)
    told = cli.datamodule.beside_told
    beside = {"Inputs beside the image": told} if told else {}
    facts = {**categories, **beside, "Peak memory": peak_memory(), **cli.provenance.end(folder)}
    summary = evaluate_run(
        folder,
        splits,
        _history(folder, _restored(cli)),
        (folder / "config.yaml").read_text(),
        facts,
        _findings(cli),
        fsaverage=cli.config.report.fsaverage,
        controls=controls,
        min_ceiling=cli.config.report.min_ceiling,
        attention=_attention(cli),
        beside=_beside(cli, folder),
        curve=curve,
        seen_before=held_out_seen(cli.datamodule.table, cli.model.seen_before),
    )
    cli.provenance.conclude(folder, summary)
    submission = _submission(cli, folder)
    if not last:
        log.info("%s: %s; the runs beside it follow", folder, summary.headline())
        return
    _log_final(cli, summary)
    if submission:
        log.info("%s", submission)
    for name, value in categories.items():
        log.info("%s: %s", name, value)
    log.info("peak memory %s", peak_memory())
    print(f"{folder}: {summary.headline()}", flush=True)  # noqa: T201 what the command answers


def _submission(cli: EncodingCLI, folder: Path) -> str | None:
    """Write the challenge's zip where the data are of one; what became of it, in a line."""
    data = cli.datamodule

    def of_split(split: str) -> Iterator[tuple[Recording, np.ndarray]]:
        for recording, _, predicted in by_recording(data, split, folder / FOLDER, in_units=True):
            yield recording, predicted

    return write_submission(folder, data.recordings, data.evaluated, of_split)


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
    """What the model, or its trained head, found by subject; nothing where it is one that only predicts."""
    found: Findings | None = getattr(cli.model, "findings", None) or cli.model.head.findings()
    if found is None:
        return {}
    data = cli.datamodule
    return {each.subject: found.of(data.targets_of(index)) for index, each in enumerate(data.recordings)}


def _beside(cli: EncodingCLI, folder: Path) -> Beside | None:
    """What the model predicts of the image alone, where it has inputs beside it."""
    layers = cli.datamodule.facts.beside
    return Beside(layers, predicted_splits(cli, folder / IMAGE_ALONE)) if layers else None


def _attention(cli: EncodingCLI) -> Attention | None:
    """Where in the image the model looked, with what its encoder knows of the tokens' places."""
    found: Attention | None = cli.model.attention
    encoder = cli.datamodule.inputs.encoder or cli.model.backbone
    if found is None or encoder is None:
        return found
    of_encoder = {layer: places.numpy() for layer, places in encoder.token_places().items()}
    return replace(found, places={**of_encoder, **found.places})


def _restored(cli: EncodingCLI) -> dict[str, int]:
    """Epoch whose weights each ROI has in the end, by the ROI's name; "all" where all targets share one."""
    stopping: RoiEarlyStopping = cli.config_init["early_stopping"]
    epochs = stopping.best_epoch.tolist() if stopping.best else []
    if len(epochs) == 1:
        return {"all": epochs[0]}
    return dict(zip(cli.model.stopping_names, epochs, strict=False))  # nothing was kept of a closed form


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
    """Most memory that this process has held, and most of the GPU's."""
    text = as_bytes(held_at_most())
    if torch.cuda.is_available():
        text += f", GPU {as_bytes(torch.cuda.max_memory_allocated())}"
    return text
