"""Representational similarity encoding: a response is the similarity-weighted mean of the training responses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .dual_ridge import center, center_responses
from .gram import check_finite, check_training
from .penalties import target_blocks
from .ridge import check_measured


def unit_patterns(features: Tensor, widths: Sequence[int]) -> Tensor:
    """Each stimulus's features of each layer about their mean, in units of their length.

    The product of two stimuli's rows is the sum over layers of the Pearson correlations between their features. A
    stimulus whose features in a layer are all alike has no correlation there, and a row of zeros.

    Args:
        features: All layers side by side, (n, D).
        widths: Features of each layer, in their order.

    Returns:
        (n, D), in the dtype of the features.
    """
    patterns = torch.empty_like(features)
    for layer, pattern in zip(features.split(list(widths), 1), patterns.split(list(widths), 1), strict=True):
        torch.sub(layer, layer.mean(1, keepdim=True), out=pattern)
        length = pattern.norm(dim=1, keepdim=True)
        rounding = 8 * torch.finfo(layer.dtype).eps * layer.norm(dim=1, keepdim=True)
        pattern.div_(length).masked_fill_(length <= rounding, 0)
    return patterns


def similarity_weights(patterns: Tensor, training: Tensor) -> Tensor:
    """Weights of the training stimuli in the prediction of each stimulus.

    Args:
        patterns: Unit patterns of the stimuli to predict, (m, D).
        training: Those of the training stimuli, (n, D).

    Returns:
        Correlations divided by the sum of their absolute values, (m, n); zeros where a stimulus correlates with none.
    """
    correlation = patterns @ training.T
    total = correlation.abs().sum(1, keepdim=True)
    return (correlation / total).masked_fill_(total == 0, 0)


def similarity_errors(
    features: Tensor, widths: Sequence[int], responses: Tensor, fold: Tensor, standardize: bool = True
) -> tuple[Tensor, Tensor]:
    """Cross-validated squared errors.

    Args:
        features: All layers side by side, (N, D).
        widths: Features of each layer, in their order.
        responses: (N, T).
        fold: Fold of each stimulus, int64 (N,).
        standardize: Divide the features by their standard deviation over the training part of each fold.

    Returns:
        The mean over folds of the mean over stimuli, and the same of the training mean as prediction, each float64
        (T,).

    Raises:
        InputError: Features or responses are not finite, or a fold leaves fewer than two training stimuli.
    """
    error = torch.zeros(responses.shape[1], dtype=torch.float64, device=responses.device)
    null_error = torch.zeros_like(error)
    folds = fold.unique().tolist()
    for k in folds:
        training, held_out = (fold != k).nonzero().squeeze(1), (fold == k).nonzero().squeeze(1)
        check_training(len(training))
        scaled = [center(layer, training, standardize)[0].float() for layer in features.split(list(widths), 1)]
        patterns = unit_patterns(torch.cat(scaled, 1), widths)
        check_finite(patterns)
        weights = similarity_weights(patterns[held_out], patterns[training])  # (m, n)
        for part in target_blocks(len(error)):
            mean, known = center_responses(responses[training, part], weights.dtype)
            deviation = responses[held_out, part].double() - mean
            error[part] += (deviation - weights @ known).square().mean(0) / len(folds)
            null_error[part] += deviation.square().mean(0) / len(folds)
    check_measured(null_error, 0)
    return error, null_error
