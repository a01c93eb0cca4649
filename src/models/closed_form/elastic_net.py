"""ElasticNetModule: the linear head with few weights that are not 0."""

from collections.abc import Sequence

from torch import Tensor

from ...batch import FeatureShapes
from ...findings import Findings
from ..heads.base import Head
from ..regression.elastic_net import ElasticNet
from ..regression.penalties import Selection
from .base import WholeRowsModule, write_linear
from .gathered import WholeRows


class ElasticNetModule(WholeRowsModule):
    """Lasso, elastic net or multi-task elastic net from features to responses, as scikit-learn defines them.

    Minimises 1/(2n) ‖y − Xw − b‖² + α l1_ratio ‖w‖₁ + ½ α (1 − l1_ratio) ‖w‖² over standardised responses and features
    (components keep their variances). The penalty α is chosen by cross-validation on the training split. The result
    is the artefact of a trained LinearHead, and its checkpoint loads as one. Its time grows with the square of the
    number of features: it is meant for some hundred of them, such as principal components.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        l1_ratio: Share of the l1 norm in the penalty, above 0; at 1, the default, it is the lasso.
        penalties: The candidates, as scikit-learn's `alpha`, the same for all targets. Where not given, each target
            has its own: from the least one that leaves it no weight downwards, evenly in the logarithm.
        path_length: How many candidates each target has where none are given.
        path_end: The last of them, as a share of the first.
        multitask: A feature has weights for all targets of a ROI, or of a subject, or for none (the l2,1 norm).
        selection: Choose one candidate for each target, for each ROI, or for all targets of a subject: the same share
            of each target's first where they have their own. Targets in several ROIs count with the smallest.
        folds: Folds of the cross-validation, at least 2.

    Raises:
        InputError: The data serve images, or an argument is out of range.
    """

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        l1_ratio: float = 1.0,
        penalties: Sequence[float] | None = None,
        path_length: int = 100,
        path_end: float = 1e-3,
        multitask: bool = False,
        selection: Selection = "target",
        folds: int = 5,
    ) -> None:
        super().__init__(num_targets, feature_shapes, penalties, selection, folds)
        self.regression = ElasticNet(l1_ratio, penalties, path_length, path_end, multitask)
        self.regression.check(folds, selection == "target", self.head.num_features)

    def fit(self, rows: WholeRows, head: Head, groups: Tensor | None) -> Findings:
        return write_linear(head, self.regression.fit(*rows.training(), groups, self.facts.standardized_in_folds))
