"""The visual part of the cortical surface: where a simulated subject's targets lie, and what they look at.

Areas lie where they are found in people: the retinotopic ones as bands along the calcarine sulcus, whose maps
mirror each other at every border (as in the templates of Benson et al. 2014), the category-selective ones around
the coordinates that localiser studies report. Everything is on fsaverage, in the order of its vertices.
"""

from dataclasses import dataclass

import numpy as np

from ...fsaverage import MESH_VERTICES, mesh_at_level

ROI_CLASSES: dict[str, tuple[str, ...]] = {
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
}
"""Every ROI of the Algonauts 2023 challenge by class, in the order of its labels from 1; 0 is "Unknown"."""

# Places in the right hemisphere, millimetres in fsaverage's (MNI305) frame; the left mirrors them.
_FOVEA, _FAR_PERIPHERY, _CUNEUS = (11, -96, -6), (17, -63, 8), (7, -86, 25)
_PATCHES = {  # centre, and radius in degrees on the sphere
    "EBA": ((47, -72, 3), 9.0),
    "FBA-1": ((43, -55, -19), 4.5),
    "FBA-2": ((43, -42, -20), 4.0),
    "OFA": ((40, -76, -11), 4.5),
    "FFA-1": ((39, -61, -18), 4.5),
    "FFA-2": ((40, -46, -21), 4.5),
    "OPA": ((35, -84, 22), 6.5),
    "PPA": ((27, -46, -8), 6.0),
    "RSC": ((16, -56, 14), 4.0),
    "OWFA": ((41, -81, -13), 4.0),
    "VWFA-1": ((44, -62, -14), 4.0),
    "VWFA-2": ((44, -48, -16), 4.0),
}
_STREAM_CENTRES = {
    "midventral": (30, -74, -12),
    "midlateral": (36, -88, 0),
    "midparietal": (25, -88, 20),
    "ventral": (36, -50, -18),
    "lateral": (47, -68, 4),
    "parietal": (27, -77, 33),
}
_STREAM_CORE = 5.0  # degrees around a stream's centre that are as visual as a ROI, so that few targets hold all streams
_CALCARINE = 28.0  # length of the retinotopic bands, degrees on the sphere
_BANDS = {"V1": (0.0, 1.0), "V2": (1.0, 1.9), "V3": (1.9, 2.7), "hV4": (2.7, 4.2)}  # in widths of half of V1
_HALF_WIDTH = 6.0  # of V1 at its widest, degrees on the sphere
_MAX_ECCENTRICITY = 0.42  # in image widths


@dataclass(frozen=True)
class Patch:
    """The visual targets of one hemisphere.

    Args:
        hemisphere: "lh" or "rh".
        vertices: Sorted fsaverage vertices, int64 (n_targets,).
        coordinates: Of the pial surface, float32 (n_targets, 3), millimetres.
        labels: By ROI class, int64 (n_targets,) label, 0 where in none.
        field: What each target looks at: x from the left and y from the top of the image, in image widths,
            float64 (n_targets, 2).
    """

    hemisphere: str
    vertices: np.ndarray
    coordinates: np.ndarray
    labels: dict[str, np.ndarray]
    field: np.ndarray

    def rois(self) -> dict[str, np.ndarray]:
        """Positions of the targets in each ROI that is not empty, by name."""
        found = {
            name: np.flatnonzero(self.labels[roi_class] == label)
            for roi_class, names in ROI_CLASSES.items()
            for label, name in enumerate(names, start=1)
        }
        return {name: targets for name, targets in found.items() if len(targets)}


