"""Ridge in both forms chooses what himalaya and scikit-learn choose, and gives their coefficients."""

from typing import Any

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.regression.gram import GramAccumulator, assign_folds
from calcarine.models.regression.linear_fit import LinearFit
from calcarine.models.regression.ridge import fit_ridge, solve_ridge
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler
from torch import Tensor

PENALTIES = np.logspace(-1, 5, 10).tolist()
WIDE, NARROW = (90, 300), (700, 60)  # stimuli, features
SHAPES = pytest.mark.parametrize("shape", [NARROW, WIDE], ids=["primal", "dual"])


def simulate(
    shape: tuple[int, int], num_targets: int = 200, offset: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Features with a decaying spectrum, and targets from mere noise to nearly noise-free."""
    num_stimuli, num_features = shape
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, num_features + 1).rsqrt()
    features = torch.randn(num_stimuli, num_features, generator=generator) * scale
    weight = torch.randn(num_features, num_targets, generator=generator) / scale.norm()
    noise = torch.randn(num_stimuli, num_targets, generator=generator)
    signal = features @ weight * torch.logspace(-2, 1, num_targets)
    return features + offset, signal + noise + offset


def relative_error(found: Tensor, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.numpy() - expected) / np.linalg.norm(expected))


def scikit_learn(x: np.ndarray, y: np.ndarray, penalty: Any, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weight (T, D) and bias (T,) of Pipeline(StandardScaler, Ridge), in the features' own units."""
    scaler = StandardScaler(with_std=standardize)
    model = Ridge(alpha=penalty).fit(scaler.fit_transform(x), y)
    scale = 1.0 if scaler.scale_ is None else scaler.scale_
    weight = model.coef_.reshape(y.shape[1], -1) / scale
    return weight, y.mean(0) - weight @ x.mean(0)


def cross_validated_error(
    features: Tensor, responses: Tensor, fold: Tensor, penalty: Any, standardize: bool = False
) -> np.ndarray:
    """Mean over folds of scikit-learn's mean squared error in float64, (T,); one penalty, or one per target."""
    x, y = features.double().numpy(), responses.double().numpy()
    error = np.zeros(y.shape[1])
    for k in fold.unique():
        training, held_out = (fold != k).numpy(), (fold == k).numpy()
        weight, bias = scikit_learn(x[training], y[training], penalty, standardize)
        error += ((y[held_out] - x[held_out] @ weight.T - bias) ** 2).mean(0) / len(fold.unique())
    return error


def brute_force(features: Tensor, responses: Tensor, fold: Tensor, standardize: bool = False) -> np.ndarray:
    """Cross-validated errors of all PENALTIES, (P, T)."""
    return np.stack([cross_validated_error(features, responses, fold, p, standardize) for p in PENALTIES])


def assert_solves(
    fit: LinearFit, features: Tensor, responses: Tensor, tolerance: float, standardize: bool = False
) -> None:
    """The coefficients and the fitted responses are scikit-learn's for the same penalties."""
    x, y = features.double().numpy(), responses.double().numpy()
    weight, bias = scikit_learn(x, y, fit.penalty.numpy(), standardize)
    assert relative_error(fit.weight, weight) < tolerance
    predicted = x @ fit.weight.double().numpy().T + fit.bias.double().numpy()
    np.testing.assert_allclose(predicted, x @ weight.T + bias, atol=tolerance * max(1.0, np.abs(y).max()))


@SHAPES
def test_agrees_with_himalaya(shape: tuple[int, int]) -> None:
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV

    features, responses = simulate(shape, num_targets=2000)
    fold = assign_folds(len(features), 5)
    fit = fit_ridge(features, responses, PENALTIES, fold)
    splits: Any = PredefinedSplit(fold.numpy())
    peer = HimalayaRidgeCV(PENALTIES, fit_intercept=True, cv=splits, solver_params={"warn": False})
    peer.fit(features.double().numpy(), responses.double().numpy())
    same = torch.isclose(fit.penalty, torch.as_tensor(peer.best_alphas_), rtol=1e-6)
    assert same.double().mean() >= 0.999
    assert relative_error(fit.weight[same], peer.coef_.T[same]) < 1e-4
    np.testing.assert_allclose(fit.bias[same], peer.intercept_[same], atol=1e-4)
    np.testing.assert_allclose(fit.error, -peer.cv_scores_, rtol=1e-4)


def test_penalties_compared_in_bfloat16_are_nearly_the_best_and_the_fit_keeps_its_precision() -> None:
    features, responses = simulate(NARROW)
    fold = assign_folds(len(features), 5)
    fine, coarse = (fit_ridge(features, responses, PENALTIES, fold, coarse=dtype) for dtype in (None, torch.bfloat16))
    same = coarse.penalty == fine.penalty
    assert same.double().mean() > 0.85
    assert not torch.equal(coarse.error, fine.error), "it was not compared in bfloat16"
    errors = torch.as_tensor(brute_force(features, responses, fold))
    chosen = errors[
        (coarse.penalty[:, None] == torch.tensor(PENALTIES, dtype=torch.float64)).int().argmax(1), range(len(same))
    ]
    assert ((chosen - errors.amin(0)) / fine.null_error).max() < 0.002, "what the choice costs, as a share of variance"
    assert_solves(coarse, features, responses, 1e-4)


@SHAPES
@pytest.mark.parametrize("standardize", [False, True])
def test_folds_centre_and_standardise_on_their_training_part(shape: tuple[int, int], standardize: bool) -> None:
    features, responses = simulate(shape, offset=3.0)
    features = features * torch.logspace(-2, 1, shape[1])
    fold = assign_folds(len(features), 4)
    fit = fit_ridge(features.double(), responses.double(), PENALTIES, fold, standardize=standardize)
    errors = brute_force(features, responses, fold, standardize)
    np.testing.assert_allclose(fit.penalty, np.take(PENALTIES, errors.argmin(0)))
    np.testing.assert_allclose(fit.error, errors.min(0), rtol=1e-9)
    assert_solves(fit, features, responses, standardize=standardize, tolerance=1e-9)


@SHAPES
def test_groups_share_the_penalty_of_their_least_mean_error(shape: tuple[int, int]) -> None:
    features, responses = simulate(shape, num_targets=1100)  # more than one block of targets
    groups = torch.arange(1100) * 7 % 3
    fold = assign_folds(len(features), 3)
    fit = fit_ridge(features, responses, PENALTIES, fold, groups)
    errors = brute_force(features, responses, fold)
    for group in range(3):
        best = PENALTIES[errors[:, groups == group].mean(1).argmin()]
        np.testing.assert_allclose(fit.penalty[groups == group], best)
    assert_solves(fit, features, responses, tolerance=1e-4)


def test_one_penalty_for_all_is_that_of_scikit_learn() -> None:
    features, responses = simulate(NARROW)
    fold = assign_folds(len(features), 5)
    fit = fit_ridge(features, responses, PENALTIES, fold, groups=torch.zeros(200, dtype=torch.int64))
    splits: Any = PredefinedSplit(fold.numpy())
    peer = RidgeCV(PENALTIES, cv=splits, scoring="neg_mean_squared_error")
    peer.fit(features.double().numpy(), responses.double().numpy())
    assert peer.alpha_ is not None
    np.testing.assert_allclose(fit.penalty, peer.alpha_)
    assert_solves(fit, features, responses, tolerance=1e-4)


@SHAPES
@pytest.mark.parametrize("standardize", [False, True])
def test_generalised_cross_validation_is_that_of_the_hat_matrix(shape: tuple[int, int], standardize: bool) -> None:
    features, responses = simulate(shape, offset=3.0)
    fit = fit_ridge(features, responses, PENALTIES, standardize=standardize)
    x, y = StandardScaler(with_std=standardize).fit_transform(features.double().numpy()), responses.double().numpy()
    num_stimuli = len(x)
    errors = np.empty((len(PENALTIES), y.shape[1]))
    for row, penalty in zip(errors, PENALTIES, strict=True):
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T) + 1 / num_stimuli
        row[:] = num_stimuli * ((y - hat @ y) ** 2).sum(0) / (num_stimuli - np.trace(hat)) ** 2
    assert (fit.penalty.numpy() == np.take(PENALTIES, errors.argmin(0))).mean() >= 0.99
    np.testing.assert_allclose(fit.error, errors.min(0), rtol=1e-4)
    assert_solves(fit, features, responses, standardize=standardize, tolerance=1e-4)


