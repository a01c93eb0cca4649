"""RidgeModule: the linear head in closed form, from one pass over the data."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ..batch import Batch, FeatureShapes
from ..errors import InputError
from .encoding import EncodingModule
from .gram import assign_folds
from .heads.base import flatten
from .heads.linear import LinearHead
from .penalties import sort_penalties
from .ridge import RidgeFit
from .ridge_data import KeptRows, SummedRows, keep_rows

log = logging.getLogger(__name__)

EXPLAINED = 0.01  # cross-validated R² above which a target is said to be explained at all
AT_EDGE = 0.1  # share of these targets at an end of the penalties from which on more penalties are advised


@dataclass(frozen=True)
class _Recording:
    """One subject's part of the training split: its fit is the one it would have alone.

    Args:
        stimuli: Positions of its training stimuli, ascending, int64 (N,).
        targets: Its columns among all targets.
        rows: What is kept of its batches.
    """

    stimuli: Tensor
    targets: slice
    rows: SummedRows | KeptRows

    def update(self, stimulus: Tensor, features: Tensor, responses: Tensor) -> None:
        """Add the stimuli of a batch that are this recording's."""
        own = (stimulus >= self.stimuli[0]) & (stimulus <= self.stimuli[-1])
        row = torch.searchsorted(self.stimuli, stimulus[own])
        self.rows.update(features[own], responses[own, self.targets], row)


class RidgeModule(EncodingModule):
    """Ridge regression from features to responses, its penalties chosen by cross-validation on the training split.

    Minimises ‖Y − XW' − b‖² + penalty ‖W‖² over standardised features and responses; the intercept is not penalised.
    One epoch is run, whatever --trainer.max_epochs says: it gathers Gram matrices, or the stimuli themselves where
    features are many, and at its end weights and biases are solved for. The result is the artefact of a trained
    LinearHead, and its checkpoint loads as one.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        penalties: The candidates. They stand beside a sum over stimuli of squared errors, as scikit-learn's and
            himalaya's `alpha`, for features of unit variance: N stimuli and D features have a scatter of N D in all,
            and the best penalty is often between 0.001 and 0.1 of it.
        selection: Choose one penalty for each target, for each ROI, or for all targets of a subject. Targets in
            several ROIs count with the smallest.
        folds: Folds of the cross-validation; 0 chooses by generalised cross-validation.

    Raises:
        InputError: The data serve images, or a penalty or the number of folds is out of range.
    """

    penalty: Tensor

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        penalties: Sequence[float] = (1e1, 5e1, 2e2, 1e3, 5e3, 2e4, 1e5, 5e5, 2e6, 1e7),
        selection: Literal["target", "roi", "all"] = "target",
        folds: int = 5,
    ) -> None:
        if feature_shapes is None:
            raise InputError("--data.encoder: RidgeModule needs features, and the data serve images; set an encoder")
        super().__init__(num_targets, feature_shapes)
        sort_penalties(penalties, torch.device("cpu"))  # refuses what is not a penalty
        if folds < 0 or folds == 1:
            raise InputError(f"--model.folds {folds}: expected 2 or more, or 0 for generalised cross-validation")
        self.penalties = list(penalties)
        self.selection = selection
        self.folds = folds
        self.automatic_optimization = False
        # Not in the state dict, which is a linear head's; NaN until solved.
        self.register_buffer("penalty", torch.full((num_targets,), torch.nan), persistent=False)
        self.recordings: list[_Recording] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return []

    def on_train_start(self) -> None:
        if not self.penalty.isnan().any():
            self.trainer.should_stop = True  # a resumed run that had been solved

    def on_train_epoch_start(self) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        positions = data.positions("train")
        recording_of, _ = data.locate(positions)
        own = [positions[recording_of == index] for index in range(len(data.recordings))]
        self.recordings = [
            self._recording(torch.from_numpy(stimuli), data.targets_of(index), data.seed)
            for index, stimuli in enumerate(own)
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # sums and solutions keep their digits
            features = flatten(self._features(batch))  # (batch, D)
            responses = self.standardize_responses(batch.response)
            for recording in self.recordings:
                recording.update(batch.stimulus, features, responses)
            if self.trainer.is_last_batch:  # validation comes before the epoch's end
                self._solve()

    def on_train_epoch_end(self) -> None:
        self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["penalty"] = self.penalty

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "penalty" in checkpoint:
            self.penalty.copy_(checkpoint["penalty"])

    def _recording(self, stimuli: Tensor, targets: slice, seed: int) -> _Recording:
        """The folds are dealt to the stimuli in their order on disk: batches and ranks do not change them."""
        count, num_targets = len(stimuli), targets.stop - targets.start
        fold = assign_folds(count, self.folds, seed) if self.folds else torch.zeros(count, dtype=torch.int64)
        rows = keep_rows(fold.to(self.device), max(self.folds, 1), self.head.num_features, num_targets)
        return _Recording(stimuli.to(self.device), targets, rows)

    @torch.no_grad()
    def _solve(self) -> None:
        assert isinstance(self.head, LinearHead)
        start = time.perf_counter()
        explained = torch.empty(self.head.num_targets, dtype=torch.float64, device=self.device)
        for recording in self.recordings:
            if self.trainer.world_size > 1:
                for tensor in recording.rows.sums():
                    torch.distributed.all_reduce(tensor)
            targets = recording.targets
            fit: RidgeFit = recording.rows.fit(self.penalties, self._groups(targets))
            self.head.weight[targets] = fit.weight.to(self.head.weight.dtype)
            self.head.bias[targets] = fit.bias.to(self.head.bias.dtype)
            self.penalty[targets] = fit.penalty.float()
            explained[targets] = fit.cv_r2
        self.recordings.clear()
        # The solution is one step: Lightning writes no checkpoint of a run that has made none.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self._report(explained, time.perf_counter() - start)

    def _groups(self, targets: slice) -> Tensor | None:
        """Targets that share a penalty, int64 (T,); None where each has its own."""
        if self.selection == "target":
            return None
        groups = self.facts.groups[targets].to(self.device)
        return groups if self.selection == "roi" else torch.zeros_like(groups)

    def _report(self, explained: Tensor, seconds: float) -> None:
        """Say which penalties were chosen, and whether they were wide enough.

        A target that nothing explains takes the largest penalty however large that is, so it is not counted.

        Args:
            explained: Cross-validated R², (num_targets,); NaN where a target does not vary.
            seconds: What the solution took.
        """
        chosen, counted = self.penalty, explained > EXPLAINED
        ends = chosen.new_tensor([min(self.penalties), max(self.penalties)])
        at_edge = (chosen[counted, None] == ends).sum(0) / counted.sum().clamp_min(1)  # (2,)
        figures = {
            "ridge/log10_penalty": chosen.log10().mean(),
            "ridge/at_edge": at_edge.sum(),
            "ridge/cross_validated_r2": explained.nanmean(),
        }
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        if not self.trainer.is_global_zero:
            return
        log.info(
            "ridge: solved in %.1f s; median penalty %.3g, mean cross-validated R² %.3f",
            seconds,
            chosen.median(),
            explained.nanmean(),
        )
        for share, end, beyond in zip(at_edge.tolist(), ends.tolist(), ("smaller", "larger"), strict=True):
            if share > AT_EDGE and len(self.penalties) > 1:
                log.warning(
                    "ridge: %.0f %% of the targets that it explains chose %g, the end of --model.penalties; "
                    "give it %s ones too",
                    100 * share,
                    end,
                    beyond,
                )
