"""What a closed-form model keeps of one recording's training batches: sums, or the stimuli themselves.

Each stimulus is served once, to one rank, so either is a set of tensors that add up over batches and ranks. Scales
and means are those of each fold's training part, as scikit-learn's `Pipeline(StandardScaler, Ridge)` has them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..regression.gram import ROW_BLOCK, GramAccumulator
from ..regression.linear_fit import LinearFit
from ..regression.ridge import fit_ridge, solve_ridge


class SummedRows:
    """Moments in each fold, K D T numbers; no stimulus is seen again.

    Args:
        fold: Fold of each of the recording's training stimuli, int64 (N,).
        num_folds: Their number K; 1 for generalised cross-validation.
        num_features: Number D of features.
        num_targets: Number T of the recording's targets.
    """

    def __init__(self, fold: Tensor, num_folds: int, num_features: int, num_targets: int) -> None:
        self.fold = fold
        # Standardised features and responses have their means at 0, on every rank.
        feature_shift, response_shift = (torch.zeros(n, device=fold.device) for n in (num_features, num_targets))
        self.moments = GramAccumulator(feature_shift, response_shift, num_folds)
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(self, features: Tensor, responses: Tensor, row: Tensor) -> None:
        """Add a batch: standardised features (B, D) and responses (B, T), row of each stimulus int64 (B,).

        The tensors are kept for a while, and so may not be views of a buffer that is used again.
        """
        self.waiting.append((features, responses, self.fold[row]))
        # Each update reads and writes all K D T sums: with batches of 64 that, not the product, would be the time.
        if sum(len(features) for features, *_ in self.waiting) >= ROW_BLOCK:
            self._add_waiting()

    def sums(self) -> list[Tensor]:
        """The live tensors that add up across ranks."""
        self._add_waiting()
        return list(self.moments.sums().values())

    def fit(
        self,
        penalties: Sequence[float],
        groups: Tensor | None,
        standardize: bool = True,
        coarse: torch.dtype | None = None,
        weight: Tensor | None = None,
    ) -> LinearFit:
        """Fit what was added; the arguments are those of `fit_ridge`."""
        self._add_waiting()
        return solve_ridge(self.moments, penalties, groups, standardize, coarse, weight)

    def _add_waiting(self) -> None:
        if self.waiting:
            features, responses, fold = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
            self.waiting.clear()
            self.moments.update(features, responses, fold)


class HalfColumns:
    """Features in float16 that are standardised as they are read, a block of columns at a time.

    Args:
        features: As the cache holds them, float16 (N, D).
        mean: What is taken from each feature, (D,).
        scale: What it is divided by then, (D,).
    """

    def __init__(self, features: Tensor, mean: Tensor, scale: Tensor) -> None:
        self.features, self.mean, self.scale = features, mean, scale
        self.shape, self.device = features.shape, features.device

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        """A block, float32."""
        return (self.features[key].float() - self.mean[key[1]]) / self.scale[key[1]]


class WholeRows:
    """Features (N, D) and responses (N, T) themselves, in the order of the stimuli.

    Features come standardised, and are kept in float32; or as the cache has them in float16, and are kept so, for
    a model that says their mean and scale, (D,), before it fits.

    Args:
        fold: Fold of each of the recording's training stimuli, int64 (N,).
        num_folds: Their number K; 1 for generalised cross-validation.
        num_features: Number D of features.
        num_targets: Number T of the recording's targets.
    """

    def __init__(self, fold: Tensor, num_folds: int, num_features: int, num_targets: int) -> None:
        self.fold = fold if num_folds > 1 else None
        self.num_features = num_features
        self.features = torch.empty(0, device=fold.device)  # until the first batch says what they are
        self.mean, self.scale = torch.zeros(num_features), torch.ones(num_features)
        self.responses = torch.zeros(len(fold), num_targets, device=fold.device)
        self.served = torch.zeros(len(fold), device=fold.device)

    def update(self, features: Tensor, responses: Tensor, row: Tensor) -> None:
        """Add a batch: features (B, D), standardised responses (B, T), row of each stimulus int64 (B,)."""
        if not len(self.features):
            # They come in float64 under --trainer.precision 64-true.
            dtype = torch.float16 if features.dtype == torch.float16 else torch.float32
            self.features = features.new_zeros(len(self.served), self.num_features, dtype=dtype)
        self.features[row] = features.to(self.features.dtype)
        self.responses[row] = responses.to(self.responses.dtype)
        self.served[row] = 1

    def sums(self) -> list[Tensor]:
        """The live tensors that add up across ranks: a row is 0 on all ranks but one."""
        return [self.features, self.responses, self.served]

    def training(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """What was added: features (n, D), responses (n, T), and the fold of each stimulus, int64 (n,), if any."""
        features, responses, fold = self.features, self.responses, self.fold
        if not self.served.all():  # --trainer.limit_train_batches and fast_dev_run serve some stimuli only
            rows = self.served.nonzero().squeeze(1)
            features, responses = features[rows], responses[rows]
            fold = None if fold is None else fold[rows].unique(return_inverse=True)[1]
        return features, responses, fold

    def fit(
        self,
        penalties: Sequence[float],
        groups: Tensor | None,
        standardize: bool = True,
        coarse: torch.dtype | None = None,
        weight: Tensor | None = None,
    ) -> LinearFit:
        """Fit what was added; the arguments are those of `fit_ridge`."""
        features, responses, fold = self.training()
        columns = features
        if features.dtype == torch.float16:
            columns = HalfColumns(features, self.mean, self.scale)
        return fit_ridge(columns, responses, penalties, fold, groups, standardize, coarse, weight)


def sums_are_fewer(stimuli: int, features: int, folds: int) -> bool:
    """Whether sums over so many folds are fewer numbers than the stimuli."""
    return folds * features <= stimuli


def keep_rows(fold: Tensor, num_folds: int, num_features: int, num_targets: int) -> SummedRows | WholeRows:
    """Whichever of the two holds fewer numbers; the rows, too, where features outnumber stimuli."""
    kind = SummedRows if sums_are_fewer(len(fold), num_features, num_folds) else WholeRows
    return kind(fold, num_folds, num_features, num_targets)
