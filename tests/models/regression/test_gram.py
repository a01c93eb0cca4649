"""Moments are exact under any split of the data, and their axes are those of the centred features."""

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.regression import gram
from calcarine.models.regression.gram import FeatureMoments, GramAccumulator, assign_folds, principal_axes, rows_by_fold
from torch import Tensor

OFFSET = 1e4


def draw(num_stimuli: int = 500, num_features: int = 20, num_targets: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(num_stimuli, num_features, generator=generator) + OFFSET
    responses = features[:, :num_targets] + torch.randn(num_stimuli, num_targets, generator=generator)
    return features, responses, assign_folds(num_stimuli, 3)


def accumulate(features: Tensor, responses: Tensor, fold: Tensor, rows: list[Tensor]) -> GramAccumulator:
    moments = GramAccumulator(features[:50].mean(0), responses[:50].mean(0), num_folds=3)
    for part in rows:
        moments.update(features[part], responses[part], fold[part])
    return moments


@pytest.mark.parametrize("batch", [7, 64, 500])
def test_moments_do_not_depend_on_the_batches(batch: int) -> None:
    features, responses, fold = draw()
    moments = accumulate(features, responses, fold, list(torch.randperm(len(features)).split(batch)))
    for k in range(3):
        x = features[fold == k].double() - moments.features.shift
        y = responses[fold == k].double() - moments.responses.shift.double()
        assert moments.features.count[k] == len(x)
        torch.testing.assert_close(moments.features.total[k], x.sum(0), rtol=1e-12, atol=1e-9)
        torch.testing.assert_close(moments.features.gram[k], x.T @ x, rtol=1e-12, atol=1e-9)
        torch.testing.assert_close(moments.responses.total[k], y.sum(0), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(moments.responses.square[k], y.square().sum(0), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(moments.responses.cross[k].double(), x.T @ y, rtol=1e-5, atol=1e-3)


def test_sums_of_two_ranks_add_up_to_those_of_one() -> None:
    features, responses, fold = draw()
    rows = torch.arange(len(features)).split(64)
    whole = accumulate(features, responses, fold, list(rows))
    first = accumulate(features, responses, fold, list(rows[::2]))
    second = accumulate(features, responses, fold, list(rows[1::2]))
    for name, total in first.sums().items():
        total += second.sums()[name]  # in place, as an all-reduce does
        torch.testing.assert_close(total, whole.sums()[name], rtol=1e-5, atol=1e-3)
    assert first.features.count.sum() == len(features)


def test_rows_by_fold_covers_each_row_once() -> None:
    fold = torch.tensor([2] * 3000 + [0, 1, 0, 1])
    pieces = list(rows_by_fold(fold))
    rows = torch.arange(len(fold))
    assert torch.equal(torch.cat([rows[piece] for _, piece in pieces]).sort().values, rows)
    assert all((fold[piece] == k).all() for k, piece in pieces)
    assert [isinstance(piece, slice) for k, piece in pieces if k == 2] == [True] * 3
    assert not any(isinstance(piece, slice) for k, piece in pieces if k < 2)


def test_axes_diagonalise_the_training_part_standardised_as_scikit_learn_does() -> None:
    from sklearn.preprocessing import StandardScaler

    features, _, fold = draw()
    features[:, 3] = 7.0  # constant
    moments = FeatureMoments(features.mean(0), num_folds=3)
    moments.update(features.double() - moments.shift, fold)
    axes = principal_axes(moments, held_out=1, standardize=True)
    training = features[fold != 1].double()
    scores = (training - moments.shift - axes.mean) @ axes.rotation
    expected = StandardScaler().fit_transform(training.numpy())
    np.testing.assert_allclose(scores.T @ scores, torch.diag(axes.eigenvalues), atol=1e-8 * float(axes.eigenvalues[-1]))
    np.testing.assert_allclose((scores @ scores.T).numpy(), expected @ expected.T, atol=1e-8 * len(training))
    assert len(axes.eigenvalues) == features.shape[1] - 1


def test_axes_leave_out_the_null_space_of_collinear_features() -> None:
    features, _, _ = draw()
    features = torch.cat([features, features[:, :5], 2 * features[:, 5:8]], dim=1)
    moments = FeatureMoments(features.mean(0))
    moments.update(features.double() - moments.shift, torch.zeros(len(features), dtype=torch.int64))
    assert len(principal_axes(moments).eigenvalues) == 20


def test_folds_are_balanced_and_seeded() -> None:
    fold = assign_folds(23, 5, seed=1)
    assert sorted(fold.bincount().tolist()) == [4, 4, 5, 5, 5]
    assert torch.equal(fold, assign_folds(23, 5, seed=1))
    assert not torch.equal(fold, assign_folds(23, 5, seed=2))


def test_repeats_of_an_image_are_in_one_fold() -> None:
    images = torch.arange(20).repeat_interleave(3)[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    fold = assign_folds(60, 5, seed=3, images=images)
    assert fold.bincount().tolist() == [12] * 5
    assert all(len(fold[images == image].unique()) == 1 for image in range(20))


def test_what_each_subject_was_shown_is_dealt_evenly() -> None:
    seen_by = torch.arange(4).repeat_interleave(torch.tensor([7, 40, 3, 11]))
    seen_by = seen_by[torch.randperm(61, generator=torch.Generator().manual_seed(0))]
    fold = assign_folds(61, 5, seed=3, seen_by=seen_by)
    for number in range(4):
        sizes = fold[seen_by == number].bincount(minlength=5)
        assert sizes.max() - sizes.min() <= 1
    assert fold.bincount().max() - fold.bincount().min() <= 1
    assert not torch.equal(fold, assign_folds(61, 5, seed=4, seen_by=seen_by))
    alone = assign_folds(61, 5, seed=3, seen_by=torch.zeros(61, dtype=torch.long))
    assert torch.equal(alone, assign_folds(61, 5, seed=3))


@pytest.mark.parametrize("num_folds", [1, 11])
def test_impossible_folds_are_refused(num_folds: int) -> None:
    with pytest.raises(InputError, match=r"--model\.folds .*: expected 2 to 10"):
        assign_folds(10, num_folds)


@pytest.mark.parametrize("rank", [30, 40])
def test_large_matrices_are_decomposed_in_place(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    half = torch.randn(40, rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scatter = half @ half.T
    expected, axes = gram.range_of(scatter.clone(), 40)
    monkeypatch.setattr(gram, "LARGE", 40)
    found, vectors = gram.range_of(scatter.clone(), 40)
    assert vectors.shape == (40, rank)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close((vectors.T @ axes).abs(), torch.eye(rank, dtype=torch.float64), atol=1e-8, rtol=0)
