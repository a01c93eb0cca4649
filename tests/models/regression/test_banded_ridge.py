"""Banded ridge chooses what himalaya and scikit-learn choose, and divides R² as it was planted."""

from typing import Any

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.closed_form.banded_ridge import findings_of
from calcarine.models.regression import banded_forms, primal_ridge
from calcarine.models.regression.banded_ridge import draw_shares, fit_banded
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.ridge import fit_ridge
from himalaya.ridge import solve_group_ridge_random_search
from himalaya.scoring import r2_score_split
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler
from torch import Tensor

PENALTIES = np.logspace(0, 5, 6).tolist()
WIDTHS = (8, 20, 12)
BAND = torch.repeat_interleave(torch.arange(3), torch.tensor(WIDTHS))
PRIMAL, DUAL = 120, 35  # stimuli, beside 40 features
SIZES = pytest.mark.parametrize("num_stimuli", [PRIMAL, DUAL], ids=["primal", "dual"])


def simulate(num_stimuli: int, num_targets: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated features of all sizes, and targets from mere noise to nearly noise-free."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(len(BAND), len(BAND), generator=generator) / len(BAND) ** 0.5
    features = torch.randn(num_stimuli, len(BAND), generator=generator) @ (mixing + torch.eye(len(BAND)))
    features = 3 + features * torch.logspace(-2, 2, len(BAND))
    shown = (features - features.mean(0)) / features.std(0)
    weight = torch.randn(len(BAND), num_targets, generator=generator) / len(BAND) ** 0.5
    weight *= torch.tensor([1.0, 0.3, 0.0])[BAND][:, None]
    noise = torch.randn(num_stimuli, num_targets, generator=generator)
    return features, shown @ weight * torch.logspace(-1, 1, num_targets) + noise + 5


def distinct_shares(count: int) -> Tensor:
    """Candidates (count, 3) none of which is so near to a band alone that it ties with it."""
    shares = draw_shares(3, 40)
    return torch.cat([shares[:4], shares[4:][shares[4:].amax(1) < 0.9]])[:count]


def scaled(features: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Features times the root of their prior variance, the share of their band over its features."""
    return features * np.sqrt(share * len(BAND) / np.array(WIDTHS))[BAND]


def predictions(
    features: Tensor, responses: Tensor, fold: Tensor, share: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's held-out predictions by band (B, N, T), and the responses, about the training part's mean."""
    x, y = features.double().numpy(), responses.double().numpy()
    predicted, about = np.zeros((len(share), *y.shape)), np.zeros(y.shape)
    for k in fold.unique():
        training, held_out = (fold != k).numpy(), (fold == k).numpy()
        scaler: Any = StandardScaler().fit(x[training])
        model = Ridge(alpha=penalty).fit(scaled(scaler.transform(x[training]), share), y[training])
        shown = scaled(scaler.transform(x[held_out]), share)
        for b in range(len(share)):
            own = BAND.eq(b).numpy()
            predicted[b, held_out] = shown[:, own] @ model.coef_[:, own].T
        about[held_out] = y[held_out] - y[training].mean(0)
    return predicted, about


@SIZES
def test_shares_penalties_and_weights_are_scikit_learns(num_stimuli: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primal_ridge, "STRIP_ROWS", 7)  # as of many features
    features, responses = simulate(num_stimuli, num_targets=30)
    fold, shares = assign_folds(num_stimuli, 5), distinct_shares(8)
    fit = fit_banded(features.double(), responses.double(), BAND, shares, fold, PENALTIES)
    errors = np.empty((len(shares), len(PENALTIES), responses.shape[1]))
    for c, share in enumerate(shares.numpy()):
        for p, penalty in enumerate(PENALTIES):
            predicted, about = predictions(features, responses, fold, share, penalty)
            errors[c, p] = ((about - predicted.sum(0)) ** 2).mean(0)
    best = errors.reshape(-1, responses.shape[1]).argmin(0)
    choice, penalty = np.unravel_index(best, errors.shape[:2])
    np.testing.assert_array_equal(fit.share.T, shares[choice])
    np.testing.assert_allclose(fit.penalty, np.array(PENALTIES)[penalty])
    assert len(np.unique(choice)) > 3, "the choices must differ for this to mean much"
    np.testing.assert_allclose(fit.error, errors.min((0, 1)), rtol=1e-9)
    np.testing.assert_allclose(fit.alone, errors[1:4].min(1), rtol=1e-9)
    for target in range(responses.shape[1]):
        predicted, about = predictions(
            features, responses, fold, shares[choice[target]].numpy(), PENALTIES[penalty[target]]
        )
        expected = r2_score_split(about[:, [target]], predicted[:, :, [target]])[:, 0]
        np.testing.assert_allclose(fit.band_r2[:, target], expected, rtol=1e-8, atol=1e-10)
        scaler: Any = StandardScaler().fit(features.double().numpy())
        shown = scaled(scaler.transform(features.double().numpy()), shares[choice[target]].numpy())
        model = Ridge(alpha=PENALTIES[penalty[target]]).fit(shown, responses[:, target].double().numpy())
        found = features.double() @ fit.weight[target] + fit.bias[target]
        np.testing.assert_allclose(found, model.predict(shown), rtol=1e-9)


@SIZES
def test_agrees_with_himalaya(num_stimuli: int) -> None:
    """himalaya does not standardise: each fold is made so that its training part has mean 0 and variance 1."""
    features, responses = simulate(num_stimuli, num_targets=1500)
    fold, shares = torch.arange(num_stimuli) % 5, draw_shares(3, 24)[4:].clamp(min=1e-3)  # it divides by the shares
    shares /= shares.sum(1, keepdim=True)
    x = features.double().numpy()
    for k in range(5):
        x[fold == k] = StandardScaler().fit_transform(x[fold == k])
    fit = fit_banded(torch.from_numpy(x).float(), responses, BAND, shares, fold, PENALTIES)
    parts = [x[:, BAND.eq(b).numpy()] for b in range(3)]
    gammas = shares.numpy() * len(BAND) / np.array(WIDTHS)
    himalaya: Any = solve_group_ridge_random_search  # its annotations are narrower than what it takes
    deltas, weight, scores, bias = himalaya(
        parts,
        responses.double().numpy(),
        n_iter=gammas,
        alphas=np.array(PENALTIES),
        fit_intercept=True,
        cv=PredefinedSplit(fold.numpy()),
        return_weights=True,
        progress_bar=False,
        warn=False,
    )
    np.testing.assert_allclose(fit.error, -scores.max(0), rtol=1e-4)
    with np.errstate(divide="ignore"):
        expected = np.log(gammas[scores.argmax(0)].T)  # without the penalty
    same = np.isclose(fit.share.T, shares[scores.argmax(0)]).all(1)
    varies = np.isfinite(expected) & np.isfinite(deltas)
    penalty = np.exp(np.where(varies, expected - deltas, -np.inf).max(0))  # a delta is log γ / penalty
    same &= np.isclose(fit.penalty, penalty, rtol=1e-4)
    assert same.mean() >= 0.999
    assert np.linalg.norm(fit.weight.numpy()[same] - weight.T[same]) < 1e-4 * np.linalg.norm(weight.T[same])
    np.testing.assert_allclose(fit.bias.numpy()[same], bias[same], atol=1e-4)


@SIZES
def test_float32_and_blocks_of_targets_change_little(num_stimuli: int) -> None:
    features, responses = simulate(num_stimuli, num_targets=1100)
    fold, shares = assign_folds(num_stimuli, 5), draw_shares(3, 6)
    fine = fit_banded(features.double(), responses.double(), BAND, shares, fold, PENALTIES)
    fit = fit_banded(features, responses, BAND, shares, fold, PENALTIES)
    same = (fit.penalty == fine.penalty) & (fit.share == fine.share).all(0)
    assert same.double().mean() >= 0.998
    assert (fit.weight - fine.weight)[same].norm() < 1e-4 * fine.weight.norm()
    torch.testing.assert_close(fit.band_r2.sum(0), fit.cv_r2, rtol=0, atol=1e-5)
    torch.testing.assert_close(fit.band_r2[:, same], fine.band_r2[:, same], rtol=0, atol=1e-4)
    assert fit.weight.dtype == fit.bias.dtype == torch.float32


def test_products_that_are_made_again_for_each_candidate_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a whole brain: those of all targets would take more than a gigabyte."""
    features, responses = simulate(PRIMAL, num_targets=1100)
    fold, shares = assign_folds(PRIMAL, 5), draw_shares(3, 6)
    kept = fit_banded(features, responses, BAND, shares, fold, PENALTIES)
    monkeypatch.setattr(banded_forms, "KEPT", 0)
    fit = fit_banded(features, responses, BAND, shares, fold, PENALTIES)
    assert (fit.penalty == kept.penalty).double().mean() >= 0.998
    torch.testing.assert_close(fit.error, kept.error, rtol=1e-5, atol=0)
    torch.testing.assert_close(fit.band_r2.sum(0), fit.cv_r2, rtol=0, atol=1e-5)


def test_penalties_beyond_all_eigenvalues_give_what_scikit_learn_gives() -> None:
    """himalaya's gallery goes to 1e20; such penalties share one product."""
    features, responses = simulate(PRIMAL, num_targets=30)
    fold, shares = assign_folds(PRIMAL, 5), distinct_shares(1)
    for penalty in (3e3, 1e5, 1e6, 1e9, 1e20):
        predicted, about = predictions(features, responses, fold, shares[0].numpy(), penalty)
        fit = fit_banded(features, responses, BAND, shares, fold, [penalty, 1e19])
        expected = ((about - predicted.sum(0)) ** 2).mean(0)
        null = (about**2).mean(0)
        np.testing.assert_allclose(fit.error.numpy() / null, np.minimum(expected, null) / null, rtol=0, atol=1e-6)


@SIZES
def test_one_band_is_plain_ridge(num_stimuli: int) -> None:
    features, responses = simulate(num_stimuli)
    fold = assign_folds(num_stimuli, 5)
    plain = fit_ridge(features, responses, PENALTIES, fold, standardize=True)
    fit = fit_banded(features, responses, torch.zeros_like(BAND), draw_shares(1, 60), fold, PENALTIES)
    torch.testing.assert_close(fit.penalty, plain.penalty)
    torch.testing.assert_close(fit.weight, plain.weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fit.alone_r2[0], fit.cv_r2)


@SIZES
def test_a_band_alone_is_plain_ridge_on_its_features(num_stimuli: int) -> None:
    features, responses = simulate(num_stimuli)
    fold = assign_folds(num_stimuli, 5)
    fit = fit_banded(features, responses, BAND, draw_shares(3, 4), fold, PENALTIES)
    for b, width in enumerate(WIDTHS):
        penalties = torch.tensor(PENALTIES) * width / len(BAND)  # the scatter of N D is the band's own
        alone = fit_ridge(features[:, b == BAND], responses, penalties, fold, standardize=True)
        torch.testing.assert_close(fit.alone[b], alone.error, rtol=1e-4, atol=0)


@SIZES
def test_a_group_takes_the_shares_and_penalty_of_its_least_mean_error(num_stimuli: int) -> None:
    features, responses = simulate(num_stimuli)
    groups = torch.arange(60) * 7 % 3
    fold, shares = assign_folds(num_stimuli, 3), distinct_shares(8)
    fit = fit_banded(features, responses, BAND, shares, fold, PENALTIES, groups)
    every = [(share, penalty) for share in shares for penalty in PENALTIES]
    fits = [fit_banded(features, responses, BAND, share[None], fold, [penalty]) for share, penalty in every]
    errors = torch.stack([one.error for one in fits])  # (C P, T)
    for group in range(3):
        members = groups == group
        best = int(errors[:, members].mean(1).argmin())
        share, penalty = every[best]
        assert (fit.share[:, members] == share[:, None]).all()
        assert (fit.penalty[members] == penalty).all()
        torch.testing.assert_close(fit.error[members], errors[best, members], rtol=1e-5, atol=0)
        torch.testing.assert_close(fit.gain[:, members], fits[best].gain[:, members], rtol=1e-4, atol=1e-5)


def plant(
    parts: list[Tensor], shares: Tensor, noise: float, seed: int = 0, per_group: int = 40
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets of which each part of the features drives a known share of the signal's variance.

    Args:
        parts: Features (N, d) each, independent of each other.
        shares: (groups, parts).
        noise: Variance of the noise over that of the signal.

    Returns:
        Features (N, D), responses (N, groups · per_group), and band of each feature (D,).
    """
    generator = torch.Generator().manual_seed(seed)
    responses = []
    for group in shares:
        signal = torch.zeros(len(parts[0]), per_group)
        for part, share in zip(parts, group, strict=True):
            driven = part @ torch.randn(part.shape[1], per_group, generator=generator)
            signal += share.sqrt() * driven / driven.std(0)
        responses.append(signal + noise**0.5 * torch.randn(signal.shape, generator=generator))
    band = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([part.shape[1] for part in parts]))
    return torch.cat(parts, dim=1), torch.cat(responses, dim=1), band


def by_group(values: Tensor, groups: int) -> Tensor:
    """Mean over the targets of each group, (B, groups), of values (B, T)."""
    return values.unflatten(1, (groups, -1)).mean(2)


SHARES = torch.tensor([[1, 0, 0], [0, 0.3, 0.7], [0.7, 0.3, 0], [0.5, 0.2, 0.3], [0, 0, 1]])


@pytest.mark.parametrize("widths", [(20, 20, 20), (5, 20, 80)], ids=["equal", "unequal"])
def test_band_shares_are_the_planted_ones(widths: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(1500, width, generator=generator) for width in widths]
    features, responses, band = plant(parts, SHARES, noise=1.0)
    fit = fit_banded(features, responses, band, draw_shares(3, 40), assign_folds(1500, 5), PENALTIES)
    found = by_group(fit.band_r2 / fit.cv_r2, len(SHARES))
    np.testing.assert_allclose(found.T, SHARES, atol=0.05)
    assert (fit.cv_r2.mean() - 0.5).abs() < 0.05
    prior = by_group(fit.share, len(SHARES))
    assert prior.T[SHARES == 1].min() > 0.8, "one band alone drives these"
    assert prior.T[SHARES == 0].max() < 0.15
    order = torch.randperm(1500, generator=generator)
    control = fit_banded(features, responses[order], band, draw_shares(3, 40), assign_folds(1500, 5), PENALTIES)
    assert control.cv_r2.median().abs() < 0.01
    assert control.band_r2.mean(1).abs().max() < 0.01


def test_correlated_bands_divide_between_them_what_both_explain() -> None:
    """Band 1 is band 0 seen through noise: it adds nothing, but the weights may lean on both."""
    generator = torch.Generator().manual_seed(2)
    first = torch.randn(1500, 10, generator=generator)
    copy = first + 0.5 * torch.randn(1500, 10, generator=generator)
    _, responses, _ = plant([first], torch.ones(1, 1), noise=1.0)
    band = torch.arange(2).repeat_interleave(10)
    fit = fit_banded(torch.cat([first, copy], 1), responses, band, draw_shares(2, 30), assign_folds(1500, 5), PENALTIES)
    assert (fit.band_r2 / fit.cv_r2)[0].mean() > 0.9, "the band that drives the targets is preferred"
    assert (fit.cv_r2 - fit.alone_r2[0]).abs().mean() < 0.01, "the other adds nothing"
    assert (fit.alone_r2[1] / fit.cv_r2).mean() > 0.7, "although it explains most of it alone"


def test_two_bands_unique_and_shared_parts_are_the_planted_ones() -> None:
    """Both bands hold the features `common`; each alone holds its own."""
    generator = torch.Generator().manual_seed(3)
    own, other, common = (torch.randn(2000, 8, generator=generator) for _ in range(3))
    planted = torch.tensor([[0.3, 0.2, 0.5], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9]])  # of own, other, common
    _, responses, _ = plant([own, other, common], planted, noise=0.5)
    features, band = torch.cat([own, common, other, common], dim=1), torch.arange(2).repeat_interleave(16)
    fit = fit_banded(features, responses, band, draw_shares(2, 20), assign_folds(2000, 5), PENALTIES)
    unique = findings_of(fit, ["own", "other"]).unique_r2
    found = by_group(torch.from_numpy(np.stack([unique["own"], unique["other"], unique["shared"]])), len(planted))
    np.testing.assert_allclose(found.T, planted / 1.5, atol=0.02)
    np.testing.assert_allclose(sum(unique.values()), fit.cv_r2, atol=1e-6)


@pytest.mark.parametrize("num_features", [3, 40, 4096])
@pytest.mark.parametrize("num_folds", [2, 5, 10])
def test_ten_stimuli_and_one_target(num_features: int, num_folds: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features, responses = torch.randn(10, num_features, generator=generator), torch.randn(10, 1, generator=generator)
    band = torch.arange(num_features) % 3
    fit = fit_banded(features, responses, band, draw_shares(3, 6), assign_folds(10, num_folds), PENALTIES)
    assert fit.weight.isfinite().all()
    torch.testing.assert_close(fit.band_r2.sum(0), fit.cv_r2, rtol=0, atol=1e-4)


def test_many_more_features_than_81_stimuli() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(81, 8, generator=generator) @ torch.randn(8, 3000, generator=generator) for _ in range(2)]
    features, responses, band = plant(parts, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), noise=0.3)
    fit = fit_banded(features, responses, band, draw_shares(2, 10), assign_folds(81, 5), [1e2, 1e4, 1e5, 1e6])
    np.testing.assert_allclose(by_group(fit.band_r2 / fit.cv_r2, 2), np.eye(2), atol=0.1)
    assert fit.cv_r2.mean() > 0.6


@SIZES
def test_constant_targets_and_constant_and_collinear_features_do_no_harm(num_stimuli: int) -> None:
    features, responses = simulate(num_stimuli, num_targets=3)
    plain = fit_banded(features, responses, BAND, draw_shares(3, 6), assign_folds(num_stimuli, 5), PENALTIES)
    responses[:, 1] = 1234.567
    constant = torch.full((num_stimuli, 5), 5.1)
    rare = (torch.arange(num_stimuli) == 4).float()[:, None]  # constant outside one fold
    padded, band = torch.cat([features, constant], dim=1), torch.cat([BAND, torch.tensor([0, 0, 1, 1, 2])])
    fit = fit_banded(padded, responses, band, draw_shares(3, 6), assign_folds(num_stimuli, 5), PENALTIES)
    torch.testing.assert_close(fit.error[[0, 2]], plain.error[[0, 2]], rtol=1e-4, atol=0)  # they do not count
    assert (fit.weight[:, -5:].abs() < 1e-6).all()
    assert (fit.weight[1] == 0).all()
    assert fit.bias[1] == responses[0, 1]
    assert fit.penalty[1] == max(PENALTIES)
    assert (fit.share[:, 1] == 1 / 3).all()
    assert fit.cv_r2[1].isnan()
    assert fit.band_r2[:, 1].isnan().all()
    collinear, band = torch.cat([features, features[:, :9], rare], dim=1), torch.cat([BAND, torch.arange(10) % 3])
    fit = fit_banded(collinear, responses, band, draw_shares(3, 6), assign_folds(num_stimuli, 5), [1e-6, 1.0])
    assert fit.weight.isfinite().all()
    assert fit.error.isfinite().all()


def test_a_band_without_variance_explains_nothing() -> None:
    features, responses = simulate(PRIMAL)
    features[:, BAND == 2] = 7.0
    fit = fit_banded(features, responses, BAND, draw_shares(3, 6), assign_folds(PRIMAL, 5), PENALTIES)
    assert (fit.band_r2[2] == 0).all()
    torch.testing.assert_close(fit.alone[2], fit.null_error)


def test_candidates_hold_the_centre_the_corners_and_seeded_mixtures() -> None:
    shares = draw_shares(4, 30)
    assert shares.shape == (30, 4)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_array_equal(shares[:5], np.vstack([np.full(4, 0.25), np.eye(4)]))
    assert torch.equal(shares, draw_shares(4, 30))
    assert not torch.equal(shares[5:], draw_shares(4, 30, seed=1)[5:])
    assert draw_shares(1, 30).tolist() == [[1.0]]


@SIZES
def test_wrong_input_is_refused_in_one_line(num_stimuli: int) -> None:
    features, responses = simulate(num_stimuli)
    fold, shares = assign_folds(num_stimuli, 3), draw_shares(3, 5)
    cases = {
        "features: expected finite": (features.index_fill(0, torch.tensor([4]), torch.nan), responses, fold, [1.0]),
        "in target 0; fit targets": (features, responses.index_fill(0, torch.tensor([4]), torch.nan), fold, [1.0]),
        "folds: expected at least 2": (features, responses, torch.zeros_like(fold), [1.0]),
        "penalties: expected one or more": (features, responses, fold, [-1.0]),
        "at least 2 training stimuli": (features, responses, (torch.arange(num_stimuli) == 0).long(), [1.0]),
    }
    for message, (x, y, k, penalties) in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            fit_banded(x, y, BAND, shares, k, penalties)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"--model\.candidates .*: expected at least 4"):
        draw_shares(3, 3)
