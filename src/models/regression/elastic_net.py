"""Lasso, elastic net and multi-task elastic net, their penalties chosen by cross-validation.

The objective is scikit-learn's, 1/(2n) ‖y − Xw − b‖² + α l1_ratio ‖w‖₁ + ½ α (1 − l1_ratio) ‖w‖², and so is its α. All
that is needed of the data are the folds' Gram matrices, as for ridge; a fold's training part is all less the fold.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...errors import InputError
from .elastic_net_path import Design, Found, over_targets, solve_path
from .gram import GramAccumulator, PrincipalAxes, principal_axes
from .linear_fit import LinearFit, Regression
from .penalties import choose, sort_penalties
from .primal_ridge import HeldOutFold, held_out_scatter
from .ridge import check_measured

log = logging.getLogger(__name__)

MAX_FEATURES = 2000  # the time of each target's path grows with their square
BLOCK = 512  # problems solved together: with more, their matrices leave the cache
SELECTION_GAP = 1e-7  # of ‖y‖²: with 1e-6, 1 in 500 targets chose a neighbour of the best penalty; with 1e-4, 20
FINAL_GAP = 1e-12  # its root bounds the error of the weights


class ElasticNet(Regression):
    """Elastic net: few features have weights. Its penalty is chosen by cross-validation.

    Args:
        l1_ratio: Share of the l1 norm in the penalty, above 0; at 1, the default, it is the lasso.
        penalties: The candidates, as scikit-learn's `alpha`, the same for all targets. Where not given, each target
            has its own: from the least one that leaves it no weight downwards, evenly in the logarithm.
        path_length: How many candidates each target has where none are given.
        path_end: The last of them, as a share of the first.
        multitask: A feature has weights for all targets of a group or for none, by the l2,1 norm. The groups are
            those that share a penalty.

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(
        self,
        l1_ratio: float = 1.0,
        penalties: Sequence[float] | None = None,
        path_length: int = 100,
        path_end: float = 1e-3,
        multitask: bool = False,
    ) -> None:
        if not 0 < l1_ratio <= 1:
            raise InputError(f"l1_ratio: expected above 0 and at most 1, found {l1_ratio}; for 0 use ridge")
        if penalties is not None and not sort_penalties(penalties, torch.device("cpu"))[-1] > 0:
            raise InputError("penalties: expected numbers above 0, found 0; for least squares use ridge")
        if path_length < 2:
            raise InputError(f"path_length: expected at least 2, found {path_length}")
        if not 0 < path_end < 1:
            raise InputError(f"path_end: expected between 0 and 1, found {path_end}")
        self.l1_ratio, self.path_length, self.path_end, self.multitask = l1_ratio, path_length, path_end, multitask
        self.penalties = None if penalties is None else list(penalties)

    def check(self, folds: int, alone: bool, num_features: int) -> None:
        if folds < 2:
            raise InputError(f"--model.folds {folds}: expected 2 or more; an elastic net needs held-out stimuli")
        if self.multitask and alone:
            raise InputError("--model.selection target: expected roi or all; multi-task targets choose together")
        if num_features > MAX_FEATURES:
            raise InputError(
                f"--data.encoder: an elastic net takes at most {MAX_FEATURES} features, found {num_features}; "
                "set --data.reduction PrincipalComponents"
            )

    def fit(
        self, features: Tensor, responses: Tensor, fold: Tensor | None, groups: Tensor | None, standardize: bool
    ) -> LinearFit:
        """Choose the penalties and fit all stimuli with them; it holds K (D² + D T) sums in float64.

        A group's targets share the candidate of the least mean error. Where each target has candidates of its own,
        that is the same share of each target's largest penalty; with `multitask` it is one penalty, because the
        largest is then the group's.

        Args:
            features: (N, D).
            responses: (N, T).
            fold: Fold of each stimulus, int64 (N,), at least two.
            groups: Group of each target that shares a choice, int64 (T,); None where each has its own.
            standardize: Divide the features by their standard deviation over the training part of each fold.

        Raises:
            InputError: There are no folds, no groups for the multi-task form, or too many features; features or
                responses are not finite, or folds are too small.
        """
        num_features, num_targets = features.shape[1], responses.shape[1]
        folds = 0 if fold is None else len(fold.unique())
        self.check(folds, groups is None, num_features)
        assert fold is not None
        moments = GramAccumulator.of(features, responses, fold.unique(return_inverse=True)[1], torch.float64)
        check_measured(moments.responses.square.sum(0), 0)
        problems = self._problems(num_targets, groups, features.device)
        training = _Training.of_all(moments, standardize)
        penalties = self._candidates(training, problems)  # (A, T)
        errors, null_errors = self._errors(moments, problems, penalties, standardize)
        choice = choose(errors, groups)[None]
        penalty, error = penalties.gather(0, choice), errors.gather(0, choice).squeeze(0)
        weight = torch.empty_like(training.cross)
        for targets in problems:
            self._solve(training, targets, penalty, FINAL_GAP, partial(_write, weight, targets))
        weight /= training.axes.scale
        bias = training.mean - weight @ (training.axes.mean + moments.features.shift)
        bias += moments.responses.shift.double()
        dtype = torch.promote_types(responses.dtype, torch.float32)
        return LinearFit(weight.to(dtype), bias.to(dtype), penalty.squeeze(0), error, null_errors)

    def _problems(self, num_targets: int, groups: Tensor | None, device: torch.device) -> list[Tensor]:
        """Targets of the problems that are solved together, each int64 (P, S)."""
        if self.multitask and groups is not None:
            return [(groups == group).nonzero().T for group in groups.unique()]
        return list(torch.arange(num_targets, device=device)[:, None].split(BLOCK))

    def _candidates(self, training: "_Training", problems: Sequence[Tensor]) -> Tensor:
        """Penalties of each target, descending, float64 (A, T)."""
        if self.penalties is not None:
            candidates = sort_penalties(list(set(self.penalties)), training.cross.device)
            return candidates[:, None].repeat(1, len(training.cross))
        largest = torch.empty_like(training.square)
        for targets in problems:
            gradient = over_targets(training.cross[targets])  # (P, D)
            if training.design.factor is not None:
                gradient /= training.design.factor
            largest[targets] = (gradient.amax(1, keepdim=True) / self.l1_ratio).expand(targets.shape)
        # A target that does not vary has no weight at any penalty; 1 leaves the mean of the logarithms a number.
        largest[largest <= torch.finfo(largest.dtype).resolution] = 1
        steps = torch.linspace(0, 1, self.path_length, dtype=largest.dtype, device=largest.device)
        return self.path_end ** steps[:, None] * largest

    def _errors(
        self, moments: GramAccumulator, problems: Sequence[Tensor], penalties: Tensor, standardize: bool
    ) -> tuple[Tensor, Tensor]:
        """Mean over folds of the held-out mean squared errors, (A, T), and of the training mean's, (T,)."""
        num_folds = len(moments.features.count)
        gains, null_errors = torch.zeros_like(penalties), torch.zeros_like(penalties[0])
        for index in range(num_folds):
            fold = _Fold.of(moments, index, standardize)
            share = 1 / (fold.count * num_folds)
            for targets in problems:
                add = partial(fold.add_gains, gains, targets, share)
                self._solve(fold.training, targets, penalties, SELECTION_GAP, add)
            null_errors.add_(fold.variation, alpha=share)
        return null_errors - gains, null_errors

    def _solve(self, training: "_Training", targets: Tensor, penalties: Tensor, gap: float, found: Found) -> None:
        """Solve for targets (P, S) at each of their penalties, of (A, T)."""
        cross, square = training.cross[targets], training.square[targets].sum(1)
        own = penalties[:, targets[:, 0]].T
        given_up = solve_path(training.design, cross, square, own, self.l1_ratio, gap, found)
        if given_up:
            log.warning(
                "elastic net: %d of %d solutions have not converged; leave out the smallest penalties",
                given_up,
                own.numel(),
            )


