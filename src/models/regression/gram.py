"""What a linear model needs of the data: sums per cross-validation fold, gathered in one pass.

Every sum is taken about a shift near the data's mean, so that subtracting means afterwards cancels no digits. Sums
about the same shift add up: over batches, and over ranks with an all-reduce of `sums()`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError

Rows = slice | Tensor

LARGE = 4096  # rows of a matrix from which on its decomposition is sparing with memory
ROW_BLOCK = 1024  # with penalties.TARGET_BLOCK, a piece of float32 responses is 4 MB


def assign_folds(
    num_stimuli: int, num_folds: int, seed: int = 0, images: Tensor | None = None, seen_by: Tensor | None = None
) -> Tensor:
    """Deal the stimuli at random into folds whose sizes differ by at most one.

    Args:
        num_stimuli: How many.
        num_folds: How many.
        seed: Of the draw.
        images: Number of the image that each stimulus shows, from 0 without gaps, int64 (num_stimuli,), where some
            show one several times, as single trials do. The images are dealt then: a repeat in another fold would be
            predicted from what was measured of the same image, and any penalty would look too good.
        seen_by: Who was shown what is dealt, in numbers, int64, one for each image or without `images` for each
            stimulus. What the same were shown is dealt one after another, so that of each as many, to one, lie in
            every fold.

    Returns:
        The fold of each stimulus, int64 (num_stimuli,).

    Raises:
        InputError: There are fewer than two folds, or more folds than stimuli.
    """
    if images is not None:
        return assign_folds(int(images.max()) + 1, num_folds, seed, seen_by=seen_by)[images]
    if not 2 <= num_folds <= num_stimuli:
        raise InputError(f"--model.folds {num_folds}: expected 2 to {num_stimuli} (the training stimuli)")
    order = torch.randperm(num_stimuli, generator=torch.Generator().manual_seed(seed))
    if seen_by is not None:
        dealt = order.argsort()
        order[dealt[seen_by[dealt].argsort(stable=True)]] = torch.arange(num_stimuli)
    return order % num_folds


def rows_by_fold(fold: Tensor) -> Iterator[tuple[int, Rows]]:
    """The rows of each fold that occurs in `fold` (n,), in pieces that stay in cache.

    A piece is a slice where its rows are contiguous, which spares a copy.
    """
    for k in fold.unique().tolist():
        for rows in (fold == k).nonzero().squeeze(1).split(ROW_BLOCK):
            first, last = int(rows[0]), int(rows[-1])
            yield k, slice(first, last + 1) if last - first + 1 == len(rows) else rows


class FeatureMoments:
    """Count, sum and Gram matrix of the features in each fold, in float64.

    Args:
        shift: A point near the mean of the features, (D,), the same on every rank.
        num_folds: Number K of cross-validation folds; 1 where there are none.
    """

    def __init__(self, shift: Tensor, num_folds: int = 1) -> None:
        self.shift = shift.double()
        self.count = self.shift.new_zeros(num_folds)
        self.total = self.shift.new_zeros(num_folds, len(shift))
        self.gram = self.shift.new_zeros(num_folds, len(shift), len(shift))

    @classmethod
    def of(cls, features: Tensor, fold: Tensor, dtype: torch.dtype) -> tuple["FeatureMoments", Tensor]:
        """Moments of features in memory (N, D), the fold of each stimulus int64 (N,); and these minus their shift.

        The latter are in `dtype`.
        """
        moments = cls(features[:ROW_BLOCK].double().mean(0), int(fold.max()) + 1)
        shifted = torch.empty(features.shape, dtype=dtype, device=features.device)
        for rows in torch.arange(len(features), device=features.device).split(ROW_BLOCK):
            part = features[rows].double() - moments.shift
            moments.update(part, fold[rows])
            shifted[rows] = part.to(dtype)
        return moments, shifted

    def update(self, shifted: Tensor, fold: Tensor) -> None:
        """Add stimuli.

        Args:
            shifted: Features minus the shift, float64 (n, D).
            fold: Fold of each stimulus, int64 (n,).
        """
        for k, rows in rows_by_fold(fold):
            part = shifted[rows]
            self.count[k] += len(part)
            self.total[k] += part.sum(0)
            self.gram[k].addmm_(part.T, part)

    def sums(self) -> dict[str, Tensor]:
        """The live tensors that add up across ranks."""
        return {"count": self.count, "total": self.total, "gram": self.gram}


class ResponseMoments:
    """Sum, sum of squares and product with the features of the responses in each fold.

    The products, by far the largest, are kept in the precision of the responses; the rest in float64.

    Args:
        shift: A point near the mean of the responses, (T,), the same on every rank; its dtype is that of the products.
        num_features: Number D of features.
        num_folds: Number K of cross-validation folds; 1 where there are none.
    """

    def __init__(self, shift: Tensor, num_features: int, num_folds: int = 1) -> None:
        self.shift = shift
        self.total = shift.new_zeros(num_folds, len(shift), dtype=torch.float64)
        self.square = torch.zeros_like(self.total)
        self.cross = shift.new_zeros(num_folds, num_features, len(shift))

    @classmethod
    def of(cls, shifted: Tensor, responses: Tensor, fold: Tensor) -> "ResponseMoments":
        """Moments of data in memory; the arguments are those of `update`, and hold all stimuli."""
        shift = responses[:ROW_BLOCK].double().mean(0).to(shifted.dtype)
        moments = cls(shift, shifted.shape[1], int(fold.max()) + 1)
        moments.update(shifted, responses, fold)
        return moments

    def update(self, shifted: Tensor, responses: Tensor, fold: Tensor) -> None:
        """Add stimuli.

        Args:
            shifted: Features minus their shift, (n, D), in the dtype of the products.
            responses: Responses, not shifted, (n, T).
            fold: Fold of each stimulus, int64 (n,).
        """
        for k, rows in rows_by_fold(fold):
            part = responses[rows].to(self.shift.dtype) - self.shift
            self.cross[k].addmm_(shifted[rows].T, part)
            self.total[k] += part.sum(0)
            self.square[k] += part.square_().sum(0)

    def targets(self, part: Rows) -> "ResponseMoments":
        """The moments of some targets; views where they are a slice."""
        view = object.__new__(ResponseMoments)
        view.shift = self.shift[part]
        view.total, view.square = self.total[:, part], self.square[:, part]
        view.cross = self.cross[:, :, part]
        return view

    def sums(self) -> dict[str, Tensor]:
        """The live tensors that add up across ranks."""
        return {"total": self.total, "square": self.square, "cross": self.cross}


class GramAccumulator:
    """Both moments from a stream of batches, for data that are not in memory.

    It holds K D T numbers; where the responses (N, T) are in memory and smaller, `fit_ridge` needs less.

    Args:
        feature_shift: A point near the mean of the features, (D,), such as the first batch's mean on the first rank.
        response_shift: The same of the responses, (T,).
        num_folds: Number K of cross-validation folds; 1 for generalised cross-validation.
    """

    def __init__(self, feature_shift: Tensor, response_shift: Tensor, num_folds: int = 1) -> None:
        self.features = FeatureMoments(feature_shift, num_folds)
        self.responses = ResponseMoments(response_shift, len(feature_shift), num_folds)

    @classmethod
    def of(cls, features: Tensor, responses: Tensor, fold: Tensor, dtype: torch.dtype) -> "GramAccumulator":
        """Moments of data in memory: features (N, D), responses (N, T), fold of each stimulus int64 (N,).

        The products with the responses are kept in `dtype`.
        """
        moments = object.__new__(cls)
        moments.features, shifted = FeatureMoments.of(features, fold, dtype)
        moments.responses = ResponseMoments.of(shifted, responses, fold)
        return moments

    def update(self, features: Tensor, responses: Tensor, fold: Tensor) -> None:
        """Add a batch: features (B, D), responses (B, T), fold of each stimulus int64 (B,)."""
        shifted = features.double() - self.features.shift
        self.features.update(shifted, fold)
        self.responses.update(shifted.to(self.responses.cross.dtype), responses, fold)

    def sums(self) -> dict[str, Tensor]:
        """The live tensors that add up across ranks, by name; with the two shifts they are the whole state."""
        features = {f"features.{name}": tensor for name, tensor in self.features.sums().items()}
        return features | {f"responses.{name}": tensor for name, tensor in self.responses.sums().items()}


@dataclass(frozen=True)
class PrincipalAxes:
    """The features of some stimuli, centred and if asked standardised, in the axes of their own scatter.

    Args:
        count: Number n of stimuli.
        mean: Their mean about the shift, float64 (D,).
        eigenvalues: Scatter along each axis, float64 (R,), all positive; the null space is left out.
        rotation: From centred features to the axes, scale included, float64 (D, R).
        scale: What the centred features are divided by first, float64 (D,).
    """

    count: float
    mean: Tensor
    eigenvalues: Tensor
    rotation: Tensor
    scale: Tensor


def principal_axes(
    features: FeatureMoments, held_out: int | None = None, standardize: bool = False, prior: Tensor | None = None
) -> PrincipalAxes:
    """Axes of all stimuli, or of those outside one fold.

    Args:
        features: Their moments.
        held_out: A fold to leave out.
        standardize: Divide the features by their standard deviation.
        prior: Prior variance of each feature's weight, float64 (D,), by whose root the feature is multiplied; a
            feature of 0 has no weight. Ones where not given.

    Raises:
        InputError: Fewer than two stimuli are left, or a feature is NaN or infinite.
    """
    folds = [k for k in range(len(features.count)) if k != held_out]
    count = float(features.count[folds].sum())
    check_training(count)
    mean = features.total[folds].sum(0) / count
    scatter = features.gram[folds[0]].clone()
    for k in folds[1:]:
        scatter += features.gram[k]
    check_finite(scatter)
    mean_square = scatter.diagonal() / count
    rounding = count * torch.finfo(mean.dtype).eps * mean_square
    scale = scale_of(mean_square - mean.square(), rounding) if standardize else torch.ones_like(mean)
    if prior is not None:
        scale = scale / prior.sqrt()  # infinite where the prior is 0, which leaves no scatter and no rotation
    scatter.addr_(mean, mean, alpha=-count).div_(scale).div_(scale[:, None])
    eigenvalues, axes = range_of(scatter, count)
    return PrincipalAxes(count, mean, eigenvalues, axes / scale[:, None], scale)


def check_training(count: float) -> None:
    """Raise InputError where too few stimuli are left to fit on."""
    if count < 2:
        raise InputError(f"folds: every one needs at least 2 training stimuli, found {count:.0f}; use fewer folds")


def _decomposed(scatter: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix."""
    if scatter.device.type != "cpu" or len(scatter) < LARGE:
        return torch.linalg.eigh(scatter)
    # torch's divide and conquer works in twice the matrix beside it and the vectors: of 9,000 stimuli 1.3 GB.
    from scipy.linalg import eigh

    eigenvalues, vectors = eigh(scatter.numpy().T, driver="evr", overwrite_a=True, check_finite=False)
    return torch.from_numpy(eigenvalues), torch.from_numpy(vectors)


def check_finite(scatter: Tensor) -> None:
    """Raise InputError where a scatter or kernel matrix shows that a feature is NaN or infinite."""
    if not scatter.isfinite().all():
        raise InputError("features: expected finite numbers, found NaN or infinity; check the encoder and its weights")


def scale_of(variance: Tensor, rounding: Tensor) -> Tensor:
    """Standard deviation of each feature (D,); 1, as in scikit-learn, where the variance is mere rounding."""
    return variance.clamp(min=0).sqrt().masked_fill(variance <= rounding, 1.0)


def range_of(scatter: Tensor, count: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues (R,) and eigenvectors (n, R) of a symmetric matrix (n, n), without its numerical null space.

    What collinear or constant features leave there is rounding, and a small penalty would magnify it.

    Args:
        scatter: float64; one of `LARGE` rows or more is overwritten on the processor.
        count: Of what it was summed over.
    """
    eigenvalues, vectors = _decomposed(scatter)
    tolerance = max(count, len(scatter)) * torch.finfo(scatter.dtype).eps
    first = int((eigenvalues <= tolerance * eigenvalues[-1].clamp(min=0)).sum())  # they ascend
    return eigenvalues[first:], vectors[:, first:]
