"""LinearFit: what every regression that ends in a weight and a bias returns; Regression: what makes one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...arguments import KeepsArguments
from ...recipe import Remakable


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear regression.

    Args:
        weight: Coefficients of the features as they were given, (T, D).
        bias: Intercepts, (T,).
        penalty: Chosen penalty of each target, float64 (T,).
        error: Its cross-validated squared error, float64 (T,): the mean over folds of the mean over stimuli, or the
            criterion of generalised cross-validation.
        null_error: The same of the training mean as prediction, float64 (T,).
    """

    weight: Tensor
    bias: Tensor
    penalty: Tensor
    error: Tensor
    null_error: Tensor

    @property
    def cv_r2(self) -> Tensor:
        """Cross-validated share of variance explained, float64 (T,); NaN where a target has no variance."""
        return 1 - self.error / self.null_error


class Regression(KeepsArguments, Remakable, ABC):
    """Fits data that are in memory."""

    penalties: Sequence[float] | None  # the candidates; None where each target has its own

    def check(self, folds: int, alone: bool, num_features: int) -> None:
        """Refuse, before any data are read, what it cannot be fitted with.

        Args:
            folds: Folds of the cross-validation; 0 for generalised cross-validation.
            alone: Whether each target chooses on its own.
            num_features: Most features that it will be given.

        Raises:
            InputError: One of them is not possible.
        """

    @abstractmethod
    def fit(
        self, features: Tensor, responses: Tensor, fold: Tensor | None, groups: Tensor | None, standardize: bool
    ) -> LinearFit:
        """Choose the strength of the regularisation by cross-validation and fit all stimuli with it.

        Args:
            features: (N, D).
            responses: (N, T).
            fold: Fold of each stimulus, int64 (N,); None for generalised cross-validation, where there is one.
            groups: Group of each target that shares a choice, int64 (T,); None where each has its own.
            standardize: Divide the features by their standard deviation over the training part of each fold.

        Raises:
            InputError: Features or responses are not finite, or folds are too small.
        """