def visual_patch(hemisphere: str, targets: int) -> Patch:
    """The most visual vertices of one hemisphere: those deepest inside ROIs, then those closest to one.

    They come from the coarsest of fsaverage5, fsaverage6 and fsaverage of which they are at most an eighth, the
    share that the visual cortex of the Natural Scenes Dataset has; so they lie densely whatever their number.

    Args:
        hemisphere: "lh" or "rh".
        targets: How many.
    """
    level = next((level for level, count in MESH_VERTICES.items() if targets * 8 <= count), 7)
    sphere, pial = mesh_at_level(hemisphere, level)
    right = np.array([1.0 if hemisphere == "rh" else -1.0, 1, 1])

    def place(point: tuple[int, int, int]) -> np.ndarray:
        """Direction on the sphere of the vertex nearest to a place in the right hemisphere."""
        return sphere[np.square(pial - right * point).sum(axis=1).argmin()]

    along, across = _calcarine_frame(sphere, place(_FOVEA), place(_FAR_PERIPHERY), place(_CUNEUS))
    degrees = {name: _degrees(sphere, place(centre)) for name, (centre, _) in _PATCHES.items()}
    streams = np.stack([_degrees(sphere, place(centre)) for centre in _STREAM_CENTRES.values()])
    patches = [_depth(degrees[name], radius) for name, (_, radius) in _PATCHES.items()]
    depth = np.stack([_band_depth(along, across), *patches, *_depth(streams, _STREAM_CORE)]).min(axis=0)
    vertices = np.sort(np.argsort(depth, kind="stable")[:targets])

    labels = {roi_class: np.zeros(targets, dtype=np.int64) for roi_class in ROI_CLASSES}
    labels["prf-visualrois"] = _retinotopic_labels(along[vertices], across[vertices])
    for roi_class in ("floc-bodies", "floc-faces", "floc-places", "floc-words"):
        for label, name in enumerate(ROI_CLASSES[roi_class], start=1):
            if name in _PATCHES:
                labels[roi_class][degrees[name][vertices] <= _PATCHES[name][1]] = label
    nearest = streams[:, vertices].argmin(axis=0) + 2
    nearest[streams[:, vertices].min(axis=0) > 20] = 0
    early = (labels["prf-visualrois"] > 0) & (labels["prf-visualrois"] < 7)
    labels["streams"] = np.where(early, 1, np.where(labels["prf-visualrois"] == 7, 2, nearest))

    field = _field(along[vertices], across[vertices], hemisphere)
    return Patch(hemisphere, vertices, pial[vertices].astype(np.float32), labels, field)


def _calcarine_frame(
    sphere: np.ndarray, fovea: np.ndarray, periphery: np.ndarray, dorsal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Position along the calcarine sulcus from the fovea, and across it, dorsal positive; degrees, (n,) each."""
    pole = np.cross(fovea, periphery)
    pole *= np.sign(pole @ dorsal) / np.linalg.norm(pole)
    forward = np.cross(pole, fovea)
    forward *= np.sign(forward @ periphery)
    along = np.degrees(np.arctan2(sphere @ forward, sphere @ fovea))
    return along, np.degrees(np.arcsin(np.clip(sphere @ pole, -1, 1)))


def _degrees(sphere: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(sphere @ centre, -1, 1)))


def _depth(distance: np.ndarray, radius: float) -> np.ndarray:
    """-1 at a ROI's centre, 0 at its border, and degrees from the border outside."""
    return np.where(distance <= radius, distance / radius - 1, distance - radius)


def _half_width(along: np.ndarray) -> np.ndarray:
    """Half the width of V1, in degrees: it tapers to the fovea."""
    return _HALF_WIDTH * (0.45 + 0.55 * np.clip(along / 12, 0, 1))


def _band_depth(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """`_depth` of the retinotopic bands taken together."""
    edge = np.where(across > 0, _BANDS["V3"][1], _BANDS["hV4"][1]) * _half_width(along)
    outside = np.hypot(
        np.maximum(np.abs(along - _CALCARINE / 2) - _CALCARINE / 2, 0), np.maximum(np.abs(across) - edge, 0)
    )
    inside = np.maximum(np.abs(along / (_CALCARINE / 2) - 1), np.abs(across) / edge) - 1
    return np.where(outside > 0, outside, inside)


def _retinotopic_labels(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    band = np.abs(across) / _half_width(along)
    inside = (along >= 0) & (along <= _CALCARINE)
    labels = np.zeros(len(along), dtype=np.int64)
    for step, name in enumerate(("V1", "V2", "V3")):
        low, high = _BANDS[name]
        labels[inside & (band >= low) & (band < high)] = 1 + 2 * step
    labels[(labels > 0) & (across > 0)] += 1  # dorsal
    low, high = _BANDS["hV4"]
    labels[inside & (across < 0) & (band >= low) & (band < high)] = 7
    return labels


def _field(along: np.ndarray, across: np.ndarray, hemisphere: str) -> np.ndarray:
    """Centre of each target's receptive field (n, 2): contralateral, the ventral bank above the horizontal.

    The polar angle runs from the horizontal meridian in the calcarine sulcus to the vertical one at the border of
    V1 and V2, back to the horizontal at V2 and V3, and so on; beyond hV4 too. Eccentricity grows exponentially
    along the sulcus (cortical magnification).
    """
    borders = [0, *(high for _, high in _BANDS.values()), 6, 8]
    angles = [0, 90, 0, 90, -90, 90, -90]
    polar = -np.sign(across) * np.interp(np.abs(across) / _half_width(along), borders, angles)
    polar = np.radians(polar)
    share = np.clip(along / _CALCARINE, 0.03, 1)
    eccentricity = _MAX_ECCENTRICITY * np.expm1(1.6 * share) / np.expm1(1.6)
    side = 1 if hemisphere == "lh" else -1
    return 0.5 + eccentricity[:, None] * np.stack([side * np.cos(polar), -np.sin(polar)], axis=1)
