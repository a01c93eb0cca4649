"""Where in the image each ROI's query looks: `attention.csv`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..findings import Attention


@dataclass(frozen=True)
class AttentionRow:
    """One row of `attention.csv`. Fields stand in the table's order.

    Args:
        roi: Its name, "lh.V1v"; of several subjects it begins with the subject's.
        layer: Whose token it is.
        token: Its number in the layer.
        row: Its place in the layer's grid, from the top; None where it has none or it is unknown.
        column: Likewise, from the left.
        weight: Mean attention over stimuli and heads; all tokens' of a ROI sum to 1.
    """

    roi: str
    layer: str
    token: int
    row: int | None
    column: int | None
    weight: float


def attention_rows(attention: Attention) -> list[AttentionRow]:
    """Rows ROI by ROI, and layer by layer."""
    rows = []
    for number, roi in enumerate(attention.rois):
        for layer, weight in attention.weight.items():
            places = attention.places.get(layer, np.full((weight.shape[1], 2), -1)).tolist()
            for token, (value, (row, column)) in enumerate(zip(weight[number].tolist(), places, strict=True)):
                known = (row, column) if row >= 0 else (None, None)
                rows.append(AttentionRow(roi, layer, token, *known, value))
    return rows


@dataclass(frozen=True)
class AttentionMaps:
    """Attention on the image, the layers added up on the finest of their grids.

    Args:
        rois: Of the maps.
        maps: float64 (ROIs, rows, columns): how many times as much as if all tokens with a place had the same.
        elsewhere: What each ROI's query gives to tokens without a place, float64 (ROIs,).
    """

    rois: Sequence[str]
    maps: np.ndarray
    elsewhere: np.ndarray


def attention_maps(attention: Attention) -> AttentionMaps | None:
    """The maps, or None where no token has a place."""
    grids = {layer: places.max(axis=0) + 1 for layer, places in attention.places.items() if (places >= 0).any()}
    grids = {layer: grid for layer, grid in grids.items() if layer in attention.weight}
    if not grids:
        return None
    rows, columns = np.max(list(grids.values()), axis=0).tolist()
    total = np.zeros((len(attention.rois), rows, columns))
    for layer, (own_rows, own_columns) in grids.items():
        places = attention.places[layer]
        placed = places[:, 0] >= 0
        own = np.zeros((len(total), own_rows, own_columns))
        own[:, places[placed, 0], places[placed, 1]] = attention.weight[layer][:, placed]
        # A coarse cell's weight is spread over the fine ones within it, as nearly as the grids allow.
        spread = own[:, np.arange(rows) * own_rows // rows][:, :, np.arange(columns) * own_columns // columns]
        sums = spread.sum(axis=(1, 2), keepdims=True)
        total += spread * np.divide(own.sum(axis=(1, 2), keepdims=True), sums, out=np.zeros_like(sums), where=sums > 0)
    on_image = total.sum(axis=(1, 2))
    even = on_image[:, None, None] / (rows * columns)
    maps = np.divide(total, even, out=np.zeros_like(total), where=even > 0)
    return AttentionMaps(attention.rois, maps, np.clip(1 - on_image, 0, 1))
