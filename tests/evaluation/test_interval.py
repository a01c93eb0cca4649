"""Intervals of mean correlations: against a loop over scipy's correlations, and by how often they hold the truth."""

import numpy as np
import pytest
import scipy.stats
from calcarine.evaluation.interval import interval, means_without
from calcarine.evaluation.scores import target_scores

ONE = np.array([[True]])


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_means_without_a_stimulus_equal_a_loop(offset: float) -> None:
    rng = np.random.default_rng(0)
    responses = rng.normal(offset, 1, (12, 9))
    predictions = responses + rng.normal(0, 1, (12, 9))
    responses[2:6, 1] = np.nan
    responses[:, 2] = offset + np.eye(12)[4]  # varies through one stimulus alone
    responses[:, 3] = np.nan
    predictions[:, 4] = offset + 0.1
    groups = rng.random((9, 4)) < 0.5
    groups[:, 3] = np.arange(9) == 1
    found = means_without(predictions, responses, groups)
    for left in range(12):
        keep = np.arange(12) != left
        pearson = target_scores(predictions[keep], responses[keep]).pearson
        for group in range(4):
            own = pearson[groups[:, group] & ~np.isnan(pearson)]
            expected = np.nan if group == 3 and 2 <= left < 6 else own.mean()
            np.testing.assert_allclose(found[left, group], expected, rtol=1e-9)


def test_the_interval_is_the_jackknifes_on_fishers_scale() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40))
    y += x
    left = [float(np.asarray(scipy.stats.pearsonr(np.delete(x, i), np.delete(y, i))[0])) for i in range(40)]
    r = float(np.asarray(scipy.stats.pearsonr(x, y)[0]))
    pseudo = 40 * np.arctanh(r) - 39 * np.arctanh(left)  # Tukey's pseudo-values: their mean is free of the bias
    expected = scipy.stats.t.interval(0.95, 39, pseudo.mean(), scipy.stats.sem(pseudo))
    found = interval(r, means_without(x[:, None], y[:, None], ONE)[:, 0])
    np.testing.assert_allclose(found, np.tanh(expected), atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("noise", [0.0, 1e-9, 0.1, 3.0])
def test_bounds_stay_within_minus_one_and_one(n: int, noise: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 1))
        y = -x + noise * rng.normal(size=(n, 1))
        estimate = float(target_scores(x, y).pearson[0])
        found = interval(estimate, means_without(x, y, ONE)[:, 0])
        if n < 3:
            assert found is None
        else:
            assert found is not None
            assert -1 <= found[0] <= estimate + 1e-6
            assert estimate - 1e-6 <= found[1] <= 1


def covered(n: int, rho: float, targets: int, common: float, simulated: int) -> float:
    """Share of simulated test sets whose interval holds the true mean correlation.

    Args:
        n: Test stimuli.
        rho: True correlation of every target.
        targets: Of the ROI.
        common: Share of the variance of predictions, and of that of the noise, that all targets have in common.
        simulated: Test sets.
    """
    rng = np.random.default_rng(n + targets)

    def drawn() -> np.ndarray:
        own, shared = rng.standard_normal((n, targets)), rng.standard_normal((n, 1))
        return np.sqrt(common) * shared + np.sqrt(1 - common) * own

    inside = 0
    for _ in range(simulated):
        predictions = drawn()
        responses = rho * predictions + np.sqrt(1 - rho**2) * drawn()
        estimate = float(target_scores(predictions, responses).pearson.mean())
        found = interval(estimate, means_without(predictions, responses, np.ones((targets, 1), dtype=bool))[:, 0])
        assert found is not None
        inside += found[0] <= rho <= found[1]
    return inside / simulated


@pytest.mark.parametrize("n", [30, 100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_of_a_single_target_95_percent_hold_the_truth(n: int, rho: float) -> None:
    assert 0.93 <= covered(n, rho, targets=1, common=0, simulated=1500) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100, 1000])
@pytest.mark.parametrize(("rho", "common"), [(0.3, 0.3), (0.6, 0.1), (0.9, 0.3)])
def test_of_a_roi_with_common_noise_95_percent_hold_the_truth(n: int, rho: float, common: float) -> None:
    assert 0.93 <= covered(n, rho, targets=12, common=common, simulated=1500) <= 0.97


def test_of_thousands_of_independent_targets_the_bias_is_taken_off() -> None:
    """Their noise averages out, the bias of each does not: moved back onto the estimate, an interval misses."""
    assert covered(30, 0.6, targets=1000, common=0, simulated=200) >= 0.93
