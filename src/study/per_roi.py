"""`--per_roi`: a linear head's targets are independent, so one study holds a search for every ROI.

Beside each complete trial the rows of its weights are kept for every ROI in which it is the best so far, and in the
end the kept rows are one model, without further training. A trial that is pruned never restored its best rows: it
keeps none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..atomic import replacing
from ..batch import Facts
from ..errors import InputError
from ..evaluation import SplitPredictions
from ..evaluation.scores import TargetScores, mean_known
from ..models import EncodingModule
from ..names import VALIDATION
from ..run.checkpoints import CHECKPOINTS
from ..run.cli import EncodingCLI
from ..run.folder import HistoryWriter, folder_of
from ..run.stages import evaluate
from ..run.training import BEST, predicted_splits
from ..tensor_file import read_tensors
from .ledger.attributes import PER_ROI
from .ledger.storage import file_lock
from .search.space import SearchSpace
from .trial import FinishedTrial, scores_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

ROWS = ".rows"
SEARCHABLE = (
    "model.optimizer", "model.scheduler", "model.l1", "early_stopping", "data.batch_size", "trainer.max_epochs",
    "trainer.gradient_clip_val",
)  # fmt: skip
"""What may be searched: how rows are found, and not what they are."""


def check_rows(module: EncodingModule, space: SearchSpace) -> None:
    """Refuse a search whose trials have no rows, or rows of other meanings.

    Raises:
        InputError: Targets share weights, or a flag changes what a row is about.
    """
    if not module.independent_targets:
        raise InputError(
            f"--per_roi: needs a model whose targets are independent, found {type(module.head).__name__}, whose "
            "targets share weights; use --model.head LinearHead, or leave --per_roi out"
        )
    for flag in space.parameters:
        if not any(flag == own or flag.startswith(f"{own}.") for own in SEARCHABLE):
            raise InputError(
                f"--per_roi: --search varies {flag}, so rows of two trials are not about the same features or split; "
                f"search {', '.join(SEARCHABLE)} alone, or leave --per_roi out"
            )


@dataclass(frozen=True)
class RoiRows:
    """The best rows so far of each ROI, a file each, that appear whole whichever workers write.

    Args:
        folder: Of the study.
    """

    folder: Path

    def __call__(self, trial: FinishedTrial) -> dict[str, Any]:
        """Keep the rows of the ROIs in which a trial is the best; a hook of its training."""
        module = trial.cli.model
        names = dict.fromkeys(part.split for part in trial.splits)
        means = {name: group_means(module.facts, trial.splits, trial.scores, name) for name in names}
        state = rows_of(module)
        with file_lock(self.folder / f"{ROWS}.lock"):
            for group, mean in enumerate(means[VALIDATION]):
                kept = self.read(group)
                if kept is None or _order(mean) > _order(kept["validation"]):
                    rows = {name: state[name][own.to(state[name].device)].cpu() for name, own in _places(module, group)}
                    with replacing(self._path(group)) as partial:
                        torch.save({"trial": trial.number, "validation": mean, "rows": rows}, partial)
        return {PER_ROI: means}

    def clear(self) -> None:
        """Forget the rows of an earlier study of this name."""
        for path in (self.folder / ROWS).glob("*.pt"):
            path.unlink()

    def read(self, group: int) -> dict[str, Any] | None:
        """One ROI's trial, validation correlation and rows by the name of their tensor; None where there are none."""
        path = self._path(group)
        return read_tensors(path) if path.exists() else None

    def _path(self, group: int) -> Path:
        return self.folder / ROWS / f"{group}.pt"


def rows_of(module: EncodingModule) -> dict[str, Tensor]:
    """All that is trained, by its name in the state dict; the first axis of each runs over targets."""
    calibration = {name: each for name, each in module.state_dict().items() if name.startswith("calibration.")}
    return {**module.trained_state(), **calibration}


