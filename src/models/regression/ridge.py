"""Ridge regression in closed form, with a penalty for each target, each group of targets, or all of them.

Minimises ‖Y − XW' − b‖² + penalty ‖W‖², a sum over stimuli, as scikit-learn and himalaya do; the intercept is not
penalised. The result is what a trained linear head is: a weight (T, D) and a bias (T,).
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ...errors import InputError
from .dual_ridge import Columns, DualRidge
from .gram import FeatureMoments, GramAccumulator, ResponseMoments
from .linear_fit import LinearFit, Regression
from .penalties import PENALTIES, choose, sort_penalties, target_blocks
from .primal_ridge import PrimalRidge, ProjectedTargets


class Ridge(Regression):
    """Ridge regression, its penalty chosen by cross-validation.

    Args:
        penalties: The candidates, as scikit-learn's `alpha`: beside a sum over stimuli of squared errors.
    """

    def __init__(self, penalties: Sequence[float] = PENALTIES) -> None:
        sort_penalties(penalties, torch.device("cpu"))  # refuses what is not a penalty
        self.penalties = list(penalties)

    def fit(
        self, features: Tensor, responses: Tensor, fold: Tensor | None, groups: Tensor | None, standardize: bool
    ) -> LinearFit:
        assert self.penalties is not None
        return fit_ridge(features, responses, self.penalties, fold, groups, standardize)


def fit_ridge(
    features: Tensor | Columns,
    responses: Tensor,
    penalties: Sequence[float] | Tensor,
    fold: Tensor | None = None,
    groups: Tensor | None = None,
    standardize: bool = False,
    coarse: torch.dtype | None = None,
    weight: Tensor | None = None,
) -> LinearFit:
    """Fit data that are in memory (the responses may be a memory map), in whichever form is the smaller.

    Means and scales are those of each fold's training part. Beyond its result it holds the moments of one block of
    targets where features are fewer than stimuli, else kernels between stimuli.

    Args:
        features: (N, D); `Columns` that are no tensor only where they outnumber the stimuli.
        responses: (N, T); in float64 the whole fit is, otherwise the work on targets is in float32.
        penalties: The candidates, each at least 0.
        fold: Fold of each stimulus, int64 (N,), for k-fold cross-validation; None for generalised cross-validation.
        groups: Group of each target, int64 (T,): one penalty is chosen for each group, by its mean error. None for
            one per target, zeros for one for all.
        standardize: Divide the features by their standard deviation.
        coarse: Precision in which k-fold cross-validation compares penalties where features are fewer than stimuli,
            such as torch.bfloat16; None for that of the responses. The fit itself keeps its precision.
        weight: Where the weights are written, (T, D) in the precision of the work on targets; None for a new tensor.

    Raises:
        InputError: Penalties, folds, features or responses are not what they have to be.
    """
    if len(features) != len(responses):
        raise InputError(f"responses: {len(features)} stimuli have features, {len(responses)} have responses")
    candidates = sort_penalties(penalties, features.device)
    dtype = torch.promote_types(responses.dtype, torch.float32)
    if fold is not None and len(fold.unique()) < 2:
        raise InputError("folds: expected at least 2, found 1; leave folds out for generalised cross-validation")
    if features.shape[1] > len(features):
        solver = DualRidge(features, fold, candidates, standardize, dtype)
        return solve_blocks(solver, lambda part: responses[:, part], [slice(0, responses.shape[1])], groups, weight)
    assert isinstance(features, Tensor), "columns that are made when they are read are for features that are many"
    if fold is None:
        fold = torch.zeros(len(features), dtype=torch.int64, device=features.device)
    moments, shifted = FeatureMoments.of(features, fold, dtype)
    solver = PrimalRidge(moments, candidates, standardize, dtype, coarse)

    def block(part: slice) -> ProjectedTargets:
        return solver.project(ResponseMoments.of(shifted, responses[:, part], fold))

    return solve_blocks(solver, block, list(target_blocks(responses.shape[1])), groups, weight)


def solve_ridge(
    moments: GramAccumulator,
    penalties: Sequence[float] | Tensor,
    groups: Tensor | None = None,
    standardize: bool = False,
    coarse: torch.dtype | None = None,
    weight: Tensor | None = None,
) -> LinearFit:
    """Fit data that were streamed into moments; the arguments are those of `fit_ridge`.

    Penalties are chosen by cross-validation over the moments' folds, or by generalised cross-validation where there
    is a single one.
    """
    candidates = sort_penalties(penalties, moments.features.shift.device)
    solver = PrimalRidge(moments.features, candidates, standardize, moments.responses.cross.dtype, coarse)
    responses = moments.responses
    blocks = list(target_blocks(len(responses.shift)))
    return solve_blocks(solver, lambda part: solver.project(responses.targets(part)), blocks, groups, weight)


Block = TypeVar("Block", contravariant=True)


class _Solver(Protocol[Block]):
    """Decomposed features, to be solved for one block of targets after another."""

    @property
    def penalties(self) -> Tensor: ...

    @property
    def num_features(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def errors(self, targets: Block, /) -> tuple[Tensor, Tensor]: ...

    def solve(self, targets: Block, penalty: Tensor, weight: Tensor, /) -> Tensor: ...


def solve_blocks(
    solver: _Solver[Block],
    block: Callable[[slice], Block],
    parts: Sequence[slice],
    groups: Tensor | None,
    weight: Tensor | None = None,
) -> LinearFit:
    """Choose penalties and refit on all stimuli; `weight` is that of `fit_ridge`.

    Where the choice is per target, each block of targets is finished before the next; a group's choice needs the
    errors of all its targets, and so the blocks a second time.
    """
    penalties, num_targets = solver.penalties, parts[-1].stop
    errors, null_errors = penalties.new_empty(len(penalties), num_targets), penalties.new_empty(num_targets)
    choice = torch.zeros(num_targets, dtype=torch.int64, device=penalties.device)
    if weight is None:
        weight = penalties.new_empty(num_targets, solver.num_features, dtype=solver.dtype)
    bias = weight.new_empty(num_targets)
    for part in parts:
        targets = block(part)
        errors[:, part], null_errors[part] = solver.errors(targets)
        check_measured(null_errors[part], part.start)
        if groups is None:
            choice[part] = choose(errors[:, part], None)
            bias[part] = solver.solve(targets, penalties[choice[part]], weight[part])
    if groups is not None:
        choice = choose(errors, groups)
        for part in parts:
            bias[part] = solver.solve(block(part), penalties[choice[part]], weight[part])
    error = errors.gather(0, choice[None]).squeeze(0)
    return LinearFit(weight, bias, penalties[choice], error, null_errors)


def check_measured(null_errors: Tensor, first: int) -> None:
    """Raise InputError where a target's responses are NaN or infinite for some stimulus."""
    bad = (~null_errors.isfinite()).nonzero()
    if len(bad):
        raise InputError(
            f"responses: expected a measured response of every target to every stimulus, found NaN or infinity in "
            f"target {first + int(bad[0])}; fit targets that were measured on other stimuli apart"
        )
