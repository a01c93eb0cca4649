"""Sessions of the Natural Scenes Dataset's betas, on fsaverage or in volumes, in per cent signal change."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ....errors import InputError
from ....fsaverage import MESH_VERTICES
from ....names import HEMISPHERES
from ...trials.series import Hdf5Series, ImageSeries, Series
from ...trials.session import Chosen, SeriesSession
from .tree import Space, one_of

STORED_PER_PER_CENT = 300
"""Volumes are stored as whole numbers, 300 times the per cent signal change; their headers do not say so."""

log = logging.getLogger(__name__)


def beta_session(name: str, files: Mapping[str, Series], chosen: Chosen) -> SeriesSession:
    """One session's betas at the chosen places, in per cent signal change.

    Args:
        name: For people.
        files: By hemisphere; "" is a volume.
        chosen: Which places of them are targets.
    """
    return SeriesSession(name, files, chosen, per_unit=STORED_PER_PER_CENT)


def find_sessions(folder: Path, space: Space, wanted: Sequence[int] | None) -> dict[int, dict[str, Series]]:
    """The files of the sessions that are there, by session and hemisphere ("" is a volume).

    Args:
        folder: Of one kind of betas.
        space: Of the folder.
        wanted: Sessions; all that are there where None.

    Raises:
        InputError: There is none, one that is wanted is missing, or a file is damaged.
    """
    surface = space == "fsaverage"
    pattern = r"[lr]h\.betas_session([0-9]+)\.mg[hz]" if surface else r"betas_session([0-9]+)\.(?:nii\.gz|nii|hdf5)"
    there = {int(match[1]) for path in folder.iterdir() if (match := re.fullmatch(pattern, path.name))}
    numbers = sorted(there) if wanted is None else sorted(set(wanted))
    missing = [number for number in numbers if number not in there]
    if wanted is not None and not numbers:
        raise InputError("--data.source.sessions []: expected some sessions, found none; leave it out to read all")
    if missing or not numbers:
        found = ", ".join(map(str, sorted(there))) or "none"
        raise InputError(
            f"{folder}: expected the betas of session {missing[0] if missing else 1}, found sessions {found}; download "
            "it, or name others with --data.source.sessions"
        )
    found = {number: _open(folder, number, surface) for number in numbers}
    first = next(iter(found.values()))
    for files in found.values():
        for side, series in files.items():
            like = next(iter(first.values()))
            expected = (MESH_VERTICES[7], 1, 1) if surface else first[side].shape
            if series.shape != expected or series.num_trials != like.num_trials:
                raise InputError(
                    f"{series.path}: expected {expected} and {like.num_trials} trials, as in the other sessions, found "
                    f"{series.shape} and {series.num_trials}; copy it again, or leave it out with "
                    "--data.source.sessions"
                )
    gaps = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    if gaps and wanted is None:
        log.warning("%s: session %s is not there; the others are read", folder, ", ".join(map(str, gaps)))
    return found


def _open(folder: Path, number: int, surface: bool) -> dict[str, Series]:
    if surface:
        stems = {side: f"{side}.betas_session{number:02d}" for side in HEMISPHERES}
        return {side: ImageSeries(one_of(folder, stem, (".mgh", ".mgz"))) for side, stem in stems.items()}
    path = one_of(folder, f"betas_session{number:02d}", (".hdf5", ".nii", ".nii.gz"))  # the fastest first
    return {"": Hdf5Series(path) if path.suffix == ".hdf5" else ImageSeries(path)}
