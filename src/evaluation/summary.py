"""Summary: one run in a few numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..recording import Recording
from .scores import ALL, BOTH, ScoreRow, TargetScores
from .scoring import Scoring, scoring_of

FEW_STIMULI = 20
"""Below so many test stimuli every figure is uncertain, and the headline says so."""


@dataclass(frozen=True)
class Summary:
    """How well a run predicts, over all scored targets of all subjects in one split.

    Args:
        split: "test" where it has responses, else "validation".
        n_stimuli: Stimuli in the split, of all subjects.
        n_targets: Targets of all subjects.
        n_scored: Those whose response varies; every mean is over these.
        correlation: Mean Pearson correlation, NaN where no target is scored.
        scoring: Which challenge's `score` is.
        interval: Its 95 % interval.
        fewest_stimuli: How many were measured of the subject that has fewest.
        noise_ceiling: Mean share of variance that a perfect model explains, where known.
        ceiling_correlation: Mean correlation of a perfect model, the mean of the ceilings' square roots.
        explained: Correlation over ceiling correlation, both means over targets with a ceiling over 0.
        score: The challenge's score, None where no noise ceiling is known.
        figures: The run's pictures by name.
        about: Which data and which model these are, in a few words.
        controls: Which controls it beats and which not, in a few words.
        beside: What it has beside the image, and how well it predicts without, in a few words.
        curve: With how many training stimuli its trained trunk gains, in a few words.
        seen_before: Stimuli of the split that its trained trunk has seen.
    """

    split: str
    n_stimuli: int
    n_targets: int
    n_scored: int
    correlation: float
    scoring: Scoring
    interval: tuple[float, float] | None = None
    fewest_stimuli: int | None = None
    noise_ceiling: float | None = None
    ceiling_correlation: float | None = None
    explained: float | None = None
    score: float | None = None
    figures: Mapping[str, Path] = field(default_factory=dict)
    about: str = ""
    controls: str = ""
    beside: str = ""
    curve: str = ""
    seen_before: int = 0

    @property
    def caution(self) -> str:
        """What to know before believing the correlation; "" where there is nothing."""
        cautions = []
        if self.fewest_stimuli is not None and self.fewest_stimuli < FEW_STIMULI:
            noun = "stimulus" if self.fewest_stimuli == 1 else "stimuli"
            cautions.append(f"over {self.fewest_stimuli} {noun} only, which is little")
        if self.seen_before:
            cautions.append(f"with {self.seen_before:,} of {self.n_stimuli:,} stimuli not new to its trunk")
        return ", ".join(cautions)

    def headline(self) -> str:
        """One line for people."""
        line = f"{self.split} correlation {self.correlation:.3f}"
        if self.interval is not None:
            line += f" (95 % interval {self.interval[0]:.3f} to {self.interval[1]:.3f})"
        if self.caution:
            line += f" {self.caution}"
        if self.noise_ceiling is None or self.ceiling_correlation is None:
            line += ", noise ceiling unknown"
        else:
            line += f", noise ceiling {self.noise_ceiling:.2f} of variance (correlation {self.ceiling_correlation:.3f})"
        if self.score is not None:
            line += f", {self.scoring.text(self.score)}"
        return "; ".join(filter(None, (line, self.beside, self.controls, self.curve, self.about)))


def summarise(
    split: str, n_stimuli: int, rows: Sequence[ScoreRow], subjects: Sequence[tuple[Recording, TargetScores]]
) -> Summary:
    """Pool the subjects of one split.

    Args:
        split: Name of the split.
        n_stimuli: Stimuli of all subjects together.
        rows: All rows of this split; the pooled interval comes from those of the whole subjects.
        subjects: Each subject's recording, all of one format, and its targets' scores.
    """
    pearson = np.concatenate([scores.pearson for _, scores in subjects])
    ceiling = np.concatenate([scores.noise_ceiling for _, scores in subjects])
    scored = ~np.isnan(pearson)
    known = scored & ~np.isnan(ceiling)
    explainable = known & (ceiling > 0)
    scoring = scoring_of(subjects[0][0])
    explained = pearson[explainable].sum() / np.sqrt(ceiling[explainable]).sum() if explainable.any() else None
    return Summary(
        split=split,
        n_stimuli=n_stimuli,
        n_targets=len(pearson),
        n_scored=int(scored.sum()),
        correlation=float(pearson[scored].mean()) if scored.any() else math.nan,
        scoring=scoring,
        interval=pooled_interval(
            [
                (row.n_scored, row.pearson_mean, row.pearson_ci_low, row.pearson_ci_high)
                for row in rows
                if row.hemisphere == BOTH and row.roi == ALL
            ]
        ),
        fewest_stimuli=min(int(scores.n.max(initial=0)) for _, scores in subjects),
        noise_ceiling=float(ceiling[known].mean()) if known.any() else None,
        ceiling_correlation=float(np.sqrt(ceiling[known]).mean()) if known.any() else None,
        explained=None if explained is None else float(explained),
        score=scoring.overall([(each, scores.pearson, scores.noise_ceiling) for each, scores in subjects]),
    )


def pooled_interval(
    subjects: Sequence[tuple[int, float | None, float | None, float | None]],
) -> tuple[float, float] | None:
    """Interval of the mean over the subjects' scored targets; None where one of them has none.

    The subjects' stimuli are resampled independently, so the distances from the mean add in quadrature.

    Args:
        subjects: Of each its scored targets, their mean, and the ends of its interval.
    """
    subjects = [each for each in subjects if each[0]]
    total = sum(each[0] for each in subjects)
    mean, below, above = 0.0, 0.0, 0.0
    for count, own, low, high in subjects:
        if own is None or low is None or high is None:
            return None
        weight = count / total
        mean += weight * own
        below += (weight * (own - low)) ** 2
        above += (weight * (high - own)) ** 2
    return (mean - math.sqrt(below), mean + math.sqrt(above)) if subjects else None