def _write(out: Tensor, targets: Tensor, problem: Tensor, step: Tensor, weight: Tensor) -> None:
    """Keep the weights (n, S, D) of some problems in `out`, (T, D)."""
    out[targets[problem]] = weight


@dataclass(frozen=True)
class _Training:
    """Standardised features and centred responses of the stimuli that are fitted.

    Args:
        axes: Axes of the features.
        design: The same, for the solver.
        mean: Mean of the responses about their shift, float64 (T,).
        cross: X'Y / n, float64 (T, D).
        square: Mean square of each response, float64 (T,).
    """

    axes: PrincipalAxes
    design: Design
    mean: Tensor
    cross: Tensor
    square: Tensor

    @classmethod
    def of(cls, axes: PrincipalAxes, total: Tensor, square: Tensor, cross: Tensor, standardize: bool) -> "_Training":
        """From sums about the shift, each (T,), and centred X'Y, (D, T)."""
        design, mean = Design.of(axes, standardize), total / axes.count
        standardised = (cross.T / (axes.scale * axes.count)).contiguous()
        return cls(axes, design, mean, standardised, (square / axes.count - mean.square()).clamp(min=0))

    @classmethod
    def of_all(cls, moments: GramAccumulator, standardize: bool) -> "_Training":
        axes, responses = principal_axes(moments.features, None, standardize=True), moments.responses
        total = responses.total.sum(0)
        cross = responses.cross.sum(0).addr_(axes.mean, total, alpha=-1)
        return cls.of(axes, total, responses.square.sum(0), cross, standardize)


@dataclass(frozen=True)
class _Fold:
    """One fold, seen from the stimuli outside it.

    Args:
        training: Those.
        count: Number of held-out stimuli.
        variation: Held-out sum of squares about the training mean, float64 (T,).
        cross: Held-out X'Y, float64 (T, D), and
        scatter: X'X, float64 (D, D), of features standardised as the training part's are.
    """

    training: _Training
    count: float
    variation: Tensor
    cross: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, moments: GramAccumulator, index: int, standardize: bool) -> "_Fold":
        features, responses = moments.features, moments.responses
        held_out = HeldOutFold.of(features, index, standardize=True, dtype=torch.float64, coarse=torch.float64)
        cross, held_cross, variation = held_out.about_training(responses, responses.cross.sum(0))
        total, square = (sums.sum(0) - sums[index] for sums in (responses.total, responses.square))
        training = _Training.of(held_out.axes, total, square, cross, standardize)
        scale = training.axes.scale
        scatter = held_out_scatter(features, index, held_out.axes.mean).div_(scale).div_(scale[:, None])
        return cls(training, held_out.count, variation, (held_cross.T / scale).contiguous(), scatter)

    def add_gains(
        self, gains: Tensor, targets: Tensor, share: float, problem: Tensor, step: Tensor, weight: Tensor
    ) -> None:
        """Add to `gains` (A, T) what solutions (n, S, D) take from the held-out sum of squares: 2 w'E − w'Mw."""
        own = targets[problem]  # (n, S)
        gain = (weight * (2 * self.cross[own] - weight @ self.scatter)).sum(2)
        gains[step[:, None], own] += share * gain
