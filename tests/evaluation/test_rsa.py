"""Representational similarity against pandas, scipy and rsatoolbox, and what it says of planted signal and noise."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from calcarine.evaluation import SplitPredictions
from calcarine.evaluation.dissimilarity import correlation_distances, rank_correlation, ranks_of
from calcarine.evaluation.rsa import (
    MOST_STIMULI,
    Patterns,
    bounds_between_subjects,
    distances_measured,
    patterns_of,
    reliabilities,
    similarity,
)
from calcarine.recording import Recording, Responses

ALL = np.arange(30)


class Presented:
    """Repeats in a rectangle (stimuli, presentations, targets)."""

    def __init__(self, presented: np.ndarray) -> None:
        self.presented = presented

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        return {}

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        return self.presented[stimuli]


class Names(list[str]):
    """Stimuli of which nothing is asked but their names."""

    @property
    def names(self) -> Sequence[str]:
        return self


def patterns(part: SplitPredictions, order: np.ndarray | None = None) -> Patterns:
    order = np.arange(len(part.stimuli)) if order is None else order
    return patterns_of(part, order, np.asarray(part.recording.stimuli.names)[part.stimuli[order]].tolist())


def split(predictions: np.ndarray, responses: np.ndarray, presented: np.ndarray | None = None) -> SplitPredictions:
    recording = Recording(
        subject="subj01",
        stimuli=Names(f"{row}.png" for row in range(len(responses))),  # pyright: ignore[reportArgumentType]
        responses=Responses.of(responses),
        splits=np.full(len(responses), "test"),
        hemispheres=np.full(responses.shape[1], ""),
        repeats=None if presented is None else Presented(presented),
    )
    return SplitPredictions(recording, "test", np.arange(len(responses)), predictions)


def draw(n: int = 40, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Signal, and the same under noise, (n, 30) each."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, 5)) @ rng.normal(size=(5, 30))
    return signal, signal + noise * signal.std() * rng.normal(size=signal.shape)


def rsa(part: SplitPredictions, targets: np.ndarray = ALL) -> float:
    own = patterns(part)
    return similarity(own, targets, distances_measured(own, targets))


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def test_distances_agree_with_scipy_whatever_the_level() -> None:
    from scipy.spatial.distance import pdist

    values, _ = draw()
    expected = pdist(values, "correlation")
    np.testing.assert_allclose(correlation_distances(values, ALL), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(correlation_distances(values + 1e4, ALL), expected, rtol=0, atol=1e-10)
    some = np.array([7, 2, 19])
    np.testing.assert_allclose(
        correlation_distances(values, some), pdist(values[:, some], "correlation"), rtol=0, atol=1e-10
    )
    level = np.linspace(-3, 3, 30)
    apart = correlation_distances(values, ALL, level + 1e9)  # which no correlation sees, but in float32 no spread
    np.testing.assert_allclose(apart, pdist(values + level, "correlation"), rtol=0, atol=1e-6)


def test_blocks_of_targets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values, _ = draw()
    gaps = np.where(np.random.default_rng(1).random(values.shape) < 0.2, np.nan, values)
    whole = [correlation_distances(each, ALL) for each in (values, gaps)]
    monkeypatch.setattr("calcarine.evaluation.dissimilarity._BLOCK_ELEMENTS", 7 * len(values))
    for each, expected in zip((values, gaps), whole, strict=True):
        np.testing.assert_allclose(correlation_distances(each, ALL), expected, rtol=0, atol=1e-10)


def test_missing_values_are_left_out_pair_by_pair() -> None:
    values, _ = draw()
    values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
    values[3], values[5] = np.nan, 0.1
    values[6, 2:], values[7, :2] = np.nan, np.nan  # without a target in common
    expected = upper(1 - pd.DataFrame(values.T).corr().to_numpy())
    found = correlation_distances(values, ALL)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_rank_correlation_agrees_with_scipy_ties_and_gaps_included() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, (2, 200)).astype(np.float64)
    assert rank_correlation(first, second) == pytest.approx(scipy.stats.spearmanr(first, second)[0], abs=1e-10)
    first[:20], second[10:30] = np.nan, np.nan
    expected = scipy.stats.spearmanr(first, second, nan_policy="omit")[0]
    assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-10)
    assert rank_correlation(first, first) == 1
    for still in (np.full(200, 3.0), np.full(200, np.nan)):
        assert np.isnan(rank_correlation(first, still))


@pytest.mark.slow  # rsatoolbox takes 13 s to import
def test_rsatoolbox_says_the_same() -> None:
    from rsatoolbox.data import Dataset
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.rdm import calc_rdm, compare, concat

    signal, _ = draw()
    subjects = [draw(seed=0)[0] + np.random.default_rng(seed).normal(size=signal.shape) for seed in range(4)]
    theirs = [calc_rdm(Dataset(each), method="correlation") for each in (signal, *subjects)]
    ours = [correlation_distances(each, ALL) for each in (signal, *subjects)]
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(other, one.dissimilarities[0], rtol=0, atol=1e-10)
    for subject, matrix in zip(subjects, theirs[1:], strict=True):
        expected = compare(theirs[0], matrix, method="spearman").item()
        assert rsa(split(signal, subject)) == pytest.approx(expected, abs=1e-10)
    assert rsa(split(np.tile(signal[:1], (40, 1)), subjects[0])) == 0  # a matrix that does not vary, there too
    low, high = boot_noise_ceiling(concat(theirs[1:]), method="spearman")
    bounds = bounds_between_subjects([ranks_of(each) for each in ours[1:]])
    np.testing.assert_allclose(np.mean(bounds, axis=0), [low, high], rtol=0, atol=1e-10)
    assert low < high


def test_planted_signal_is_seen_and_shuffled_is_not() -> None:
    signal, responses = draw(200)
    shuffled = np.random.default_rng(3).permutation(signal)
    assert rsa(split(signal, responses)) > 0.6
    assert abs(rsa(split(shuffled, responses))) < 0.03
    assert rsa(split(-signal, responses)) == pytest.approx(
        rsa(split(signal, responses)), abs=1e-12
    )  # RSA is blind to it


@pytest.mark.parametrize(
    ("predictions", "targets", "expected"),
    [
        (np.zeros((40, 30)), ALL, 0),  # nothing is told
        (np.tile(np.arange(30.0), (40, 1)), ALL, 0),  # the mean response alone
        (draw()[0], ALL[:1], np.nan),  # one target makes no pattern
        (draw()[0], ALL[:0], np.nan),
    ],
)
def test_what_has_no_similarity(predictions: np.ndarray, targets: np.ndarray, expected: float) -> None:
    np.testing.assert_equal(rsa(split(predictions, draw()[1]), targets), expected)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_stimuli_have_no_similarity(n: int) -> None:
    signal, responses = draw(n)
    assert np.isnan(rsa(split(signal, responses, responses[:, None])))
    own = patterns(split(signal, responses, np.stack([signal, responses], axis=1)))
    assert np.isnan(reliabilities(own, [ALL])).all()


def test_predictions_are_compared_over_what_was_measured() -> None:
    signal, responses = draw()
    responses[np.random.default_rng(1).random(responses.shape) < 0.3] = np.nan
    both = [
        upper(1 - pd.DataFrame(each.T).corr().to_numpy())
        for each in (np.where(np.isnan(responses), np.nan, signal), responses)
    ]
    assert rsa(split(signal, responses)) == pytest.approx(scipy.stats.spearmanr(*both)[0], abs=1e-6)  # of float32


def test_more_stimuli_than_are_compared_are_drawn_once_and_for_all() -> None:
    signal, responses = draw(MOST_STIMULI + 200)
    part = split(signal, responses)
    one, two = (patterns(part) for _ in range(2))
    assert len(one.stimuli) == MOST_STIMULI == len(set(one.stimuli.tolist()))
    assert np.array_equal(one.stimuli, two.stimuli)
    np.testing.assert_array_equal(one.predictions, signal[one.stimuli])
    np.testing.assert_array_equal(one.responses, responses[one.stimuli].astype(np.float32))
    assert len(patterns(split(signal[:MOST_STIMULI], responses[:MOST_STIMULI])).stimuli) == 1000


def presented(noise: float, repetitions: Sequence[int], n: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal, mean responses, and presentations, of which stimuli have these numbers in turn."""
    signal, _ = draw(n)
    rng = np.random.default_rng(5)
    trials = signal[:, None] + noise * signal.std() * rng.normal(size=(n, max(repetitions), signal.shape[1]))
    for stimulus in range(n):
        trials[stimulus, repetitions[stimulus % len(repetitions)] :] = np.nan
    with np.errstate(invalid="ignore"):  # of those that were never presented
        return signal, np.nansum(trials, axis=1) / (~np.isnan(trials)).sum(axis=1), trials


