"""The two forms in which banded ridge is solved: from sums over stimuli, or from a kernel of each band.

In both, features are standardised if asked, and then multiplied by the root of a prior variance, one for each band.
Each set of prior variances costs one decomposition per fold, and one more where it is chosen.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .dual_ridge import KernelAxes, center, center_responses, column_blocks, held_out_errors, kernel_of
from .gram import ROW_BLOCK, FeatureMoments, ResponseMoments, Rows, check_training
from .penalties import target_blocks
from .primal_ridge import PrimalRidge, held_out_scatter

KEPT = 2**28  # bytes of products X'Y that are kept from one candidate to the next


@dataclass(frozen=True)
class BandedData:
    """What a form is made from.

    Args:
        features: (N, D).
        responses: (N, T).
        fold: Fold of each stimulus, int64 (N,): 0 to K − 1, none of them empty.
        band: Band of each feature, int64 (D,): 0 to B − 1.
        penalties: float64 (P,), largest first.
        standardize: Divide the features by their standard deviation over the training part of each fold.
    """

    features: Tensor
    responses: Tensor
    fold: Tensor
    band: Tensor
    penalties: Tensor
    standardize: bool

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the work on targets."""
        return torch.promote_types(self.responses.dtype, torch.float32)


class BandedForm(ABC):
    """Ridge of all stimuli and of each fold's training part, for one set of prior variances after another."""

    @abstractmethod
    def decompose(self, prior: Tensor) -> None:
        """Take up the prior variance of each band's weights, float64 (B,), for the next two."""

    @abstractmethod
    def errors(self) -> tuple[Tensor, Tensor]:
        """Mean over folds of the held-out mean squared errors, float64 (P, T), and of the training mean's, (T,)."""

    @abstractmethod
    def gains(self, targets: Tensor, penalty: Tensor) -> Tensor:
        """What each band's part of the prediction takes from the error of the training mean (product measure).

        A part f of the prediction p of the responses y, all about the training mean, takes f·(2 y − p): over all
        bands that is the whole prediction's gain.

        Args:
            targets: Indices of some targets, int64 (t,).
            penalty: Their penalties, float64 (t,).

        Returns:
            Mean over folds of the mean over held-out stimuli, float64 (B, t).
        """

    @abstractmethod
    def solve(self, prior: Tensor, choice: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
        """Fit all stimuli.

        Args:
            prior: Sets of prior variances, float64 (C, B).
            choice: Each target's set, int64 (T,).
            penalty: Its penalty, float64 (T,).
            weight: Is given the weights of the features as they came, (T, D).

        Returns:
            Biases, float64 (T,).
        """


class PrimalBands(BandedForm):
    """The D×D form. A candidate is one decomposition per fold and, per target and fold, (4 + 1.1 P) D² operations.

    Beside the data it holds the features once more, for each fold a D×D matrix in float64 and three in the precision
    of the responses, what a decomposition works in, and products X'Y: those of all targets, K D T numbers, where they
    take less than KEPT bytes, or else those of one block of targets, made again for each candidate. That is N D T
    operations more, a tenth, and spares 1.6 GB for 2,048 features and 39,548 targets. (With folds outside and
    candidates inside nothing would be made twice, but the errors of all candidates and penalties would have to be
    held, and X'Y of a fold too: more than 1 GB.)
    """

    def __init__(self, data: BandedData) -> None:
        self.data, self.band, self.dtype = data, data.band, data.dtype
        self.features, self.shifted = FeatureMoments.of(data.features, data.fold, self.dtype)
        num_targets = data.responses.shape[1]
        numbers = len(self.features.count) * len(self.band) * num_targets
        self.kept = self._moments(slice(0, num_targets)) if numbers * self.dtype.itemsize <= KEPT else None

    def decompose(self, prior: Tensor) -> None:
        self.prior = prior
        data, rows = self.data, lambda k: self.shifted[self.data.fold == k]
        self.ridge = PrimalRidge(
            self.features, data.penalties, data.standardize, self.dtype, prior=prior[self.band], rows=rows
        )

    def errors(self) -> tuple[Tensor, Tensor]:
        parts = [self.ridge.fold_errors(self.responses(part)) for part in target_blocks(self.data.responses.shape[1])]
        errors, null_errors = zip(*parts, strict=True)
        return torch.cat(errors, dim=1), torch.cat(null_errors)

    def gains(self, targets: Tensor, penalty: Tensor) -> Tensor:
        gains = penalty.new_zeros(len(self.prior), len(targets))
        scatters = [
            held_out_scatter(self.features, fold.index, fold.axes.mean).to(self.dtype) for fold in self.ridge.folds
        ]
        for part in target_blocks(len(targets)):
            responses = self.responses(targets[part])
            cross = responses.cross.sum(0)
            for fold, scatter in zip(self.ridge.folds, scatters, strict=True):
                training, held_out, _ = fold.about_training(responses, cross)  # (D, t)
                damped = fold.axes.eigenvalues.to(self.dtype)[:, None] + penalty[part].to(self.dtype)  # (R, t)
                weight = fold.axes.rotation @ (fold.axes.rotation.T @ training / damped)  # (D, t)
                taken = weight * (2 * held_out - scatter @ weight) / (fold.count * len(scatters))
                gains[:, part].index_add_(0, self.band, taken.double())
        return gains

    def solve(self, prior: Tensor, choice: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
        bias = penalty.new_empty(len(choice))
        for index in choice.unique():
            self.decompose(prior[index])
            for targets in (choice == index).nonzero().squeeze(1).split(ROW_BLOCK):
                block = weight.new_empty(len(targets), len(self.band))
                projected = self.ridge.project(self.responses(targets))
                bias[targets] = self.ridge.solve(projected, penalty[targets], block)
                weight[targets] = block
        return bias

    def responses(self, targets: Rows) -> ResponseMoments:
        """Moments of some targets."""
        return self._moments(targets) if self.kept is None else self.kept.targets(targets)

    def _moments(self, targets: Rows) -> ResponseMoments:
        return ResponseMoments.of(self.shifted, self.data.responses[:, targets], self.data.fold)


class DualBands(BandedForm):
    """The N×N form: it holds a kernel of each band for each fold, B (K + 1) N² float64 numbers.

    Beside them K decompositions of N×N are held at a time.
    """

    def __init__(self, data: BandedData) -> None:
        self.data = data
        self.layers = [(data.band == b).nonzero().squeeze(1) for b in range(int(data.band.max()) + 1)]
        self.rows = [
            ((data.fold != k).nonzero().squeeze(1), (data.fold == k).nonzero().squeeze(1)) for k in data.fold.unique()
        ]
        self.kernels = [self._kernels(training) for training, _ in self.rows]

    def _kernels(self, training: Tensor) -> Tensor:
        """Products of all stimuli with the training ones in each band, float64 (B, N, n)."""
        check_training(len(training))
        features, standardize = self.data.features, self.data.standardize
        return torch.stack([kernel_of(features[:, columns], training, standardize) for columns in self.layers])

    def decompose(self, prior: Tensor) -> None:
        self.prior = prior
        self.axes = [
            KernelAxes.of_kernel(torch.tensordot(prior, kernels, 1), training, held_out, self.data.dtype)
            for kernels, (training, held_out) in zip(self.kernels, self.rows, strict=True)
        ]

    def errors(self) -> tuple[Tensor, Tensor]:
        data = self.data
        null_errors = data.penalties.new_zeros(data.responses.shape[1])
        errors = null_errors.new_zeros(len(data.penalties), len(null_errors))
        for part in target_blocks(len(null_errors)):
            for axes in self.axes:
                of_fold, null = held_out_errors(axes, data.responses[:, part], data.penalties, data.dtype)
                errors[:, part] += of_fold / len(self.axes)
                null_errors[part] += null / len(self.axes)
        return errors, null_errors

    def gains(self, targets: Tensor, penalty: Tensor) -> Tensor:
        gains = penalty.new_zeros(len(self.prior), len(targets))
        for axes, kernels in zip(self.axes, self.kernels, strict=True):
            for part in target_blocks(len(targets)):
                responses = self.data.responses[:, targets[part]]
                mean, training = center_responses(responses[axes.training], self.data.dtype)
                held_out = (responses[axes.held_out].double() - mean).to(training.dtype)  # (m, t)
                coefficients = axes.coefficients(training, penalty[part])  # (n, t)
                predicted = torch.stack(
                    [
                        (p * k[axes.held_out]).to(training.dtype) @ coefficients
                        for p, k in zip(self.prior, kernels, strict=True)
                    ]
                )  # (B, m, t)
                taken = predicted * (2 * held_out - predicted.sum(0))
                gains[:, part] += taken.double().mean(1) / len(self.axes)
        return gains

    def solve(self, prior: Tensor, choice: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
        data = self.data
        everything = torch.arange(len(data.features), device=data.features.device)
        kernels = self._kernels(everything)
        bias, centered = center_responses(data.responses, data.dtype)
        coefficients = torch.empty_like(centered)  # of the stimuli, (N, T)
        for index in choice.unique():
            axes = KernelAxes.of_kernel(
                torch.tensordot(prior[index], kernels, 1), everything, everything[:0], data.dtype
            )
            for targets in (choice == index).nonzero().squeeze(1).split(ROW_BLOCK):
                coefficients[:, targets] = axes.coefficients(centered[:, targets], penalty[targets])
        for columns in column_blocks(len(data.band)):
            scaled, mean, scale = center(data.features[:, columns], everything, data.standardize)
            weight[:, columns] = coefficients.T @ (scaled / scale).to(data.dtype)
            weight[:, columns] *= prior[:, data.band[columns]].to(data.dtype)[choice]
            bias -= weight[:, columns].double() @ mean
        return bias
