"""LayerSelectionModule: of all layers that the data serve, the one that explains a ROI best."""

import logging
from math import prod
from typing import ClassVar

from torch import Tensor

from ...batch import FeatureShapes
from ...findings import Findings
from ..heads.base import Head
from ..heads.linear import LinearHead
from ..regression.layer_selection import select_layers
from ..regression.linear_fit import Regression
from ..regression.ridge import Ridge
from .base import Selection, WholeRowsModule
from .gathered import WholeRows

log = logging.getLogger(__name__)


class LayerSelectionModule(WholeRowsModule):
    """Fits one regression to each layer and keeps the best one for each ROI, or each target.

    All layers are compared on the same folds of the training split. The result is the artefact of a LinearHead over
    all served features whose weights are 0 outside the chosen layer, and its checkpoint loads as one.

    Among many layers the best looks a little better than it is: the cross-validated R² of the choice is the maximum
    over layers of estimates that vary, the more so with `pairs` and with a choice per target. The curve of R² by layer
    is not touched by that, and neither are the scores of the test split, which has no part in the choice.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        regression: What is fitted to each layer; Ridge where not given.
        selection: Choose one layer, and in each layer one penalty, for each target, for each ROI, or for all targets
            of a subject. Targets in several ROIs count with the smallest.
        folds: Folds of the cross-validation; 0 chooses by generalised cross-validation, where the regression has one.
        pairs: Try every pair of layers too: L layers are then L (L + 1) / 2 regressions.

    Raises:
        InputError: The data serve images, or the number of folds is out of range.
    """

    penalties_flag: ClassVar[str] = "--model.regression.penalties"

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        regression: Regression | None = None,
        selection: Selection = "roi",
        folds: int = 3,
        pairs: bool = False,
    ) -> None:
        regression = regression or Ridge()
        self.widths = {layer: prod(shape) for layer, shape in (feature_shapes or {}).items()}
        widest = sorted(self.widths.values())[-2 if pairs else -1 :]
        regression.check(folds, selection == "target", sum(widest))
        super().__init__(num_targets, feature_shapes, regression.penalties, selection, folds)
        self.regression = regression
        self.pairs = pairs

    def fit(self, rows: WholeRows, head: Head, groups: Tensor | None) -> Findings:
        assert isinstance(head, LinearHead)
        features, responses, fold = rows.training()
        choice = select_layers(
            features,
            self.widths,
            responses,
            self.regression,
            fold,
            groups,
            self.pairs,
            head.weight,
            self.facts.standardized,
        )
        head.bias.copy_(choice.fit.bias)
        names, wins = list(choice.r2), choice.layer.bincount(minlength=len(choice.r2))
        won = [f"{names[index]} for {wins[index]}" for index in wins.argsort(descending=True) if wins[index]]
        log.info("%s: best layer of %d targets: %s", type(self).__name__, len(choice.layer), ", ".join(won))
        return Findings(
            penalty=choice.fit.penalty.float().cpu().numpy(),
            cv_r2=choice.fit.cv_r2.float().cpu().numpy(),
            layer_r2={name: r2.float().cpu().numpy() for name, r2 in choice.r2.items()},
            layer=choice.layer.cpu().numpy(),
        )