@pytest.mark.parametrize("num_folds", [1, 5])
def test_a_stream_over_two_ranks_gives_what_the_data_in_memory_give(num_folds: int) -> None:
    features, responses = simulate(NARROW, num_targets=1300, offset=10.0)
    fold = assign_folds(len(features), 5) if num_folds > 1 else None
    expected = fit_ridge(features, responses, PENALTIES, fold)
    ranks = [GramAccumulator(features[:64].mean(0), responses[:64].mean(0), num_folds) for _ in range(2)]
    every_fold = torch.zeros(len(features), dtype=torch.int64) if fold is None else fold
    for index, rows in enumerate(torch.arange(len(features)).split(64)):
        ranks[index % 2].update(features[rows], responses[rows], every_fold[rows])
    for name, total in ranks[0].sums().items():
        total += ranks[1].sums()[name]
    fit = solve_ridge(ranks[0], PENALTIES)
    assert (fit.penalty == expected.penalty).float().mean() >= 0.999
    torch.testing.assert_close(fit.error, expected.error, rtol=1e-4, atol=0)
    same = fit.penalty == expected.penalty
    assert relative_error(fit.weight[same], expected.weight[same].numpy()) < 1e-4


@SHAPES
def test_a_large_offset_changes_nothing(shape: tuple[int, int]) -> None:
    features, responses = ((1024 * values).round() / 1024 for values in simulate(shape))  # exact in float32 at 4096
    fold = assign_folds(len(features), 5)
    plain = fit_ridge(features, responses, PENALTIES, fold)
    moved = fit_ridge(features + 4096, responses + 4096, PENALTIES, fold)
    assert (plain.penalty == moved.penalty).float().mean() >= 0.99
    torch.testing.assert_close(moved.error, plain.error, rtol=1e-3, atol=0)
    same = plain.penalty == moved.penalty
    assert relative_error(moved.weight[same], plain.weight[same].numpy()) < 1e-4


