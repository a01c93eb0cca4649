"""Reductions against scikit-learn, in every form that the size of the features asks for."""

import logging

import numpy as np
import pytest
import torch
from calcarine.data import PrincipalComponents
from calcarine.data.features import components, matrix
from calcarine.data.features.feature_table import FeatureTable
from calcarine.data.loader import Rows
from calcarine.errors import InputError
from sklearn.decomposition import PCA, IncrementalPCA


def table(data):
    """A matrix as the features of all stimuli, in two recordings."""
    half = len(data) // 2
    return FeatureTable(Rows([data[:half], data[half:]]), np.arange(len(data)))


def correlated(stimuli, features, seed=0):
    """Features with an offset whose variances fall as 1 / i²."""
    rng = np.random.default_rng(seed)
    rank = min(stimuli, features)
    factors = rng.standard_normal((stimuli, rank)) / np.arange(1, rank + 1)
    basis = np.linalg.qr(rng.standard_normal((features, rank)))[0].T
    return (factors @ basis * 10 + 5).astype(np.float32)


@pytest.fixture
def small_pieces(monkeypatch):
    """Every loop over pieces and tiles makes several turns."""
    monkeypatch.setattr(matrix, "PIECE", 1000)
    monkeypatch.setattr(matrix, "NARROWEST", 17)
    monkeypatch.setattr(components, "TILE", 13)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("small", [0, 2048], ids=["iterative", "whole"])
@pytest.mark.parametrize(("stimuli", "features"), [(240, 130), (130, 240)], ids=["covariance", "gram"])
def test_agrees_with_scikit_learn(monkeypatch, stimuli, features, small):
    monkeypatch.setattr(components, "SMALL", small)
    data, new = correlated(stimuli, features), correlated(9, features, seed=1)
    ours = PrincipalComponents(6).fit(table(data), "layer")
    theirs = PCA(6, svd_solver="full").fit(data.astype(np.float64))
    np.testing.assert_allclose(ours.mean, theirs.mean_, atol=1e-5)
    for rows in (data, new):
        projected, reference = ours(torch.from_numpy(rows)).numpy(), theirs.transform(rows)
        signs = np.sign((projected * reference).sum(0))
        np.testing.assert_allclose(projected * signs, reference, atol=1e-4)
    # scikit-learn's own rule for signs, so that a component is the same whoever computes it
    assert (ours.basis.gather(0, ours.basis.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("stimuli", "features"), [(400, 150), (150, 400)])
def test_randomised_explains_as_much_as_the_exact_components(monkeypatch, stimuli, features):
    monkeypatch.setattr(components, "LARGEST", 100)
    data = correlated(stimuli, features)
    found = components.fit_components(table(data), 10)
    exact = PCA(10, svd_solver="full").fit(data.astype(np.float64))
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(10), atol=1e-5)
    np.testing.assert_allclose(found.scatter / found.total, exact.explained_variance_ratio_, rtol=1e-2)
    assert found.scatter.sum() / found.total == pytest.approx(exact.explained_variance_ratio_.sum(), rel=1e-4)
    incremental = IncrementalPCA(10, batch_size=50).fit(data).components_
    assert incremental is not None
    overlap = np.linalg.svd(found.basis[:, :3].T.numpy() @ incremental[:3].T, compute_uv=False)
    assert overlap.min() > 0.999


def test_float16_features_and_a_part_of_the_stimuli():
    data = correlated(100, 30).astype(np.float16)
    training = np.arange(0, 100, 3)
    ours = PrincipalComponents(4).fit(FeatureTable(Rows([data]), training), "layer")
    theirs = PCA(4, svd_solver="full").fit(data[training].astype(np.float64))
    np.testing.assert_allclose(np.abs((ours.basis.T.numpy() * theirs.components_).sum(1)), 1, atol=1e-3)
    np.testing.assert_allclose(
        ours(torch.from_numpy(data)).numpy().var(0), theirs.transform(data.astype(np.float64)).var(0), rtol=1e-3
    )


@pytest.mark.parametrize(("stimuli", "features"), [(90, 40), (40, 90)])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_share_of_the_variance_keeps_as_many_as_scikit_learn(stimuli, features, share, caplog):
    data = correlated(stimuli, features)
    with caplog.at_level(logging.INFO):
        projected = PrincipalComponents(1000, variance=share).fit(table(data), "conv1")(torch.from_numpy(data)).numpy()
    theirs = PCA(share, svd_solver="full").fit(data.astype(np.float64))
    kept = theirs.n_components_
    assert projected.shape == (stimuli, features)  # the width that `shapes` promised
    assert not projected[:, kept:].any()
    np.testing.assert_allclose(np.abs(projected[:, :kept]), np.abs(theirs.transform(data)), atol=1e-3)
    explained = 100 * theirs.explained_variance_ratio_.sum()
    assert f"layer conv1: {kept} of {features} kept, {explained:.1f} % of the variance" in caplog.text


