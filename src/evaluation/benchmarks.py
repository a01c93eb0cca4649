"""`benchmarks.csv`: the figures by which the field compares models, beside ours, per ROI."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .challenge import reliability_normalised
from .dissimilarity import ranks_of
from .predicted import SplitPredictions
from .rsa import SEED, Patterns, bounds_between_subjects, distances_measured, patterns_of, reliabilities
from .rsa import similarity as similarity_of
from .scores import TargetScores, groups_of

Scored = tuple[SplitPredictions, TargetScores]


@dataclass(frozen=True)
class BenchmarkRow:
    """One row of `benchmarks.csv`; a figure is None where it is unknown. Fields stand in the table's order.

    Args:
        split: As in `scores.csv`, and so the next three.
        n_targets: Targets of the ROI.
        min_ceiling: Noise ceiling below which targets are left out, a share of variance; None leaves out none.
        n_kept: Targets with a correlation and a noise ceiling over 0, and not below `min_ceiling`.
        normalised_median: Median over these of r / √ceiling.
        brain_score: (median r / median ceiling)² of these, as Brain-Score has it; 0 where the median r is below 0.
        n_stimuli: Scored stimuli.
        rsa: Spearman's correlation of the dissimilarity matrices of predictions and responses.
        rsa_targets: Targets that make the patterns: those with a correlation, and not below `min_ceiling`.
        rsa_stimuli: Stimuli that were compared.
        rsa_seed: By which they were drawn; None where they are all.
        rsa_reliability: Split-half reliability of the responses' matrix.
        rsa_ceiling_low: Lower bound of the noise ceiling between subjects.
        rsa_ceiling_high: Its upper bound.
    """

    split: str
    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    min_ceiling: float | None
    n_kept: int
    normalised_median: float | None
    brain_score: float | None
    n_stimuli: int
    rsa: float | None
    rsa_targets: int
    rsa_stimuli: int
    rsa_seed: int | None
    rsa_reliability: float | None
    rsa_ceiling_low: float | None
    rsa_ceiling_high: float | None


def benchmark_rows(scored: Sequence[Scored], min_ceiling: float | None = None) -> list[BenchmarkRow]:
    """Rows of `benchmarks.csv`: each ROI, and all targets, of each split and subject.

    Subjects tell each other's noise ceiling where a split has the very same stimuli for all of them.

    Args:
        scored: Predictions of each split and subject, and the scores of its targets.
        min_ceiling: A share of variance; None keeps all targets.
    """
    rows: list[BenchmarkRow] = []
    for split in dict.fromkeys(part.split for part, _ in scored):
        own = [each for each in scored if each[0].split == split]
        orders = _common_order([part for part, _ in own])
        found: list[tuple[BenchmarkRow, np.ndarray | None]] = []
        for place, (part, scores) in enumerate(own):
            order, names = np.arange(len(part.stimuli)), _names_of(part)
            if orders is not None:
                order, names = orders[place], _names_of(own[0][0])[orders[0]]
            patterns = patterns_of(part, order, names.tolist())
            found += _of_part(part, scores, patterns, min_ceiling, keep=orders is not None)
        rows += [row for row, _ in found] if orders is None else _with_bounds(found)
    return rows


def check_min_ceiling(least: float | None, flag: str) -> None:
    """Raise InputError where a least noise ceiling is no share of variance.

    Args:
        least: As typed; None where none was.
        flag: By which.
    """
    if least is not None and not 0 <= least <= 1:
        raise InputError(
            f"{flag} {least:g}: expected a noise ceiling as a share of variance, from 0 to 1; 10 % of variance is 0.1"
        )


def _names_of(part: SplitPredictions) -> np.ndarray:
    """The name of each stimulus, str (n,)."""
    return np.asarray(part.recording.stimuli.names)[part.stimuli]


def _common_order(parts: Sequence[SplitPredictions]) -> list[np.ndarray] | None:
    """Orders in which several subjects' stimuli are the same ones, (n,) each; None where they are not."""
    if len(parts) < 2 or len({len(part.stimuli) for part in parts}) > 1:
        return None
    digests = [np.asarray(part.recording.stimuli.digests())[part.stimuli] for part in parts]
    orders = [np.argsort(own, kind="stable") for own in digests]
    same = all(np.array_equal(own[order], digests[0][orders[0]]) for own, order in zip(digests, orders, strict=True))
    return orders if same else None


def _of_part(
    part: SplitPredictions, scores: TargetScores, patterns: Patterns, min_ceiling: float | None, keep: bool
) -> list[tuple[BenchmarkRow, np.ndarray | None]]:
    """Rows of one subject and split, each with the ranks of its measured distances where they are to be kept."""
    compared = scores.scored
    if min_ceiling is not None:
        compared = compared & (scores.noise_ceiling >= min_ceiling)
    kept = compared & (scores.noise_ceiling > 0)
    groups = groups_of(part.recording)
    members = [targets[compared[targets]] for _, _, targets in groups]
    found: list[tuple[BenchmarkRow, np.ndarray | None]] = []
    for (hemisphere, roi, targets), own, reliability in zip(
        groups, members, reliabilities(patterns, members), strict=True
    ):
        explainable = targets[kept[targets]]
        pearson, ceiling = scores.pearson[explainable], scores.noise_ceiling[explainable]
        measured = distances_measured(patterns, own)
        row = BenchmarkRow(
            part.split,
            part.recording.subject,
            hemisphere,
            roi,
            n_targets=len(targets),
            min_ceiling=min_ceiling,
            n_kept=len(explainable),
            normalised_median=_median(reliability_normalised(pearson, ceiling)),
            brain_score=brain_score(pearson, ceiling),
            n_stimuli=len(part.stimuli),
            rsa=_known(similarity_of(patterns, own, measured)),
            rsa_targets=len(own),
            rsa_stimuli=len(patterns.stimuli),
            rsa_seed=SEED if len(patterns.stimuli) < len(part.stimuli) else None,
            rsa_reliability=_known(reliability),
            rsa_ceiling_low=None,
            rsa_ceiling_high=None,
        )
        found.append((row, ranks_of(measured) if keep else None))
    return found


def _with_bounds(found: Sequence[tuple[BenchmarkRow, np.ndarray | None]]) -> list[BenchmarkRow]:
    """Rows of subjects with the same stimuli, with the bounds that they tell of each other."""
    bounds: dict[int, tuple[float, float]] = {}
    for key in {(row.hemisphere, row.roi) for row, _ in found}:
        own = {
            place: ranks
            for place, (row, ranks) in enumerate(found)
            if (row.hemisphere, row.roi) == key and ranks is not None and not np.isnan(ranks).all()
        }
        bounds |= zip(own, bounds_between_subjects(list(own.values())), strict=True)
    unknown = np.nan, np.nan
    rows = []
    for place, (row, _) in enumerate(found):
        low, high = bounds.get(place, unknown)
        rows.append(replace(row, rsa_ceiling_low=_known(low), rsa_ceiling_high=_known(high)))
    return rows


def brain_score(pearson: np.ndarray, reliability: np.ndarray) -> float | None:
    """Brain-Score's ceiled score, (median r / median reliability)² (Schrimpf et al. 2018).

    It takes the model to be as unreliable as the responses (Yamins et al. 2014) and so divides by the reliability, not
    by its root: a perfect model scores more than 1. A median r below 0, which Brain-Score squares too, scores 0 here.

    Args:
        pearson: Correlation of each target (T,).
        reliability: Likewise, over 0.

    Returns:
        None where there is no target.
    """
    if not len(pearson):
        return None
    return float(max(np.median(pearson), 0) / np.median(reliability)) ** 2


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
