"""Responses of a user's folder in other formats than NumPy's: MATLAB's, volumes, surfaces and grayordinates."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...names import HEMISPHERES
from ...recording import Recording, Roi
from ..matlab import find_matrix, read_matrix
from ..trials.endings import LABELS, MAPS, ending_of, open_series
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
        masks = self._masks()
        places = {
            side: np.flatnonzero(read_map(masks[side], series).mask) if masks else np.arange(series.size)
            for side, series in self._files.items()
        }
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
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is a fault
            single = found.astype(np.float32, copy=False)
        wrong = np.isinf(single) if allow_nan else ~np.isfinite(single)
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

    def _masks(self) -> dict[str, Path]:
        """The mask beside each file; none of surfaces and grayordinates that have none, which are targets throughout.

        Raises:
            InputError: There are several for a file, one for some files only, or none of a volume.
        """
        found: dict[str, list[Path]] = {}
        for side in ("", *HEMISPHERES):
            paths = [self.path.with_name(f"{_prefix(side)}mask{ending}") for ending in MAPS]
            found[side] = [path for path in paths if path.is_file()]
        there = [path.name for paths in found.values() for path in paths]
        volumes = any(len(each.shape) == 3 and each.shape[1:] != (1, 1) for each in self._files.values())
        if not there and not volumes:
            return {}
        lacking = [side for side in self._files if len(found[side]) != 1]
        stray = [side for side in found if found[side] and bool(side) == ("" in self._files)]
        if lacking or stray:
            files = " and of ".join(series.path.name for series in self._files.values())
            name = f"{_prefix((lacking or list(self._files))[0])}mask{ending_of(self.path)}"
            raise InputError(
                f"{self.path.with_name(name)}: expected one mask of {files}, found {' and '.join(there) or 'none'}; "
                "write a map for each that is 1 where targets are, and keep no other"
            )
        return {side: found[side][0] for side in self._files}


def _prefix(side: str) -> str:
    """What stands before the names of a hemisphere's files."""
    return f"{side}." if side else ""


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
