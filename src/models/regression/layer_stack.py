"""Stacked layers: one regression per layer, and how much each counts for each target, from out-of-fold predictions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nonnegative import simplex_weights
from .linear_fit import LinearFit, Regression
from .penalties import pooled, target_blocks


@dataclass(frozen=True)
class LayerStack:
    """A mixture of regressions, one of each layer.

    Args:
        fit: The mixture as one regression, the weight (T, D) over the features of all layers; its penalty is that of
            the layer that counts most, its error that of the mixed out-of-fold predictions.
        share: How much each layer counts, float64 (T, layers); each row sums to 1.
        r2: Cross-validated R² of every layer alone, each float64 (T,).
    """

    fit: LinearFit
    share: Tensor
    r2: dict[str, Tensor]


def stack_layers(
    features: Tensor,
    widths: Mapping[str, int],
    responses: Tensor,
    regression: Regression,
    fold: Tensor,
    groups: Tensor | None,
    weight: Tensor | None = None,
    standardize: bool = True,
) -> LayerStack:
    """Fit every layer, and mix the fits by weights ≥ 0 that sum to 1 (Breiman 1996, Stacked regressions).

    The weights are those that make the mixed out-of-fold predictions best. Of each fold's stimuli, the predictions are
    by a fit to the other folds, which are the folds in which its penalty is chosen: nothing of a fold has a part in
    them. That is one more fit of each layer per fold. Predictions are never held: of each fold the products of the
    layers' errors add up, block by block of targets.

    Args:
        features: All layers side by side, (N, D).
        widths: How many of the features each layer has, in their order.
        responses: (N, T).
        regression: What is fitted to each layer.
        fold: Fold of each stimulus, int64 (N,), of three folds or more.
        groups: Group of each target, int64 (T,): a group shares one penalty in each layer, and the weights, which make
            the sum of its targets' errors least. None for a choice per target.
        weight: Where to write the weight, (T, D); made where not given.
        standardize: Divide the features by their standard deviation over the training part of each fold.

    Raises:
        InputError: Features or responses are not finite, or folds are too small.
    """
    columns = dict(zip(widths, torch.arange(features.shape[1]).split(list(widths.values())), strict=True))
    products, null_error = _out_of_fold(features, columns, responses, regression, fold, groups, standardize)
    shared = pooled(products.flatten(1).T, groups).T.unflatten(1, products.shape[1:])
    share = torch.from_numpy(simplex_weights(shared.cpu().numpy())).to(products)
    if weight is None:
        weight = responses.new_zeros(responses.shape[1], features.shape[1])
    bias, most = weight.new_zeros(len(weight)), share.argmax(1)
    penalty, r2 = torch.zeros_like(null_error), {}
    for number, (name, own) in enumerate(columns.items()):
        fit = regression.fit(features[:, own], responses, fold, groups, standardize)
        weight[:, own] = (share[:, number, None] * fit.weight).to(weight.dtype)
        bias += (share[:, number] * fit.bias).to(bias.dtype)
        penalty[most == number] = fit.penalty[most == number]
        r2[name] = fit.cv_r2
    error = torch.einsum("tl,tlm,tm->t", share, products, share)
    return LayerStack(LinearFit(weight, bias, penalty, error, null_error), share, r2)


def _out_of_fold(
    features: Tensor,
    columns: Mapping[str, Tensor],
    responses: Tensor,
    regression: Regression,
    fold: Tensor,
    groups: Tensor | None,
    standardize: bool,
) -> tuple[Tensor, Tensor]:
    """Products of the layers' out-of-fold errors, and the squared error of the training mean as prediction.

    Returns:
        float64 (T, layers, layers) and (T,), each a mean over folds of the mean over their stimuli.
    """
    num_targets, numbers = responses.shape[1], fold.unique().tolist()
    products = torch.zeros(num_targets, len(columns), len(columns), dtype=torch.float64, device=features.device)
    null_error = products.new_zeros(num_targets)
    for number in numbers:
        rest, held_out = (fold != number).nonzero().squeeze(1), (fold == number).nonzero().squeeze(1)
        inner = fold[rest].unique(return_inverse=True)[1]
        given, known = features[held_out], features[rest]
        measured, learnt = responses[held_out], responses[rest]
        fits = [regression.fit(known[:, own], learnt, inner, groups, standardize) for own in columns.values()]
        scale = 1 / (len(held_out) * len(numbers))
        for part in target_blocks(num_targets):
            errors = [
                measured[:, part] - (given[:, own].to(fit.weight) @ fit.weight[part].T + fit.bias[part])
                for own, fit in zip(columns.values(), fits, strict=True)
            ]
            table = torch.stack(errors).double().permute(2, 0, 1)  # (t, layers, n)
            products[part] += scale * table @ table.mT
            away = measured[:, part].double() - learnt[:, part].double().mean(0)
            null_error[part] += scale * away.square().sum(0)
    return products, null_error
