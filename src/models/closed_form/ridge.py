"""RidgeModule: the linear head in closed form, from one pass over the data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...batch import FeatureShapes
from ...findings import Findings
from ..regression.penalties import PENALTIES, Selection
from .base import ClosedFormModule
from .gathered import SummedRows, WholeRows, keep_rows


class RidgeModule(ClosedFormModule[SummedRows | WholeRows]):
    """Ridge regression from features to responses, its penalties chosen by cross-validation on the training split.

    Minimises ‖Y − XW' − b‖² + penalty ‖W‖² over standardised features and responses; the intercept is not penalised.
    It gathers Gram matrices, or the stimuli themselves where features are many, and solves for weights and biases.
    The result is the artefact of a trained LinearHead, and its checkpoint loads as one. The one penalty 0 is least
    squares.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        penalties: The candidates. They stand beside a sum over stimuli of squared errors, as scikit-learn's and
            himalaya's `alpha`, for features of unit variance: N stimuli and D features have a scatter of N D in all,
            and the best penalty is often between 0.001 and 0.1 of it.
        selection: Choose one penalty for each target, for each ROI, or for all targets of a subject. Targets in
            several ROIs count with the smallest.
        folds: Folds of the cross-validation; 0 chooses by generalised cross-validation.
        bf16_selection: Compare the penalties in bfloat16 where stimuli outnumber features, and fit with the chosen
            ones in float32. Faster on GPUs and on processors with bfloat16 units, slower on others.

    Raises:
        InputError: The data serve images, or a penalty or the number of folds is out of range.
    """

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        penalties: Sequence[float] = PENALTIES,
        selection: Selection = "target",
        folds: int = 5,
        bf16_selection: bool = False,
    ) -> None:
        super().__init__(num_targets, feature_shapes, penalties, selection, folds)
        self.coarse = torch.bfloat16 if bf16_selection else None

    def keep(self, fold: Tensor, num_targets: int) -> SummedRows | WholeRows:
        return keep_rows(fold, max(self.folds, 1), self.head.num_features, num_targets)

    def fit(self, rows: SummedRows | WholeRows, targets: slice) -> Findings:
        fit = rows.fit(self.penalties, self.groups(targets), self.facts.standardized, self.coarse)
        return self.write_linear(targets, fit)
