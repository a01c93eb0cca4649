"""Which layer explains which target: one regression per layer, compared by cross-validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from .linear_fit import LinearFit, Regression
from .penalties import choose


@dataclass(frozen=True)
class LayerChoice:
    """The layer, or pair of layers, that explains each target best.

    Args:
        fit: Its regression, the weight (T, D) over the features of all layers: 0 outside the chosen ones.
        layer: Which it is, an index into `r2`, int64 (T,).
        r2: Cross-validated R² of every layer and pair by name, each float64 (T,).
    """

    fit: LinearFit
    layer: Tensor
    r2: dict[str, Tensor]


def select_layers(
    features: Tensor,
    widths: Mapping[str, int],
    responses: Tensor,
    regression: Regression,
    fold: Tensor | None,
    groups: Tensor | None,
    pairs: bool = False,
    weight: Tensor | None = None,
    standardize: bool = True,
) -> LayerChoice:
    """Fit every layer on the same folds and keep, of each target, the fit of the least cross-validated error.

    A regression returns with its errors the fit to all stimuli, so no layer is fitted a second time. Beyond the result
    it holds one layer's fit. A tie goes to the earlier layer, and to a layer rather than a pair.

    Args:
        features: All layers side by side, (N, D).
        widths: How many of the features each layer has, in their order.
        responses: (N, T).
        regression: What is fitted to each layer.
        fold: Fold of each stimulus, int64 (N,); None for generalised cross-validation.
        groups: Group of each target, int64 (T,): a group shares one penalty in each layer, and one layer, that of the
            least mean error. None for a choice per target.
        pairs: Try every pair of layers too.
        weight: Where to write the weight, (T, D); made where not given.
        standardize: Divide the features by their standard deviation over the training part of each fold.

    Raises:
        InputError: Features or responses are not finite, or folds are too small.
    """
    num_targets = responses.shape[1]
    if weight is None:
        weight = responses.new_zeros(num_targets, features.shape[1])
    bias, null_error = weight.new_zeros(num_targets), weight.new_zeros(num_targets, dtype=torch.float64)
    penalty, error = torch.zeros_like(null_error), torch.zeros_like(null_error)
    layer = torch.zeros(num_targets, dtype=torch.int64, device=weight.device)
    r2: dict[str, Tensor] = {}
    for index, (name, columns) in enumerate(_candidates(widths, pairs, weight.device).items()):
        fit = regression.fit(features[:, columns], responses, fold, groups, standardize)
        r2[name] = fit.cv_r2
        null_error = fit.null_error
        better = choose(torch.stack([error, fit.error]), groups) == 1 if index else torch.ones_like(layer).bool()
        rows = better.nonzero().squeeze(1)
        weight[rows] = 0
        weight[rows[:, None], columns] = fit.weight[rows].to(weight.dtype)
        bias[rows] = fit.bias[rows].to(bias.dtype)
        penalty[rows], error[rows], layer[rows] = fit.penalty[rows], fit.error[rows], index
    return LayerChoice(LinearFit(weight, bias, penalty, error, null_error), layer, r2)


def _candidates(widths: Mapping[str, int], pairs: bool, device: torch.device) -> dict[str, Tensor]:
    """Columns of each layer, and of each pair if asked, by name ("a", "b", "a + b"), each int64 (d,)."""
    columns = torch.arange(sum(widths.values()), device=device).split(list(widths.values()))
    layers = dict(zip(widths, columns, strict=True))
    joined = {f"{a} + {b}": torch.cat([layers[a], layers[b]]) for a, b in combinations(layers, 2)} if pairs else {}
    return layers | joined
