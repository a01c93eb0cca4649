"""Representational similarity analysis (Kriegeskorte et al. 2008) of predictions and responses, with what limits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ..recording import Recording
from .dissimilarity import correlation_distances, rank_correlation
from .predicted import SplitPredictions

MOST_STIMULI = 1000
"""Of more so many are drawn: 499,500 pairs, whose matrix takes 4 MB."""
SEED = 0
"""Of that draw, and of the halves of the presentations."""

_MOST_PRESENTED = 500  # stimuli whose presentations are dealt: 124,750 pairs tell a reliability well
_MOST_DEALS = 10
_PAIRS = 250_000  # of all deals together: of 500 stimuli there are 2
_STIMULI = 8  # whose presentations are held at a time


@dataclass(frozen=True)
class Patterns:
    """What was predicted and what was measured for the stimuli that are compared, in the recording's units.

    Args:
        stimuli: Indices in the recording, int64 (n,).
        predictions: (n, T), NaN where nothing was measured.
        responses: (n, T), NaN likewise.
        level: What is to be added to each target's of both, float64 (T,), or None.
        recording: Whose they are.
    """

    stimuli: np.ndarray
    predictions: np.ndarray
    responses: np.ndarray
    level: np.ndarray | None
    recording: Recording


def patterns_of(part: SplitPredictions, order: np.ndarray, names: Sequence[str]) -> Patterns:
    """The patterns that are compared: all of a split's, or a draw of them.

    Args:
        part: The split of a subject.
        order: In which its stimuli are counted, a permutation (n,).
        names: Of the stimuli in that order (n,); the draw depends on them alone.
    """
    rows = order[_drawn(names, MOST_STIMULI)]
    responses = part.responses(rows)
    predictions = np.where(np.isnan(responses), np.nan, part.predictions[rows])
    offset = part.recording.responses.offset
    return Patterns(part.stimuli[rows], predictions, responses, offset, part.recording)


def _drawn(names: Sequence[str], most: int) -> np.ndarray:
    """Which of some stimuli are drawn, by their names, ascending, int64 (at most `most`,)."""
    return np.sort(np.argsort([_number(name) for name in names], kind="stable")[:most])


def _number(name: str, deal: int = -1) -> int:
    """A number as good as a random one, which is the same for a name in any company."""
    return int.from_bytes(blake2b(f"{SEED} {deal} {name}".encode(), digest_size=6).digest())


def distances_measured(patterns: Patterns, targets: np.ndarray) -> np.ndarray:
    """The dissimilarity matrix of the responses of some targets, see `correlation_distances`."""
    return correlation_distances(patterns.responses, targets, patterns.level)


def similarity(patterns: Patterns, targets: np.ndarray, measured: np.ndarray) -> float:
    """Spearman's correlation of the dissimilarity matrices of predictions and of responses.

    A prediction that tells nothing has a correlation of 0, as in all tables: a predicted pattern that does not vary
    is at distance 1 from all others, and a predicted matrix that does not vary correlates with none.

    Args:
        patterns: Of a split.
        targets: Of the ROI.
        measured: `distances_measured` of these.

    Returns:
        From −1 to 1; NaN where the responses' matrix does not vary.
    """
    predicted = correlation_distances(patterns.predictions, targets, patterns.level)
    found = rank_correlation(np.where(np.isnan(predicted), 1, predicted), measured)
    known = measured[~np.isnan(measured)]
    return 0.0 if np.isnan(found) and len(known) and np.ptp(known) > 0 else found


def reliabilities(patterns: Patterns, groups: Sequence[np.ndarray]) -> list[float]:
    """Split-half reliability of the dissimilarity matrix of each group of targets.

    Each stimulus's presentations are dealt at random into two halves of equal size, one being left out where their
    number is odd; how is decided by the stimulus's name alone. ρ is Spearman's correlation of the halves' matrices,
    averaged over up to 10 deals, fewer the more stimuli there are, of which at most 500 are taken. mρ / (1 + (m − 1)ρ)
    is the reliability of all presentations, which are m times those of a half (Spearman 1910, Brown 1910), cut at −1
    and 1. Stimuli that were presented once have no part.

    The correlation of a perfect model is about its root. In simulations the two agree within 0.01 where the noise of a
    half's mean has at most the signal's standard deviation; where it has twice that the root is 0.04 too low, since
    the noise of distances falls faster with more presentations than the formula thinks.

    Args:
        patterns: Of a split.
        groups: Targets of each ROI.

    Returns:
        From −1 to 1; NaN where presentations are not known, or too few, or ρ is at most −1/m, to which the formula
        gives no sense.
    """
    names = patterns.recording.stimuli.names
    stimuli = patterns.stimuli[_drawn([names[int(each)] for each in patterns.stimuli], _MOST_PRESENTED)]
    n = len(stimuli)
    deals = int(np.clip(_PAIRS // max(n * (n - 1) // 2, 1), 1, _MOST_DEALS))
    found = np.full((deals, len(groups)), np.nan)
    times = 1.0
    for deal, row in enumerate(found):
        halves = _halves(patterns, stimuli, deal)
        if halves is None:
            break
        times = halves.times
        for column, targets in enumerate(groups):
            row[column] = rank_correlation(
                *(correlation_distances(each, targets, patterns.level) for each in halves.means)
            )
    return [_stepped_up(float(np.mean(each)), times) for each in found.T]


def _stepped_up(rho: float, times: float) -> float:
    """Spearman and Brown's reliability of so many times as many presentations, see `reliabilities`."""
    return float(np.clip(times * rho / (1 + (times - 1) * rho), -1, 1)) if rho > -1 / times else np.nan


