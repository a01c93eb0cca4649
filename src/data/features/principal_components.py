"""PrincipalComponents: the directions in which the training stimuli's features vary most."""

from __future__ import annotations

import logging
from math import prod
from typing import TYPE_CHECKING

from ...errors import InputError
from .reduction import Reduction

if TYPE_CHECKING:  # torch is imported where it is used, because `calcarine.data` must be light to import
    from ...batch import FeatureShapes
    from ...encoders.projection import Projection
    from .feature_table import FeatureTable

log = logging.getLogger(__name__)


class PrincipalComponents(Reduction):
    """Principal components of each layer, fitted on the training split, for features larger than memory.

    They are exact where stimuli or features are at most 12,000, and beyond that randomised (Halko et al. 2011). A
    component without variance is zero, so that no model takes rounding noise for a feature.

    Args:
        components: How many components each layer keeps, or all where it has fewer features.
        variance: Keep as many of them as reach this share of the variance, between 0 and 1, and set the rest to zero;
            none keeps all.
    """

    def __init__(self, components: int = 100, variance: float | None = None) -> None:
        super().__init__(components)
        if variance is not None and not 0 < variance < 1:
            raise InputError(f"--data.reduction.variance {variance:g}: expected a share between 0 and 1, as 0.95")
        self.variance = variance

    def check(self, num_rows: int, shapes: FeatureShapes) -> None:
        for layer, shape in shapes.items():
            self._spanned(num_rows, prod(shape), layer)

    def fit(self, features: FeatureTable, layer: str) -> Projection:
        from torch.nn.functional import pad

        from ...encoders.projection import Projection
        from .components import fit_components

        n_stimuli, n_features = features.shape
        width = min(self.components, n_features)
        spanned = self._spanned(n_stimuli, n_features, layer)
        found = fit_components(features, min(width, spanned))
        shares = found.scatter / found.total
        kept = len(shares)
        if self.variance is not None:
            kept = min(kept, int((shares.cumsum(0) < self.variance).sum()) + 1)
        log.info(
            "principal components of layer %s: %d of %d kept, %.1f %% of the variance",
            layer, kept, width, 100 * float(shares[:kept].sum()),
        )  # fmt: skip
        return Projection(found.mean, pad(found.basis[:, :kept], (0, width - kept)))

    def _spanned(self, num_rows: int, num_features: int, layer: str) -> int:
        """Most components that so many stimuli span.

        Raises:
            InputError: They are fewer than what is asked for.
        """
        spanned = max(num_rows - 1, 0)
        if spanned < (min(self.components, num_features) if self.variance is None else 1):
            raise InputError(
                f"--data.reduction.components {self.components}: layer {layer} has {num_rows} training stimuli, which "
                f"span at most {spanned} components; ask for fewer"
            )
        return spanned
