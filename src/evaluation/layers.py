"""Which layer explains which ROI: `layers.csv`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..findings import Findings
from ..recording import Recording
from .scores import groups_of, mean_known
from .tables import chosen_layers


@dataclass(frozen=True)
class LayerRow:
    """One row of `layers.csv`. Fields stand in the table's order.

    Args:
        subject: The recording.
        hemisphere: "lh", "rh", "both" or "".
        roi: Its name, or "all".
        layer: A layer, or a pair "a + b".
        n_targets: Targets of the ROI.
        r2_mean: Cross-validated R² of a model of this layer, mean over the targets that have one.
        chosen: How many targets chose this layer, or have it count most; None where no layer was chosen.
        weight_mean: How much the layer counts, mean over the targets; None where layers have no weights.
    """

    subject: str
    hemisphere: str
    roi: str
    layer: str
    n_targets: int
    r2_mean: float | None
    chosen: int | None
    weight_mean: float | None = None


def layer_rows(recording: Recording, findings: Findings) -> list[LayerRow]:
    """Rows of one subject: for each ROI, in the order of `scores.csv`, its layers in the order of the network."""
    choices = None if findings.layer is None else chosen_layers(findings)
    return [
        LayerRow(
            recording.subject,
            hemisphere,
            roi,
            layer,
            n_targets=len(members),
            r2_mean=_mean(findings.layer_r2, layer, members),
            chosen=None if choices is None else int((choices[members] == layer).sum()),
            weight_mean=_mean(findings.layer_weight, layer, members),
        )
        for hemisphere, roi, members in groups_of(recording)
        for layer in findings.layers
    ]


def _mean(by_layer: Mapping[str, np.ndarray], layer: str, members: np.ndarray) -> float | None:
    return mean_known(by_layer[layer][members]) if layer in by_layer else None


def layer_depth(findings: Findings) -> np.ndarray | None:
    """Where in the network each target reads, float64 (T,): 0 for the first layer, 1 for the next.

    Of a mixture the mean by its weights. NaN where a pair was chosen or the choice means nothing; None where the layers
    are of several networks, which have no one order, or a single one.
    """
    layers = [layer for layer in findings.layers if not is_pair(layer)]
    if len(layers) < 2 or len(in_series(layers)) > 1 or (findings.layer is None and not findings.layer_weight):
        return None
    if findings.layer_weight:
        weight = np.stack([findings.layer_weight[layer] for layer in layers]).astype(np.float64)  # (layers, T)
        return np.arange(len(layers)) @ weight
    places = {layer: float(place) for place, layer in enumerate(layers)}
    return np.array([places.get(name, np.nan) for name in chosen_layers(findings)])


def is_pair(layer: str) -> bool:
    """Whether a name is that of two layers together."""
    return " + " in layer


def split_series(layer: str) -> tuple[str, str]:
    """Series and layer of "SERIES:LAYER"; the series is "" where there is one alone."""
    series, colon, name = layer.partition(":")
    return (series, name) if colon else ("", layer)


def in_series(layers: Sequence[str]) -> dict[str, dict[str, str]]:
    """Single layers by series: within each the name that they have in the tables, by their own name, in order."""
    series: dict[str, dict[str, str]] = {}
    for layer in layers:
        if not is_pair(layer):
            name, own = split_series(layer)
            series.setdefault(name, {})[own] = layer
    return series
