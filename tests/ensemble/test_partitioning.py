"""Variance partitioning against scipy and a loop over folds, target by target; and what it says of planted members."""

import numpy as np
import pytest
from calcarine.ensemble.moments import Moments
from calcarine.ensemble.partitioning import Partition, partition
from scipy.optimize import nnls

FOLDS = 5


def partitioned(predictions: list[np.ndarray], responses: np.ndarray, pull: float = 0.0) -> Partition:
    origin = np.nanmean(responses, axis=0)
    fold = np.arange(len(responses)) % FOLDS
    parts = [
        Moments.of([own[fold == number] for own in predictions], responses[fold == number], origin)
        for number in range(FOLDS)
    ]
    return partition(parts, pull)


def r2_of(predictions: list[np.ndarray], y: np.ndarray) -> float:
    """Of one target: what non-negative least squares with an intercept explains of each fold, taught by the others."""
    x, error = np.stack(predictions, axis=1), 0.0
    fold = np.arange(len(y)) % FOLDS
    for number in range(FOLDS):
        taught, held = fold != number, fold == number
        mean, level = x[taught].mean(0), y[taught].mean()
        weights, _ = nnls(x[taught] - mean, y[taught] - level)
        error += ((y[held] - level - (x[held] - mean) @ weights) ** 2).sum()
    return 1 - error / ((y - y.mean()) ** 2).sum()


def planted(n: int = 400) -> tuple[np.ndarray, list[np.ndarray]]:
    """Responses (n, 6), of two parts and noise, and three members: one part, the same again, and the other."""
    rng = np.random.default_rng(0)
    one, two, noise = rng.standard_normal((3, n, 6))
    responses = one + two + noise + 4
    return responses, [one + 0.3 * rng.standard_normal(one.shape), one + 0.3 * rng.standard_normal(one.shape), two]


def test_every_share_is_that_of_a_loop_over_targets_and_folds() -> None:
    responses, predictions = planted(90)
    found = partitioned(predictions, responses)
    for target in range(6):
        y, x = responses[:, target], [own[:, target] for own in predictions]
        assert found.whole[target] == pytest.approx(r2_of(x, y), abs=1e-9)
        for member in range(3):
            others = [own for index, own in enumerate(x) if index != member]
            assert found.alone[member, target] == pytest.approx(r2_of([x[member]], y), abs=1e-9)
            assert found.unique[member, target] == pytest.approx(r2_of(x, y) - r2_of(others, y), abs=1e-9)
    np.testing.assert_allclose(found.unique.sum(0) + found.shared, found.whole)


def test_members_that_say_the_same_share_and_the_other_is_unique() -> None:
    responses, predictions = planted()
    found = partitioned(predictions, responses)
    assert found.unique[:2].max() < 0.1
    assert found.unique[2].mean() == pytest.approx(1 / 3, abs=0.05)
    assert found.shared.mean() == pytest.approx(1 / 3, abs=0.08)


def test_what_does_not_vary_has_no_share() -> None:
    responses, predictions = planted(60)
    responses[:, 1] = 3.7
    found = partitioned(predictions, responses)
    for values in (found.whole, found.alone, found.unique, found.shared):
        assert np.isnan(values[..., 1]).all()
        assert np.isfinite(np.delete(values, 1, axis=-1)).all()
