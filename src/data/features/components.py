"""Principal components, of features and of responses: eigenvectors of the covariance of a matrix beyond memory."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .matrix import PiecewiseMatrix

SMALL = 2048
"""Side of a matrix up to which it is summed in float64 and decomposed whole."""
LARGEST = 12_000
"""Side up to which a matrix is formed at all: 1.1 GiB."""
FEW = 20
"""Share (one in so many) of the eigenvectors up to which an iterative solver is faster than the whole decomposition."""
TILE = 1024
"""Rows of a symmetric product that are made at a time."""
NO_VARIANCE = {torch.float64: 1e-12, torch.float32: 1e-7}
"""Scatter beside that of the first component which is rounding noise, by the precision of the products."""

MOST_PASSES = 8
"""Passes of the randomised method over the features."""
ENOUGH = 1e-4
"""Gain of variance in a pass, as a share of what the components explain, below which it stops."""


@dataclass(frozen=True)
class Components:
    """The first principal components of features (N, D).

    Args:
        mean: Of the features, float32 (D,).
        basis: Orthonormal, float32 (D, k): the largest first, each one's largest entry positive.
        scatter: Sum of squares over the stimuli along each, float64 (k,); all are greater than 0.
        total: The same of all features together.
    """

    mean: Tensor
    basis: Tensor
    scatter: Tensor
    total: float


def fit_components(features: PiecewiseMatrix, count: int) -> Components:
    """The first principal components; fewer than asked where the rest have no variance.

    The smaller of the covariance (D×D) and the Gram matrix (N×N) is summed piece by piece and decomposed. Memory is
    that matrix, a piece of the features, and the basis. Where both sides are greater than `LARGEST`, it is the
    randomised subspace iteration of Halko, Martinsson & Tropp (2011), one pass over the features per iteration.

    Args:
        features: (N, D).
        count: How many, from 1 to the smaller of N − 1 and D.
    """
    if min(features.shape) > LARGEST:
        return _from_sketch(features, count)
    if features.shape[1] <= features.shape[0]:
        return _from_covariance(features, count)
    return _from_gram(features, count)


def _from_covariance(features: PiecewiseMatrix, count: int) -> Components:
    mean = features.mean()
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for piece in features.by_rows():
        _add_products(covariance, piece.sub_(mean).T)
    total = float(covariance.trace())
    scatter, basis = _leading(covariance, count)
    return _components(mean, basis, scatter, total, _precision(len(mean)))


def _from_gram(features: PiecewiseMatrix, count: int) -> Components:
    """Its eigenvectors, mapped back to features by a second pass over the columns."""
    n_stimuli, n_features = features.shape
    mean = torch.empty(n_features)
    gram = torch.zeros(n_stimuli, n_stimuli, dtype=torch.float64)
    for columns, piece in features.by_columns():
        mean[columns] = torch.from_numpy(piece.numpy().mean(0, dtype=np.float64))
        _add_products(gram, piece.sub_(mean[columns]))
    total = float(gram.trace())
    _, vectors = _leading(gram, count)
    precision = _precision(n_stimuli)
    vectors = vectors.to(precision)  # (N, k)
    basis = torch.empty(n_features, count, dtype=precision)
    for columns, piece in features.by_columns():
        basis[columns] = piece.sub_(mean[columns]).to(precision).T @ vectors
    length = torch.linalg.vector_norm(basis, dim=0, dtype=torch.float64)
    basis /= length.clamp_min(torch.finfo(torch.float64).tiny)
    return _components(mean, basis, length.square(), total, precision)


def _from_sketch(features: PiecewiseMatrix, count: int) -> Components:
    """Subspace iteration with Rayleigh-Ritz, until a pass finds hardly more variance.

    The basis has a quarter more columns than are asked for, since those at the end converge last.
    """
    mean = features.mean()
    sketch = torch.randn(len(mean), count + count // 4 + 20, generator=torch.Generator().manual_seed(0))
    explained, passes = 0.0, 0
    while True:
        basis = torch.linalg.qr(sketch).Q  # (D, b)
        sketch, projected, total = _project(features, mean, basis)
        scatter, vectors = _leading(projected, count)
        gain, explained, passes = float(scatter.sum()) - explained, float(scatter.sum()), passes + 1
        if gain <= ENOUGH * explained or passes == MOST_PASSES:
            return _components(mean, basis @ vectors.float(), scatter, total, torch.float32)


def _project(features: PiecewiseMatrix, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, float]:
    """One pass: covariance · basis (D, b), basis' · covariance · basis, float64 (b, b), and the covariance's trace."""
    sketch = torch.zeros_like(basis)
    projected = torch.zeros(basis.shape[1], basis.shape[1], dtype=torch.float64)
    total = 0.0
    for piece in features.by_rows():
        centred = piece.sub_(mean)
        scores = centred @ basis  # (n, b)
        sketch.addmm_(centred.T, scores)
        projected += scores.T @ scores
        total += float(torch.linalg.vector_norm(centred, dtype=torch.float64) ** 2)
    return sketch, projected, total


def _precision(size: int) -> torch.dtype:
    """Of the products that make a matrix (size, size)."""
    return torch.float64 if size <= SMALL else torch.float32


def _add_products(matrix: Tensor, piece: Tensor) -> None:
    """Add piece · piece' to the lower triangle of a matrix (S, S), in tiles; the piece is (S, n)."""
    piece = piece.to(_precision(len(matrix)))
    for start in range(0, len(matrix), TILE):
        stop = start + TILE
        matrix[start:stop, :stop] += piece[start:stop] @ piece[:stop].T


def _leading(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues (count,) of a symmetric matrix (S, S), descending, and their vectors (S, count).

    Only the lower triangle is read; the matrix is overwritten.
    """
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    size = len(matrix)
    if not matrix.diagonal().any():  # no feature varies, and no iteration can start from nothing
        return torch.zeros(count, dtype=matrix.dtype), torch.eye(size, count, dtype=matrix.dtype)
    if size <= SMALL or count > size // FEW:
        wanted = (size - count, size - 1)
        # LAPACK reads columns: the transpose is taken as it lies, where the matrix would be copied.
        values, vectors = eigh(
            matrix.numpy().T, lower=False, subset_by_index=wanted, overwrite_a=True, check_finite=False
        )
    else:
        for start in range(TILE, size, TILE):
            matrix[:start, start : start + TILE] = matrix[start : start + TILE, :start].T
        # The start is fixed, so that all ranks find the same vectors.
        values, vectors = eigsh(matrix.numpy(), count, which="LA", v0=np.random.default_rng(0).standard_normal(size))
        order = values.argsort()
        values, vectors = values[order], vectors[:, order]
    return torch.from_numpy(values.copy()).flip(0), torch.from_numpy(vectors.copy()).flip(1)


def _components(mean: Tensor, basis: Tensor, scatter: Tensor, total: float, precision: torch.dtype) -> Components:
    """Leave out what has no variance, and fix each component's sign, which eigenvectors leave open."""
    kept = int((scatter > NO_VARIANCE[precision] * scatter[0]).sum())
    basis = basis[:, :kept]
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))  # (1, kept)
    return Components(mean, (basis * largest.sign()).float(), scatter[:kept], total)
