"""SimilarityModule: representational similarity encoding."""

from torch import Tensor

from ...batch import FeatureShapes
from ...errors import InputError
from ...findings import Findings
from ..heads.base import Head
from ..heads.similarity import SimilarityHead
from ..regression.similarity import similarity_errors
from .base import WholeRowsModule
from .gathered import WholeRows


class SimilarityModule(WholeRowsModule):
    """Representational similarity encoding (Anderson, Zinszer & Raizada 2016): no weights are fitted.

    A stimulus is described by its similarity to every training stimulus, the Pearson correlation w_i between their
    standardised features; with several layers, the mean of the layers' correlations. Its predicted response is
    Σ w_i response_i / Σ |w_i|. Negative similarities stay in: what a stimulus is unlike counts against it.

    A mean over all training responses is shrunken: correlations with the measured responses do not mind, while R² and
    squared errors, those of cross-validation included, judge it as hardly better than the training mean.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        folds: Folds of the cross-validation that says how well it does.

    Raises:
        InputError: The data serve images, a layer has a single feature, or the number of folds is out of range.
    """

    def __init__(self, num_targets: int, feature_shapes: FeatureShapes | None, folds: int = 5) -> None:
        if folds < 2:
            raise InputError(f"--model.folds {folds}: expected 2 or more")
        super().__init__(num_targets, feature_shapes, folds=folds, head=SimilarityHead)
        assert isinstance(self.head, SimilarityHead)
        for layer, width in zip(feature_shapes or (), self.head.widths, strict=True):
            if width < 2:
                raise InputError(
                    f"--data.encoder: layer {layer} has one feature; similarity is a correlation over many"
                )

    def fit(self, rows: WholeRows, head: Head, groups: Tensor | None) -> Findings:
        assert isinstance(head, SimilarityHead)
        features, responses, fold = rows.training()
        assert fold is not None
        error, null_error = similarity_errors(features, head.widths, responses, fold, self.facts.standardized_in_folds)
        head.write(features, responses)
        return Findings(cv_r2=(1 - error / null_error).float().cpu().numpy())
