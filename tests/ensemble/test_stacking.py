"""Weights of a stack: against scipy target by target, and what they are worth on planted members."""

import numpy as np
import pytest
from calcarine.ensemble.stacking import PULLS, average, stack
from calcarine.nonnegative import nonnegative_least_squares
from scipy.optimize import nnls


def members(n: int, targets: int, noises: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Responses (n, T), and members that predict their signal, each with noise of its own."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n, targets))
    predictions = [signal + noise * rng.standard_normal(signal.shape) for noise in noises]
    return signal + rng.standard_normal(signal.shape), predictions


def correlations(predictions: np.ndarray, responses: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(p, y)[0, 1] for p, y in zip(predictions.T, responses.T, strict=True)])


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (2, 1), (4, 2), (9, 3)])
def test_weights_are_those_of_scipy_for_every_target(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((60, 200, 1))
    x = common + 0.3 * rng.standard_normal((60, 200, count))  # members that resemble each other, as seeds do
    y = x.mean(-1) + 0.5 * rng.standard_normal((60, 200))
    weights = nonnegative_least_squares(np.einsum("ntm,ntk->tmk", x, x), np.einsum("ntm,nt->tm", x, y))
    expected = np.stack([nnls(x[:, target], y[:, target])[0] for target in range(200)])
    assert (weights >= 0).all()
    assert weights == pytest.approx(expected, abs=1e-7)
    assert count < 3 or (weights == 0).any()


def test_members_that_repeat_each_other_or_do_not_vary_end_nothing() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((40, 5))
    x = np.stack([one, one, (one + one) / 2, np.zeros_like(one)], axis=-1)
    weights = nonnegative_least_squares(np.einsum("ntm,ntk->tmk", x, x), np.einsum("ntm,nt->tm", x, one))
    assert weights.sum(axis=1) == pytest.approx(np.ones(5))
    assert (nonnegative_least_squares(np.zeros((3, 2, 2)), np.zeros((3, 2))) == 0).all()


@pytest.mark.parametrize("gaps", [False, True])
def test_a_stack_is_the_least_squares_that_it_says(gaps: bool) -> None:
    responses, predictions = members(80, 30, (0.5, 1.0, 3.0))
    responses += 7
    if gaps:
        responses[np.random.default_rng(5).random(responses.shape) < 0.2] = np.nan
    found = stack(predictions, responses)
    assert found.pull in PULLS
    tables = []
    for target, y in enumerate(responses.T):
        measured = ~np.isnan(y)
        x = np.stack([own[measured, target] for own in predictions], axis=1)
        tables.append((x - x.mean(0), y[measured] - y[measured].mean(), x.mean(0), y[measured].mean()))
    everything = [
        np.concatenate([each[part] / each[1].std() / len(each[1]) ** 0.5 for each in tables]) for part in (0, 1)
    ]
    common = nnls(*everything)[0]
    common /= np.linalg.norm(common)
    for target, (x, y, x_mean, y_mean) in enumerate(tables):
        strength = np.sqrt(found.pull * (x**2).sum() / 3)
        rows = np.concatenate([x, strength * (np.eye(3) - np.outer(common, common))])
        expected = nnls(rows, np.concatenate([y, np.zeros(3)]))[0]
        assert found.weights[:, target] == pytest.approx(expected, abs=1e-6)
        assert found.intercept[target] == pytest.approx(y_mean - x_mean @ expected, abs=1e-6)
    told = sum(w * p[:, 0] for w, p in zip(found.weights[:, 0], predictions, strict=True)) + found.intercept[0]
    assert found.predict(predictions)[:, 0] == pytest.approx(told, abs=1e-5)


@pytest.mark.parametrize(
    "noises", [(0.3, 0.3, 0.3), (0.3, 5.0, 5.0), (0.3, 0.3, 1e3), (2.0, 2.0, 2.0, 2.0), (0.5, 1.0)]
)
@pytest.mark.parametrize("n", [20, 60, 200])
def test_a_stack_is_never_much_worse_than_the_best_member_or_the_average(noises: tuple[float, ...], n: int) -> None:
    responses, predictions = members(n + 1000, 40, noises)
    found = stack([own[:n] for own in predictions], responses[:n])
    test = [own[n:] for own in predictions]
    own = correlations(found.predict(test), responses[n:]).mean()
    best = max(correlations(each, responses[n:]).mean() for each in test)
    assert own >= best - 0.02
    if max(noises) == min(noises):
        assert own >= correlations(average(len(test), 40).predict(test), responses[n:]).mean() - 0.02


def test_a_useless_member_counts_for_nothing_and_each_target_has_its_own() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((300, 40))
    left, noise = np.arange(40) < 20, rng.standard_normal((3, 300, 40))
    predictions = [np.where(left, signal, noise[0]), np.where(left, noise[1], signal), noise[2]]
    found = stack(predictions, signal + 0.5 * rng.standard_normal(signal.shape))
    assert (found.weights[0, left] > 0.8).all()
    assert (found.weights[1, ~left] > 0.8).all()
    assert found.weights[2].max() < 0.15
    assert found.weights.min() == 0


def test_a_large_offset_costs_no_digits() -> None:
    responses, predictions = members(100, 10, (0.5, 1.0))
    near = stack(predictions, responses)
    far = stack([own + 1e6 for own in predictions], responses + 1e6)
    assert far.weights == pytest.approx(near.weights, abs=1e-6)


def test_targets_that_do_not_vary_or_were_not_measured_have_the_average() -> None:
    responses, predictions = members(40, 3, (0.5, 1.0))
    responses[:, 1], responses[:, 2] = 3.7, np.nan
    found = stack(predictions, responses)
    assert (found.weights[:, 1:] == 0.5).all()
    assert (found.intercept[1:] == 0).all()
    assert np.isfinite(found.weights).all()
