"""Findings: what a fitted model says of each target beside its predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

SHARED = "shared"
"""Name of the part that no band, or no member, explains alone: of two, what either explains."""


@dataclass(frozen=True)
class Findings:
    """What models hand to evaluation. Every array runs over targets (T,), NaN where a target has none.

    R² here is cross-validated on the training split: no held-out stimulus has a part in it. Weights of a stack's
    members are learnt there too, those of an ensemble of runs from the validation split. A field that a model knows
    nothing of is None or empty.

    Args:
        penalty: Chosen strength of the regularisation, float32 (T,).
        cv_r2: Share of variance that the whole model explains, float32 (T,).
        layer_r2: The same of a model of each layer alone, or of a pair ("a + b"), by name, each float32 (T,).
        layer_weight: How much each layer counts in the prediction, by name, each float32 (T,); they sum to 1.
        layer: The layer or pair that was chosen, or that counts most, an index into `layers`, int64 (T,).
        band_r2: The part of `cv_r2` that each band makes, by name, each float32 (T,); they sum to it (product measure).
        band_weight: Each band's chosen share of the prior variance, by name, each float32 (T,); they sum to 1.
        unique_r2: Of two bands: what each adds to the other, by name, and "shared", each float32 (T,).
        component_share: Of a model of principal components of the responses: share of each target's variance in the
            training split that they keep, noise included, float32 (T,).
        window: Where in the image a target looks, float32 (T, 3): the window's centre, x from the left and y from the
            top, and its standard deviation, in image widths; (0.5, 0.5, inf) for the whole image.
        member_weight: Of an ensemble: how much each member counts, by name, each float32 (T,).
        member_r2: Of a stack: what each member explains alone, by name, each float32 (T,).
        unique_member_r2: Of a stack: what it loses without each member, by name, and "shared", what is left of `cv_r2`
            when these are taken off, each float32 (T,).
    """

    penalty: np.ndarray | None = None
    cv_r2: np.ndarray | None = None
    layer_r2: Mapping[str, np.ndarray] = field(default_factory=dict)
    layer_weight: Mapping[str, np.ndarray] = field(default_factory=dict)
    layer: np.ndarray | None = None
    band_r2: Mapping[str, np.ndarray] = field(default_factory=dict)
    band_weight: Mapping[str, np.ndarray] = field(default_factory=dict)
    unique_r2: Mapping[str, np.ndarray] = field(default_factory=dict)
    component_share: np.ndarray | None = None
    window: np.ndarray | None = None
    member_weight: Mapping[str, np.ndarray] = field(default_factory=dict)
    member_r2: Mapping[str, np.ndarray] = field(default_factory=dict)
    unique_member_r2: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, and pairs, of which something is known."""
        return list(dict.fromkeys([*self.layer_r2, *self.layer_weight]))

    def of(self, targets: slice | np.ndarray) -> "Findings":
        """The part of some targets: a range of them, or indices."""
        return Findings(**self.to_plain(lambda array: array[targets]))

    def of_nothing(self, count: int) -> "Findings":
        """The same figures of targets of which nothing is known: NaN, and 0 where a figure is a whole number."""

        def unknown(array: np.ndarray) -> np.ndarray:
            return np.full((count, *array.shape[1:]), 0 if array.dtype.kind == "i" else np.nan, dtype=array.dtype)

        return Findings(**self.to_plain(unknown))

    @classmethod
    def joined(cls, parts: Sequence["Findings"]) -> "Findings":
        """Findings of one recording after the other, all by the same model."""
        joined: dict[str, Any] = {}
        for name, first in _items(parts[0]):
            values = [getattr(part, name) for part in parts]
            if isinstance(first, Mapping):
                joined[name] = {key: np.concatenate([value[key] for value in values]) for key in first}
            elif first is not None:
                joined[name] = np.concatenate(values)
        return cls(**joined)

    def to_plain(self, convert: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        """Fields by name, their arrays converted, for a checkpoint."""
        return {name: _map(convert, value) for name, value in _items(self)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], convert: Callable[[Any], np.ndarray]) -> "Findings":
        """Undo `to_plain`."""
        return cls(**{name: _map(convert, value) for name, value in plain.items()})


@dataclass(frozen=True)
class Attention:
    """Where in the image a decoder's queries look: their mean attention over held-out stimuli, and over heads.

    Args:
        rois: Whose queries they are, "lh.V1v"; of single targets' queries the mean over the ROI.
        weight: By layer, float32 (ROIs, tokens); all layers' weights of a ROI sum to 1.
        places: By layer, row and column of each token in the layer's grid, int64 (tokens, 2), -1 where it has no place,
            such as a class token; layers of which nothing is known are left out.
        split: Whose stimuli they are.
    """

    rois: Sequence[str]
    weight: Mapping[str, np.ndarray]
    places: Mapping[str, np.ndarray]
    split: str = ""

    @classmethod
    def joined(cls, parts: Sequence["Attention"]) -> "Attention":
        """Attention of one recording after the other, all to the same layers."""
        weight = {layer: np.concatenate([part.weight[layer] for part in parts]) for layer in parts[0].weight}
        return cls([roi for part in parts for roi in part.rois], weight, parts[0].places)


def _items(findings: Findings) -> list[tuple[str, Any]]:
    return [(each.name, getattr(findings, each.name)) for each in fields(findings)]


def _map(change: Callable[[Any], Any], value: Any) -> Any:
    """Apply to an array, to each array of a mapping, or to nothing."""
    if isinstance(value, Mapping):
        return {key: change(array) for key, array in value.items()}
    return None if value is None else change(value)
