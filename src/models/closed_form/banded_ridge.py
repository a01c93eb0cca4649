"""BandedRidgeModule: ridge in which each band of features has a penalty of its own, for each target."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from ...batch import FeatureShapes
from ...errors import InputError
from ...findings import SHARED, Findings
from ..demand import kernels_of_bands
from ..heads.base import Head
from ..regression.banded_ridge import BandedFit, draw_shares, fit_banded
from ..regression.penalties import PENALTIES, Selection
from .base import WholeRowsModule, place_in, write_linear
from .gathered import WholeRows


class BandedRidgeModule(WholeRowsModule):
    """Banded ridge regression (Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant 2022): which features explain what.

    Layers form bands. Each target chooses, with its penalty, the bands' shares of the prior variance, so that a band
    of no use to it is all but left out. Candidates are equal shares, each band alone, and random shares. The result
    is the artefact of a LinearHead, and its checkpoint loads as one.

    Each band's part of the cross-validated R² is its product measure: the parts sum to the whole. What correlated
    bands explain in common is divided between them as the weights are; with two bands, the unique and the shared
    parts are reported too (variance partitioning). The cross-validated R² is that of the best of many candidates, and
    so a little above that of new stimuli.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        bands: A band for each layer; for each encoder of a JointEncoder (its layers are named ENCODER:LAYER); or the
            layers of each band by its name.
        candidates: Shares that are tried; the time grows with it. More bands need more.
        penalties: The candidates, as in RidgeModule: a band's features are scaled so that the scatter of N stimuli
            and D features stays N D, whatever the shares.
        selection: Choose shares and penalty for each target, for each ROI, or for all targets of a subject. Targets
            in several ROIs count with the smallest.
        folds: Folds of the cross-validation, at least 2.

    Raises:
        InputError: The data serve images, bands do not hold each layer once, or a penalty, the number of folds or the
            number of candidates is out of range.
    """

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        bands: Literal["layer", "encoder"] | dict[str, list[str]] = "layer",
        candidates: int = 60,
        penalties: Sequence[float] = PENALTIES,
        selection: Selection = "target",
        folds: int = 5,
    ) -> None:
        if folds < 2:
            raise InputError(f"--model.folds {folds}: expected 2 or more, because banded ridge needs held-out stimuli")
        super().__init__(num_targets, feature_shapes, penalties, selection, folds)
        shapes = feature_shapes or {}
        self.bands = layers_by_band(list(shapes), bands)
        number = {layer: index for index, layers in enumerate(self.bands.values()) for layer in layers}
        self.band = torch.cat([torch.full((prod(shape),), number[layer]) for layer, shape in shapes.items()])  # (D,)
        self.shares = draw_shares(len(self.bands), candidates)

    def gathered_bytes(self, stimuli: int, targets: int) -> int:
        features, bands = self.num_inputs, len(self.bands)
        if features <= stimuli:
            return super().gathered_bytes(stimuli, targets)
        return kernels_of_bands(stimuli, features, targets, self.folds, bands)

    def fit(self, rows: WholeRows, head: Head, groups: Tensor | None) -> Findings:
        features, responses, fold = rows.training()
        assert fold is not None
        shares, band = self.shares.to(self.device), self.band.to(self.device)
        place = place_in(head)
        fit = fit_banded(
            features, responses, band, shares, fold, self.penalties, groups, self.facts.standardized_in_folds, place
        )
        write_linear(head, fit)
        return findings_of(fit, list(self.bands))


def layers_by_band(
    layers: Sequence[str], bands: Literal["layer", "encoder"] | Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """The layers of each band, by the band's name.

    Raises:
        InputError: A layer is in no band or in several, a band is empty or names a layer that there is not, or
            layers are asked to be divided by encoder and there is a single encoder.
    """
    if bands == "layer":
        return {layer: [layer] for layer in layers}
    if bands == "encoder":
        divided: dict[str, list[str]] = {}
        for layer in layers:
            encoder, colon, _ = layer.partition(":")
            if not colon:
                raise InputError(
                    "--model.bands encoder: expected layers named ENCODER:LAYER, as a JointEncoder serves them, "
                    f"found '{layer}'; use --model.bands layer"
                )
            divided.setdefault(encoder, []).append(layer)
        return divided
    assert isinstance(bands, Mapping)
    named = [layer for own in bands.values() for layer in own]
    for layer in [*layers, *named]:
        if named.count(layer) != 1 or layer not in layers:
            raise InputError(
                f"--model.bands: expected each of the layers {', '.join(layers)} in one band, found '{layer}' "
                f"in {named.count(layer)}; mend the bands or --data.encoder.layers"
            )
    for name, own in bands.items():
        if not own or (name == SHARED and len(bands) == 2):
            raise InputError(
                f"--model.bands: expected layers by the name of their band, and none named '{SHARED}' of two, "
                f"found '{name}' with {len(own)} layers; rename it or leave it out"
            )
    return {name: list(own) for name, own in bands.items()}


def findings_of(fit: BandedFit, names: Sequence[str]) -> Findings:
    """What is reported of a fit whose bands have these names."""
    cv_r2, alone = fit.cv_r2, fit.alone_r2
    unique = {}
    if len(names) == 2:
        unique = {
            names[0]: cv_r2 - alone[1],
            names[1]: cv_r2 - alone[0],
            SHARED: alone.sum(0) - cv_r2,
        }
    return Findings(
        penalty=fit.penalty.float().cpu().numpy(),
        cv_r2=cv_r2.float().cpu().numpy(),
        band_r2={name: r2.float().cpu().numpy() for name, r2 in zip(names, fit.band_r2, strict=True)},
        band_weight={name: share.float().cpu().numpy() for name, share in zip(names, fit.share, strict=True)},
        unique_r2={name: r2.float().cpu().numpy() for name, r2 in unique.items()},
    )
