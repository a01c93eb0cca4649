"""Scores: how well each target is predicted, and the same per ROI and hemisphere with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..names import HEMISPHERES
from ..recording import Recording
from .interval import ROUNDING, interval, means_without
from .scoring import NOISE_NORMALISED, Scoring, scoring_of

ALL, BOTH = "all", "both"

_BLOCK_ELEMENTS = 2**20


@dataclass(frozen=True)
class TargetScores:
    """Figures of each target, float64 (T,), NaN where undefined.

    `pearson`, `r2` and `explained_variance` are undefined where the response does not vary; a constant prediction of
    a varying response has a Pearson correlation of 0. `score` is what the challenge's scoring makes of a target,
    undefined where the ceiling is unknown or 0.

    Args:
        n: Measured stimuli, int64 (T,).
        noise_ceiling: Share of variance from 0 to 1.
    """

    n: np.ndarray
    pearson: np.ndarray
    r2: np.ndarray
    explained_variance: np.ndarray
    mse: np.ndarray
    rmse: np.ndarray
    mae: np.ndarray
    smooth_l1: np.ndarray
    noise_ceiling: np.ndarray
    score: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """The targets that have a correlation, bool (T,); all means are over these."""
        return ~np.isnan(self.pearson)


@dataclass(frozen=True)
class ScoreRow:
    """One row of `scores.csv`; a figure is None where it is unknown. Fields stand in the table's order."""

    split: str
    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    n_scored: int
    pearson_mean: float | None
    pearson_median: float | None
    pearson_ci_low: float | None
    pearson_ci_high: float | None
    r2_mean: float | None
    explained_variance_mean: float | None
    mse: float | None
    rmse: float | None
    mae: float | None
    smooth_l1: float | None
    noise_ceiling_mean: float | None
    score: float | None