def _places(module: EncodingModule, group: int) -> Iterator[tuple[str, Tensor]]:
    """Which rows of each trained tensor that has some are of a stopping group, int64, by the tensor's name."""
    members = module.facts.groups == group
    for name in rows_of(module):
        own = members[module.targets_of(name)].nonzero().squeeze(1)
        if len(own):
            yield name, own


def group_means(
    facts: Facts, splits: Sequence[SplitPredictions], scores: Sequence[TargetScores], split: str
) -> list[float | None]:
    """Mean correlation over the scored targets of each stopping group on one split; None where there are none.

    Args:
        facts: Of the groups.
        splits: Subjects and splits that the scores are of.
        scores: In the same order.
        split: The one asked for.
    """
    pearson = np.full(len(facts.groups), np.nan)
    for part, each in zip(splits, scores, strict=True):
        if part.split == split:
            pearson[facts.subjects[part.recording.subject]] = each.pearson
    groups = facts.groups.numpy()
    return [mean_known(pearson[groups == group]) for group in range(len(facts.group_names))]


def _order(mean: float | None) -> float:
    return -np.inf if mean is None else mean


class Assembly(Callback):
    """Puts kept rows into a model that was made and set up, but not trained.

    Args:
        rows: Where they are.
    """

    def __init__(self, rows: RoiRows) -> None:
        self.rows = rows
        self.trials: list[int] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, EncodingModule)
        state = rows_of(pl_module)
        for group in range(len(pl_module.facts.group_names)):
            kept = self.rows.read(group)
            assert kept is not None
            self.trials.append(kept["trial"])
            for name, own in _places(pl_module, group):
                state[name][own.to(state[name].device)] = kept["rows"][name].to(state[name])


def assemble(study: Study, best: FrozenTrial, complete: Sequence[FrozenTrial], cli: EncodingCLI, rows: RoiRows) -> None:
    """Make one model of the kept rows and write it as a run, and compare it with the best trial.

    Args:
        study: Remembers what came of it.
        best: The best single trial.
        complete: All complete trials.
        cli: Of the best trial's config, under the name that the run shall have.
        rows: What the trials left.

    Raises:
        InputError: The rows of some trial are not here.
    """
    _check_all_here(study, complete, rows)
    assembly = Assembly(rows)
    cli.trainer.callbacks.insert(0, assembly)  # type: ignore[attr-defined]
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    folder = folder_of(cli.trainer)
    cli.trainer.save_checkpoint(folder / CHECKPOINTS / BEST, weights_only=True)
    with replacing(folder / "history.csv") as partial:
        partial.write_text(",".join(HistoryWriter.COLUMNS) + "\n")  # nothing was trained
    evaluate(cli, folder)
    splits = predicted_splits(cli, folder)
    scores = [scores_of(part) for part in splits]
    facts = cli.model.facts
    own = {part.split: group_means(facts, splits, scores, part.split) for part in splits}
    single: Mapping[str, list[float | None]] = best.user_attrs[PER_ROI]
    rois = [
        {
            "roi": roi,
            "trial": trial,
            **{split: means[group] for split, means in own.items()},
            **{f"best_{split}": means[group] for split, means in single.items()},
        }
        for group, (roi, trial) in enumerate(zip(facts.group_names, assembly.trials, strict=True))
    ]
    study.set_user_attr(PER_ROI, {"folder": str(folder), "trials": len(complete), "rois": rois})


def _check_all_here(study: Study, complete: Sequence[FrozenTrial], rows: RoiRows) -> None:
    """Workers without a common disk each keep rows of their own trials alone."""
    means = [trial.user_attrs[PER_ROI][VALIDATION] for trial in complete]
    for group, known in enumerate(zip(*means, strict=True)):
        best = max(map(_order, known))
        kept = rows.read(group)
        if kept is None or _order(kept["validation"]) < best:
            raise InputError(
                f"--per_roi: {rows.folder / ROWS} lacks rows of study {study.study_name} that another machine has "
                "kept; run the workers of such a study on one shared disk"
            )
