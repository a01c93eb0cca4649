"""Paired differences: against other formulas, uniform under the null, and false discoveries held at their rate."""

import numpy as np
import pytest
import scipy.stats
from calcarine.evaluation.differences import ALPHA, adjusted, paired_means, paired_targets


def two_models(
    rng: np.random.Generator,
    n: int,
    targets: int,
    rho: float | np.ndarray = 0.4,
    alike: float = 0.9,
    common: float = 0.0,
    skewed: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions of two seeds of one model, and responses that both correlate with by rho, each (n, targets).

    Args:
        rng: Draws.
        n: Stimuli.
        targets: Targets.
        rho: True correlation of either prediction with the response; of each target, or of all.
        alike: Correlation of the two predictions.
        common: Share of every variance that all targets have in common.
        skewed: Exponential in place of normal distributions.
    """

    def drawn() -> np.ndarray:
        def draw(columns: int) -> np.ndarray:
            return rng.exponential(size=(n, columns)) - 1 if skewed else rng.normal(size=(n, columns))

        return np.sqrt(common) * draw(1) + np.sqrt(1 - common) * draw(targets)

    shared = drawn()
    first, second = (np.sqrt(alike) * shared + np.sqrt(1 - alike) * drawn() for _ in range(2))
    share = rho / np.sqrt(alike)
    return first, second, share * shared + np.sqrt(1 - share**2) * drawn()


def test_williams_and_the_jackknife_equal_their_formulas_in_a_loop() -> None:
    rng = np.random.default_rng(0)
    first, second, responses = two_models(rng, 25, 6)
    responses[3:9, 2] = np.nan
    responses[:, 3] = 1.5
    second[:, 4] = first[:, 4]
    found = paired_targets(first, second, responses)
    for target in (0, 1, 2, 5):
        keep = ~np.isnan(responses[:, target])
        a, b, y = first[keep, target], second[keep, target], responses[keep, target]
        n, r = len(y), np.corrcoef([a, b, y])
        ra, rb, rab = r[0, 2], r[1, 2], r[0, 1]
        common = 2 * (n - 1) / (n - 3) * np.linalg.det(r) + ((ra + rb) / 2) ** 2 * (1 - rab) ** 3
        williams = 2 * scipy.stats.t.sf(abs(ra - rb) * np.sqrt((n - 1) * (1 + rab) / common), n - 3)

        def z(keep: np.ndarray, a: np.ndarray = a, b: np.ndarray = b, y: np.ndarray = y) -> float:
            return np.arctanh(np.corrcoef(b[keep], y[keep])[0, 1]) - np.arctanh(np.corrcoef(a[keep], y[keep])[0, 1])

        every = np.arange(n)
        left = scipy.stats.sem([(n - 1) * z(every != out) for out in every])
        jackknife = 2 * scipy.stats.t.sf(abs(z(every)) / left, n - 1)
        assert found.p[target] == pytest.approx(max(williams, jackknife), rel=1e-9)
        assert found.difference[target] == pytest.approx(rb - ra, rel=1e-9)
    assert np.isnan([found.p[3], found.difference[3]]).all()
    assert (found.p[4], found.difference[4]) == (1, 0)


def test_adjusted_is_benjamini_and_hochbergs_step_up() -> None:
    p = np.random.default_rng(1).uniform(size=50) ** 3
    p[[4, 9]] = np.nan
    known = p[~np.isnan(p)]
    order = np.sort(known)
    rejected = order[np.flatnonzero(order <= ALPHA * np.arange(1, 49) / 48)[-1]]
    np.testing.assert_array_equal(adjusted(p) <= ALPHA, p <= rejected)
    assert np.isnan(adjusted(np.full(3, np.nan))).all()


@pytest.mark.parametrize(
    ("n", "targets"), [(30, 10_000), (100, 5_000), pytest.param(1000, 2_000, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("alike", [0.5, 0.95])
@pytest.mark.parametrize("skewed", [False, True])
def test_p_is_uniform_where_the_models_are_equal(n: int, targets: int, alike: float, skewed: bool) -> None:
    """Up to what the draw may do, and below it where the larger of two p-values is cautious."""
    p = paired_targets(*two_models(np.random.default_rng(2), n, targets, alike=alike, skewed=skewed)).p
    for level in (0.2, 0.05, 0.01):
        most = level + 3 * np.sqrt(level * (1 - level) / targets)
        assert (p < level).mean() < most * (1.15 if n == 30 else 1.05)
    if n >= 100 and not skewed:
        assert (p < 0.05).mean() > 0.035
        assert 0.45 < np.mean(p) < 0.55


@pytest.mark.slow
@pytest.mark.parametrize(("n", "common"), [(50, 0.0), (100, 0.3), (1000, 0.1)])
def test_false_discoveries_of_two_seeds_of_one_model_keep_their_rate(n: int, common: float) -> None:
    """Of 200 comparisons without any difference at most 5 % find one, but for what 200 draws may do."""
    false = 0
    for comparison in range(200):
        rng, targets = np.random.default_rng((n, comparison)), 20_000 // n
        p = paired_targets(*two_models(rng, n, targets, rho=rng.uniform(0, 0.7, targets), alike=0.9, common=common)).p
        false += bool((adjusted(p) <= ALPHA).any())
    assert false / 200 <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / 200)


@pytest.mark.slow
def test_planted_differences_are_found_and_false_ones_keep_their_rate() -> None:
    shares, found = [], []
    for comparison in range(100):
        rng = np.random.default_rng(comparison)
        first, second, responses = two_models(rng, 300, 200, common=0.2)
        planted = np.arange(200) < 40
        second[:, planted] += 1.5 * rng.normal(size=(300, 40))  # the second predicts these worse
        paired = paired_targets(first, second, responses)
        rejected = adjusted(paired.p) <= ALPHA
        assert (paired.difference[rejected & planted] < 0).mean() > 0.99
        shares.append(rejected[~planted].sum() / max(rejected.sum(), 1))
        found.append(rejected[planted].mean())
    assert np.mean(shares) <= ALPHA
    assert np.mean(found) > 0.6


def test_two_runs_that_are_one_do_not_differ() -> None:
    first, _, responses = two_models(np.random.default_rng(3), 30, 8)
    paired = paired_targets(first, first, responses)
    assert (paired.p == 1).all()
    (mean,) = paired_means(first, first, responses, np.ones((8, 1), dtype=bool), paired)
    assert mean is not None
    assert (mean.difference, mean.low, mean.high) == (0, 0, 0)


def test_means_of_no_target_are_none() -> None:
    first, second, responses = two_models(np.random.default_rng(4), 30, 3)
    responses[:, 2] = 1
    paired = paired_targets(first, second, responses)
    groups = np.array([[True, False], [True, False], [True, True]])
    whole, none = paired_means(first, second, responses, groups, paired)
    assert none is None
    assert whole is not None
    assert whole.first == pytest.approx(paired.first[:2].mean())


def covered(n: int, common: float, simulated: int) -> tuple[float, float]:
    """Share of intervals that hold the true mean difference: of equal models, and where the second is worse."""
    inside = np.zeros(2)
    groups = np.ones((20, 1), dtype=bool)
    for comparison in range(simulated):
        rng = np.random.default_rng(comparison)
        first, second, responses = two_models(rng, n, 20, rho=0.5, common=common)
        own, shared = rng.normal(size=(n, 20)), rng.normal(size=(n, 1))
        noise = np.sqrt(common) * shared + np.sqrt(1 - common) * own
        for case, (other, truth) in enumerate(((second, 0), ((second + noise) / np.sqrt(2), 0.5 / np.sqrt(2) - 0.5))):
            paired = paired_targets(first, other, responses)
            (mean,) = paired_means(first, other, responses, groups, paired)
            assert mean is not None
            inside[case] += mean.low <= truth <= mean.high
    return tuple(inside / simulated)


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100])
def test_intervals_of_mean_differences_hold_the_truth(n: int) -> None:
    for share in covered(n, 0.3, 150):
        assert 0.9 <= share <= 0.99
