"""Window ridge: scikit-learn's weights under a fixed window, the right window, and nothing where there is nothing."""

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.heads.window_pool import WindowPool, candidate_windows
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.linear_fit import LinearFit
from calcarine.models.regression.rbf_ridge import fit_rbf_ridge
from calcarine.models.regression.ridge import fit_ridge
from calcarine.models.regression.window_ridge import best_windows
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

PENALTIES = [0.05, 0.5, 5.0]


def data(stimuli=60, features=7, targets=5):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((stimuli, features)) * 3 + 10
    y = np.sin(x[:, :targets] / 3) + np.geomspace(0.1, 3, targets) * rng.standard_normal((stimuli, targets)) + 2
    return torch.from_numpy(x), torch.from_numpy(y)


def by_scikit_learn(x, y, spread, penalty, new):
    """Predictions of KernelRidge on scikit-learn's own kernel, centred by the training stimuli."""
    x, y, spread, new = (tensor.numpy() for tensor in (x, y, spread, new))
    scaler = StandardScaler().fit(x)
    train, test = (scaler.transform(part) / spread for part in (x, new))
    kernel, across = RBF(1.0)(train), RBF(1.0)(test, train)
    middle = np.eye(len(x)) - 1 / len(x)
    ridge = KernelRidge(alpha=penalty, kernel="precomputed").fit(middle @ kernel @ middle, y - y.mean(0))
    return (across - kernel.mean(0)) @ middle @ ridge.dual_coef_ + y.mean(0)


def test_rbf_agrees_with_scikit_learn_fold_by_fold():
    x, y = data()
    fold = assign_folds(60, 4)
    spread = torch.linspace(1, 4, 7, dtype=torch.float64)
    fit = fit_rbf_ridge(x, spread, y, PENALTIES, fold)
    errors = np.zeros((3, 5))
    for k in range(4):
        held_out = (fold == k).numpy()
        for row, penalty in zip(errors, PENALTIES, strict=True):
            found = by_scikit_learn(x[~held_out], y[~held_out], spread, penalty, x[held_out])
            row += ((found - y[held_out].numpy()) ** 2).mean(0) / 4
    np.testing.assert_allclose(fit.error, errors.min(0), rtol=1e-8)
    np.testing.assert_array_equal(fit.penalty, np.array(PENALTIES)[errors.argmin(0)])
    assert len(fit.penalty.unique()) > 1, "the penalties must differ for this to mean much"
    scaled = StandardScaler().fit_transform(x) / spread.numpy()
    predicted = RBF(1.0)(scaled) @ fit.weight.numpy().T + fit.bias.numpy()
    for target, penalty in enumerate(fit.penalty.tolist()):
        expected = by_scikit_learn(x, y, spread, penalty, x)[:, target]
        np.testing.assert_allclose(predicted[:, target], expected, rtol=1e-8)


def test_rbf_without_folds_is_generalised_cross_validation():
    x, y = data()
    fit = fit_rbf_ridge(x, torch.full((7,), 3.0), y, PENALTIES)
    kernel, count = RBF(1.0)(StandardScaler().fit_transform(x) / 3), len(x)
    middle = np.eye(count) - 1 / count
    kernel, errors = middle @ kernel @ middle, []
    for penalty in PENALTIES:
        hat = kernel @ np.linalg.inv(kernel + penalty * np.eye(count)) + 1 / count
        errors.append(count * ((y.numpy() - hat @ y.numpy()) ** 2).sum(0) / (count - hat.trace()) ** 2)
    np.testing.assert_allclose(fit.error, np.min(errors, 0), rtol=1e-8)


def test_linear_under_a_fixed_window_is_scikit_learns_ridge():
    maps = torch.randn(50, 4, 9, 9, dtype=torch.float64)
    responses = maps.mean((2, 3)) @ torch.randn(4, 3, dtype=torch.float64) + torch.randn(50, 3, dtype=torch.float64)
    view = WindowPool({"map": (4, 9, 9)}, candidate_windows(2, [0.2])).double()({"map": maps})[:, 3]
    fit = best_windows([fit_ridge(view, responses, [2.0], assign_folds(50, 5), standardize=True)], 1, None)
    scaler = StandardScaler()
    expected = Ridge(alpha=2.0).fit(scaler.fit_transform(view), responses)
    np.testing.assert_allclose(fit.weight[:, 0], expected.coef_ / scaler.scale_, rtol=1e-6)
    predicted = view @ fit.weight[:, 0].T + fit.bias[:, 0]
    np.testing.assert_allclose(predicted, expected.predict(scaler.transform(view)), rtol=1e-6)