@pytest.mark.parametrize(("noise", "repetitions"), [(1.0, [2]), (1.0, [3]), (1.4, [4]), (0.5, [4, 2, 5])])
def test_reliability_is_the_square_of_what_a_perfect_model_reaches(noise: float, repetitions: list[int]) -> None:
    signal, mean, trials = presented(noise, repetitions)
    part = split(signal, mean, trials)
    (reliability,) = reliabilities(patterns(part), [ALL])
    assert np.sqrt(reliability) == pytest.approx(rsa(part), abs=0.02)


def test_reliability_of_two_presentations_is_that_of_their_matrices() -> None:
    _, mean, trials = presented(1.0, [2])
    trials[:, 1] = trials[:, 0]
    (reliability,) = reliabilities(patterns(split(mean, mean, trials)), [ALL])
    assert reliability == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("repetitions", [2, 3])
def test_reliability_stays_within_its_bounds_and_is_not_biased(repetitions: int) -> None:
    """Of few stimuli and mere noise a deal's ρ is often below 0, where Spearman and Brown's formula runs away."""
    found = []
    for seed in range(40):
        trials = np.random.default_rng(seed).normal(size=(10, repetitions, 30))
        found += reliabilities(patterns(split(trials.mean(axis=1), trials.mean(axis=1), trials)), [ALL[:10]])
    known = np.array(found)[~np.isnan(found)]
    assert (np.abs(known) <= 1).all()
    assert len(known) > 30
    assert abs(known.mean()) < 0.12


