"""ShallowCnn: a few convolutional layers, learnt from scratch."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...errors import InputError
from .base import Trunk


class ShallowCnn(Trunk):
    """A few convolutional stages on maps: pixels, or what a fixed front-end such as Gabor energy makes of them.

    Each stage is a convolution, batch norm, GELU, and spatial dropout. Layers with different grids are brought to one
    and stacked. Each map has one mean and one scale, not every cell its own: a pattern is the same everywhere. The
    representation holds the maps of several stages, "stage_1" the first, so that a readout finds simple features
    beside those made of them (as Klindt et al. 2017 and Lurz et al. 2021, who read out the last).

    Recordings hold few stimuli for so many weights, and responses tolerate small shifts: in training each stimulus is
    shifted by whole cells at random.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        kernels: Side of each stage's convolution, in cells of its input.
        channels: Maps that each stage makes.
        strides: Cells from one place of each stage's convolution to the next; without, 1 in every stage.
        stages: Stages that are read out, counted from 1; without, all.
        batch_norm: Standardise each map over the batch before its GELU.
        dropout: Share of the maps that are left out in training, of each stage.
        shift: Greatest random shift in training, in cells, along both axes; what enters is 0, a map's mean.
        grid: Rows and columns to which the layers are brought; without, those of the finest.

    Raises:
        InputError: A layer is no map, or a number is out of range.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        kernels: Sequence[int] = (1, 3, 3),
        channels: int = 64,
        strides: Sequence[int] | None = None,
        stages: Sequence[int] | None = None,
        batch_norm: bool = True,
        dropout: float = 0.2,
        shift: int = 1,
        grid: int | None = None,
    ) -> None:
        super().__init__(feature_shapes)
        strides = [1] * len(kernels) if strides is None else strides
        chosen = range(1, len(kernels) + 1) if stages is None else stages
        _check(feature_shapes, kernels, strides, chosen)
        least = {"channels": (channels, 1), "shift": (shift, 0), "grid": (1 if grid is None else grid, 1)}
        for name, (number, smallest) in least.items():
            if number < smallest:
                raise InputError(f"--model.head.trunk.{name} {number}: expected {smallest} or more")
        if not 0 <= dropout < 1:
            raise InputError(f"--model.head.trunk.dropout {dropout:g}: expected a share from 0 to below 1")
        finest = max(shape[1] for shape in feature_shapes.values()), max(shape[2] for shape in feature_shapes.values())
        self.grid = finest if grid is None else (grid, grid)
        self.shift = shift
        self.read_out = {stage - 1: f"stage_{stage}" for stage in sorted(chosen)}
        widths = [sum(shape[0] for shape in feature_shapes.values()), *[channels] * len(kernels)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=not batch_norm),
                *([nn.BatchNorm2d(after)] if batch_norm else []),
                nn.GELU(),
                nn.Dropout2d(dropout),
            )
            for (before, after), kernel, stride in zip(pairwise(widths), kernels, strides, strict=True)
        )

    def feature_shapes(self) -> FeatureShapes:
        shapes: FeatureShapes = {}
        rows, columns = self.grid
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, nn.Sequential)
            convolution = stage[0]
            assert isinstance(convolution, nn.Conv2d)
            stride = convolution.stride[0]
            rows, columns = -(-rows // stride), -(-columns // stride)  # odd kernels, padded by half
            if number in self.read_out:
                shapes[self.read_out[number]] = (convolution.out_channels, rows, columns)
        return shapes

    def feature_statistics(self, mean: Features, scale: Features) -> tuple[Features, Features]:
        pooled = {layer: _of_maps(mean[layer], scale[layer]) for layer in mean}
        return {layer: own for layer, (own, _) in pooled.items()}, {layer: own for layer, (_, own) in pooled.items()}

    def forward(self, features: Features) -> Features:
        maps = torch.cat([self._on_grid(layer) for layer in features.values()], dim=1)  # (B, C, rows, columns)
        if self.training and self.shift:
            maps = shifted(maps, self.shift)
        shared: Features = {}
        for number, stage in enumerate(self.stages):
            maps = stage(maps)
            if number in self.read_out:
                shared[self.read_out[number]] = maps
        return shared

    def _on_grid(self, layer: Tensor) -> Tensor:
        if layer.shape[-2:] == self.grid:
            return layer
        return F.interpolate(layer, size=self.grid, mode="bilinear", antialias=True)


def shifted(maps: Tensor, cells: int, padding: str = "constant") -> Tensor:
    """Shift each stimulus's maps (B, C, rows, columns) by up to so many cells along both axes, at random.

    What enters is 0, or as another `padding` of `torch.nn.functional.pad` says.
    """
    rows, columns = maps.shape[-2:]
    padded = F.pad(maps, (cells,) * 4, mode=padding)
    starts = torch.randint(0, 2 * cells + 1, (len(maps), 2)).tolist()
    moved = [each[:, top : top + rows, left : left + columns] for each, (top, left) in zip(padded, starts, strict=True)]
    return torch.stack(moved)


def _of_maps(mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each map over its cells too, from those of the cells; all (…, rows, columns)."""
    own = torch.where(scale == 1, 0, scale.square())  # a cell that does not vary has the scale 1
    middle = mean.mean((-2, -1), keepdim=True)
    variance = (own + (mean - middle).square()).mean((-2, -1), keepdim=True)
    spread = torch.where(variance > 0, variance.sqrt(), 1)
    return middle.expand_as(mean), spread.expand_as(scale)


def _check(
    feature_shapes: FeatureShapes, kernels: Sequence[int], strides: Sequence[int], stages: Sequence[int]
) -> None:
    if not all(len(shape) == 3 for shape in feature_shapes.values()):
        found = ", ".join(f"{layer} {shape}" for layer, shape in feature_shapes.items())
        raise InputError(
            f"--model.head.trunk: convolutions need maps (channels, rows, columns) in every layer, found {found}; "
            "leave out --data.reduction, or choose other layers"
        )
    if not kernels or not all(kernel > 0 and kernel % 2 for kernel in kernels):
        raise InputError(f"--model.head.trunk.kernels: expected odd sides, one of each stage, found {list(kernels)}")
    if len(strides) != len(kernels) or min(strides) < 1:
        raise InputError(
            f"--model.head.trunk.strides: expected {len(kernels)} numbers from 1, one of each kernel, found "
            f"{list(strides)}"
        )
    if not stages or not set(stages) <= set(range(1, len(kernels) + 1)):
        raise InputError(
            f"--model.head.trunk.stages: expected some of 1 to {len(kernels)}, one of each kernel, found {list(stages)}"
        )
