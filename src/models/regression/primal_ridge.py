"""Ridge in the D×D form: everything from the folds' moments; the stimuli themselves are not seen again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...errors import InputError
from .gram import FeatureMoments, PrincipalAxes, ResponseMoments, principal_axes
from .penalties import generalized_errors

STRIPS = 8  # at most, of a triangular product: with fewer, more zeros are multiplied
STRIP_ROWS = 128  # at least: with fewer, each product is small


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
        axes: Axes of the training part; their rotation R in the precision of the responses.
        upper: M folded to its upper triangle, (R, R), in the precision in which penalties are compared.
    """

    index: int
    count: float
    total: Tensor
    axes: PrincipalAxes
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
        rows: Tensor | None = None,
    ) -> "HeldOutFold":
        """Decompose the features of one fold.

        Args:
            features: Moments of the features.
            index: The fold.
            standardize: Divide the features by their standard deviation over the training part.
            dtype: Precision of the work on targets.
            coarse: Precision in which penalties are compared.
            prior: Prior variance of each feature's weight, as in `principal_axes`.
            rows: The held-out stimuli about the shift, (m, D), where they are at hand. M is made of their scores in
                `dtype` then: as precise as from the moments in float64, since small axes are told from large ones by
                the scores' own exponents, for a quarter of the operations.
        """
        axes = principal_axes(features, index, standardize, prior)
        count, total = float(features.count[index]), features.total[index]
        if rows is None:
            rotated = axes.rotation.T @ held_out_scatter(features, index, axes.mean) @ axes.rotation
            axes = replace(axes, rotation=axes.rotation.to(dtype))
        else:
            axes = replace(axes, rotation=axes.rotation.to(dtype))
            scores = (rows - axes.mean).to(dtype) @ axes.rotation  # (m, R)
            rotated = scores.new_zeros(scores.shape[1], scores.shape[1])
            for strip in strips(len(rotated)):
                torch.mm(scores[:, strip].T, scores[:, strip.start :], out=rotated[strip, strip.start :])
        upper = rotated.triu_()
        upper.mul_(2).diagonal().div_(2)
        return cls(index, count, total, axes, upper.to(coarse))

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
        return self.axes.rotation.T @ training, self.axes.rotation.T @ held_out, variation

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

        A penalty that is far above all eigenvalues λ shrinks all axes alike, so that its solution is that of the next
        such one by a factor, and S'M S is by its square. With λ / penalty at most ε, the cube root of the machine's,
        axes differ by ε in what that factor should be, of an S'M S that is itself of the order of ε²: by rounding.

        Args:
            training: Training X'Y in the axes, (R, T).
            held_out: Held-out X'Y in the axes, (R, T).
            penalties: float64 (P,), largest first.

        Returns:
            (P, T).
        """
        damping = (1 / (self.axes.eigenvalues + penalties[:, None])).to(training.dtype)  # (P, R)
        gains = 2 * damping @ (training * held_out)  # (P, T)
        solution = torch.empty_like(training, dtype=self.upper.dtype)
        product = torch.empty_like(solution)
        largest = self.axes.eigenvalues[-1:].sum()  # 0 where there is none
        far = int((penalties * torch.finfo(training.dtype).eps ** (1 / 3) > largest).sum())
        for index in range(max(far - 1, 0), len(penalties)):
            torch.mul(training, damping[index][:, None], out=solution)
            for strip in strips(len(training)):
                torch.mm(self.upper[strip, strip.start :], solution[strip.start :], out=product[strip])
            taken = product.mul_(solution).sum(0, dtype=gains.dtype)
            gains[index] -= taken
            if index == far - 1:
                shrunk = (penalties[index] + largest / 2) / (penalties[:index] + largest / 2)
                gains[:index] -= shrunk.square().to(taken)[:, None] * taken
        return gains


def strips(size: int) -> Iterator[slice]:
    """Slices of the rows of an upper triangle, each of which starts at its diagonal."""
    step = max(STRIP_ROWS, -(-size // STRIPS))
    for first in range(0, size, step):
        yield slice(first, min(first + step, size))


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
        rows: From a fold to its stimuli about the features' shift, (m, D), where they are at hand.

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
        rows: Callable[[int], Tensor] | None = None,
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
        self.rows = rows

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
        settings = (self.standardize, self.dtype, self.coarse, self.prior)
        return [
            HeldOutFold.of(self.features, k, *settings, rows=None if self.rows is None else self.rows(k))
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
