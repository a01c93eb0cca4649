"""Ridge in the N×N form, for features that outnumber the stimuli: no D×D matrix is made."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .gram import check_finite, check_training, range_of, scale_of
from .penalties import generalized_errors, target_blocks

COLUMN_BLOCK = 4096  # features taken to float64 at a time


def center(features: Tensor, training: Tensor, standardize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Features about their mean over the training rows, and if asked in units of their standard deviation there.

    Args:
        features: (N, d).
        training: Indices of the training stimuli, int64 (n,).
        standardize: Divide by the standard deviation.

    Returns:
        The features, float64 (N, d), the mean (d,) and the scale (d,).
    """
    values = features.double()
    mean = values[training].mean(0)
    centered = values - mean
    rounding = (len(training) * torch.finfo(mean.dtype).eps * mean).square()
    scale = torch.ones_like(mean)
    if standardize:
        scale = scale_of(centered[training].square().mean(0), rounding)
    return centered / scale, mean, scale


@dataclass(frozen=True)
class KernelAxes:
    """The features of the training stimuli in the axes of their own scatter, found through their kernel.

    Args:
        training: Indices of the training stimuli, int64 (n,).
        held_out: Indices of the others, int64 (m,).
        eigenvalues: Scatter along each axis, float64 (R,), all positive.
        training_scores: Training stimuli in the axes, float64 (n, R).
        held_out_scores: Held-out stimuli in the axes, float64 (m, R).
    """

    training: Tensor
    held_out: Tensor
    eigenvalues: Tensor
    training_scores: Tensor
    held_out_scores: Tensor

    @classmethod
    def of(cls, features: Tensor, held_out: Tensor, standardize: bool) -> "KernelAxes":
        """Decompose the features (N, D) of the stimuli that are not held out, given as a mask (N,)."""
        training, others = (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
        check_training(len(training))
        kernel = torch.zeros(len(features), len(training), dtype=torch.float64, device=features.device)
        for columns in features.split(COLUMN_BLOCK, dim=1):
            part, _, _ = center(columns, training, standardize)
            kernel.addmm_(part, part[training].T)
        check_finite(kernel)
        eigenvalues, vectors = range_of(kernel[training], len(training))
        roots = eigenvalues.sqrt()
        return cls(training, others, eigenvalues, vectors * roots, kernel[others] @ (vectors / roots))


class DualRidge:
    """The N×N form. It blocks the targets itself, so that only one fold's decomposition is in memory at a time.

    Args:
        features: (N, D).
        fold: Fold of each stimulus, int64 (N,), or None for generalised cross-validation.
        penalties: float64 (P,), largest first.
        standardize: Divide the features by their standard deviation over the training part of each fold.
        dtype: Precision of the work on targets.

    Raises:
        InputError: A fold leaves fewer than two training stimuli, or features are not finite.
    """

    def __init__(
        self, features: Tensor, fold: Tensor | None, penalties: Tensor, standardize: bool, dtype: torch.dtype
    ) -> None:
        self.features = features
        self.num_features = features.shape[1]
        self.fold = fold
        self.penalties = penalties
        self.standardize = standardize
        self.dtype = dtype
        nothing = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        self.axes = KernelAxes.of(features, nothing, standardize)

    def errors(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-validated errors of all targets.

        Args:
            responses: (N, T).

        Returns:
            The errors, float64 (P, T), and those of the training mean as prediction, float64 (T,).
        """
        null_errors = torch.zeros(responses.shape[1], dtype=torch.float64, device=responses.device)
        errors = null_errors.new_zeros(len(self.penalties), len(null_errors))
        folds = [] if self.fold is None else self.fold.unique().tolist()
        for k in folds:
            axes = KernelAxes.of(self.features, self.fold == k, self.standardize)
            for part in target_blocks(len(null_errors)):
                fold_errors, fold_null_errors = self._held_out_errors(axes, responses[:, part])
                errors[:, part] += fold_errors / len(folds)
                null_errors[part] += fold_null_errors / len(folds)
        if not folds:
            for part in target_blocks(len(null_errors)):
                errors[:, part], null_errors[part] = self._generalized_errors(responses[:, part])
        return errors, null_errors

    def solve(self, responses: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
        """Fit all stimuli with each target's penalty (T,): writes the weight (T, D), returns the bias, float64 (T,)."""
        coefficients = weight.new_empty(responses.shape)  # of the stimuli, (N, T)
        bias = penalty.new_empty(len(penalty))
        scores = self.axes.training_scores.to(self.dtype)
        from_axes = (self.axes.training_scores / self.axes.eigenvalues).to(self.dtype)  # (N, R)
        for part in target_blocks(len(penalty)):
            bias[part], block = center_responses(responses[:, part], self.dtype)
            damped = self.axes.eigenvalues.to(self.dtype)[:, None] + penalty[part].to(self.dtype)  # (R, t)
            coefficients[:, part] = from_axes @ (scores.T @ block / damped)
        for first in range(0, self.num_features, COLUMN_BLOCK):
            columns = slice(first, first + COLUMN_BLOCK)
            centered, mean, scale = center(self.features[:, columns], self.axes.training, self.standardize)
            weight[:, columns] = coefficients.T @ (centered / scale).to(self.dtype)
            bias -= weight[:, columns].double() @ mean
        return bias

    def _generalized_errors(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        _, block = center_responses(responses, self.dtype)
        variation = block.square().sum(0).double()
        projected = self.axes.training_scores.to(self.dtype).T @ block
        return generalized_errors(self.axes.eigenvalues, projected, variation, len(block), self.penalties)

    def _held_out_errors(self, axes: KernelAxes, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared errors (P, t) and (t,) on one fold's held-out stimuli."""
        mean, training = center_responses(responses[axes.training], self.dtype)
        held_out = (responses[axes.held_out].double() - mean).to(self.dtype)  # (m, t)
        projected = axes.training_scores.to(self.dtype).T @ training  # (R, t)
        scores = axes.held_out_scores.to(self.dtype)
        null_errors = held_out.double().square().mean(0)
        errors = null_errors.repeat(len(self.penalties), 1)
        for row, penalty in zip(errors, self.penalties, strict=True):
            predicted = scores @ (projected / (axes.eigenvalues + penalty).to(self.dtype)[:, None])
            row -= (predicted * (2 * held_out - predicted)).mean(0)
        return errors, null_errors


def center_responses(responses: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean of the responses, float64 (t,), and the responses about it, (n, t)."""
    values = responses.double()
    mean = values.mean(0)
    return mean, (values - mean).to(dtype)
