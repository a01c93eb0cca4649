"""Sparse random projection: scikit-learn's statistics, distances kept, and the same numbers for the same seed."""

import numpy as np
import pytest
import torch
from calcarine.data import RandomProjection
from calcarine.data.features import matrix
from calcarine.data.features.feature_table import FeatureTable
from calcarine.data.loader import Rows
from calcarine.errors import InputError
from sklearn.metrics import euclidean_distances
from sklearn.random_projection import SparseRandomProjection


def table(data):
    return FeatureTable(Rows([data]), np.arange(len(data)))


def fit(components, features, **arguments):
    return RandomProjection(components, **arguments).fit(table(np.zeros((2, features), dtype=np.float32)), "layer")


@pytest.mark.parametrize("density", [None, 1 / 3, 1.0])
def test_entries_are_distributed_as_scikit_learns(density):
    features, components = 4900, 200
    basis = fit(components, features, density=density).basis.coalesce()
    theirs = SparseRandomProjection(density=density or "auto", random_state=0).set_params(n_components=components)
    theirs.fit(np.zeros((2, features)))
    assert basis.shape == (features, components)
    np.testing.assert_allclose(np.unique(basis.values()), np.unique(theirs.components_.data), rtol=1e-6)
    size, share = features * components, density or features**-0.5
    spread = np.sqrt(share * (1 - share) / size)
    assert abs(basis.values().numel() / size - share) <= 5 * spread
    assert abs(basis.values().sign().mean()) < 5 / np.sqrt(basis.values().numel())
    for axis, count in ((0, features), (1, components)):  # no row and no column is favoured
        filled = np.bincount(basis.indices()[axis], minlength=count) / (size / count)
        assert np.abs(filled - share).max() <= 6 * np.sqrt(share * (1 - share) * count / size)


def test_squared_distances_are_kept():
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((40, 20)) @ rng.standard_normal((20, 10_000)) + 7).astype(np.float32)
    projected = RandomProjection(1000).fit(table(data), "layer")(torch.from_numpy(data)).numpy()
    pairs = np.triu_indices(40, 1)
    ratio = euclidean_distances(projected, squared=True)[pairs] / euclidean_distances(data, squared=True)[pairs]
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / 1000)
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert ratio.std() > 0.01  # it is a random projection indeed
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-3)  # the training mean is subtracted


def test_a_seed_is_one_projection_whatever_the_pieces_and_threads(monkeypatch):
    data = np.random.default_rng(0).standard_normal((50, 3000), dtype=np.float32)
    threads = torch.get_num_threads()
    first = RandomProjection(64, seed=3).fit(table(data), "layer")
    expected = first(torch.from_numpy(data))
    monkeypatch.setattr(matrix, "PIECE", 40_000)
    try:
        torch.set_num_threads(1)
        again = RandomProjection(64, seed=3).fit(table(data), "layer")
        pieces = torch.cat([again(piece) for piece in table(data).by_rows()])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(first.basis.to_dense(), again.basis.to_dense())
    torch.testing.assert_close(pieces, expected, rtol=0, atol=1e-6)
    other = RandomProjection(64, seed=4).fit(table(data), "layer")
    assert not torch.equal(other.basis.to_dense(), first.basis.to_dense())


def test_memory_is_that_of_the_entries():
    basis = fit(1000, 139_968).basis
    assert basis.is_sparse
    assert 0.9 * 1000 * 139_968**0.5 < basis.values().numel() < 1.1 * 1000 * 139_968**0.5


def test_fewer_features_than_components():
    assert RandomProjection(100).shapes({"layer": (5, 2)}) == {"layer": (10,)}
    assert fit(100, 10).basis.shape == (10, 10)
    assert fit(1, 1, density=1e-6).basis.shape == (1, 1)


@pytest.mark.parametrize("arguments", [{"components": 0}, {"density": 0.0}, {"density": 1.5}, {"seed": -1}])
def test_wrong_flags(arguments):
    with pytest.raises(InputError, match=f"--data.reduction.{next(iter(arguments))} "):
        RandomProjection(**arguments)
