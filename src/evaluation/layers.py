"""Which layer explains which ROI: `layers.csv`."""

from collections.abc import Sequence
from dataclasses import dataclass

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
        chosen: How many targets chose this layer; None where no layer was chosen.
    """

    subject: str
    hemisphere: str
    roi: str
    layer: str
    n_targets: int
    r2_mean: float | None
    chosen: int | None


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
            r2_mean=mean_known(values[members]),
            chosen=None if choices is None else int((choices[members] == layer).sum()),
        )
        for hemisphere, roi, members in groups_of(recording)
        for layer, values in findings.layer_r2.items()
    ]


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
