"""Banded ridge: ridge regression in which each band of features has a penalty of its own, for each target.

Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant (2022), "Feature-space selection with banded ridge regression".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from .banded_forms import BandedData, BandedForm, DualBands, PrimalBands
from .linear_fit import LinearFit
from .penalties import PENALTIES, pooled, sort_penalties
from .ridge import check_measured

CONCENTRATIONS = (0.1, 1.0)  # of the Dirichlet distributions, in turn: few bands at a time, and any mixture


@dataclass(frozen=True)
class BandedFit(LinearFit):
    """A fitted banded ridge.

    Args:
        share: Each band's share of the prior variance that was chosen, float64 (B, T); sums to 1 over bands.
        gain: Each band's part of what the prediction takes from `null_error`, float64 (B, T).
        alone: Cross-validated error of each band alone, at its own best penalty, float64 (B, T).
    """

    share: Tensor
    gain: Tensor
    alone: Tensor

    @property
    def band_r2(self) -> Tensor:
        """Each band's part of `cv_r2`, float64 (B, T), which sums to it: the product measure on held-out stimuli."""
        return self.gain / self.null_error

    @property
    def alone_r2(self) -> Tensor:
        """Cross-validated share of variance that each band explains alone, float64 (B, T)."""
        return 1 - self.alone / self.null_error


def draw_shares(num_bands: int, candidates: int, seed: int = 0) -> Tensor:
    """Candidates for the bands' shares of the prior variance: even, each band alone, and random ones.

    Args:
        num_bands: Number B of bands.
        candidates: Number C of rows, at least B + 1; a single band has only the one.
        seed: Of the random ones.

    Returns:
        float64 (C, B); each row sums to 1, rows 1 to B are the bands alone.

    Raises:
        InputError: There are fewer candidates than B + 1.
    """
    if num_bands == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if candidates < num_bands + 1:
        raise InputError(
            f"--model.candidates {candidates}: expected at least {num_bands + 1} (evenly, and each of {num_bands} "
            "bands alone), such as 60"
        )
    random = np.random.default_rng(seed)
    count = candidates - num_bands - 1
    mixtures = [random.dirichlet(np.full(num_bands, CONCENTRATIONS[i % len(CONCENTRATIONS)])) for i in range(count)]
    return torch.from_numpy(np.vstack([np.full(num_bands, 1 / num_bands), np.eye(num_bands), *mixtures]))


def fit_banded(
    features: Tensor,
    responses: Tensor,
    band: Tensor,
    shares: Tensor,
    fold: Tensor,
    penalties: Sequence[float] | Tensor = PENALTIES,
    groups: Tensor | None = None,
    standardize: bool = True,
    weight: Tensor | None = None,
) -> BandedFit:
    """Choose the bands' shares of the prior variance and the penalty by cross-validation, and fit all stimuli.

    Minimises ‖Y − XW' − b‖² + penalty Σ_b ‖W_b‖² / v_b.
    Band b with share γ_b has v_b = γ_b D / D_b, where D_b of the D features that vary are its own. So γ_b is the
    band's share of the variance that the prior expects of the prediction, however many features the band has, and a
    penalty means what it means in plain ridge: the scatter of N stimuli is N D for all shares.

    Where features are fewer than stimuli it holds the features once more and some 5 K matrices of D×D, whatever the
    number of targets; else B (K + 1) kernels of N×N in float64, which suits a few thousand stimuli: give more of them
    fewer features (principal components). Each candidate costs K decompositions.

    Args:
        features: (N, D).
        responses: (N, T).
        band: Band of each feature, int64 (D,), 0 to B − 1.
        shares: Candidates, float64 (C, B), from `draw_shares`: rows 1 to B are the bands alone.
        fold: Fold of each stimulus, int64 (N,).
        penalties: The candidates, each at least 0.
        groups: Group of each target that shares a choice, int64 (T,); None where each has its own.
        standardize: Divide the features by their standard deviation over the training part of each fold; otherwise
            they come with a mean variance of 1 in each band.
        weight: Where the weights are written, as in `fit_ridge`.

    Raises:
        InputError: Penalties, folds, features or responses are not what they have to be.
    """
    fold = fold.unique(return_inverse=True)[1]
    if int(fold.max()) < 1:
        raise InputError("folds: expected at least 2, found 1; banded ridge has no generalised cross-validation")
    varies = (features.amax(0) > features.amin(0)).double()
    count = varies.new_zeros(shares.shape[1]).index_add_(0, band, varies)
    prior = shares.to(count) * varies.sum() / count.clamp(min=1)
    data = BandedData(features, responses, fold, band, sort_penalties(penalties, features.device), standardize)
    form = DualBands(data) if features.shape[1] > len(features) else PrimalBands(data)
    search = _Search(form, data, shares.shape[1], groups)
    for index, variances in enumerate(prior):
        search.add(index, variances)
    if weight is None:
        weight = torch.empty(len(search.choice), len(band), dtype=data.dtype, device=features.device)
    bias = form.solve(prior, search.choice, search.penalty, weight)
    share = shares.to(count)[search.choice].T
    return BandedFit(
        weight, bias.to(weight.dtype), search.penalty, search.error, search.null_error, share, search.gain, search.alone
    )


class _Search:
    """The best candidate so far of each target, or of each group of them.

    Args:
        form: What is searched.
        data: What it was made from.
        num_bands: Number B of bands.
        groups: Group of each target that shares a choice, int64 (T,); None where each has its own.
    """

    def __init__(self, form: BandedForm, data: BandedData, num_bands: int, groups: Tensor | None) -> None:
        self.form, self.penalties, self.groups = form, data.penalties, groups
        blank = data.penalties.new_zeros(data.responses.shape[1])
        self.least = torch.full_like(blank, torch.inf)  # error of the target's group
        self.choice = torch.zeros_like(blank, dtype=torch.int64)
        self.penalty, self.error, self.null_error = blank.clone(), blank.clone(), blank
        self.gain = blank.new_zeros(num_bands, len(blank))
        self.alone = torch.zeros_like(self.gain)

    def add(self, index: int, prior: Tensor) -> None:
        """Try a candidate: its index and prior variances, float64 (B,)."""
        self.form.decompose(prior)
        errors, self.null_error = self.form.errors()
        if index == 0:
            check_measured(self.null_error, 0)
        shared = pooled(errors, self.groups)
        best = shared.argmin(0, keepdim=True)  # (1, T)
        least, error = shared.gather(0, best)[0], errors.gather(0, best)[0]
        if len(self.alone) == 1:
            self.alone[0] = error
        elif 1 <= index <= len(self.alone):
            self.alone[index - 1] = error
        better = (least < self.least).nonzero().squeeze(1)
        if not len(better):
            return
        self.least[better], self.error[better], self.choice[better] = least[better], error[better], index
        self.penalty[better] = self.penalties[best[0, better]]
        self.gain[:, better] = self.form.gains(better, self.penalty[better])
