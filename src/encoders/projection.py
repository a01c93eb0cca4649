"""Projection: a layer's features to fewer, as a reduction has fitted it."""

from torch import Tensor


class Projection:
    """An affine map x ↦ (x − mean) · basis.

    Args:
        mean: float32 (D,).
        basis: float32 (D, components), dense or sparse.
    """

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        self.mean = mean
        self.basis = basis

    def __call__(self, features: Tensor) -> Tensor:
        """From (n, D) to (n, components), float32."""
        return (features.float() - self.mean) @ self.basis