def fake(error, mark):
    error = torch.tensor(error, dtype=torch.float64)
    return LinearFit(torch.full((len(error), 2), mark), torch.full_like(error, mark), error + 10, error, error * 0 + 9)


def test_the_best_windows_are_kept_in_order():
    fits = [fake([3, 1, 5], 0.0), fake([2, 4, 5], 1.0), fake([1, 2, 5], 2.0)]
    fit = best_windows(iter(fits), 2, None)
    assert fit.window.tolist() == [[2, 1], [0, 2], [0, 1]], "the earlier of equal windows comes first"
    assert torch.equal(fit.weight, fit.window[:, :, None].expand(3, 2, 2).float())
    assert torch.equal(fit.bias, fit.window.double())
    assert fit.error.tolist() == [1, 1, 5]
    assert fit.penalty.tolist() == [11, 11, 15]
    assert best_windows(fits, 2, torch.tensor([0, 0, 1])).window.tolist() == [[2, 0], [2, 0], [0, 1]]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_planted_windows_are_found_and_a_shuffled_control_explains_nothing(kernel):
    """Targets each look at one place of maps of noise."""
    generator = torch.Generator().manual_seed(0)
    windows = candidate_windows(4, [0.1])
    pooled = WindowPool({"map": (3, 12, 12)}, windows)({"map": torch.randn(300, 3, 12, 12, generator=generator)})
    planted = torch.arange(1, 17)
    signal = torch.einsum("ntc,tc->nt", pooled[:, planted], torch.randn(16, 3, generator=generator))
    responses = signal / signal.std(0) + 0.5 * torch.randn(300, 16, generator=generator)
    fold = assign_folds(300, 5)
    shuffled = responses[torch.randperm(300, generator=generator)]
    spread = torch.full((3,), 6.0)
    for measured, explained in ((responses, True), (shuffled, False)):
        views = (pooled[:, window] for window in range(17))
        if kernel == "rbf":
            fits = (fit_rbf_ridge(view, spread, measured, [0.01, 0.1, 1.0], fold) for view in views)
        else:
            fits = (fit_ridge(view, measured, [1.0, 100.0, 1e5], fold, standardize=True) for view in views)
        fit = best_windows(fits, 1, None)
        assert (fit.window[:, 0] == planted).float().mean() == 1 if explained else fit.cv_r2.mean() < 0.1
        assert explained == (fit.cv_r2.mean() > 0.6)


@pytest.mark.parametrize("stimuli", [10, 81])
def test_constant_and_collinear_data_do_no_harm(stimuli):
    x, y = data(stimuli, features=200, targets=4)
    x[:, 3], x[:, 4], y[:, 1] = 7.0, x[:, 5], 1e4
    for penalties in (PENALTIES, [0.0]):
        fit = fit_rbf_ridge(x.float(), torch.full((200,), 20.0), y.float(), penalties, assign_folds(stimuli, 5))
        assert fit.weight.isfinite().all()
        assert fit.weight[1].abs().max() == 0
        assert fit.bias[1] == 1e4
        assert not fit.cv_r2[1].isfinite()


def test_what_is_not_finite_is_refused():
    x, y = data()
    spread, fold = torch.ones(7), assign_folds(60, 4)
    broken = y.clone()
    broken[3, 2] = torch.nan
    with pytest.raises(InputError, match="found NaN or infinity in target 2"):
        fit_rbf_ridge(x, spread, broken, PENALTIES, fold)
    broken = x.clone()
    broken[0, 0] = torch.inf
    with pytest.raises(InputError, match="features: expected finite numbers"):
        fit_rbf_ridge(broken, spread, y, PENALTIES, fold)
