"""Ridge under one receptive-field window after another, each target keeps the best."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .gram import ROW_BLOCK
from .linear_fit import LinearFit
from .penalties import pooled


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

    Only the weights of the best so far are held, and those of one window.

    Args:
        fits: Of one window after another; made as they are asked for.
        best: How many windows B to keep.
        groups: Group of each target, int64 (T,): a group chooses its windows by its summed error. None for a choice
            per target.
    """
    kept: dict[str, Tensor] = {}
    weight = torch.empty(0)
    for number, fit in enumerate(fits):
        found = {
            "judged": pooled(fit.error[None], groups)[0],
            "window": torch.full_like(fit.error, number, dtype=torch.int64),
            "bias": fit.bias,
            "penalty": fit.penalty,
            "error": fit.error,
            "null_error": fit.null_error,
        }
        new = {name: value[:, None] for name, value in found.items()}  # (T, 1)
        held = min(number, best)
        kept = {name: torch.cat([kept[name], value], 1) for name, value in new.items()} if kept else new
        order = kept["judged"].sort(dim=1, stable=True).indices[:, :best]  # (T, B)
        kept = {name: value.gather(1, order) for name, value in kept.items()}
        if number == 0:
            weight = fit.weight.new_empty(len(order), best, fit.weight.shape[1])
        # Of the weights, by far the largest, only those that change their place are touched, some targets at a time.
        changed = (order != torch.arange(order.shape[1], device=order.device)).any(1) | (held < best)
        for targets in changed.nonzero().squeeze(1).split(ROW_BLOCK):
            both = torch.cat([weight[targets, :held], fit.weight[targets, None]], 1)
            weight[targets, : order.shape[1]] = both[
                torch.arange(len(both), device=both.device)[:, None], order[targets]
            ]
        del fit, found, new  # while the next window is fitted
    first = {name: kept[name][:, 0] for name in ("penalty", "error", "null_error")}
    return WindowFit(kept["window"], weight, kept["bias"], **first)
