"""RandomProjection: fewer features without fitting, distances nearly kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError
from .reduction import Reduction

if TYPE_CHECKING:  # torch is imported where it is used, because `calcarine.data` must be light to import
    from torch import Tensor

    from ...encoders.projection import Projection
    from .feature_table import FeatureTable


class RandomProjection(Reduction):
    """Sparse random projection of each layer (Achlioptas 2003; Li, Hastie & Church 2006).

    A layer's matrix has entries ±1 / √(density · components), each there with probability `density`, so that squared
    distances between stimuli are kept on average, to about √(2 / components) of themselves. Only the mean, which is
    subtracted first, is taken from the training split.

    Args:
        components: How many features each layer keeps, or all where it has fewer.
        density: Share of non-zero entries; none takes 1 / √(the layer's features).
        seed: Of the entries.
    """

    def __init__(self, components: int = 100, density: float | None = None, seed: int = 0) -> None:
        super().__init__(components)
        if density is not None and not 0 < density <= 1:
            raise InputError(f"--data.reduction.density {density:g}: expected a share above 0 and up to 1")
        if seed < 0:
            raise InputError(f"--data.reduction.seed {seed}: expected 0 or more")
        self.density = density
        self.seed = seed

    def fit(self, features: FeatureTable, layer: str) -> Projection:
        from ...encoders.projection import Projection

        n_features = features.shape[1]
        density = n_features**-0.5 if self.density is None else self.density
        basis = _random_basis(n_features, min(self.components, n_features), density, self.seed)
        return Projection(features.mean(), basis)


def _random_basis(n_features: int, components: int, density: float, seed: int) -> Tensor:
    """Independent entries, sparse float32 (n_features, components), in time and memory linear in the non-zero ones.

    The gaps between non-zero entries, feature by feature, are geometric.
    """
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    size = n_features * components
    entries = np.empty(0, dtype=np.int64)
    ahead = int(density * size + 6 * np.sqrt(density * size)) + 6  # nearly always enough
    while not len(entries) or entries[-1] < size:
        last = entries[-1] if len(entries) else -1
        entries = np.concatenate([entries, last + np.cumsum(rng.geometric(density, ahead))])
    entries = entries[entries < size]
    signs = rng.choice(np.array([-1, 1], dtype=np.float32), len(entries))
    return torch.sparse_coo_tensor(
        torch.from_numpy(np.stack(np.divmod(entries, components))),
        torch.from_numpy(signs / np.float32(np.sqrt(density * components))),
        (n_features, components),
        check_invariants=True,
        is_coalesced=True,
    )
