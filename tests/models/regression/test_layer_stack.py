"""Stacked layers: scipy's weights of scikit-learn's out-of-fold predictions, and planted mixtures."""

import numpy as np
import pytest
import torch
from calcarine.models import Ridge
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.layer_stack import stack_layers
from calcarine.nonnegative import simplex_weights
from scipy.optimize import minimize
from sklearn.linear_model import Ridge as ScikitRidge
from sklearn.preprocessing import StandardScaler

WIDTHS = {"a": 12, "b": 8, "c": 10}


def planted(share, stimuli=150, noise=0.7, seed=0):
    """Features (N, 30) of three layers, and responses (N, T) that mix them by the shares (T, 3)."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((stimuli, 30)) * rng.uniform(0.5, 2, 30)
    layers = np.split(StandardScaler().fit_transform(features), [12, 20], axis=1)
    parts = [layer @ rng.standard_normal((layer.shape[1], len(share))) / layer.shape[1] ** 0.5 for layer in layers]
    signal = sum(part * own for part, own in zip(parts, np.asarray(share).T, strict=True))
    return torch.from_numpy(features), torch.from_numpy(signal + noise * rng.standard_normal(signal.shape))


SHARES = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.7, 0.7, 0], [0, 0.6, 0.8], [0.6, 0.6, 0.6]]


def least_on_simplex(products):
    """scipy's weights, at least 0 and of sum 1, of the least squared error."""
    count = len(products)
    found = minimize(
        lambda w: w @ products @ w, np.full(count, 1 / count), jac=lambda w: 2 * products @ w, method="SLSQP",
        bounds=[(0, 1)] * count, constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-14},
    )  # fmt: skip
    return found.x


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_simplex_weights_are_those_of_scipy(count):
    rng = np.random.default_rng(count)
    errors = rng.standard_normal((40, 1, 60)) + 0.4 * rng.standard_normal((40, count, 60))  # members that are alike
    products = errors @ errors.transpose(0, 2, 1)
    weights = simplex_weights(products)
    assert weights == pytest.approx(np.stack([least_on_simplex(each / 60) for each in products]), abs=1e-4)
    assert weights.sum(axis=1) == pytest.approx(np.ones(40))
    assert count < 5 or (weights == 0).any()
    assert simplex_weights(np.zeros((2, 3, 3))) == pytest.approx(np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1, 1, 1]], ids=["target", "roi"])
def test_weights_and_coefficients_are_those_of_scikit_learn_and_scipy(groups):
    """One penalty, so that no choice stands between the two."""
    features, responses = planted(SHARES)
    fold, penalty = assign_folds(150, 3), 30.0
    shared = None if groups is None else torch.tensor(groups)
    stack = stack_layers(features, WIDTHS, responses, Ridge([penalty]), fold, shared)
    x, y, folds = features.numpy(), responses.numpy(), fold.numpy()
    columns = np.split(np.arange(30), [12, 20])
    products, null = np.zeros((6, 3, 3)), np.zeros(6)
    for number in range(3):
        rest, out = folds != number, folds == number
        errors = []
        for own in columns:
            scaler = StandardScaler().fit(x[rest][:, own])
            model = ScikitRidge(penalty).fit(scaler.transform(x[rest][:, own]), y[rest])
            errors.append(y[out] - model.predict(scaler.transform(x[out][:, own])))
        products += np.einsum("ant,bnt->tab", errors, errors) / out.sum() / 3
        null += np.square(y[out] - y[rest].mean(0)).mean(0) / 3
    sets = np.arange(6) if groups is None else np.array(groups)
    expected = np.stack([least_on_simplex(products[sets == own].sum(0)) for own in sets])
    np.testing.assert_allclose(stack.share, expected, atol=1e-4)
    error = np.einsum("ta,tab,tb->t", stack.share, products, stack.share)
    np.testing.assert_allclose(stack.fit.error, error, atol=1e-8)
    np.testing.assert_allclose(stack.fit.null_error, null, atol=1e-8)
    for number, own in enumerate(columns):
        scaler = StandardScaler().fit(x[:, own])
        coefficients = ScikitRidge(penalty).fit(scaler.transform(x[:, own]), y).coef_ / scaler.scale_
        np.testing.assert_allclose(
            stack.fit.weight[:, own], stack.share[:, number, None].numpy() * coefficients, atol=1e-8
        )


def test_a_planted_mixture_is_found_beats_the_best_layer_and_of_shuffled_responses_nothing():
    features, responses = planted(SHARES * 20, stimuli=600)
    fold = assign_folds(600, 3)
    stack = stack_layers(features[:450], WIDTHS, responses[:450], Ridge(), fold[:450], None)
    most = np.argmax(SHARES * 20, axis=1)
    single = np.array(SHARES * 20).max(axis=1) == 1
    assert (stack.share.argmax(1).numpy() == most)[single].mean() >= 0.95  # the layer that each target reads
    assert stack.share[single].max(1).values.mean() > 0.9
    mixed = ~single
    best = torch.stack(list(stack.r2.values())).max(0).values
    assert (stack.fit.cv_r2 - best)[mixed].mean() > 0.05
    predicted = features[450:] @ stack.fit.weight.T + stack.fit.bias
    held_out = 1 - (responses[450:] - predicted).square().mean(0) / responses[450:].var(0)
    assert (held_out[mixed] - best[mixed]).mean() > 0.05
    assert (held_out - stack.fit.cv_r2).abs().mean() < 0.1
    control = stack_layers(features, WIDTHS, responses[torch.randperm(600)], Ridge(), fold, None)
    assert control.fit.cv_r2.mean() < 0.01


def test_a_constant_target_and_few_stimuli_end_nothing():
    features, responses = planted(SHARES, stimuli=12)
    responses[:, 2] = 0
    stack = stack_layers(features, WIDTHS, responses, Ridge(), assign_folds(12, 3), None)
    assert stack.fit.weight.isfinite().all()
    assert not stack.fit.weight[2].any()
    assert stack.fit.cv_r2[2].isnan()
    torch.testing.assert_close(stack.share.sum(1), torch.ones(6, dtype=torch.float64))