def test_the_deals_and_the_draw_depend_on_names_alone() -> None:
    """So a subject's figures are the same whoever is evaluated beside it."""
    _, mean, trials = presented(1.0, [2, 3])
    part = split(mean, mean, trials)
    order = np.random.default_rng(0).permutation(len(mean))
    assert reliabilities(patterns(part, order), [ALL]) == pytest.approx(reliabilities(patterns(part), [ALL]), abs=1e-12)
    signal, responses = draw(MOST_STIMULI + 200)
    wide = split(signal, responses)
    order = np.random.default_rng(0).permutation(len(signal))
    assert set(patterns(wide, order).stimuli.tolist()) == set(patterns(wide).stimuli.tolist())


def test_reliability_takes_what_was_presented_twice_and_measured_in_both_halves() -> None:
    _, mean, trials = presented(1.0, [3, 1, 2, 0])
    trials[::5, 0, :10] = np.nan
    with np.errstate(all="raise"):
        (reliability,) = reliabilities(patterns(split(mean, np.nan_to_num(mean), trials)), [ALL])
    assert 0.3 < reliability < 1
    assert np.isnan(reliabilities(patterns(split(mean, np.nan_to_num(mean), trials[:, :1])), [ALL]))
    assert np.isnan(reliabilities(patterns(split(mean, np.nan_to_num(mean))), [ALL]))


def test_bounds_of_one_subject_alone_are_unknown() -> None:
    assert np.isnan(bounds_between_subjects([ranks_of(np.arange(10.0))])).all()
    assert bounds_between_subjects([]) == []