@dataclass(frozen=True)
class _Halves:
    """Mean responses over either half of the presentations, less their level.

    Args:
        means: Two, each float32 (stimuli presented twice, T); a target that one half lacks is NaN in both.
        times: How often the presentations of a half go into all of them.
    """

    means: tuple[np.ndarray, np.ndarray]
    times: float


def _halves(patterns: Patterns, stimuli: np.ndarray, deal: int) -> _Halves | None:
    """Deal the presentations for the deal of this number; None where they are not known or no stimulus has two."""
    names = patterns.recording.stimuli.names
    means: list[tuple[np.ndarray, np.ndarray]] = []
    presentations = in_half = 0
    for start in range(0, len(stimuli), _STIMULI):
        some = stimuli[start : start + _STIMULI]
        presented = patterns.recording.presentations(some)
        if presented is None:
            return None
        for stimulus, own in zip(some, presented, strict=True):  # (presentations, T)
            rng = np.random.default_rng(_number(names[int(stimulus)], deal))
            there = rng.permutation(np.flatnonzero(~np.isnan(own).all(axis=1)))
            half = len(there) // 2
            if half:
                means.append(_means(own[there[:half]], own[there[half : 2 * half]], patterns.level))
                presentations, in_half = presentations + len(there), in_half + half
    if not means:
        return None
    one, two = (np.stack(each) for each in zip(*means, strict=True))
    return _Halves((one, two), presentations / in_half)


def _means(one: np.ndarray, two: np.ndarray, level: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Means (T,) of what each half (presentations, T) has, float32; NaN where either has nothing."""
    means = []
    for half in (one, two):
        count = (~np.isnan(half)).sum(axis=0)
        mean = np.where(count, np.nansum(half, axis=0), np.nan) / np.maximum(count, 1)
        means.append((mean if level is None else mean - level).astype(np.float32))
    lacks = np.isnan(means[0]) | np.isnan(means[1])
    return np.where(lacks, np.nan, means[0]), np.where(lacks, np.nan, means[1])


def bounds_between_subjects(ranks: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Lower and upper bound of the noise ceiling that other subjects tell (Nili et al. 2014), a subject's part each.

    The best model of several subjects is the mean of their matrices, in ranks. The upper bound correlates each
    subject with the mean of all, itself among them, the lower bound with the mean of the others. The bounds of the
    model's mean correlation over subjects are the means over subjects.

    Args:
        ranks: `ranks_of` each subject's dissimilarity matrix, of the same stimuli in the same order, (pairs,).

    Returns:
        (lower, upper) of each; NaN where there is one subject alone.
    """
    if len(ranks) < 2:
        return [(np.nan, np.nan)] * len(ranks)
    total = np.stack(ranks).astype(np.float64).sum(axis=0)
    return [(rank_correlation(own, total - own), rank_correlation(own, total)) for own in ranks]
