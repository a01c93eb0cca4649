"""Responses of a user's folder in other formats than NumPy's: MATLAB's, volumes, surfaces and grayordinates."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...names import HEMISPHERES
from ...recording import Recording, Roi
from ..matlab import find_matrix, read_matrix
from ..trials.endings import LABELS, MAPS, open_series
from ..trials.maps import read_map
from ..trials.places import coordinates_of, grid_of, sides_of, vertices_of
from ..trials.series import Series
from ..trials.session import Chosen

NAME = "responses"

_SERIES = [ending for ending in MAPS if ending not in LABELS]
IMAGED = (
    f"{NAME}.mat",
    *(f"{prefix}{NAME}{ending}" for prefix in ("", *(f"{side}." for side in HEMISPHERES)) for ending in _SERIES),
)
"""Names of files of responses, and of those of each hemisphere."""

ADVICE = "; or set --data.source.missing allow where NaN is 'not measured'"


class ImagedResponses:
    """Responses in files of another format.

    Args:
        paths: By hemisphere; "" is a file of both.

    Raises:
        InputError: A file is damaged, its mask is missing, or hemispheres disagree.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.path = next(iter(paths.values()))
        self._files: dict[str, Series] = {}
        self._chosen = Chosen(np.arange(0), np.array([], dtype="<U2"))
        if self.path.suffix == ".mat":
            self._name, shape = find_matrix(self.path, NAME)
            if len(shape) != 2 or 0 in shape:
                raise InputError(f"{self.path}: expected {self._name} (stimuli, targets), found {shape}; save it again")
            self.shape = (shape[0], shape[1])
            return
        self._files = {side: open_series(path) for side, path in paths.items()}
        counts = {series.num_trials for series in self._files.values()}
        if len(counts) > 1:
            raise InputError(
                f"{self.path}: expected as many stimuli in both hemispheres, found "
                f"{' and '.join(map(str, sorted(counts)))}; write both from the same stimuli"
            )
        places = {side: np.flatnonzero(self._mask(side, series)) for side, series in self._files.items()}
        self._chosen = Chosen(
            np.concatenate(list(places.values())), np.repeat(list(places), [len(own) for own in places.values()])
        )
        self.shape = (counts.pop(), len(self._chosen.places))
        if not self.shape[1]:
            raise InputError(f"{self.path.parent}: expected a mask that is 1 somewhere, found none; write it again")

    def read(self, allow_nan: bool) -> np.ndarray:
        """The responses, float32 or as MATLAB has them (stimuli, targets).

        Raises:
            InputError: A file is damaged, or a value is infinite, or NaN where it must not be.
        """
        if not self._files:
            found = read_matrix(self.path, self._name)
        else:
            parts = [
                series.read(self._chosen.on(side) if side else self._chosen.places)
                for side, series in self._files.items()
            ]
            found = np.concatenate(parts, axis=1)
        wrong = np.isinf(found) if allow_nan else ~np.isfinite(found)
        if wrong.any():
            row, target = np.argwhere(wrong)[0].tolist()
            raise InputError(
                f"{self.path}: expected finite values{' or NaN' if allow_nan else ''}, found {found[row, target]} of "
                f"stimulus {row}, target {target} (counted from 0) and {int(wrong.sum())} such values in all; leave "
                f"these targets out with a mask, or correct them{ADVICE if np.isnan(found[row, target]) else ''}"
            )
        return found

    def placed(self, recording: Recording) -> Recording:
        """A recording of these responses, with what the files tell of hemispheres and places.

        Args:
            recording: With what the folder's tables tell; its coordinates stay.

        Raises:
            InputError: Files and tables disagree.
        """
        if not self._files:
            return recording
        vertices = vertices_of(self._files, self._chosen, "")
        grid = grid_of(self._files, self._chosen, None)
        coordinates = recording.coordinates
        if coordinates is None:
            coordinates = coordinates_of(self._chosen, vertices, grid)
        placed = replace(recording, vertices=vertices, grid=grid, coordinates=coordinates)
        sides = sides_of(self._files, self._chosen)
        return replace(placed, hemispheres=sides, rois=self._rois(recording, sides)) if (sides != "").any() else placed

    def _rois(self, recording: Recording, sides: np.ndarray) -> list[Roi]:
        """The ROIs of `rois.csv`, each in the hemispheres that its targets are in."""
        told = recording.hemispheres
        wrong = np.flatnonzero((told != "") & (told != sides))
        if len(wrong):
            raise InputError(
                f"{self.path.parent / 'rois.csv'}: expected hemisphere {sides[wrong[0]] or 'none'} of target "
                f"{wrong[0]}, by its file, found {told[wrong[0]]}; targets of {self.path.name} come first"
            )
        return [
            Roi(roi.name, side, roi.targets[sides[roi.targets] == side])
            for roi in recording.rois
            for side in dict.fromkeys(sides[roi.targets].tolist())
        ]

    def _mask(self, side: str, series: Series) -> np.ndarray:
        """Which places are targets: those of the mask beside the file; of surfaces without one, all."""
        prefix = f"{side}." if side else ""
        paths = [self.path.with_name(f"{prefix}mask{ending}") for ending in MAPS]
        there = [path for path in paths if path.is_file()]
        if len(there) > 1 or (not there and len(series.shape) == 3 and series.shape[1:] != (1, 1)):
            raise InputError(
                f"{self.path.parent / f'{prefix}mask.nii.gz'}: expected one mask beside {series.path.name}, found "
                f"{' and '.join(path.name for path in there) or 'none'}; write a map that is 1 where targets are"
            )
        return read_map(there[0], series).mask if there else np.ones(series.size, dtype=bool)


def find_imaged(root: Path) -> ImagedResponses | None:
    """The responses of a folder in another format than NumPy's; None where there are none.

    Raises:
        InputError: There are several, or they are damaged.
    """
    there = [name for name in IMAGED if (root / name).is_file()]
    if not there:
        return None
    numpy = [name for name in (f"{NAME}.npy", f"{NAME}_repeats.npy") if (root / name).exists()]
    sides = {next((side for side in HEMISPHERES if name.startswith(side)), ""): root / name for name in there}
    if numpy or len(sides) < len(there) or ("" in sides and len(sides) > 1):
        raise InputError(
            f"{root}: expected responses in one format, found {', '.join([*numpy, *there])}; keep one of them"
        )
    return ImagedResponses(dict(sorted(sides.items())))
