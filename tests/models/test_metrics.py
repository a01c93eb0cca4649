"""TargetMetrics against scipy, scikit-learn and torch, under batch splits, offsets, constants and merging."""

import copy
import itertools
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from calcarine.models.metrics import TargetMetrics

FIGURES = ("pearson", "r2", "explained_variance", "mse", "rmse", "mae", "smooth_l1")


def reference(prediction: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of each target from other people's code, on the measured stimuli alone."""
    import sklearn.metrics

    figures = {name: [] for name in FIGURES}
    for p, y in zip(prediction.T.astype(np.float64), response.T.astype(np.float64), strict=True):
        p, y = p[~np.isnan(y)], y[~np.isnan(y)]
        mse = sklearn.metrics.mean_squared_error(y, p)
        figures["pearson"].append(scipy.stats.pearsonr(p, y)[0])
        figures["r2"].append(sklearn.metrics.r2_score(y, p))
        figures["explained_variance"].append(sklearn.metrics.explained_variance_score(y, p))
        figures["mse"].append(mse)
        figures["rmse"].append(mse**0.5)
        figures["mae"].append(sklearn.metrics.mean_absolute_error(y, p))
        figures["smooth_l1"].append(torch.nn.functional.smooth_l1_loss(torch.tensor(p), torch.tensor(y)).item())
    return {name: np.array(values) for name, values in figures.items()}


def draw(n: int, num_targets: int, offset: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Float32 predictions and responses that correlate, about an offset."""
    rng = np.random.default_rng(seed)
    response = rng.normal(offset, rng.uniform(0.5, 3, num_targets), (n, num_targets))
    prediction = offset + 0.6 * (response - offset) + rng.normal(0.1, 1.0, (n, num_targets))
    return torch.tensor(prediction, dtype=torch.float32), torch.tensor(response, dtype=torch.float32)


def stream(metric: TargetMetrics, prediction: torch.Tensor, response: torch.Tensor, cuts: list[int]) -> None:
    edges = [0, *cuts, len(response)]
    for start, stop in itertools.pairwise(edges):
        metric.update(prediction[start:stop], response[start:stop])


@pytest.mark.parametrize(("offset", "relative"), [(0.0, 1e-10), (1e4, 1e-10), (1e6, 1e-9)])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_references_under_any_batch_split(offset: float, relative: float, seed: int) -> None:
    prediction, response = draw(157, 12, offset, seed)
    response[::7, 3] = torch.nan
    cuts = [*sorted(np.random.default_rng(seed).integers(0, 158, size=9).tolist()), 157]  # an empty batch at the end
    metric = TargetMetrics(12, response.nanmean(dim=0) + 0.3)
    stream(metric, prediction, response, cuts)
    found, expected = metric.compute(), reference(prediction.numpy(), response.numpy())
    for name in FIGURES:
        np.testing.assert_allclose(found[name], expected[name], rtol=relative, atol=relative, err_msg=name)
    assert found["n"].tolist() == (~response.isnan()).sum(dim=0).tolist()


def test_blocks_of_targets_do_not_show() -> None:
    prediction, response = draw(1500, 200, 0.0)  # 87 targets to a block
    whole, apart = TargetMetrics(200), TargetMetrics(1)
    whole.update(prediction, response)
    apart.update(prediction[:, 150:151], response[:, 150:151])
    for name, figure in apart.compute().items():
        assert whole.compute()[name][150] == pytest.approx(figure.item(), rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 1e4 + 0.1, -3.3e-5, 1e6 + 0.7])
@pytest.mark.parametrize("shift", [None, 1.0, 9999.0])
def test_constant_response_has_no_correlation(value: float, shift: float | None) -> None:
    prediction, _ = draw(1000, 1, 0.0)
    metric = TargetMetrics(1, None if shift is None else torch.tensor([shift]))
    stream(metric, prediction, torch.full((1000, 1), value), list(range(0, 1000, 3)))
    found = metric.compute()
    assert all(found[name].isnan().all() for name in ("pearson", "r2", "explained_variance"))
    assert found["mse"].item() == pytest.approx(((prediction.double() - float(np.float32(value))) ** 2).mean().item())


@pytest.mark.parametrize("value", [0.0, 1e4 + 0.1])
def test_constant_prediction_has_correlation_zero(value: float) -> None:
    import sklearn.metrics

    _, response = draw(300, 4, 0.0)
    metric = TargetMetrics(4, response.mean(dim=0))
    stream(metric, torch.full_like(response, value), response, list(range(0, 300, 7)))
    found = metric.compute()
    assert found["pearson"].tolist() == [0.0] * 4
    predicted = np.full(response.shape, np.float32(value), dtype=np.float64)
    expected = sklearn.metrics.r2_score(response.double(), predicted, multioutput="raw_values")
    np.testing.assert_allclose(found["r2"], expected, rtol=1e-9)


def test_small_spread_about_large_offset_is_no_constant() -> None:
    response = 1e4 + 0.01 * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    metric = TargetMetrics(3, response.mean(dim=0))
    metric.update(response, response)
    np.testing.assert_allclose(metric.compute()["pearson"], 1.0, rtol=1e-9)


def test_ranks_merge_by_addition() -> None:
    prediction, response = draw(101, 6, 1e4)
    shift = response[:10].mean(dim=0)
    whole, one, two = (TargetMetrics(6, shift) for _ in range(3))
    whole.update(prediction, response)
    one.update(prediction[0::2], response[0::2])
    two.update(prediction[1::2], response[1::2])
    one.sums += two.sums
    for name, figure in whole.compute().items():
        np.testing.assert_allclose(one.compute()[name], figure, rtol=1e-9, err_msg=name)


def test_nothing_measured_is_nan_and_counted() -> None:
    prediction, response = draw(20, 2, 0.0)
    response[:, 1] = torch.nan
    metric = TargetMetrics(2, torch.tensor([0.0, torch.nan]))
    metric.update(prediction, response)
    found = metric.compute()
    assert found["n"].tolist() == [20, 0]
    assert all(found[name][1].isnan() and not found[name][0].isnan() for name in FIGURES)


def test_survives_half_precision_copy_reset_and_leaves_checkpoints_alone() -> None:
    prediction, response = draw(50, 3, 1e6)
    metric = TargetMetrics(3, torch.full((3,), 1e6))  # 1e6 overflows float16
    module = torch.nn.Module()
    module.metric = metric
    module.half()
    assert module.state_dict() == {}
    clone = copy.deepcopy(metric)
    clone.update(prediction, response)
    expected = clone.compute()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone.reset()
        with torch.inference_mode():
            clone.update(prediction.requires_grad_(), response)
    np.testing.assert_array_equal(clone.compute()["pearson"], expected["pearson"])
    np.testing.assert_allclose(expected["pearson"], reference(prediction.detach().numpy(), response.numpy())["pearson"])


def test_shift_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(5,\), found \(4,\)"):
        TargetMetrics(5, torch.zeros(4))
