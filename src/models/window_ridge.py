"""Ridge under one receptive-field window after another, linear or with an RBF kernel; each target keeps the best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .dual_ridge import DualRidge, KernelAxes, center
from .linear_fit import LinearFit
from .penalties import pooled, sort_penalties
from .ridge import solve_blocks


@dataclass(frozen=True)
class WindowFit:
    """Each target's best windows; it is predicted by the mean of their predictions.

    Args:
        window: Numbers of the windows, the best first, int64 (T, B).
        weight: Coefficients under each, (T, B, X): of the features, or of the training stimuli for a kernel.
        bias: Intercepts, (T, B).
        penalty: Of the best window, float64 (T,).
        error: Of the best window, as in `LinearFit`, float64 (T,).
        null_error: As in `LinearFit`, float64 (T,).
    """

    window: Tensor
    weight: Tensor
    bias: Tensor
    penalty: Tensor
    error: Tensor
    null_error: Tensor

    @property
    def cv_r2(self) -> Tensor:
        """Share of variance that the best window explains, cross-validated, float64 (T,); NaN without variance."""
        return 1 - self.error / self.null_error


def best_windows(fits: Iterable[LinearFit], best: int, groups: Tensor | None) -> WindowFit:
    """Keep each target's best windows, by their cross-validated error; the earlier window where two are equal.

    Only the weights of the best so far are held, not those of all windows.

    Args:
        fits: Of one window after another; made as they are asked for.
        best: How many windows B to keep.
        groups: Group of each target, int64 (T,): a group chooses its windows by its summed error. None for a choice
            per target.
    """
    kept: dict[str, Tensor] = {}
    for number, fit in enumerate(fits):
        found = {
            "judged": pooled(fit.error[None], groups)[0],
            "window": torch.full_like(fit.error, number, dtype=torch.int64),
            "weight": fit.weight,
            "bias": fit.bias,
            "penalty": fit.penalty,
            "error": fit.error,
            "null_error": fit.null_error,
        }
        new = {name: value[:, None] for name, value in found.items()}  # (T, 1, …)
        kept = {name: torch.cat([kept[name], value], 1) for name, value in new.items()} if kept else new
        order = kept["judged"].sort(dim=1, stable=True).indices[:, :best]  # (T, B)
        kept = {
            name: value.gather(1, order.view(*order.shape, *[1] * (value.ndim - 2)).expand(-1, -1, *value.shape[2:]))
            for name, value in kept.items()
        }
    first = {name: kept[name][:, 0] for name in ("penalty", "error", "null_error")}
    return WindowFit(kept["window"], kept["weight"], kept["bias"], **first)


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
        return KernelAxes.of_kernel(centered, training, others)

    def _kernel(self, training: Tensor) -> Tensor:
        """Of all stimuli with the training ones, whose mean and scale are taken, float64 (N, n)."""
        scaled = center(self.features, training, self.standardize)[0] / self.spread
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
