"""Streaming per-target metrics: exact under any batch split and any number of ranks."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric

CONSTANT = 1e-13
"""Share of a target's mean square about its shift below which its variance counts as none.

A constant leaves only the rounding of float64 sums: at most 1.1e-16 of the mean square per update, so up to about
900 updates in the worst case (rounding errors that do not cancel) stay below. A real spread stays above as long as
it is over 3e-7 of the distance from the shift, which is where float32 responses stop resolving it anyway.
"""

_COUNT, _Y, _P, _YY, _PP, _YP, _EE, _ABSOLUTE, _SMOOTH = range(9)


class TargetMetrics(Metric):
    """Pearson, R², explained variance and error norms of every target, from float64 sums that add up.

    Responses and predictions are summed relative to a shift per target, so that squares of a large offset do not
    drown the variance (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance"). The results do
    not depend on the shift, only their precision does, and nothing is put into checkpoints.

    Args:
        num_targets: Number of targets T.
        shift: A value near each target's mean response, such as its training mean, (T,); zero where not given.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, num_targets: int, shift: Tensor | None = None) -> None:
        super().__init__()
        if shift is None:
            shift = torch.zeros(num_targets)
        if shift.shape != (num_targets,):
            raise ValueError(f"shift: expected shape ({num_targets},), found {tuple(shift.shape)}")
        # No buffer: a module cast to half precision would overflow it, a checkpoint would bring another run's.
        self._shift = shift.detach().double().nan_to_num()
        self.add_state("sums", torch.zeros(9, num_targets, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, response: Tensor) -> None:
        """Add one batch.

        Args:
            prediction: (batch, T), any floating dtype.
            response: (batch, T); NaN where a target was not measured.
        """
        self._shift = self._shift.to(self.sums.device)
        # On a processor, blocks whose float64 copies stay in cache: 40,000 targets at once take 3 times as long.
        elements = 2**17 if self.sums.device.type == "cpu" else 2**24
        block = max(elements // max(len(response), 1), 1)
        for start in range(0, response.shape[1], block):
            columns = slice(start, start + block)
            self.sums[:, columns] += _sums(prediction[:, columns], response[:, columns], self._shift[columns])

    def compute(self) -> dict[str, Tensor]:
        """Figures of every target.

        Returns:
            float64 (T,) each: `pearson`, `r2`, `explained_variance` (NaN where the response does not vary),
            `mse`, `rmse`, `mae`, `smooth_l1` (NaN where nothing was measured), and `n`, the measured stimuli.
            The Pearson correlation of a constant prediction with a varying response is 0.
        """
        sums, count = self.sums, self.sums[_COUNT]
        mean = sums / count  # (9, T)
        variance_y = mean[_YY] - mean[_Y].square()
        variance_p = mean[_PP] - mean[_P].square()
        variance_e = mean[_EE] - (mean[_P] - mean[_Y]).square()
        covariance = mean[_YP] - mean[_Y] * mean[_P]
        y_varies = variance_y > CONSTANT * mean[_YY]
        p_constant = variance_p <= CONSTANT * mean[_PP]
        pearson = (covariance / (variance_y * variance_p).sqrt()).clamp(-1, 1).masked_fill(p_constant, 0.0)
        figures = {
            "pearson": pearson,
            "r2": 1 - mean[_EE] / variance_y,
            "explained_variance": 1 - variance_e / variance_y,
        }
        return {name: figure.where(y_varies, torch.nan) for name, figure in figures.items()} | {
            "mse": mean[_EE],
            "rmse": mean[_EE].sqrt(),
            "mae": mean[_ABSOLUTE],
            "smooth_l1": mean[_SMOOTH],
            "n": count.clone(),
        }


class SplitMetrics(nn.Module):
    """Metrics of the validation and the test split, and what of them is logged; other splits have no responses.

    Args:
        mean: Mean training response of each target, (T,).
        rois: Target indices of each ROI by its name.
    """

    def __init__(self, mean: Tensor, rois: dict[str, Tensor]) -> None:
        super().__init__()
        self.rois = rois
        self.of = nn.ModuleDict({split: TargetMetrics(len(mean), mean) for split in ("validation", "test")})

    def update(self, split: str, prediction: Tensor, response: Tensor) -> None:
        """Add one batch, each (batch, T)."""
        if split in self.of:
            self._of(split).update(prediction, response)

    def pearson(self, split: str) -> Tensor:
        """Correlation of each target, float64 (T,); NaN where the response does not vary."""
        return self._of(split).compute()["pearson"].reshape(-1)  # torchmetrics makes one target a scalar

    def take(self, split: str) -> dict[str, Tensor]:
        """The split's mean correlation, over all targets and by ROI, by what to log; the next batch begins anew.

        Targets without variance have no correlation.
        """
        if split not in self.of:
            return {}
        pearson = self.pearson(split)
        self._of(split).reset()
        by_roi = {roi: pearson[targets.to(pearson.device)] for roi, targets in self.rois.items()}
        means = {f"{split}_pearson/{roi}": values.nanmean() for roi, values in by_roi.items() if len(values)}
        return {f"{split}/pearson": pearson.nanmean(), **means}

    def _of(self, split: str) -> TargetMetrics:
        metrics = self.of[split]
        assert isinstance(metrics, TargetMetrics)
        return metrics


def _sums(prediction: Tensor, response: Tensor, shift: Tensor) -> Tensor:
    """Sums over a batch (B, T) in the order of the indices above, float64 (9, T)."""
    y = response.double().sub(shift)  # (B, T)
    missing = y.isnan()
    y.masked_fill_(missing, 0.0)
    p = prediction.double().sub(shift).masked_fill_(missing, 0.0)
    error = p - y
    absolute = error.abs()
    quadratic = absolute.clamp(max=1.0)  # smooth L1 is e²/2 up to 1 and |e| − 1/2 beyond
    terms = [y, p, y * y, p * p, y * p, error * error, absolute, quadratic * (absolute - quadratic / 2)]
    return torch.stack([(~missing).sum(0).double(), *(term.sum(0) for term in terms)])  # (9, T)
