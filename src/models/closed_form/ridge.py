"""RidgeModule: the linear head in closed form, from one pass over the data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...batch import Batch, Features, FeatureShapes, flatten
from ...findings import Findings
from ..demand import ridge_from_rows, ridge_from_sums
from ..heads.base import Head
from ..regression.penalties import PENALTIES, Selection
from .base import ClosedFormModule, place_in, write_linear
from .gathered import SummedRows, WholeRows, keep_rows, sums_are_fewer


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

    def inputs(self, batch: Batch) -> Tensor:
        """Standardised features, (batch, D); or, where they outnumber the stimuli, float16 as the cache has them.

        The latter take half the memory, and are standardised a block at a time when they are solved.
        """
        features = batch.features or {}
        halves = all(each.dtype == torch.float16 for each in features.values())
        wide = all(self.head.num_features > len(recording.stimuli) for recording in self.recordings)
        return flatten(features) if halves and wide else super().inputs(batch)

    def gathered_bytes(self, stimuli: int, targets: int) -> int:
        features, folds = self.num_inputs, max(self.folds, 1)
        if sums_are_fewer(stimuli, features, folds):
            return ridge_from_sums(features, targets, folds)
        return ridge_from_rows(stimuli, features, targets, folds)

    def fit(self, rows: SummedRows | WholeRows, head: Head, groups: Tensor | None) -> Findings:
        assert self.standardize_features is not None
        if isinstance(rows, WholeRows):
            rows.mean, rows.scale = map(_in_a_row, self.standardize_features.statistics())
        fit = rows.fit(self.penalties, groups, self.facts.standardized_in_folds, self.coarse, place_in(head))
        return write_linear(head, fit)


def _in_a_row(statistic: Features) -> Tensor:
    """A figure of each feature, all layers side by side, (D,)."""
    return torch.cat([each.flatten() for each in statistic.values()])
