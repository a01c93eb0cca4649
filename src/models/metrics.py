"""Streaming per-target metrics: exact under any batch split and any number of ranks."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ..names import TEST, VALIDATION

CONSTANT = 1e-13
"""Share of a target's mean square about its shift below which its variance counts as none.

A constant leaves only the rounding of float64 sums: at most 1.1e-16 of the mean square per update, so up to about
900 updates in the worst case (rounding errors that do not cancel) stay below. A real spread stays above as long as
it is over 3e-7 of the distance from the shift, which is where float32 responses stop resolving it anyway.
"""

Figure = Literal["pearson", "r2", "explained_variance", "mse", "rmse", "mae", "smooth_l1"]

_MOMENTS = ("y", "yy")
SUMS: dict[Figure, tuple[str, ...]] = {
    "pearson": (*_MOMENTS, "p", "pp", "yp"),
    "r2": (*_MOMENTS, "ee"),
    "explained_variance": (*_MOMENTS, "p", "ee"),
    "mse": ("ee",),
    "rmse": ("ee",),
    "mae": ("absolute",),
    "smooth_l1": ("smooth",),
}
"""Each figure, and the sums that it is made of: of response y, prediction p, their error e, and products of these."""


class TargetMetrics(Metric):
    """Pearson, R², explained variance and error norms of every target, from float64 sums that add up.

    Responses and predictions are summed relative to a shift per target, so that squares of a large offset do not
    drown the variance (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance"). The results do
    not depend on the shift, only their precision does, and nothing is put into checkpoints.

    Args:
        num_targets: Number of targets T.
        shift: A value near each target's mean response, such as its training mean, (T,); zero where not given.
        figures: Which to compute; each takes a sum or a few of its own.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, num_targets: int, shift: Tensor | None = None, figures: Sequence[Figure] = tuple(SUMS)) -> None:
        super().__init__()
        if shift is None:
            shift = torch.zeros(num_targets)
        if shift.shape != (num_targets,):
            raise ValueError(f"shift: expected shape ({num_targets},), found {tuple(shift.shape)}")
        # No buffer: a module cast to half precision would overflow it, a checkpoint would bring another run's.
        self._shift = shift.detach().double().nan_to_num()
        self.figures = list(dict.fromkeys(figures))
        self.names = ["count", *dict.fromkeys(name for figure in self.figures for name in SUMS[figure])]
        self.add_state("sums", torch.zeros(len(self.names), num_targets, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, response: Tensor, targets: slice = slice(None)) -> None:
        """Add one batch.

        Args:
            prediction: Of some targets, (batch, n), any floating dtype.
            response: (batch, n); NaN where a target was not measured.
            targets: Which they are, by default all T.
        """
        self._shift = self._shift.to(self.sums.device)
        sums, shift = self.sums[:, targets], self._shift[targets]
        # On a processor, blocks whose float64 copies stay in cache: 40,000 targets at once take 3 times as long.
        elements = 2**17 if self.sums.device.type == "cpu" else 2**24
        block = max(elements // max(len(response), 1), 1)
        for start in range(0, response.shape[1], block):
            columns = slice(start, start + block)
            sums[:, columns] += _sums(self.names, prediction[:, columns], response[:, columns], shift[columns])

    def compute(self) -> dict[str, Tensor]:
        """Figures of every target.

        Returns:
            float64 (T,) each, those that were asked for: `pearson`, `r2`, `explained_variance` (NaN where the response
            does not vary), `mse`, `rmse`, `mae`, `smooth_l1` (NaN where nothing was measured); and `n`, the measured
            stimuli. The Pearson correlation of a constant prediction with a varying response is 0.
        """
        sums = dict(zip(self.names, self.sums, strict=True))
        mean = {name: total / sums["count"] for name, total in sums.items()}  # each (T,)
        return {figure: _figure(figure, mean) for figure in self.figures} | {"n": sums["count"].clone()}


class SplitMetrics(nn.Module):
    """Metrics of the validation and the test split, and what of them is logged; other splits have no responses.

    Args:
        mean: Mean training response of each target, (T,).
        rois: Target indices of each ROI by its name.
        figures: What is logged beside the correlation, by which runs and studies are told apart.
    """

    def __init__(self, mean: Tensor, rois: dict[str, Tensor], figures: Sequence[Figure] = ()) -> None:
        super().__init__()
        self.rois = rois
        wanted: list[Figure] = ["pearson", *figures]
        self.of = nn.ModuleDict({split: TargetMetrics(len(mean), mean, wanted) for split in (VALIDATION, TEST)})

    def update(self, split: str, prediction: Tensor, response: Tensor, targets: slice = slice(None)) -> None:
        """Add one batch of some targets, each (batch, n)."""
        if split in self.of:
            self._of(split).update(prediction, response, targets)

    def pearson(self, split: str) -> Tensor:
        """Correlation of each target, float64 (T,); NaN where the response does not vary."""
        return self._of(split).compute()["pearson"].reshape(-1)  # torchmetrics makes one target a scalar

    def take(self, split: str) -> dict[str, Tensor]:
        """The split's mean figures, over all targets and by ROI, by what to log; the next batch begins anew.

        Targets without variance have no correlation.
        """
        if split not in self.of:
            return {}
        found = self._of(split).compute()
        self._of(split).reset()
        means: dict[str, Tensor] = {}
        for figure in self._of(split).figures:
            values = found[figure].reshape(-1)  # torchmetrics makes one target a scalar
            means[f"{split}/{figure}"] = values.nanmean()
            for roi, targets in self.rois.items():
                if len(targets):
                    means[f"{split}_{figure}/{roi}"] = values[targets.to(values.device)].nanmean()
        return means

    def _of(self, split: str) -> TargetMetrics:
        metrics = self.of[split]
        assert isinstance(metrics, TargetMetrics)
        return metrics


def _sums(names: Sequence[str], prediction: Tensor, response: Tensor, shift: Tensor) -> Tensor:
    """Sums over a batch (B, T), in the order of their names, float64 (names, T)."""
    y, p = response - shift, prediction - shift  # (B, T), float64 as the shift is
    count = torch.full_like(shift, len(y))
    if _lacks(y):
        missing = y.isnan()
        count -= missing.sum(0)
        y.masked_fill_(missing, 0.0)
        p.masked_fill_(missing, 0.0)
    error = cache(lambda: p - y)  # which not every figure needs
    terms: dict[str, Callable[[], Tensor]] = {
        "y": lambda: y,
        "p": lambda: p,
        "yy": lambda: y * y,
        "pp": lambda: p * p,
        "yp": lambda: y * p,
        "ee": lambda: error() * error(),
        "absolute": lambda: error().abs(),
        "smooth": lambda: _smooth_l1(error()),
    }
    return torch.stack([count if name == "count" else terms[name]().sum(0) for name in names])


def _lacks(response: Tensor) -> bool:
    """Whether some of it (B, T) may be NaN. A sum tells in a third of the time; a GPU would have to be waited for."""
    return response.device.type != "cpu" or bool(response.sum().isnan())


def _smooth_l1(error: Tensor) -> Tensor:
    """e²/2 up to 1 and |e| − 1/2 beyond."""
    absolute = error.abs()
    quadratic = absolute.clamp(max=1.0)
    return quadratic * (absolute - quadratic / 2)


def _figure(figure: Figure, mean: Mapping[str, Tensor]) -> Tensor:
    """One figure of each target from the means of its sums, float64 (T,)."""
    match figure:
        case "mse":
            return mean["ee"]
        case "rmse":
            return mean["ee"].sqrt()
        case "mae":
            return mean["absolute"]
        case "smooth_l1":
            return mean["smooth"]
    variance = mean["yy"] - mean["y"].square()
    varies = variance > CONSTANT * mean["yy"]
    if figure == "r2":
        return (1 - mean["ee"] / variance).where(varies, torch.nan)
    if figure == "explained_variance":
        return (1 - (mean["ee"] - (mean["p"] - mean["y"]).square()) / variance).where(varies, torch.nan)
    variance_p = mean["pp"] - mean["p"].square()
    covariance = mean["yp"] - mean["y"] * mean["p"]
    pearson = (covariance / (variance * variance_p).sqrt()).clamp(-1, 1)
    return pearson.masked_fill(variance_p <= CONSTANT * mean["pp"], 0.0).where(varies, torch.nan)
