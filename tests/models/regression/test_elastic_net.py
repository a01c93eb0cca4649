"""The elastic net for all targets at once is scikit-learn's coordinate descent for each."""

import itertools
import logging
import warnings

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.regression import elastic_net_path
from calcarine.models.regression.elastic_net import MAX_FEATURES, ElasticNet
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.linear_fit import LinearFit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    ElasticNet as ScikitElasticNet,
)
from sklearn.linear_model import (
    ElasticNetCV,
    LassoCV,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
)
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler
from torch import Tensor

TIGHT = {"tol": 1e-9, "max_iter": 1_000_000}
FOLDS = 4


def simulate(
    num_stimuli: int = 200, num_features: int = 30, num_targets: int = 24, correlated: bool = False, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Features, targets of which a fifth of the features explain from nearly nothing to nearly all, and folds."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_stimuli, num_features, generator=generator, dtype=torch.float64)
    if correlated:
        rotation, _ = torch.linalg.qr(torch.randn(num_features, num_features, generator=generator).double())
        features = features / torch.arange(1, num_features + 1).sqrt() @ rotation
    features = features * torch.linspace(0.5, 3, num_features) + 7
    planted = torch.rand(num_features, num_targets, generator=generator) < 0.2
    signal = features @ (torch.randn(num_features, num_targets, generator=generator) * planted).double()
    signal = signal / signal.std(0).clamp(min=1e-6)
    noise = torch.randn(num_stimuli, num_targets, generator=generator).double()
    responses = signal + noise * torch.logspace(-1, 0.7, num_targets) + 3
    return features, responses, assign_folds(num_stimuli, FOLDS)


def fit(features: Tensor, responses: Tensor, fold: Tensor, groups=None, standardize=False, **settings) -> LinearFit:
    return ElasticNet(**settings).fit(features, responses, fold, groups, standardize)


def worst(found: Tensor, expected: np.ndarray) -> float:
    """Largest difference over targets, relative to the target's largest coefficient."""
    size = np.abs(expected).max(1)
    difference = np.abs(found.double().numpy() - expected).max(1)
    return float((difference / np.where(size > 0, size, 1)).max())


def objective(x, y, weight, bias, penalty, l1_ratio=1.0):
    """Value of scikit-learn's objective for one target."""
    residual = y - x @ weight - bias
    l1, l2 = np.abs(weight).sum(), (weight**2).sum()
    return (residual**2).mean() / 2 + penalty * (l1_ratio * l1 + (1 - l1_ratio) / 2 * l2)


@pytest.mark.parametrize("correlated", [False, True], ids=["white", "correlated"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_penalties_and_coefficients_are_scikit_learns(correlated, l1_ratio):
    features, responses, fold = simulate(correlated=correlated)
    found = fit(features, responses, fold, l1_ratio=l1_ratio, path_length=30)
    x, y = features.numpy(), responses.numpy()
    reference = ElasticNetCV(l1_ratio=l1_ratio, alphas=30, cv=PredefinedSplit(fold.numpy()), **TIGHT)
    models = [reference.fit(x, each).__dict__.copy() for each in y.T]
    np.testing.assert_allclose(found.penalty, [model["alpha_"] for model in models], rtol=1e-9)
    assert len(np.unique([model["alphas_"].tolist().index(model["alpha_"]) for model in models])) > 3
    assert worst(found.weight, np.stack([model["coef_"] for model in models])) < 1e-6
    np.testing.assert_allclose(found.bias, [model["intercept_"] for model in models], atol=1e-6)
    errors = [model["mse_path_"].mean(-1).min() for model in models]
    np.testing.assert_allclose(found.error, errors, rtol=1e-4)


def test_the_lasso_with_standardised_folds_is_a_pipeline_of_scikit_learns():
    features, responses, fold = simulate()
    found = fit(features, responses, fold, standardize=True, path_length=20)
    x, y = features.numpy(), responses.numpy()
    for target in range(0, 24, 4):
        largest = np.abs(StandardScaler().fit_transform(x).T @ (y[:, target] - y[:, target].mean())).max() / len(x)
        penalties = np.geomspace(largest, largest * 1e-3, 20)
        errors = np.zeros(20)
        for k, (place, penalty) in itertools.product(range(FOLDS), enumerate(penalties)):
            training, held_out = fold.numpy() != k, fold.numpy() == k
            scaler = StandardScaler().fit(x[training])
            model = ScikitElasticNet(alpha=penalty, l1_ratio=1, **TIGHT)
            model.fit(scaler.transform(x[training]), y[training, target])
            errors[place] += ((model.predict(scaler.transform(x[held_out])) - y[held_out, target]) ** 2).mean() / FOLDS
        assert found.penalty[target].item() == pytest.approx(penalties[errors.argmin()], rel=1e-9)
        scaler = StandardScaler().fit(x)
        model = ScikitElasticNet(alpha=penalties[errors.argmin()], l1_ratio=1, **TIGHT)
        expected = model.fit(scaler.transform(x), y[:, target]).coef_ / scaler.scale_
        assert worst(found.weight[target][None], expected[None]) < 1e-6


def test_the_multi_task_form_is_scikit_learns_in_each_group():
    features, responses, fold = simulate(num_targets=9)
    groups = torch.tensor([0, 1, 1, 0, 1, 0, 2, 0, 1])
    found = fit(features, responses, fold, groups, multitask=True, l1_ratio=0.7, path_length=20)
    for group in range(3):
        own = (groups == group).nonzero().squeeze(1)
        reference = MultiTaskElasticNetCV(l1_ratio=0.7, alphas=20, cv=PredefinedSplit(fold.numpy()), **TIGHT)
        reference.fit(features.numpy(), responses[:, own].numpy())
        np.testing.assert_allclose(found.penalty[own], reference.alpha_, rtol=1e-9)
        assert worst(found.weight[own], reference.coef_) < 1e-5
        np.testing.assert_allclose(found.bias[own], reference.intercept_, atol=1e-5)
        used = found.weight[own] != 0
        assert torch.equal(used.any(0), used.all(0)), "a feature is used for all targets of a group or for none"


def test_given_penalties_are_shared_by_all_targets_and_their_order_does_not_matter():
    features, responses, fold = simulate(num_targets=8)
    penalties = [0.001, 1.0, 0.01, 0.1, 0.1]
    found = fit(features, responses, fold, penalties=penalties)
    x, y = features.numpy(), responses.numpy()
    models = [
        LassoCV(alphas=penalties, cv=PredefinedSplit(fold.numpy()), **TIGHT).fit(x, each).__dict__.copy()
        for each in y.T
    ]
    np.testing.assert_allclose(found.penalty, [model["alpha_"] for model in models])
    assert worst(found.weight, np.stack([model["coef_"] for model in models])) < 1e-6


def test_a_group_shares_the_share_of_each_targets_largest_penalty():
    features, responses, fold = simulate(num_targets=8)
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = fit(features, responses, fold, groups, path_length=15)
    x, y = features.numpy(), responses.numpy()
    reference = LassoCV(alphas=15, cv=PredefinedSplit(fold.numpy()), **TIGHT)
    models = [reference.fit(x, each).__dict__.copy() for each in y.T]
    for group in (slice(0, 4), slice(4, 8)):
        place = sum(model["mse_path_"].mean(-1) for model in models[group]).argmin()
        np.testing.assert_allclose(found.penalty[group], [m["alphas_"][place] for m in models[group]], rtol=1e-9)


def test_float32_gives_the_coefficients_of_its_numbers():
    features, responses, fold = simulate(correlated=True)
    found = fit(features.float(), responses.float(), fold, path_length=20)
    assert found.weight.dtype == torch.float32
    x, y = features.float().double().numpy(), responses.float().double().numpy()
    expected = [
        ScikitElasticNet(alpha=penalty, l1_ratio=1, **TIGHT).fit(x, each).coef_
        for penalty, each in zip(found.penalty.tolist(), y.T, strict=True)
    ]
    assert worst(found.weight, np.stack(expected)) < 1e-5


@pytest.mark.parametrize("multitask", [False, True])
def test_equal_features_reach_scikit_learns_objective(multitask):
    features, responses, fold = simulate(num_features=12, num_targets=5)
    features = torch.cat([features, features[:, :6], features[:, 6:] + features[:, :6]], dim=1)  # rank 12 of 24
    groups = torch.zeros(5, dtype=torch.int64) if multitask else None
    found = fit(features, responses, fold, groups, multitask=multitask, penalties=[0.02])
    x, y = features.numpy(), responses.numpy()
    kind = MultiTaskElasticNet if multitask else ScikitElasticNet
    model = kind(alpha=0.02, l1_ratio=1, **TIGHT)
    if multitask:
        model.fit(x, y)
        np.testing.assert_allclose(x @ found.weight.numpy().T + found.bias.numpy(), model.predict(x), atol=1e-4)
        return
    for target, weight in enumerate(found.weight.numpy()):
        model.fit(x, y[:, target])
        ours = objective(x, y[:, target], weight, found.bias[target].item(), 0.02)
        assert ours == pytest.approx(objective(x, y[:, target], model.coef_, model.intercept_, 0.02), abs=1e-8)
        np.testing.assert_allclose(x @ weight + found.bias[target].item(), model.predict(x), atol=1e-4)


def test_a_planted_support_is_found_and_a_shuffled_control_explains_nothing():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(600, 60, generator=generator)
    weight = torch.zeros(60, 20)
    for target in range(20):
        weight[torch.randperm(60, generator=generator)[:4], target] = 1.0
    responses = features @ weight + torch.randn(600, 20, generator=generator)
    fold = assign_folds(600, 5)
    found = fit(features, responses, fold, standardize=True)
    planted = weight.T != 0
    assert (found.weight[planted] > 0.7).all()
    assert found.weight[~planted].abs().max() < 0.2
    assert found.cv_r2.mean() > 0.75
    control = fit(features, responses[torch.randperm(600, generator=generator)], fold, standardize=True)
    assert control.cv_r2.abs().max() < 0.03
    assert (control.weight != 0).float().mean() < 0.2


@pytest.mark.parametrize(("num_stimuli", "num_features"), [(81, 400), (10, 6), (10, 50)])
def test_few_stimuli(num_stimuli, num_features):
    features, responses, fold = simulate(num_stimuli, num_features, num_targets=1)
    found = fit(features.float(), responses.float(), fold, standardize=True, path_length=20, path_end=0.1)
    scaler = StandardScaler()
    x, y = scaler.fit_transform(features.float().double().numpy()), responses.float().double().numpy()[:, 0]
    model = ScikitElasticNet(alpha=found.penalty.item(), l1_ratio=1, **TIGHT).fit(x, y)
    assert worst(found.weight, (model.coef_ / scaler.scale_)[None]) < 1e-4


@pytest.mark.parametrize("multitask", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_constant_targets_and_features_have_no_weight(multitask, standardize):
    features, responses, fold = simulate(num_targets=4)
    features[:, 3], responses[:, 2] = 1e4, -5.0
    groups = torch.tensor([0, 0, 1, 0]) if multitask else None
    found = fit(features.float(), responses.float(), fold, groups, standardize, multitask=multitask, path_length=10)
    assert found.weight.isfinite().all()
    assert not found.weight[2].any()
    assert not found.weight[:, 3].any()
    assert found.bias[2] == -5
    assert found.penalty[2] == 1
    assert found.cv_r2.isnan().tolist() == [False, False, True, False]


def test_solutions_that_have_not_converged_are_counted(monkeypatch, caplog):
    features, responses, fold = simulate(correlated=True, num_targets=3)
    monkeypatch.setattr(elastic_net_path, "MAX_ROUNDS", 1)
    with caplog.at_level(logging.WARNING):
        fit(features, responses, fold, path_length=5)
    assert "solutions have not converged" in caplog.text


def test_what_it_cannot_fit_is_one_line():
    features, responses, fold = simulate(num_targets=3)
    with pytest.raises(InputError, match=r"--model\.folds 0: expected 2 or more"):
        ElasticNet().fit(features, responses, None, None, True)
    with pytest.raises(InputError, match=r"--model\.selection target: expected roi or all"):
        fit(features, responses, fold, multitask=True)
    with pytest.raises(
        InputError, match=f"at most {MAX_FEATURES} features, found {MAX_FEATURES + 1}; .*PrincipalComponents"
    ):
        fit(torch.zeros(200, MAX_FEATURES + 1), responses, fold)
    responses[4, 1] = torch.nan
    with pytest.raises(InputError, match="NaN or infinity in target 1"):
        fit(features, responses, fold)
    features[0, 0] = torch.inf
    with pytest.raises(InputError, match="features: expected finite numbers"):
        fit(features, responses[:, :1], fold)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"l1_ratio": 0.0}, "l1_ratio: expected above 0"),
        ({"l1_ratio": 1.1}, "l1_ratio: expected above 0"),
        ({"penalties": [1.0, 0.0]}, "penalties: expected numbers above 0"),
        ({"penalties": []}, "penalties: expected one or more"),
        ({"path_length": 1}, "path_length: expected at least 2"),
        ({"path_end": 1.0}, "path_end: expected between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        ElasticNet(**settings)


@pytest.fixture(autouse=True)
def converged_references():
    """A reference that has not converged is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        yield
