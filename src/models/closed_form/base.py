"""ClosedFormModule: what is solved from one pass over the data."""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...batch import Batch, Facts, Features, FeatureShapes, flatten
from ...errors import InputError
from ...findings import Findings
from ..demand import ModelDemand, ridge_from_rows, size_of
from ..heads.base import Head
from ..heads.linear import LinearHead
from ..heads.stored import StoredHead
from ..heads.subjects import SubjectHeads
from ..regression.gram import assign_folds, check_training
from ..regression.linear_fit import LinearFit
from ..regression.penalties import Selection, sort_penalties
from .components import ResponseComponents
from .gathered import SummedRows, WholeRows
from .solved import SolvedModule

log = logging.getLogger(__name__)

Gathered = TypeVar("Gathered", bound=SummedRows | WholeRows)

LEAST_R2 = 0.01  # cross-validated, above which a target is said to be explained at all
AT_EDGE = 0.1  # share of these targets at an end of the penalties from which on more penalties are advised


@dataclass
class _Recording(Generic[Gathered]):
    """One subject's part of the training split: its fit is the one it would have alone.

    Args:
        stimuli: Positions of its training stimuli, ascending, int64 (N,).
        targets: Its columns among all targets.
        rows: What is kept of its batches.
        components: What is fitted in place of its targets; None where they are.
        served: Whether there was one.
    """

    stimuli: Tensor
    targets: slice
    rows: Gathered
    components: ResponseComponents | None = None
    served: bool = False

    def update(self, stimulus: Tensor, features: Tensor, responses: Tensor) -> None:
        """Add a batch of this recording, of its standardised responses."""
        if self.components is not None:
            responses = self.components.of(responses)
        self.rows.update(features, responses, torch.searchsorted(self.stimuli, stimulus))
        self.served = True


