"""Ridge in the D×D form: everything from the folds' moments; the stimuli themselves are not seen again."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...errors import InputError
from .gram import FeatureMoments, PrincipalAxes, ResponseMoments, principal_axes
from .penalties import generalized_errors

STRIPS = 4  # of a triangular product: with fewer, more zeros are multiplied; with more, each product is small


@dataclass(frozen=True)
class HeldOutFold:
    """The axes of one fold's training part, and the scatter of its held-out part in these axes.

    A solution S (R, T) leaves the held-out error ‖y‖² − sum(S ∘ (2 E − M S)), where M = R'Xv'Xv R, E = R'Xv'yv, R is
    the rotation and Xv, yv are held out: no prediction is made. As M is symmetric, its upper triangle with the
    off-diagonal doubled gives the same sum for fewer operations.

    Args:
        index: The fold.
        count: Its number of held-out stimuli.
        total: Sum of their features about the shift, float64 (D,).
        axes: Axes of the training part.
        rotation: Their rotation R, (D, R), in the precision of the responses.
        upper: M folded to its upper triangle, (R, R), in the precision in which penalties are compared.
    """

    index: int
    count: float
    total: Tensor
    axes: PrincipalAxes
    rotation: Tensor
    upper: Tensor

    @classmethod
    def of(
        cls,
        features: FeatureMoments,
        index: int,
        standardize: bool,
        dtype: torch.dtype,
        coarse: torch.dtype,
        prior: Tensor | None = None,
    ) -> "HeldOutFold":
        """Decompose the features of one fold; `coarse` is the precision in which penalties are compared."""
        axes = principal_axes(features, index, standardize, prior)
        count, total = float(features.count[index]), features.total[index]
        scatter = held_out_scatter(features, index, axes.mean)
        rotated = axes.rotation.T @ scatter @ axes.rotation
        upper = 2 * rotated.triu(1) + rotated.diagonal().diag()
        return cls(index, count, total, axes, axes.rotation.to(dtype), upper.to(coarse))

    def project(self, responses: ResponseMoments, cross: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fold's view of some targets, all about the means of its training part.

        Args:
            responses: Their moments.
            cross: Their X'Y over all folds, (D, T).

        Returns:
            X'Y of the training part in the axes (R, T), X'Y of the held-out part in the axes (R, T), and the held-out
            sum of squares, float64 (T,).
        """
        training, held_out, variation = self.about_training(responses, cross)
        return self.rotation.T @ training, self.rotation.T @ held_out, variation

    def about_training(self, responses: ResponseMoments, cross: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `project` returns, in the features (D, T) themselves."""
        dtype, total = cross.dtype, responses.total[self.index]
        mean = (responses.total.sum(0) - total) / self.axes.count
        feature_mean = self.axes.mean.to(dtype)
        training = cross - responses.cross[self.index]
        training.addr_(feature_mean, mean.to(dtype), alpha=-self.axes.count)
        held_out = torch.addr(responses.cross[self.index], feature_mean, (self.count * mean - total).to(dtype))
        held_out.addr_(self.total.to(dtype), mean.to(dtype), alpha=-1)
        variation = responses.square[self.index] - 2 * mean * total + self.count * mean.square()
        return training, held_out, variation.clamp(min=0)

    def gains(self, training: Tensor, held_out: Tensor, penalties: Tensor) -> Tensor:
        """What the solution of each penalty takes from the held-out sum of squares.

        Args:
            training: Training X'Y in the axes, (R, T).
            held_out: Held-out X'Y in the axes, (R, T).
            penalties: float64 (P,).

        Returns:
            (P, T).
        """
        damping = (1 / (self.axes.eigenvalues + penalties[:, None])).to(training.dtype)  # (P, R)
        gains = 2 * damping @ (training * held_out)  # (P, T)
        solution = torch.empty_like(training, dtype=self.upper.dtype)
        product = torch.empty_like(solution)
        strip = max(1, -(-len(training) // STRIPS))
        for gain, damped in zip(gains, damping, strict=True):
            torch.mul(training, damped[:, None], out=solution)
            for first in range(0, len(training), strip):
                rows = slice(first, first + strip)
                torch.mm(self.upper[rows, first:], solution[first:], out=product[rows])
            gain -= product.mul_(solution).sum(0, dtype=gain.dtype)
        return gains


def held_out_scatter(features: FeatureMoments, index: int, mean: Tensor) -> Tensor:
    """X'X of one fold's stimuli about a mean of the others, (D,): float64 (D, D)."""
    total = features.total[index]
    scatter = features.gram[index] - torch.outer(mean, total) - torch.outer(total, mean)
    return scatter.addr_(mean, mean, alpha=float(features.count[index]))


@dataclass(frozen=True)
class ProjectedTargets:
    """One block of targets, in the axes of all stimuli.

    Args:
        responses: Their moments.
        cross: Centred X'Y in the axes, (R, T).
        mean: Mean about the responses' shift, float64 (T,).
    """

    responses: ResponseMoments
    cross: Tensor
    mean: Tensor


class PrimalRidge:
    """The D×D form: for features fewer than stimuli, and for data that stream by.

    Penalties are judged by cross-validation over the moments' folds (the mean over folds of the mean squared error,
    as in himalaya), or by generalised cross-validation where there is a single fold.

    Args:
        features: Moments of the features.
        penalties: float64 (P,), largest first.
        standardize: Divide the features by their standard deviation over the training part of each fold.
        dtype: Precision of the work on targets.
        coarse: Precision in which the folds' errors of the penalties are compared; None for `dtype`.
        prior: Prior variance of each feature's weight, as in `principal_axes`.

    Raises:
        InputError: A fold is empty or leaves fewer than two training stimuli, or features are not finite.
    """

    def __init__(
        self,
        features: FeatureMoments,
        penalties: Tensor,
        standardize: bool,
        dtype: torch.dtype,
        coarse: torch.dtype | None = None,
        prior: Tensor | None = None,
    ) -> None:
        num_folds = len(features.count)
        if num_folds > 1 and not features.count.all():
            raise InputError(f"folds: expected stimuli in each of {num_folds}, found an empty one; use fewer folds")
        self.penalties = penalties
        self.num_features = len(features.shift)
        self.dtype = dtype
        self.shift = features.shift
        self.features = features
        self.standardize = standardize
        self.coarse = coarse or dtype
        self.prior = prior

    @cached_property
    def axes(self) -> PrincipalAxes:
        """Axes of all stimuli."""
        return principal_axes(self.features, None, self.standardize, self.prior)

    @cached_property
    def rotation(self) -> Tensor:
        """Their rotation in the precision of the work on targets, (D, R)."""
        return self.axes.rotation.to(self.dtype)

    @cached_property
    def folds(self) -> list[HeldOutFold]:
        """The folds of the cross-validation; none where there is a single one."""
        num_folds = len(self.features.count)
        return [
            HeldOutFold.of(self.features, k, self.standardize, self.dtype, self.coarse, self.prior)
            for k in range(num_folds if num_folds > 1 else 0)
        ]

    def project(self, responses: ResponseMoments) -> ProjectedTargets:
        """Take some targets to the axes of all stimuli."""
        mean = responses.total.sum(0) / self.axes.count
        cross = responses.cross[0] if len(responses.cross) == 1 else responses.cross.sum(0)
        projected = self.rotation.T @ cross
        feature_mean = (self.axes.mean @ self.axes.rotation).to(projected.dtype)  # (R,)
        projected.addr_(feature_mean, mean.to(projected.dtype), alpha=-self.axes.count)
        return ProjectedTargets(responses, projected, mean)

    def errors(self, targets: ProjectedTargets) -> tuple[Tensor, Tensor]:
        """Cross-validated errors, float64 (P, T), and those of the training mean as prediction, float64 (T,)."""
        if self.folds:
            return self.fold_errors(targets.responses)
        count = self.axes.count
        variation = (targets.responses.square.sum(0) - count * targets.mean.square()).clamp(min=0)
        return generalized_errors(self.axes.eigenvalues, targets.cross, variation, count, self.penalties)

    def fold_errors(self, responses: ResponseMoments) -> tuple[Tensor, Tensor]:
        """What `errors` returns, by k-fold cross-validation: it needs no axes of all stimuli."""
        cross = responses.cross.sum(0)
        null_errors = torch.zeros_like(responses.total[0])
        gains = null_errors.new_zeros(len(self.penalties), len(null_errors))
        for fold in self.folds:
            training, held_out, variation = fold.project(responses, cross)
            weight = 1 / (fold.count * len(self.folds))
            null_errors.add_(variation, alpha=weight)
            gains.add_(fold.gains(training, held_out, self.penalties), alpha=weight)
        return null_errors - gains, null_errors

    def solve(self, targets: ProjectedTargets, penalty: Tensor, weight: Tensor) -> Tensor:
        """Fit all stimuli with each target's penalty (T,): writes the weight (T, D), returns the bias, float64 (T,)."""
        damped = self.axes.eigenvalues.to(self.dtype)[:, None] + penalty.to(self.dtype)  # (R, T)
        torch.mm((targets.cross / damped).T, self.rotation.T, out=weight)
        mean = self.axes.mean + self.shift
        return targets.responses.shift.double() + targets.mean - weight.double() @ mean
