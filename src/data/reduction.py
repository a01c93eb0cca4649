"""Fewer features: what is fitted on the training split and applied to every stimulus."""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    def fit(self, training: Tensor, layer: str) -> Projection:
        """Fit one layer.

        Args:
            training: Features of the training stimuli, (n_train, n_features).
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

    The eigenvectors come from the smaller of the covariance (features × features) and the Gram matrix
    (stimuli × stimuli), both of centred features.

    Args:
        components: How many components each layer keeps.
    """

    def __init__(self, components: int = 100) -> None:
        if components < 1:
            raise InputError(f"--data.reduction.components {components}: expected 1 or more")
        self.components = components

    def shapes(self, shapes: FeatureShapes) -> FeatureShapes:
        return {layer: (min(self.components, prod(shape)),) for layer, shape in shapes.items()}

    def fit(self, training: Tensor, layer: str) -> Projection:
        import torch

        n_train, n_features = training.shape
        components = min(self.components, n_features)
        if components > n_train - 1:
            raise InputError(
                f"--data.reduction.components {components}: layer {layer} has {n_train} training stimuli, which span "
                f"at most {n_train - 1} components; ask for fewer"
            )
        mean = training.double().mean(0).float()
        centred = training.float() - mean
        if n_features <= n_train:
            _, vectors = torch.linalg.eigh((centred.T @ centred).double())
            basis = vectors[:, -components:].flip(1)  # (n_features, n_components), largest variance first
        else:
            values, vectors = torch.linalg.eigh((centred @ centred.T).double())
            leading = vectors[:, -components:].flip(1) / values[-components:].flip(0).clamp_min(1e-12).sqrt()
            basis = centred.T.double() @ leading
        return Projection(mean, _signed(basis).float())


def _signed(basis: Tensor) -> Tensor:
    """Fix each component's sign, which eigenvectors leave open: its largest entry is positive."""
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    return basis * largest.sign()
