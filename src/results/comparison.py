"""`calcarine compare`: what a run predicts better than another, target by target and ROI by ROI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..evaluation.differences import ALPHA, MeanDifference, Paired, adjusted, paired_means, paired_targets
from ..evaluation.scores import ALL, BOTH, groups_of
from ..evaluation.summary import FEW_STIMULI
from ..names import TEST
from ..recording import Recording
from .held_out import common_split, read_held_out
from .responses import read_each
from .run_folder import FinishedRun, run_names
from .shared_stimuli import Shared, share


@dataclass(frozen=True)
class RoiRow:
    """One ROI, hemisphere or subject of one comparison; a figure is None where no target has a correlation.

    Args:
        run: The run that is compared with the first.
        subject: The subject.
        hemisphere: "lh", "rh", "" or "both".
        roi: A ROI's name, or "all".
        n_targets: How many targets it has.
        first: Mean correlation of the first run.
        second: Of the other.
        difference: The other's less the first's.
        low: Lower end of the difference's 95 % interval.
        high: Upper end.
        better: Targets that the other predicts better, at the accepted rate of false discoveries.
        worse: That it predicts worse.
    """

    run: str
    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    better: int
    worse: int


@dataclass(frozen=True)
class TargetRow:
    """One target of one comparison; NaN is unknown.

    Args:
        run: The run that is compared with the first.
        subject: The subject.
        hemisphere: "lh", "rh" or "".
        target: Its number in the subject, from 0.
        first: Correlation of the first run.
        second: Of the other.
        difference: The other's less the first's.
        p: Of no difference.
        q: p adjusted for the number of targets: `adjusted`.
    """

    run: str
    subject: str
    hemisphere: str
    target: int
    first: float
    second: float
    difference: float
    p: float
    q: float


@dataclass(frozen=True)
class ComparedSubject:
    """One subject of a comparison.

    Args:
        recording: The subject.
        n_stimuli: On how many stimuli the runs are compared.
        paired: The targets.
        q: float64 (T,), their p-values adjusted for all targets of the comparison.
        means: Of each group of `groups_of(recording)`.
    """

    recording: Recording
    n_stimuli: int
    paired: Paired
    q: np.ndarray
    means: Sequence[MeanDifference | None]

    @property
    def better(self) -> np.ndarray:
        """Targets that the second run predicts better, bool (T,)."""
        return (self.q <= ALPHA) & (self.paired.difference > 0)

    @property
    def worse(self) -> np.ndarray:
        """Targets that it predicts worse, bool (T,)."""
        return (self.q <= ALPHA) & (self.paired.difference < 0)


@dataclass(frozen=True)
class Comparison:
    """A run beside the first.

    Args:
        first: Name of the first run.
        second: Name of the other.
        split: What they are compared on.
        subjects: In the first run's order.
        notes: What a reader must know before believing it, a sentence each.
    """

    first: str
    second: str
    split: str
    subjects: Sequence[ComparedSubject]
    notes: Sequence[str]

    @cached_property
    def rows(self) -> list[RoiRow]:
        """The table of ROIs."""
        return [
            RoiRow(
                self.second, each.recording.subject, hemisphere, roi, len(members),
                *((None,) * 5 if mean is None else (mean.first, mean.second, mean.difference, mean.low, mean.high)),
                better=int(each.better[members].sum()), worse=int(each.worse[members].sum()),
            )
            for each in self.subjects
            for (hemisphere, roi, members), mean in zip(groups_of(each.recording), each.means, strict=True)
        ]  # fmt: skip

    @property
    def targets(self) -> list[TargetRow]:
        """The table of targets."""
        return [
            TargetRow(self.second, each.recording.subject, str(hemisphere), target, *figures)
            for each in self.subjects
            for target, (hemisphere, *figures) in enumerate(
                zip(
                    each.recording.hemispheres,
                    each.paired.first.tolist(),
                    each.paired.second.tolist(),
                    each.paired.difference.tolist(),
                    each.paired.p.tolist(),
                    each.q.tolist(),
                    strict=True,
                )
            )
        ]

    def headline(self) -> str:
        """One line per subject for people."""
        whole = [row for row in self.rows if (row.hemisphere, row.roi) == (BOTH, ALL)]
        return "\n".join(f"{row.subject}: {self._told(row)}" for row in whole)

    def _told(self, row: RoiRow) -> str:
        if row.difference is None or row.low is None or row.high is None:
            return "no target has a correlation"
        figures = f"{row.difference:+.3f} (95 % interval {row.low:+.3f} to {row.high:+.3f})".replace("-", "−")
        doubt = "; no difference is shown" if row.low <= 0 <= row.high else ""
        counts = f"{row.better:,} of {row.n_targets:,} targets better, {row.worse:,} worse"
        return f"{self.second} less {self.first} {figures}{doubt}; {counts}"


def compare_runs(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Compare every run with the first.

    Args:
        runs: Two or more.

    Raises:
        InputError: Runs have no stimuli or responses in common, or their data are no longer there.
    """
    names = run_names(runs)
    split = common_split(runs)
    held = [read_held_out(run, recordings, split) for run, recordings in zip(runs, read_each(runs), strict=True)]
    beside = [run.beside for run in runs]
    return [
        _compared(
            share(held[0], other, (names[0], name)), names[0], name, split, _beside_note(names[0], beside[0], name, own)
        )
        for name, other, own in zip(names[1:], held[1:], beside[1:], strict=True)
    ]


def _beside_note(first: str, first_beside: bool, second: str, second_beside: bool) -> list[str]:
    """What is to be known where one run alone has inputs beside the image."""
    if first_beside == second_beside:
        return []
    having, other = (first, second) if first_beside else (second, first)
    return [
        f"{having} has inputs beside the image (--data.beside), {other} sees the image alone: what is compared is not "
        "how well they predict images."
    ]


def _compared(shared: Sequence[Shared], first: str, second: str, split: str, known: Sequence[str]) -> Comparison:
    paired = [paired_targets(each.first, each.second, each.responses) for each in shared]
    q = adjusted(np.concatenate([each.p for each in paired]))
    starts = np.cumsum([0, *(len(each.p) for each in paired)])
    subjects = [
        ComparedSubject(each.recording, len(each.responses), own, q[start : start + len(own.p)], _means(each, own))
        for each, own, start in zip(shared, paired, starts[:-1].tolist(), strict=True)
    ]
    notes = [*known, *(note for each in shared for note in each.notes)]
    if split != TEST:
        notes.append(
            f"Not all runs have a test split: they are compared on the {split} split, which training has seen."
        )
    fewest = min(each.n_stimuli for each in subjects)
    if fewest < FEW_STIMULI:
        notes.append(f"Compared over {fewest} stimuli only, which is little: a difference must be large to be shown.")
    return Comparison(first, second, split, subjects, notes)


def _means(shared: Shared, paired: Paired) -> list[MeanDifference | None]:
    named = groups_of(shared.recording)
    groups = np.zeros((shared.recording.num_targets, len(named)), dtype=bool)
    for column, (_, _, members) in enumerate(named):
        groups[members, column] = True
    return paired_means(shared.first, shared.second, shared.responses, groups, paired)
