"""RetinotopicReadout: each target samples maps at a place that follows from where it lies on cortex."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Findings
from .cortical import CorticalNetwork
from .gaussian import centers
from .positional import check_places
from .sampling import read_at
from .spatial import SpatialReadout


class RetinotopicReadout(SpatialReadout):
    """Each target reads the maps at one point, which a small network predicts from its place on cortex.

    After the retina mapper of the Memory Encoding Model (Yang, Gee & Shi 2023): neighbours on cortex look at
    neighbouring places in the image, so that a target's few hundred stimuli need not tell where it looks. In training
    the point is moved at random, anew in each step, so that what surrounds it pulls as well. Between cells maps are
    interpolated; outside of the image they go on as they end. At coarser scales a target sees the means of blocks of
    cells, by weights of their own: what surrounds its place.

    Several layers are read by weights of their own at the same place; `LayerMixture` around it has each target choose
    its layer. Targets that look at the same cell are read together: no target's features are ever held, and a batch of
    64 costs 0.5 KB for each target, layer and scale.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        num_targets: Targets to predict.
        from_cortex: Predict places from cortex; otherwise each target's is learnt on its own.
        scales: Levels of a pyramid: at each, blocks are twice as wide as before, down to the mean of the whole map.
        jitter: Standard deviation of the random moves in training, in image widths.
        width: Of the network's hidden layers.

    Raises:
        InputError: A layer is no map, or a number is out of range; in `fill`, a target's place on cortex is unknown.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        from_cortex: bool = True,
        scales: int = 1,
        jitter: float = 0.05,
        width: int = 64,
    ) -> None:
        for name, number in {"scales": scales, "width": width}.items():
            if number < 1:
                raise InputError(f"--model.head.{name} {number}: expected 1 or more")
        if not jitter >= 0:
            raise InputError(f"--model.head.jitter {jitter:g}: expected 0 or more, in image widths")
        super().__init__(feature_shapes, num_targets, looks=scales)
        self.scales, self.jitter = scales, jitter
        # Each layer's scales one after the other: how many channels, and rows and columns.
        self.views = [
            (shape[0], *(-(-side // 2**scale) for side in shape[1:]))
            for shape in feature_shapes.values()
            for scale in range(scales)
        ]
        self.network = CorticalNetwork(num_targets, 2, width) if from_cortex else None
        if not from_cortex:
            self.x = nn.Parameter(torch.zeros(num_targets))  # see `centers`
            self.y = nn.Parameter(torch.zeros(num_targets))
        self.independent_targets = not from_cortex

    def check(self, facts: Facts) -> None:
        if self.network is not None:
            check_places(facts, "RetinotopicReadout", "--model.head.from_cortex false")

    def fill(self, facts: Facts) -> None:
        if self.network is not None:
            self.network.fill(facts, "RetinotopicReadout")

    def centers(self) -> Tensor:
        """Where each target looks, (num_targets, 2): x from the left and y from the top, in image widths."""
        x, y = (self.x, self.y) if self.network is None else self.network().unbind(1)
        return centers(x, y) + 0.5

    def places(self, batch: int) -> Tensor:
        middle = self.centers()
        return middle + self.jitter * torch.randn_like(middle) if self.training and self.jitter else middle

    def forward(self, features: Features) -> Tensor:
        pyramid = [
            F.avg_pool2d(layer, 2**scale, ceil_mode=True) if scale else layer
            for layer in features.values()
            for scale in range(self.scales)
        ]
        where, read = self.places(len(pyramid[0])), self.bias
        for maps, weight in zip(pyramid, self.weight.split([view[0] for view in self.views], dim=1), strict=True):
            read = read + read_at(maps, where, weight)
        return read  # (B, num_targets)

    def findings(self) -> Findings:
        """Windows: the places, and how wide the cells are that a target weights, as a standard deviation.

        Bilinear interpolation of means over cells has a standard deviation of half a cell; scales and layers count by
        their squared weights. What the network's own cells see of the image is not in it.
        """
        with torch.no_grad():
            strengths = [each.square().sum(1) for each in self.weight.split([view[0] for view in self.views], dim=1)]
            strength = torch.stack(strengths, dim=1)  # (T, views)
            share = torch.where(strength.sum(1, keepdim=True) > 0, strength, 1)
            half = self.weight.new_tensor([0.5 / max(view[1:]) for view in self.views])
            size = ((share * half.square()).sum(1) / share.sum(1)).sqrt()
            window = torch.cat([self.centers(), size[:, None]], dim=1)
        return Findings(window=window.float().cpu().numpy())
