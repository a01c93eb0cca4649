"""WindowedModule: each target looks at the part of the image that predicts it best."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ...batch import Batch, FeatureShapes
from ...errors import InputError
from ...findings import Findings
from ..heads.base import Head
from ..heads.window_pool import WindowPool, candidate_windows
from ..heads.windowed import KernelWindowedHead, LinearWindowedHead, WindowedHead
from ..regression.penalties import PENALTIES, Selection
from ..regression.rbf_ridge import fit_rbf_ridge
from ..regression.ridge import fit_ridge
from ..regression.window_ridge import best_windows
from .base import WholeRowsModule
from .gathered import WholeRows

RBF_PENALTIES = (0.015, 0.05, 0.15, 0.5, 1.5, 5.0)  # a kernel's entries are at most 1


class WindowedModule(WholeRowsModule):
    """Receptive-field windows: the feature-weighted receptive field (St-Yves & Naselaris 2018).

    Maps are averaged under candidate windows: the whole image, and Gaussians of several widths on a grid of centres.
    Under each window every target is fitted by ridge regression or kernel ridge regression, and it keeps the windows
    and the penalty with the least cross-validated error on the training split. A target's best window is its receptive
    field; with `surround` or the RBF kernel it predicts better and says less of where a target looks. The encoder
    should return fine maps (`--data.encoder.grid=28` of GaborEncoder); a layer that is no map is the same in every
    window.

    It holds N × windows × channels pooled features: 9,841 stimuli, 60 windows and 100 channels are 0.24 GB. The RBF
    kernel decomposes an N × N matrix per window and fold, so it is for few stimuli.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        centers: Rows and columns of the grid of centres.
        widths: Standard deviations of the Gaussians, in image widths.
        kernel: "linear", or "rbf": a radial basis function in which each layer counts alike.
        length_scales: Candidates for the RBF's length: of the root mean square difference between two stimuli's
            standardised features. One is chosen for all targets of a subject, under the whole image.
        penalties: The candidates, as scikit-learn's `alpha`; None for a range that suits the kernel.
        best: How many windows predict a target: the mean of its best few.
        surround: Show a target the whole image beside its window.
        selection: Choose windows and penalty for each target, for each ROI, or for all targets of a subject.
            Targets in several ROIs count with the smallest.
        folds: Folds of the cross-validation; 0 chooses by generalised cross-validation.

    Raises:
        InputError: The data serve images or no maps, or a setting is out of range.
    """

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        centers: int = 7,
        widths: Sequence[float] = (0.1, 0.2),
        kernel: Literal["linear", "rbf"] = "linear",
        length_scales: Sequence[float] = (1.0, 1.4, 2.0),
        penalties: Sequence[float] | None = None,
        best: int = 1,
        surround: bool = False,
        selection: Selection = "target",
        folds: int = 5,
    ) -> None:
        if centers < 1:
            raise InputError(f"--model.centers {centers}: expected 1 or more")
        for flag, values in (("widths", widths), ("length_scales", length_scales)):
            if not values or not all(0 < value < float("inf") for value in values):
                raise InputError(f"--model.{flag}: expected one or more finite numbers above 0, found {list(values)}")
        windows = candidate_windows(centers, widths)
        if not 1 <= best <= len(windows):
            raise InputError(f"--model.best {best}: expected 1 to {len(windows)} (the windows)")
        kind = KernelWindowedHead if kernel == "rbf" else LinearWindowedHead
        head = partial(kind, windows=windows, best=best, surround=surround)
        if penalties is None:
            penalties = RBF_PENALTIES if kernel == "rbf" else PENALTIES
        super().__init__(num_targets, feature_shapes, penalties, selection, folds, head)
        self.standardize_features = None  # features are scaled after they are pooled
        self.windows = windows
        self.length_scales = list(length_scales)

    @property
    def num_inputs(self) -> int:
        return len(self.windows) * sum(self._pool.channels)

    def inputs(self, batch: Batch) -> Tensor:
        return self._pool(self._features(batch)).flatten(1)  # (batch, W · channels)

    def fit(self, rows: WholeRows, head: Head, groups: Tensor | None) -> Findings:
        assert isinstance(head, WindowedHead)
        features, responses, fold = rows.training()
        pooled = features.unflatten(1, (len(self.windows), -1))  # (N, W, channels)
        views = (head.view(pooled, window) for window in range(len(self.windows)))
        if isinstance(head, KernelWindowedHead):
            length_scale = self._length_scale(head, pooled, responses, fold)
            spread = head.spread(length_scale)
            fits = (fit_rbf_ridge(view, spread, responses, self.penalties, fold, groups) for view in views)
            fit = best_windows(fits, head.best, groups)
            head.keep(pooled, length_scale, fit)
        else:
            fits = (fit_ridge(view, responses, self.penalties, fold, groups, standardize=True) for view in views)
            fit = best_windows(fits, head.best, groups)
            head.write(fit)
        found = (fit.penalty, fit.cv_r2, self.windows.to(fit.window.device)[fit.window[:, 0]])
        penalty, cv_r2, window = (value.float().cpu().numpy() for value in found)
        return Findings(penalty=penalty, cv_r2=cv_r2, window=window)

    @property
    def _pool(self) -> WindowPool:
        head = self.heads[0]  # all recordings look through the same windows
        assert isinstance(head, WindowedHead)
        return head.pool

    def _length_scale(self, head: KernelWindowedHead, pooled: Tensor, responses: Tensor, fold: Tensor | None) -> float:
        """The length scale with the least cross-validated error under the whole image."""
        if len(self.length_scales) == 1:
            return self.length_scales[0]
        view = head.view(pooled, 0)
        errors = [
            fit_rbf_ridge(view, head.spread(length_scale), responses, self.penalties, fold).error.sum()
            for length_scale in self.length_scales
        ]
        return self.length_scales[int(torch.stack(errors).argmin())]
