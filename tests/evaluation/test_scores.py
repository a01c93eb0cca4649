"""Scores per target and per ROI against scipy, scikit-learn and a naive bootstrap."""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
import torch
from calcarine.evaluation.bootstrap import bootstrap_means, draw_weights
from calcarine.evaluation.scores import score_rows, target_scores
from calcarine.recording import Recording, Responses, Roi


def pearson(predictions: np.ndarray, responses: np.ndarray) -> list[float]:
    """scipy's correlation of each target."""
    pairs = zip(predictions.T.astype(np.float64), responses.T.astype(np.float64), strict=True)
    return [float(np.asarray(scipy.stats.pearsonr(p, y)[0])) for p, y in pairs]


def recording(
    responses: np.ndarray, hemispheres: Sequence[str], rois: Sequence[Roi], noise_ceiling: np.ndarray | None = None
) -> Recording:
    return Recording(
        subject="subj01",
        stimuli=[""] * len(responses),  # pyright: ignore[reportArgumentType]  # only counted here
        responses=Responses.of(responses),
        splits=np.full(len(responses), "test"),
        hemispheres=np.array(hemispheres),
        rois=rois,
        noise_ceiling=noise_ceiling,
    )


def draw(n: int, num_targets: int, offset: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    responses = rng.normal(offset, rng.uniform(0.5, 3, num_targets), (n, num_targets))
    predictions = offset + 0.5 * (responses - offset) + rng.normal(0.1, 1.0, (n, num_targets))
    return predictions.astype(np.float32), responses.astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_target_scores_agree_with_references(offset: float) -> None:
    import sklearn.metrics

    predictions, responses = draw(83, 7, offset)
    responses[5:40, 2] = np.nan
    found = target_scores(predictions, responses)
    for target in range(7):
        keep = ~np.isnan(responses[:, target])
        p, y = predictions[keep, target].astype(np.float64), responses[keep, target].astype(np.float64)
        mse = sklearn.metrics.mean_squared_error(y, p)
        expected = {
            "n": keep.sum(),
            "pearson": scipy.stats.pearsonr(p, y)[0],
            "r2": sklearn.metrics.r2_score(y, p),
            "explained_variance": sklearn.metrics.explained_variance_score(y, p),
            "mse": mse,
            "rmse": mse**0.5,
            "mae": sklearn.metrics.mean_absolute_error(y, p),
            "smooth_l1": torch.nn.functional.smooth_l1_loss(torch.tensor(p), torch.tensor(y)).item(),
        }
        for name, value in expected.items():
            assert getattr(found, name)[target] == pytest.approx(value, rel=1e-10), (name, target)


def test_blocks_of_targets_do_not_show() -> None:
    predictions, responses = draw(9000, 150)  # 116 targets to a block
    edges = [0, 115, 116, 149]
    found = target_scores(predictions, responses).pearson[edges]
    np.testing.assert_allclose(found, pearson(predictions[:, edges], responses[:, edges]), rtol=1e-10)


def test_constants_are_counted_and_not_averaged() -> None:
    predictions, responses = draw(60, 5)
    responses[:, 1] = 1e4 + 0.1
    responses[:, 2] = np.nan
    predictions[:, 3] = 1e4 + 0.1
    scores = target_scores(predictions, responses)
    assert np.isnan([scores.pearson[1], scores.r2[1], scores.explained_variance[1]]).all()
    assert scores.pearson[3] == 0
    assert scores.scored.tolist() == [True, False, False, True, True]
    (row,) = score_rows(recording(responses, [""] * 5, []), "test", predictions, responses)
    assert (row.hemisphere, row.roi, row.n_targets, row.n_scored) == ("both", "all", 5, 3)
    assert row.pearson_mean == pytest.approx((scores.pearson[0] + 0 + scores.pearson[4]) / 3)
    assert row.mse == pytest.approx(scores.mse[[0, 3, 4]].mean())
    assert row.noise_ceiling_mean is None
    assert row.score is None


def test_rows_follow_hemispheres_and_rois() -> None:
    predictions, responses = draw(50, 6)
    ceiling = np.array([0.5, 0.0, np.nan, 0.2, 0.9, 0.4])
    rois = [
        Roi("V1v", "lh", np.array([0, 1])),
        Roi("V1v", "rh", np.array([3])),
        Roi("EBA", "lh", np.array([1, 2])),
        Roi("aTL-faces", "rh", np.array([], dtype=np.int64)),
    ]
    rows = score_rows(
        recording(responses, ["lh"] * 3 + ["rh"] * 3, rois, ceiling), "validation", predictions, responses
    )
    assert [(row.hemisphere, row.roi, row.n_targets, row.n_scored) for row in rows] == [
        ("lh", "V1v", 2, 2),
        ("lh", "EBA", 2, 2),
        ("lh", "all", 3, 3),
        ("rh", "V1v", 1, 1),
        ("rh", "aTL-faces", 0, 0),
        ("rh", "all", 3, 3),
        ("both", "all", 6, 6),
    ]
    correlations = pearson(predictions, responses)
    for row, members in zip(rows, [[0, 1], [1, 2], [0, 1, 2], [3], [], [3, 4, 5], range(6)], strict=True):
        if not members:
            assert (row.pearson_mean, row.pearson_ci_low, row.mse, row.score) == (None,) * 4
            continue
        assert row.pearson_mean == pytest.approx(np.mean([correlations[t] for t in members]), rel=1e-10)
        assert row.pearson_median == pytest.approx(np.median([correlations[t] for t in members]), rel=1e-10)
        shares = [min(max(correlations[t], 0) ** 2 / ceiling[t], 1) for t in members if ceiling[t] > 0]
        expected = 100 * np.mean(shares) if shares else None
        assert row.score == (expected if expected is None else pytest.approx(expected, rel=1e-10))
    assert rows[0].noise_ceiling_mean == pytest.approx(0.25)
    assert rows[1].noise_ceiling_mean == 0


def test_one_hemisphere_alone_has_its_row_and_the_whole() -> None:
    predictions, responses = draw(20, 2)
    rows = score_rows(recording(responses, ["rh", "rh"], []), "test", predictions, responses)
    assert [(row.hemisphere, row.roi, row.n_targets) for row in rows] == [("rh", "all", 2), ("both", "all", 2)]


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_bootstrap_equals_a_naive_loop(offset: float) -> None:
    n, num_targets = 24, 600  # more targets than one block
    predictions, responses = draw(n, num_targets, offset)
    responses[2:, 4] = offset  # varies through two stimuli alone: constant in some resamples
    responses[3:9, 5] = np.nan
    predictions[:, 6] = offset + 0.1
    groups = np.random.default_rng(1).random((num_targets, 5)) < 0.2
    groups[:, 1] = np.arange(num_targets) == 4
    groups[:, 2] = (np.arange(num_targets) >= 4) & (np.arange(num_targets) < 8)
    groups[:, 3] = False
    weights = draw_weights(n, num_targets, 40, seed=3)
    found = bootstrap_means(predictions, responses, groups, weights)
    expected = np.full(found.shape, np.nan)
    for resample, counts in enumerate(weights):
        stimuli = np.repeat(np.arange(n), counts.astype(int))
        pearson = target_scores(predictions[stimuli], responses[stimuli]).pearson
        for group in range(5):
            known = pearson[groups[:, group] & ~np.isnan(pearson)]
            expected[resample, group] = known.mean() if len(known) else np.nan
    assert 0 < np.isnan(expected[:, 1]).sum() < 40
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_weights_are_resamples_and_seeded() -> None:
    weights = draw_weights(30, 100, 500, seed=1)
    assert weights.shape == (500, 30)
    assert set(weights.sum(axis=1)) == {30.0}
    assert weights.var() == pytest.approx(29 / 30, rel=0.05)  # of a multinomial count
    np.testing.assert_array_equal(weights, draw_weights(30, 100, 500, seed=1))
    assert (weights != draw_weights(30, 100, 500, seed=2)).any()
    assert len(draw_weights(984, 39548, 1000, seed=0)) == 256
    assert len(draw_weights(9841, 39548, 1000, seed=0)) == 200


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predictions \(3, 2\) and responses \(3, 4\)"):
        target_scores(np.zeros((3, 2)), np.zeros((3, 4)))