@SHAPES
def test_planted_weights_are_recovered_and_a_shuffled_control_is_at_zero(shape: tuple[int, int]) -> None:
    features, responses = simulate(shape, num_targets=400)
    fold = assign_folds(len(features), 5)
    fit = fit_ridge(features, responses, PENALTIES, fold)
    shuffled = responses[torch.randperm(len(responses), generator=torch.Generator().manual_seed(1))]
    control = fit_ridge(features, shuffled, PENALTIES, fold)
    signal = torch.logspace(-2, 1, 400).square()
    ceiling = signal / (signal + 1)
    strong = ceiling > 0.9
    if shape == NARROW:
        assert ((fit.cv_r2 / ceiling)[strong] > 0.9).all()
    assert fit.cv_r2[strong].mean() > 0.3
    assert control.cv_r2.median().abs() < 0.02


def test_without_penalty_it_is_least_squares() -> None:
    features, responses = simulate(NARROW)
    fit = fit_ridge(features.double(), responses.double(), [0.0], assign_folds(len(features), 5))
    expected = LinearRegression().fit(features.double().numpy(), responses.double().numpy())
    assert relative_error(fit.weight, expected.coef_) < 1e-9
    np.testing.assert_allclose(fit.bias, expected.intercept_, atol=1e-9)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("folds", [None, 5])
