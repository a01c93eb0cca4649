"""Fewer features: what is fitted on the training split and applied to every stimulus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import prod
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:  # torch is imported where it is used, because `src.data` must be light to import
    from torch import Tensor

    from ..batch import FeatureShapes


class Reduction(ABC):
    """Maps each layer's features to fewer, after being fitted on the training split."""

    @abstractmethod
    def shapes(self, shapes: FeatureShapes) -> FeatureShapes:
        """Shapes after the reduction, known before it is fitted."""

    @abstractmethod
    def fit(self, chunks: Callable[[], Iterable[Tensor]], n_features: int, layer: str) -> Projection:
        """Fit one layer.

        Args:
            chunks: Starts a pass over the training stimuli's features, in pieces (n, n_features).
            n_features: Features of one stimulus.
            layer: The layer's name, for messages.
        """


class Projection:
    """An affine map x ↦ (x − mean) · basis.

    Args:
        mean: float32 (n_features,).
        basis: float32 (n_features, n_components).
    """

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        self.mean = mean
        self.basis = basis

    def __call__(self, features: Tensor) -> Tensor:
        """From (n, n_features) to (n, n_components)."""
        return (features.float() - self.mean) @ self.basis


class PrincipalComponents(Reduction):
    """Principal components of each layer, exact, fitted on the training split.

    The eigenvectors come from the smaller of the covariance (features × features), streamed, and the Gram matrix
    (stimuli × stimuli), for which the training features are held in memory.

    Args:
        components: How many components each layer keeps.
    """

    def __init__(self, components: int = 100) -> None:
        if components < 1:
            raise InputError(f"--data.reduction.components {components}: expected 1 or more")
        self.components = components

    def shapes(self, shapes: FeatureShapes) -> FeatureShapes:
        return {layer: (min(self.components, prod(shape)),) for layer, shape in shapes.items()}

    def fit(self, chunks: Callable[[], Iterable[Tensor]], n_features: int, layer: str) -> Projection:
        import torch

        n_train, total = 0, torch.zeros(n_features, dtype=torch.float64)
        for chunk in chunks():
            n_train, total = n_train + len(chunk), total + chunk.double().sum(0)
        components = min(self.components, n_features)
        if components > n_train - 1:
            raise InputError(
                f"--data.reduction.components {components}: layer {layer} has {n_train} training stimuli, which span "
                f"at most {n_train - 1} components; ask for fewer"
            )
        mean = (total / n_train).float()
        if n_features <= n_train:
            covariance = torch.zeros(n_features, n_features, dtype=torch.float64)
            for chunk in chunks():
                centred = (chunk - mean).double()
                covariance += centred.T @ centred
            _, vectors = torch.linalg.eigh(covariance)
            basis = vectors[:, -components:].flip(1)  # (n_features, n_components), largest variance first
        else:
            centred = torch.empty(n_train, n_features)
            start = 0
            for chunk in chunks():
                centred[start : start + len(chunk)] = chunk - mean
                start += len(chunk)
            values, vectors = torch.linalg.eigh((centred @ centred.T).double())
            leading = vectors[:, -components:].flip(1) / values[-components:].flip(0).clamp_min(1e-12).sqrt()
            basis = centred.T @ leading.float()
        return Projection(mean, _signed(basis).float())


def _signed(basis: Tensor) -> Tensor:
    """Fix each component's sign, which eigenvectors leave open: its largest entry is positive."""
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    return basis * largest.sign()
