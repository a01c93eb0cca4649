"""Ridge in the N×N form, for features that outnumber the stimuli: no D×D matrix is made."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from .gram import check_finite, check_training, range_of, scale_of
from .penalties import generalized_errors, target_blocks

COLUMN_BLOCK = 1024  # features taken to float64 at a time, in a few copies of 72 MB each for 9,000 stimuli
SOLVED_AT_ONCE = 4096  # targets whose weights of the stimuli are held: of 9,000 stimuli 147 MB


class Columns(Protocol):
    """Features (N, D) that are read by columns: a tensor, or what makes them of less memory."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[slice, slice], /) -> Tensor: ...


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


def kernel_of(features: Columns, training: Tensor, standardize: bool) -> Tensor:
    """Products of all stimuli with the training ones, the features about their mean over the latter.

    Args:
        features: (N, D).
        training: Indices of the training stimuli, int64 (n,).
        standardize: Divide the features by their standard deviation over the training stimuli.

    Returns:
        float64 (N, n).
    """
    kernel = torch.zeros(len(features), len(training), dtype=torch.float64, device=features.device)
    for columns in column_blocks(features.shape[1]):
        part, _, _ = center(features[:, columns], training, standardize)
        kernel.addmm_(part, part[training].T if len(training) < len(part) else part.T)
    return kernel


def column_blocks(num_features: int) -> Iterator[slice]:
    """Slices that cover the features."""
    for first in range(0, num_features, COLUMN_BLOCK):
        yield slice(first, min(first + COLUMN_BLOCK, num_features))


@dataclass(frozen=True)
class KernelAxes:
    """The features of the training stimuli in the axes of their own scatter, found through their kernel.

    Args:
        training: Indices of the training stimuli, int64 (n,).
        held_out: Indices of the others, int64 (m,).
        eigenvalues: Scatter along each axis, float64 (R,), all positive.
        training_scores: Training stimuli in the axes, (n, R), in the precision of the work on targets.
        held_out_scores: Held-out stimuli in the axes, (m, R), likewise.
    """

    training: Tensor
    held_out: Tensor
    eigenvalues: Tensor
    training_scores: Tensor
    held_out_scores: Tensor

    @classmethod
    def of(cls, features: Columns, held_out: Tensor, standardize: bool, dtype: torch.dtype) -> "KernelAxes":
        """Decompose the features (N, D) of the stimuli that are not held out, given as a mask (N,)."""
        training, others = (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
        return cls.of_kernel(kernel_of(features, training, standardize), training, others, dtype)

    @classmethod
    def of_kernel(cls, kernel: Tensor, training: Tensor, held_out: Tensor, dtype: torch.dtype) -> "KernelAxes":
        """Decompose a kernel, float64 (N, n), of all stimuli with the training ones, centred on the latter."""
        check_training(len(training))
        check_finite(kernel)
        everything = len(training) == len(kernel)  # in their order: no copy is needed
        eigenvalues, vectors = range_of(kernel if everything else kernel[training], len(training))
        roots = eigenvalues.sqrt()
        scores = kernel[held_out] @ vectors / roots
        return cls(training, held_out, eigenvalues, vectors.mul_(roots).to(dtype), scores.to(dtype))

    def coefficients(self, responses: Tensor, penalty: Tensor) -> Tensor:
        """Weights of the training stimuli, (n, t), in the precision of the responses.

        Args:
            responses: Centred responses to the training stimuli, (n, t).
            penalty: Of each target, (t,).
        """
        eigenvalues = self.eigenvalues.to(responses.dtype)[:, None]
        projected = self.training_scores.T @ responses  # (R, t)
        return self.training_scores @ projected.div_(eigenvalues + penalty.to(projected)).div_(eigenvalues)


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
        self, features: Columns, fold: Tensor | None, penalties: Tensor, standardize: bool, dtype: torch.dtype
    ) -> None:
        self.features = features
        self.num_features = features.shape[1]
        self.fold = fold
        self.penalties = penalties
        self.standardize = standardize
        self.dtype = dtype

    @cached_property
    def axes(self) -> KernelAxes:
        """Axes of all stimuli: made when they are asked for, after those of the folds are gone."""
        return self._axes(torch.zeros(len(self.features), dtype=torch.bool, device=self.features.device))

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
            axes = self._axes(self.fold == k)
            for part in target_blocks(len(null_errors)):
                fold_errors, fold_null_errors = held_out_errors(axes, responses[:, part], self.penalties, self.dtype)
                errors[:, part] += fold_errors / len(folds)
                null_errors[part] += fold_null_errors / len(folds)
        if not folds:
            for part in target_blocks(len(null_errors)):
                errors[:, part], null_errors[part] = self._generalized_errors(responses[:, part])
        return errors, null_errors

    def solve(self, responses: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
        """Fit all stimuli with each target's penalty (T,): writes the weight (T, D), returns the bias, float64 (T,)."""
        bias = torch.empty_like(penalty)
        for first in range(0, len(penalty), SOLVED_AT_ONCE):
            part = slice(first, first + SOLVED_AT_ONCE)
            coefficients, bias[part] = self._coefficients(responses[:, part], penalty[part])
            for columns in column_blocks(self.num_features):
                centered, mean, scale = center(self.features[:, columns], self.axes.training, self.standardize)
                block = coefficients.T @ (centered / scale).to(self.dtype)
                weight[part, columns] = block
                bias[part] -= block.double() @ mean
        return bias

    def _axes(self, held_out: Tensor) -> KernelAxes:
        """Decompose the stimuli that are not held out, given as a mask (N,)."""
        return KernelAxes.of(self.features, held_out, self.standardize, self.dtype)

    def _coefficients(self, responses: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the stimuli, (N, T), with each target's penalty (T,), and its mean, float64 (T,)."""
        coefficients = torch.empty(responses.shape, dtype=self.dtype, device=responses.device)
        mean = penalty.new_empty(len(penalty))
        for part in target_blocks(len(penalty)):
            mean[part], block = center_responses(responses[:, part], self.dtype)
            coefficients[:, part] = self.axes.coefficients(block, penalty[part])
        return coefficients, mean

    def _generalized_errors(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        _, block = center_responses(responses, self.dtype)
        variation = block.square().sum(0).double()
        projected = self.axes.training_scores.T @ block
        return generalized_errors(self.axes.eigenvalues, projected, variation, len(block), self.penalties)


def held_out_errors(
    axes: KernelAxes, responses: Tensor, penalties: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Mean squared errors on one fold's held-out stimuli.

    Args:
        axes: Of the fold's training part.
        responses: (N, t).
        penalties: float64 (P,).
        dtype: Precision of the work on targets.

    Returns:
        The errors, float64 (P, t), and those of the training mean as prediction, float64 (t,).
    """
    mean, training = center_responses(responses[axes.training], dtype)
    held_out = (responses[axes.held_out].double() - mean).to(dtype)  # (m, t)
    projected = axes.training_scores.T @ training  # (R, t)
    null_errors = held_out.double().square().mean(0)
    errors = null_errors.repeat(len(penalties), 1)
    for row, penalty in zip(errors, penalties, strict=True):
        predicted = axes.held_out_scores @ (projected / (axes.eigenvalues + penalty).to(dtype)[:, None])
        row -= (predicted * (2 * held_out - predicted)).mean(0)
    return errors, null_errors


def center_responses(responses: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean of the responses, float64 (t,), and the responses about it, (n, t)."""
    values = responses.double()
    mean = values.mean(0)
    return mean, (values - mean).to(dtype)