def target_scores(
    predictions: np.ndarray,
    responses: np.ndarray,
    noise_ceiling: np.ndarray | None = None,
    scoring: Scoring = NOISE_NORMALISED,
) -> TargetScores:
    """Score each target.

    Args:
        predictions: (n, T), may be a memory map.
        responses: (n, T), NaN where not measured.
        noise_ceiling: Share of variance (T,), NaN where unknown.
        scoring: What makes the targets' scores.
    """
    n, num_targets = responses.shape
    if predictions.shape != responses.shape:
        raise ValueError(f"predictions {predictions.shape} and responses {responses.shape} differ in shape")
    block = max(_BLOCK_ELEMENTS // max(n, 1), 1)  # float64 copies of so many targets at a time
    blocks = [slice(start, start + block) for start in range(0, num_targets, block)] or [slice(0)]
    figures = [_figures(predictions[:, columns], responses[:, columns]) for columns in blocks]
    joined = {name: np.concatenate([figure[name] for figure in figures]) for name in figures[0]}
    ceiling = np.full(num_targets, np.nan) if noise_ceiling is None else noise_ceiling.astype(np.float64)
    return TargetScores(**joined, noise_ceiling=ceiling, score=scoring.of_targets(joined["pearson"], ceiling))


def _figures(predictions: np.ndarray, responses: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of some targets (n, t) in float64, each (t,), by two passes over the centred values."""
    missing = np.isnan(responses)
    count = (~missing).sum(axis=0)
    y = np.where(missing, 0.0, responses.astype(np.float64))  # (n, t)
    p = np.where(missing, 0.0, predictions.astype(np.float64))
    error = p - y
    absolute = np.abs(error)
    quadratic = np.minimum(absolute, 1)  # smooth L1 is e²/2 up to 1 and |e| − 1/2 beyond
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):

        def centred(values: np.ndarray) -> np.ndarray:
            return np.where(missing, 0.0, values - values.sum(axis=0) / count)

        def mean_square(values: np.ndarray) -> np.ndarray:
            return np.einsum("nt,nt->t", values, values) / count

        dy, dp = centred(y), centred(p)
        variance_y, variance_p, mse = mean_square(dy), mean_square(dp), mean_square(error)
        y_varies = variance_y > ROUNDING**2 * mean_square(y)
        p_constant = variance_p <= ROUNDING**2 * mean_square(p)
        covariance = np.einsum("nt,nt->t", dy, dp) / count
        pearson = np.where(p_constant, 0.0, np.clip(covariance / np.sqrt(variance_y * variance_p), -1, 1))
        return {
            "n": count,
            "pearson": np.where(y_varies, pearson, np.nan),
            "r2": np.where(y_varies, 1 - mse / variance_y, np.nan),
            "explained_variance": np.where(y_varies, 1 - mean_square(centred(error)) / variance_y, np.nan),
            "mse": mse,
            "rmse": np.sqrt(mse),
            "mae": absolute.sum(axis=0) / count,
            "smooth_l1": (quadratic * (absolute - quadratic / 2)).sum(axis=0) / count,
        }


def score_rows(
    recording: Recording,
    split: str,
    predictions: np.ndarray,
    responses: np.ndarray,
    targets: TargetScores | None = None,
) -> list[ScoreRow]:
    """Rows of `scores.csv` for one subject and split: each ROI, all targets of each hemisphere, all targets.

    All means are over the targets that have a correlation; the score of all targets is the challenge's, which may go
    over ROIs (`scoring_of`). The interval is the mean Pearson correlation's, where there are
    three stimuli or more (`interval`).

    Args:
        recording: Whose targets these are.
        split: Name of the split.
        predictions: (n, T).
        responses: (n, T), NaN where not measured.
        targets: `target_scores` of the same arrays, where already computed.
    """
    scoring = scoring_of(recording)
    if targets is None:
        targets = target_scores(predictions, responses, recording.noise_ceiling, scoring)
    named = groups_of(recording)
    groups = np.zeros((recording.num_targets, len(named)), dtype=bool)
    for column, (_, _, members) in enumerate(named):
        groups[members, column] = True
    without = means_without(predictions, responses, groups & targets.scored[:, None])
    rows = [
        _row((split, recording.subject, hemisphere, roi), targets, groups[:, column], without[:, column])
        for column, (hemisphere, roi, _) in enumerate(named)
    ]
    overall = scoring.overall([(recording, targets.pearson, targets.noise_ceiling)])
    return [*rows[:-1], replace(rows[-1], score=overall)]


def groups_of(recording: Recording) -> Sequence[tuple[str, str, np.ndarray]]:
    """Hemisphere, name and target indices of each row of a table: the ROIs and all targets of each hemisphere."""
    groups = []
    for hemisphere in (*HEMISPHERES, ""):
        groups += [(hemisphere, roi.name, roi.targets) for roi in recording.rois if roi.hemisphere == hemisphere]
        members = np.flatnonzero(recording.hemispheres == hemisphere)
        if hemisphere and len(members):
            groups.append((hemisphere, ALL, members))
    return [*groups, (BOTH, ALL, np.arange(recording.num_targets))]


def mean_known(values: np.ndarray) -> float | None:
    """Mean of the values that are known, in float64; None where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def _row(key: tuple[str, str, str, str], targets: TargetScores, members: np.ndarray, without: np.ndarray) -> ScoreRow:
    scored = members & targets.scored

    def mean(values: np.ndarray) -> float | None:
        return mean_known(values[scored])

    pearson = mean(targets.pearson)
    low, high = (None, None) if pearson is None else interval(pearson, without) or (None, None)
    return ScoreRow(
        *key,
        n_targets=int(members.sum()),
        n_scored=int(scored.sum()),
        pearson_mean=pearson,
        pearson_median=float(np.median(targets.pearson[scored])) if scored.any() else None,
        pearson_ci_low=low,
        pearson_ci_high=high,
        r2_mean=mean(targets.r2),
        explained_variance_mean=mean(targets.explained_variance),
        mse=mean(targets.mse),
        rmse=mean(targets.rmse),
        mae=mean(targets.mae),
        smooth_l1=mean(targets.smooth_l1),
        noise_ceiling_mean=mean(targets.noise_ceiling),
        score=mean(targets.score),
    )