def test_collinear_and_constant_features_do_no_harm(standardize: bool, folds: int | None) -> None:
    features, responses = simulate(NARROW)
    features = torch.cat([features, features[:, :10], features[:, 10:15] + features[:, 15:20]], dim=1)
    features[:, [0, 30]] = torch.tensor([0.0, 5.1])
    features[:, 7] = (torch.arange(len(features)) == 4).float()  # constant outside one fold
    fold = assign_folds(len(features), folds) if folds else None
    fit = fit_ridge(features, responses, [1e-3, 1.0], fold, standardize=standardize)
    assert_solves(fit, features, responses, standardize=standardize, tolerance=1e-3)
    assert (fit.weight[:, [0, 30]].abs() < 1e-6).all()
    if fold is not None:
        errors = cross_validated_error(features, responses, fold, fit.penalty.numpy(), standardize)
        np.testing.assert_allclose(fit.error, errors, rtol=1e-3)


@SHAPES
@pytest.mark.parametrize("folds", [None, 3])
def test_a_constant_target_is_its_constant(shape: tuple[int, int], folds: int | None) -> None:
    features, responses = simulate(shape, num_targets=3)
    responses[:, 1] = 1234.567
    fit = fit_ridge(features, responses, PENALTIES, assign_folds(len(features), folds) if folds else None)
    assert (fit.weight[1] == 0).all()
    assert fit.bias[1] == responses[0, 1]
    assert fit.penalty[1] == max(PENALTIES)
    assert fit.cv_r2[1].isnan()
    assert fit.cv_r2[[0, 2]].isfinite().all()


@pytest.mark.parametrize("num_features", [3, 9, 10, 11, 4096])
@pytest.mark.parametrize("folds", [None, 2, 10])
def test_ten_stimuli_and_one_target(num_features: int, folds: int | None) -> None:
    features, responses = simulate((10, num_features), num_targets=1)
    fold = assign_folds(10, folds) if folds else None
    fit = fit_ridge(features, responses, PENALTIES, fold)
    assert_solves(fit, features, responses, tolerance=1e-4)
    if fold is not None:
        np.testing.assert_allclose(fit.error, brute_force(features, responses, fold).min(0), rtol=1e-4)


def test_half_precision_features_are_taken_as_they_are() -> None:
    features, responses = simulate(NARROW)
    fit = fit_ridge(features.half(), responses, PENALTIES)
    torch.testing.assert_close(fit.weight, fit_ridge(features.half().float(), responses, PENALTIES).weight)
    assert fit.weight.dtype == torch.float32


@SHAPES
@pytest.mark.parametrize(
    ("where", "message"),
    [("features", "features: expected finite"), ("responses", "in target 5; fit targets")],
)
@pytest.mark.parametrize("folds", [None, 3])
def test_missing_values_are_named(shape: tuple[int, int], where: str, message: str, folds: int | None) -> None:
    features, responses = simulate(shape)
    {"features": features, "responses": responses}[where][17, 5] = torch.nan
    with pytest.raises(InputError, match=message):
        fit_ridge(features, responses, PENALTIES, assign_folds(len(features), folds) if folds else None)


@SHAPES
def test_wrong_settings_are_refused_in_one_line(shape: tuple[int, int]) -> None:
    features, responses = simulate(shape)
    every = torch.zeros(len(features), dtype=torch.int64)
    cases = {
        "penalties: expected": {"penalties": []},
        "penalties: expected one or more finite": {"penalties": [1.0, -1.0]},
        "folds: expected at least 2": {"penalties": [1.0], "fold": every},
        "at least 2 training stimuli": {"penalties": [1.0], "fold": (torch.arange(len(features)) == 0).long()},
    }
    for message, settings in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            fit_ridge(features, responses, **settings)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="stimuli have features"):
        fit_ridge(features, responses[1:], [1.0])
