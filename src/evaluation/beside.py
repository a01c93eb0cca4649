"""A run with inputs beside the image, and the same model with their training mean in their place: `beside.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .controls import known, mean_differences
from .predicted import SplitPredictions, scored
from .report import HEMISPHERE_NAMES, Table, interval_text, number
from .scores import ALL, BOTH
from .summary import pooled_interval

BESIDE = "beside.csv"


@dataclass(frozen=True)
class Beside:
    """What a model has beside the image, and what it predicts without.

    Args:
        layers: Such as "beside:previous".
        splits: Its predictions with the training mean in their place, of each subject and split of the run.
    """

    layers: Sequence[str]
    splits: Sequence[SplitPredictions]

    @property
    def names(self) -> str:
        """The inputs, for people."""
        return ", ".join(layer.partition(":")[2] for layer in self.layers)


@dataclass(frozen=True)
class BesideRow:
    """One row of `beside.csv`; a figure is None where it is unknown. Fields stand in the table's order.

    Args:
        split: As in `scores.csv`, and so the next nine.
        subject: See there.
        hemisphere: See there.
        roi: See there.
        n_targets: See there.
        n_scored: See there.
        pearson_mean: See there.
        pearson_ci_low: See there.
        pearson_ci_high: See there.
        score: See there.
        image_alone_mean: Mean correlation with the training mean in place of the inputs beside the image.
        image_alone_ci_low: Lower end of its 95 % interval.
        image_alone_ci_high: Upper end.
        image_alone_score: The same of the score.
        difference: What the inputs add to the mean correlation.
        difference_ci_low: Lower end of the 95 % interval of the paired difference.
        difference_ci_high: Upper end.
    """

    split: str
    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    n_scored: int
    pearson_mean: float | None
    pearson_ci_low: float | None
    pearson_ci_high: float | None
    score: float | None
    image_alone_mean: float | None
    image_alone_ci_low: float | None
    image_alone_ci_high: float | None
    image_alone_score: float | None
    difference: float | None
    difference_ci_low: float | None
    difference_ci_high: float | None


def beside_rows(parts: Sequence[SplitPredictions], beside: Beside) -> list[BesideRow]:
    """Rows of `beside.csv`: those of `scores.csv` of one split.

    Args:
        parts: What the run predicts, one per subject.
        beside: What it predicts of the image alone.
    """
    alone = {(each.recording.subject, each.split): each for each in beside.splits}
    rows = []
    for part in parts:
        other = alone[part.recording.subject, part.split]
        both = zip(scored(part)[1], scored(other)[1], mean_differences(part, other), strict=True)
        rows += [
            BesideRow(
                row.split, row.subject, row.hemisphere, row.roi, row.n_targets, row.n_scored,
                row.pearson_mean, row.pearson_ci_low, row.pearson_ci_high, row.score,
                without.pearson_mean, without.pearson_ci_low, without.pearson_ci_high, without.score,
                *((None,) * 3 if mean is None else map(known, (mean.difference, mean.low, mean.high))),
            )
            for row, without, mean in both
        ]  # fmt: skip
    return rows


@dataclass(frozen=True)
class BesideSummary:
    """What inputs beside the image add, over all scored targets of all subjects.

    Args:
        names: The inputs, for people.
        split: In which.
        correlation: With them.
        image_alone: Without.
        interval: 95 %, of the difference; None where unknown.
    """

    names: str
    split: str
    correlation: float
    image_alone: float
    interval: tuple[float, float] | None

    def short(self) -> str:
        """For the line that a run ends with."""
        return f"with inputs beside the image ({self.names}; without {number(self.image_alone)})"

    def sentence(self) -> str:
        """What the reader must know before trusting the numbers."""
        ends = "" if self.interval is None else f" (95 % interval {interval_text(*self.interval)})"
        return (
            f"The model has inputs beside the image ({self.names}), which its scores and figures count, and which mean "
            f"nothing for new images: the mean {self.split} correlation is {number(self.correlation)} with them and "
            f"{number(self.image_alone)} with their training mean in their place, a difference of "
            f"{number(self.correlation - self.image_alone)}{ends}."
        )


def summary_of(rows: Sequence[BesideRow], beside: Beside) -> BesideSummary | None:
    """Pooled over subjects; None where no target is scored."""
    whole = [row for row in rows if (row.hemisphere, row.roi) == (BOTH, ALL) and row.n_scored]
    total = sum(row.n_scored for row in whole)
    if not total:
        return None
    correlation = sum(row.n_scored * (row.pearson_mean or 0.0) for row in whole) / total
    image_alone = sum(row.n_scored * (row.image_alone_mean or 0.0) for row in whole) / total
    ends = [(row.n_scored, row.difference, row.difference_ci_low, row.difference_ci_high) for row in whole]
    return BesideSummary(beside.names, whole[0].split, correlation, image_alone, pooled_interval(ends))


def beside_table(rows: Sequence[BesideRow]) -> Table | None:
    """The report's table; None where there are no such inputs."""
    if not rows:
        return None
    hidden = 0 if len({row.subject for row in rows}) > 1 else 1
    scores = any(row.score is not None for row in rows)
    lines = [
        [
            *[row.subject, HEMISPHERE_NAMES.get(row.hemisphere, row.hemisphere), row.roi][hidden:],
            f"{row.n_scored:,}", number(row.pearson_mean), interval_text(row.pearson_ci_low, row.pearson_ci_high),
            number(row.image_alone_mean), interval_text(row.image_alone_ci_low, row.image_alone_ci_high),
            number(row.difference), interval_text(row.difference_ci_low, row.difference_ci_high),
            *([number(row.score, 2), number(row.image_alone_score, 2)] if scores else []),
        ]
        for row in rows
    ]  # fmt: skip
    heads = [
        *["subject", "hemisphere", "ROI"][hidden:],
        "targets scored", "r with", "95 % interval", "r without", "95 % interval", "difference", "95 % interval",
        *(["score with", "score without"] if scores else []),
    ]  # fmt: skip
    captions = [
        "One model, evaluated twice on the same stimuli: with its inputs beside the image, and with their training "
        "mean in their place, which is all that there is for new images; beside.csv has the numbers. A model that "
        "never had them may predict more of the image than this one does without: train it without --data.beside, as "
        "--controls true does.",
    ]
    return Table(heads, lines, 3 - hidden, captions)
