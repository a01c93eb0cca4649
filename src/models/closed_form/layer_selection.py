"""LayerSelectionModule: of all layers that the data serve, the one that explains a ROI best, or a mixture of them."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import ClassVar

from torch import Tensor

from ...batch import FeatureShapes
from ...errors import InputError
from ...findings import Findings
from ..heads.base import Head
from ..heads.linear import LinearHead
from ..regression.layer_selection import select_layers
from ..regression.layer_stack import stack_layers
from ..regression.linear_fit import LinearFit, Regression
from ..regression.penalties import Selection
from ..regression.ridge import Ridge
from .base import WholeRowsModule
from .gathered import WholeRows

log = logging.getLogger(__name__)


class LayerSelectionModule(WholeRowsModule):
    """Fits one regression to each layer and keeps the best one for each ROI, or each target.

    All layers are compared on the same folds of the training split. The result is the artefact of a LinearHead over
    all served features whose weights are 0 outside the chosen layer, and its checkpoint loads as one.

    Among many layers the best looks a little better than it is: the cross-validated R² of the choice is the maximum
    over layers of estimates that vary, the more so with `pairs` and with a choice per target. The curve of R² by layer
    is not touched by that, and neither are the scores of the test split, which has no part in the choice.

    Stacked, no layer wins: each target's prediction is a mixture of all layers' regressions, by weights of at least 0
    that sum to 1 (Breiman 1996). They are learnt from predictions of each fold by fits to the others, which takes one
    more fit of each layer per fold. Neighbouring layers are alike and share weight by chance.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        regression: What is fitted to each layer; Ridge where not given.
        selection: Choose one layer, and in each layer one penalty, for each target, for each ROI, or for all targets
            of a subject. Targets in several ROIs count with the smallest.
        folds: Folds of the cross-validation; 0 chooses by generalised cross-validation, where the regression has one.
        pairs: Try every pair of layers too: L layers are then L (L + 1) / 2 regressions.
        stacked: Mix all layers in place of choosing one; takes 3 folds or more.

    Raises:
        InputError: The data serve images, the number of folds is out of range, or pairs are to be stacked.
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
        stacked: bool = False,
    ) -> None:
        if stacked and pairs:
            raise InputError("--model.pairs true: a stack mixes all layers already; leave it or --model.stacked out")
        if stacked and folds < 3:
            raise InputError(
                f"--model.folds {folds}: expected 3 or more for --model.stacked true, because penalties are chosen "
                "anew without each fold"
            )
        regression = regression or Ridge()
        self.widths = {layer: prod(shape) for layer, shape in (feature_shapes or {}).items()}
        widest = sorted(self.widths.values())[-2 if pairs else -1 :]
        regression.check(folds, selection == "target", sum(widest))
        super().__init__(num_targets, feature_shapes, regression.penalties, selection, folds)
        self.regression = regression
        self.pairs = pairs
        self.stacked = stacked

    def fit(self, rows: WholeRows, head: Head, groups: Tensor | None) -> Findings:
        assert isinstance(head, LinearHead)
        if self.stacked:
            return self._stack(rows, head, groups)
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
            self.facts.standardized_in_folds,
        )
        head.bias.copy_(choice.fit.bias)
        return self._found(choice.fit, choice.r2, choice.layer)

    def _stack(self, rows: WholeRows, head: LinearHead, groups: Tensor | None) -> Findings:
        features, responses, fold = rows.training()
        assert fold is not None
        stack = stack_layers(
            features,
            self.widths,
            responses,
            self.regression,
            fold,
            groups,
            head.weight,
            self.facts.standardized_in_folds,
        )
        head.bias.copy_(stack.fit.bias)
        share = stack.share.float().cpu().numpy()
        found = self._found(stack.fit, stack.r2, stack.share.argmax(1))
        return replace(found, layer_weight=dict(zip(self.widths, share.T, strict=True)))

    def _found(self, fit: LinearFit, r2: Mapping[str, Tensor], layer: Tensor) -> Findings:
        """What a fit, and each layer's R², say of targets whose best layers these are; the log has a word of it."""
        names, wins = list(r2), layer.bincount(minlength=len(r2))
        won = [f"{names[index]} for {wins[index]}" for index in wins.argsort(descending=True) if wins[index]]
        log.info("%s: best layer of %d targets: %s", type(self).__name__, len(layer), ", ".join(won))
        return Findings(
            penalty=fit.penalty.float().cpu().numpy(),
            cv_r2=fit.cv_r2.float().cpu().numpy(),
            layer_r2={name: each.float().cpu().numpy() for name, each in r2.items()},
            layer=layer.cpu().numpy(),
        )