class ClosedFormModule(SolvedModule, Generic[Gathered]):
    """Base of the models that gather one epoch of batches and then solve.

    The last training batch solves, so that validation and all that follows see an ordinary head with its weights. A
    subclass says what it gathers, and writes `keep` and `fit`;
    most are a `WholeRowsModule`, which has the first.

    With --data.response_components those are fitted in place of the targets, each with a choice of its own (or all with
    one), and a linear head's weights are mapped back: what is left is the head of the targets.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        penalties: The candidates for the strength of the regularisation; None for models without one.
        selection: What shares one choice: each target alone, each ROI, or all targets of a subject. Targets in
            several ROIs count with the smallest.
        folds: Folds of the cross-validation; 0 for generalised cross-validation.
        head: From features to responses.

    Raises:
        InputError: The data serve images, or a penalty or the number of folds is out of range.
    """

    penalties_flag: ClassVar[str] = "--model.penalties"
    """Where a user gives the penalties."""

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        penalties: Sequence[float] | None = None,
        selection: Selection = "target",
        folds: int = 5,
        head: Callable[[FeatureShapes, int], Head] = LinearHead,
    ) -> None:
        if feature_shapes is None:
            raise InputError(
                f"--data.encoder: {type(self).__name__} needs features, and the data serve images; set an encoder"
            )
        super().__init__(num_targets, feature_shapes, head)
        if penalties is not None:
            sort_penalties(penalties, torch.device("cpu"), self.penalties_flag)  # refuses what is not a penalty
        if folds < 0 or folds == 1:
            raise InputError(f"--model.folds {folds}: expected 2 or more, or 0 for generalised cross-validation")
        self.penalties = list(penalties or ())
        self.selection: Selection = selection
        self.folds = folds
        self.recordings: list[_Recording[Gathered]] = []

    @abstractmethod
    def fit(self, rows: Gathered, head: Head, groups: Tensor | None) -> Findings:
        """Solve for one recording: write its head, and say what was found.

        It runs without gradients, on every rank alike.

        Args:
            rows: What `keep` made and the epoch filled, with the stimuli of all ranks.
            head: The recording's own, of T targets.
            groups: Targets that share a choice, int64 (T,); None where each has its own.

        Returns:
            Findings of these targets, (T,) each.
        """

    @abstractmethod
    def keep(self, fold: Tensor, num_targets: int) -> Gathered:
        """Where one recording's stimuli are gathered.

        Args:
            fold: Fold of each of its training stimuli, int64 (N,).
            num_targets: Its targets.
        """

    def inputs(self, batch: Batch) -> Tensor:
        """What is gathered of a batch, (batch, D): by default all standardised features side by side."""
        return flatten(self._features(batch))

    def check(self, facts: Facts) -> None:
        super().check(facts)
        if facts.response_components:
            self._check_components(facts)
        elif facts.gaps:
            raise InputError(
                f"--model {type(self).__name__}: expected a measured response of every target to every stimulus, found "
                f"{facts.gaps} that are NaN; train an EncodingModule, or leave out the stimuli or targets"
            )
        if facts.repeated and not self.folds:
            log.warning(
                "--model.folds 0 leaves out one trial at a time and keeps the other trials of its image, so that "
                "penalties come out too small: set --model.folds 5"
            )
        for subject, training in facts.training.items():
            count, images = len(training), facts.repeated.get(subject)
            fold = assign_folds(count, self.folds, images=images) if self.folds else torch.empty(0, dtype=torch.int64)
            check_training(count - max(fold.bincount().tolist(), default=0))

    def _check_components(self, facts: Facts) -> None:
        """Refuse what components of responses cannot be fitted by; where one was not measured they take the mean."""
        if not isinstance(self.heads[0], LinearHead):
            raise InputError(
                f"--data.response_components {facts.response_components}: expected a model that ends in linear "
                f"weights, such as RidgeModule, found {type(self).__name__}; leave it out"
            )
        if self.selection == "roi":
            raise InputError(
                "--model.selection roi: expected target or all with --data.response_components, which are of no ROI"
            )

    def demand(self, facts: Facts) -> ModelDemand:
        made = size_of([*self.parameters(), *self.buffers()])
        subjects = zip(facts.training.values(), facts.subjects.values(), strict=True)
        fitted = facts.response_components
        sizes = [(len(stimuli), fitted or targets.stop - targets.start) for stimuli, targets in subjects]
        gathered = sum(self.gathered_bytes(*size) for size in sizes)
        keeps = any(isinstance(head, StoredHead) for head in self.heads)
        return ModelDemand(
            weights=made,
            made=made,
            gathered=gathered + made,  # the solution stands beside the head until it is written there
            stored=sum(4 * stimuli * (self.num_inputs + targets) for stimuli, targets in sizes) if keeps else 0,
        )

    @property
    def num_inputs(self) -> int:
        """Number D of what `inputs` gives of one stimulus."""
        return self.head.num_features

    def gathered_bytes(self, stimuli: int, targets: int) -> int:
        """Bytes of what is gathered of one recording, and of what solving takes beside it."""
        return ridge_from_rows(stimuli, self.num_inputs, targets, max(self.folds, 1))

    def on_train_epoch_start(self) -> None:
        facts = self.facts
        self.recordings = [
            self._recording(stimuli, targets, facts.seed, facts.repeated.get(subject))
            for (subject, stimuli), targets in zip(facts.training.items(), facts.subjects.values(), strict=True)
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # sums and solutions keep their digits
            inputs = self.inputs(batch)
            responses = self.standardize_responses(batch.response, batch.targets)
            self.recordings[batch.subject].update(batch.stimulus, inputs, responses)
            if self.trainer.is_last_batch:  # validation comes before the epoch's end
                self._solve()

    def _read(self, features: Features, batch: Batch, every_target: bool = False) -> Tensor:
        """Outside of autocast, whatever --trainer.precision says: solved weights cancel; rounded, they mispredict."""
        with torch.autocast(self.device.type, enabled=False):
            return super()._read(features, batch, every_target)

    @property
    def heads(self) -> list[Head]:
        """The head of each recording."""
        return list(self.head.own.values()) if isinstance(self.head, SubjectHeads) else [self.head]

    def _groups(self, recording: _Recording[Gathered]) -> Tensor | None:
        """What `fit` is told of a recording's targets, or of what is fitted in their place."""
        if self.selection == "target":
            return None
        targets = recording.targets
        if recording.components is not None:
            return torch.zeros(recording.components.count, dtype=torch.int64, device=self.device)
        groups = self.facts.groups[targets].to(self.device)
        return groups if self.selection == "roi" else torch.zeros_like(groups)

    def _recording(self, stimuli: Tensor, targets: slice, seed: int, images: Tensor | None) -> _Recording[Gathered]:
        """The folds are dealt to the stimuli in their order on disk: batches and ranks do not change them."""
        count = len(stimuli)
        fold = assign_folds(count, self.folds, seed, images) if self.folds else torch.zeros(count, dtype=torch.int64)
        components, fitted = None, targets.stop - targets.start
        if self.facts.response_basis is not None:
            components = ResponseComponents(self.facts.response_basis[:, targets].to(self.device))
            fitted = components.count
        rows = self.keep(fold.to(self.device), fitted)
        return _Recording(stimuli.to(self.device), targets, rows, components)

    @torch.no_grad()
    def _solve(self) -> None:
        start = time.perf_counter()
        parts: dict[int, Findings] = {}
        told: list[Findings] = []  # of what was fitted, which may be components
        for index, (recording, head) in enumerate(zip(self.recordings, self.heads, strict=True)):
            if not recording.served:  # --trainer.limit_train_batches and fast_dev_run serve some subjects only
                continue
            if self.trainer.world_size > 1:
                for tensor in recording.rows.sums():
                    torch.distributed.all_reduce(tensor)
            groups = self._groups(recording)
            if recording.components is None:
                parts[index] = self.fit(recording.rows, head, groups)
                told.append(parts[index])
                continue
            inner = LinearHead(self.shapes, recording.components.count).to(self.device)
            told.append(self.fit(recording.rows, inner, groups))
            recording.components.map_back(inner, head)
            assert self.facts.response_share is not None
            parts[index] = Findings(component_share=self.facts.response_share[recording.targets].numpy())
        sizes = [recording.targets.stop - recording.targets.start for recording in self.recordings]
        self.recordings.clear()
        some = next(iter(parts.values()))
        self.findings = Findings.joined([parts.get(index) or some.of_nothing(size) for index, size in enumerate(sizes)])
        self.count_as_step()
        self._report(Findings.joined(told), time.perf_counter() - start)

    def _report(self, findings: Findings, seconds: float) -> None:
        """Log the figures of what was fitted, and say them."""
        explained = np.full(0, np.nan) if findings.cv_r2 is None else findings.cv_r2
        known = explained[~np.isnan(explained)]  # a target that does not vary has no R²
        figures: dict[str, float] = {}
        if len(known):
            figures["fit/cross_validated_r2"] = float(known.mean())
        fitted = f"{self.facts.response_components} components " if self.facts.response_components else ""
        said = [
            f"{fitted}solved in {seconds:.1f} s",
            *(f"mean cross-validated R² {known.mean():.3f}" for _ in known[:1]),
        ]
        if findings.penalty is not None:
            with np.errstate(divide="ignore"):  # a penalty of 0 is least squares
                figures["fit/log10_penalty"] = float(np.log10(findings.penalty).mean())
            said.insert(1, f"median penalty {np.median(findings.penalty):.3g}")
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        if not self.trainer.is_global_zero:
            return
        log.info("%s: %s", type(self).__name__, ", ".join(said))
        if findings.penalty is not None and len(explained) and len(self.penalties) > 1:
            self._advise(findings.penalty[explained > LEAST_R2])

    def _advise(self, chosen: np.ndarray) -> None:
        """Say whether the penalties were wide enough.

        Args:
            chosen: Those of the targets that are explained: one that nothing explains takes the largest penalty
                however large that is.
        """
        for end, beyond in ((min(self.penalties), "smaller"), (max(self.penalties), "larger")):
            share = float((chosen == np.float32(end)).mean()) if len(chosen) else 0.0
            if share > AT_EDGE and end > 0:
                log.warning(
                    "%s: %.0f %% of the targets that it explains chose %g, the end of %s; give it %s ones too",
                    type(self).__name__,
                    100 * share,
                    end,
                    self.penalties_flag,
                    beyond,
                )


def place_in(head: Head) -> Tensor | None:
    """Where a fit in float32 may write a linear head's weights, (T, D), so as to hold them once.

    None where the head has another precision.
    """
    assert isinstance(head, LinearHead)
    return head.weight.detach() if head.weight.dtype == torch.float32 else None


def write_linear(head: Head, fit: LinearFit) -> Findings:
    """Put a fit into a recording's linear head, unless it was written there; what it says of its targets."""
    assert isinstance(head, LinearHead)
    if fit.weight.data_ptr() != head.weight.data_ptr():
        head.weight.copy_(fit.weight)
    head.bias.copy_(fit.bias)
    return Findings(penalty=fit.penalty.float().cpu().numpy(), cv_r2=fit.cv_r2.float().cpu().numpy())


class WholeRowsModule(ClosedFormModule[WholeRows]):
    """Base of those that gather the stimuli themselves; see ClosedFormModule."""

    def keep(self, fold: Tensor, num_targets: int) -> WholeRows:
        return WholeRows(fold, max(self.folds, 1), self.num_inputs, num_targets)