def test_too_few_components_for_the_share_are_all_kept(caplog):
    with caplog.at_level(logging.INFO):
        basis = PrincipalComponents(3, variance=0.999999).fit(table(correlated(50, 20)), "layer").basis
    assert (basis.norm(dim=0) > 0.999).all()
    assert "3 of 3 kept" in caplog.text


@pytest.mark.parametrize("small", [0, 2048])
@pytest.mark.parametrize(("stimuli", "features"), [(300, 120), (120, 300)])
def test_components_without_variance_are_zero(monkeypatch, stimuli, features, small):
    """Rounding noise, standardised by the model, would be as large as a feature."""
    monkeypatch.setattr(components, "SMALL", small)
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((stimuli, 4)) @ rng.standard_normal((4, features)) + 3).astype(np.float32)
    data[:, 7] = 2
    basis = PrincipalComponents(50).fit(table(data), "layer").basis
    assert basis.shape == (features, 50)
    np.testing.assert_allclose(basis.norm(dim=0), [1] * 4 + [0] * 46, atol=1e-5)


@pytest.mark.parametrize("small", [0, 2048], ids=["iterative", "whole"])
@pytest.mark.parametrize(("stimuli", "features"), [(10, 5), (120, 100), (100, 120)])
def test_constant_features_have_no_components(monkeypatch, stimuli, features, small):
    """A unit that never fires: ARPACK cannot start where there is nothing."""
    monkeypatch.setattr(components, "SMALL", small)
    data = table(np.full((stimuli, features), 0.1, dtype=np.float32))
    basis = PrincipalComponents(3, variance=0.9).fit(data, "layer").basis
    assert basis.shape == (features, 3)
    assert not basis.any()


def test_more_components_than_stimuli_span():
    data = table(correlated(20, 50))
    with pytest.raises(InputError, match="conv1 has 20 training stimuli, which span at most 19 components"):
        PrincipalComponents(20).fit(data, "conv1")
    assert PrincipalComponents(20, variance=0.99).fit(data, "conv1").basis.shape == (50, 20)
    assert PrincipalComponents(19).fit(data, "conv1").basis.shape == (50, 19)


@pytest.mark.parametrize("arguments", [{"components": 0}, {"variance": 0}, {"variance": 1}, {"variance": 95}])
def test_wrong_flags(arguments):
    with pytest.raises(InputError, match=f"--data.reduction.{next(iter(arguments))} "):
        PrincipalComponents(**arguments)


def test_shapes_before_fitting():
    shapes = {"a": (3, 4, 4), "b": (10,)}
    assert PrincipalComponents(20).shapes(shapes) == {"a": (20,), "b": (10,)}


@pytest.mark.slow
def test_a_layer_of_alexnet(tmp_path):
    """features.2 has 139,968 dimensions; the reference is a full decomposition in memory."""
    path = tmp_path / "features.npy"
    rng = np.random.default_rng(0)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(400, 64, 27, 81))
    factors, basis = rng.standard_normal((400, 40)) / np.arange(1, 41), rng.standard_normal((40, 139968))
    features[:] = (factors @ basis + 0.1 * rng.standard_normal((400, 139968))).reshape(features.shape)
    features.flush()
    mapped = np.load(path, mmap_mode="c")
    ours = PrincipalComponents(20).fit(FeatureTable(Rows([mapped]), np.arange(400)), "features.2")
    flat = torch.from_numpy(mapped).flatten(1)
    centred = (flat - flat.mean(0)).numpy()
    left, values, _ = np.linalg.svd(centred @ centred.T.astype(np.float64), hermitian=True)
    projected, reference = ours(flat).numpy(), left[:, :20] * np.sqrt(values[:20])
    np.testing.assert_allclose(np.abs(projected), np.abs(reference), atol=1e-2 * np.sqrt(values[19] / 400))


def test_rows_that_are_one_stimulus_several_times_have_its_features():
    """As single trials of an image do."""
    data = correlated(12, 5)
    index = np.array([3, 3, 0, 11, 7, 0])
    found = FeatureTable(Rows([data[:4], data[4:]], index), np.array([5, 1, 3]))
    np.testing.assert_array_equal(torch.cat(list(found.by_rows())).numpy(), data[[0, 3, 11]])
    clips = FeatureTable(Rows([data.reshape(6, 2, 5)], np.array([4, 4, 1])), np.array([2, 0]), frames=2)
    np.testing.assert_array_equal(torch.cat(list(clips.by_rows())).numpy(), data[[2, 3, 8, 9]])
