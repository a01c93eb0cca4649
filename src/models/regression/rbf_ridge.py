"""Kernel ridge regression with a radial basis function."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .dual_ridge import DualRidge, KernelAxes, center
from .linear_fit import LinearFit
from .penalties import sort_penalties
from .ridge import solve_blocks


def rbf(left: Tensor, right: Tensor) -> Tensor:
    """exp(−‖l − r‖² / 2) of the rows of two matrices, (m, D) and (n, D): (m, n)."""
    squares = left.square().sum(1)[:, None] + right.square().sum(1) - 2 * left @ right.T
    return squares.clamp(min=0).div(-2).exp()


class RbfRidge(DualRidge):
    """Kernel ridge regression with a radial basis function. Its weights are those of the stimuli, (T, N).

    A prediction is `rbf(features, training features) @ weight.T + bias`, both features standardised by the training
    stimuli and divided by the spread.

    Args:
        features: (N, D).
        spread: Length scale of each feature, in standard deviations, (D,).
        fold: Fold of each stimulus, int64 (N,), or None for generalised cross-validation.
        penalties: float64 (P,), largest first.
        dtype: Precision of the work on targets.

    Raises:
        InputError: A fold leaves fewer than two training stimuli, or features are not finite.
    """

    def __init__(
        self, features: Tensor, spread: Tensor, fold: Tensor | None, penalties: Tensor, dtype: torch.dtype
    ) -> None:
        self.spread = spread
        super().__init__(features, fold, penalties, standardize=True, dtype=dtype)
        self.num_features = len(features)

    def solve(self, responses: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
        coefficients, mean = self._coefficients(responses, penalty)
        weight.copy_(coefficients.T)
        # The coefficients sum to 0, so that of the kernel's centring only its mean over the training stimuli is left.
        return mean - self._kernel(self.axes.training).mean(0) @ coefficients.double()

    def _axes(self, held_out: Tensor) -> KernelAxes:
        training, others = (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
        kernel = self._kernel(training)
        inner = kernel[training]
        centered = kernel - kernel.mean(1, keepdim=True) - inner.mean(0) + inner.mean()
        return KernelAxes.of_kernel(centered, training, others, self.dtype)

    def _kernel(self, training: Tensor) -> Tensor:
        """Of all stimuli with the training ones, whose mean and scale are taken, float64 (N, n)."""
        scaled = center(self.features[:, :], training, self.standardize)[0] / self.spread
        return rbf(scaled, scaled[training])


def fit_rbf_ridge(
    features: Tensor,
    spread: Tensor,
    responses: Tensor,
    penalties: Sequence[float],
    fold: Tensor | None = None,
    groups: Tensor | None = None,
) -> LinearFit:
    """Fit `RbfRidge` with each target's or group's best penalty; the arguments are those of it and of `fit_ridge`."""
    dtype = torch.promote_types(responses.dtype, torch.float32)
    candidates = sort_penalties(penalties, features.device)
    solver = RbfRidge(features, spread, fold, candidates, dtype)
    return solve_blocks(solver, lambda part: responses[:, part], [slice(0, responses.shape[1])], groups)
