"""A challenge's submission, read and checked against the truth that it is scored against.

It comes from anywhere: files are read in memory, by the names that are expected, no further than their expected size.
"""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ..data.sources.algonauts2021 import Track
from ..data.unpickle import read_pickle
from ..errors import InputError
from .archive import Archive
from .truth import Truth

_HEADER = 4096  # bytes: what a .npy file of two axes has before its numbers is far shorter
_FLOAT32 = np.dtype("<f4")


def track_of(archive: Archive) -> Track | None:
    """Which track of Algonauts 2021 a submission is of; None where it is one of 2023.

    Raises:
        InputError: It is neither.
    """
    names = list(archive.sizes())
    tracks: tuple[Track, ...] = ("mini", "full")
    for track in tracks:
        if names == [f"{track}_track.pkl"]:
            return track
    if any(re.fullmatch(r"subj\d\d/[lr]h_pred_test\.npy", name) for name in names):
        return None
    expected = "expected subjNN/{lh,rh}_pred_test.npy, mini_track.pkl or full_track.pkl"
    if not names:
        raise InputError(f"{archive.path}: {expected}, found no file; make it again")
    deeper = re.search(r"^(.+)/(subj\d\d/[lr]h_pred_test\.npy|(mini|full)_track\.pkl)$", "\n".join(names), re.M)
    remedy = f"zip what is in {deeper[1]!r}, not the folder itself" if deeper else "correct the names"
    raise InputError(f"{archive.path}: {expected}, found {(deeper[0] if deeper else names[0])!r}; {remedy}")


def predictions_2023(archive: Archive, truths: Mapping[str, Truth]) -> Iterator[tuple[str, np.ndarray]]:
    """Each subject's predictions, float32 (n_test, n_targets), the hemispheres side by side.

    Args:
        archive: The submission.
        truths: By subject.

    Raises:
        InputError: A file is missing or too many, or not the array that it has to be.
    """
    expected = {
        f"{subject}/{side}_pred_test.npy": (len(truth.responses), count)
        for subject, truth in truths.items()
        for side, count in truth.sizes.items()
    }
    found = archive.sizes()
    missing, unknown = (
        [name for name in expected if name not in found],
        [name for name in found if name not in expected],
    )
    if missing or unknown:
        what = f"{unknown[0]!r} too" if unknown else f"no {missing[0]!r}"
        remedy = (
            "take it out, or give a --truth that has its responses"
            if unknown
            else "predict it, or give a --truth without it"
        )
        raise InputError(
            f"{archive.path}: expected the {{lh,rh}}_pred_test.npy of {', '.join(truths)}, found {what}; {remedy}"
        )
    for subject, truth in truths.items():
        names = [f"{subject}/{side}_pred_test.npy" for side in truth.sizes]
        yield subject, np.concatenate([_read_array(archive, name, expected[name]) for name in names], axis=1)


def predictions_2021(archive: Archive, track: Track, truths: Mapping[str, Truth]) -> Iterator[tuple[str, np.ndarray]]:
    """Each subject's predictions, float32 (n_test, n_targets), the ROIs side by side.

    Args:
        archive: The submission.
        track: Which.
        truths: By subject.

    Raises:
        InputError: It is no pickle of plain arrays, or a ROI, a subject or an array is not what it has to be.
    """
    name = f"{track}_track.pkl"
    place = archive.place(name)
    values = sum(truth.responses.size for truth in truths.values())
    most = 32 * values + 2**20  # what the largest numbers take in the wordiest pickle
    size = archive.sizes()[name]
    if size > most:
        raise InputError(
            f"{place}: expected predictions of {values:,} numbers, found {size:,} bytes, more than they can take; "
            "submit the test videos alone"
        )
    with archive.reading(name) as file:
        content = read_pickle(file, place)
    _check_keys(place, "ROIs", content, list(dict.fromkeys(roi for each in truths.values() for roi in each.sizes)))
    for roi, own in content.items():
        _check_keys(place, f"subjects in {roi}", own, [name for name, each in truths.items() if roi in each.sizes])
    for subject, truth in truths.items():
        arrays = [content[roi][subject] for roi in truth.sizes]
        for (roi, count), array in zip(truth.sizes.items(), arrays, strict=True):
            where = f"{place}, {roi} of {subject}"
            if not isinstance(array, np.ndarray):
                raise InputError(f"{where}: expected an array, found {type(array).__name__}; make it again")
            _check_array(where, array.dtype, array.shape, (len(truth.responses), count))
            _check_finite(where, array)
        yield subject, np.concatenate(arrays, axis=1)


def _check_keys(place: Path, what: str, found: object, expected: list[str]) -> None:
    if not isinstance(found, dict) or any(not isinstance(key, str) for key in found):
        raise InputError(f"{place}: expected {{ROI: {{subNN: array}}}}, found {type(found).__name__}; make it again")
    if set(found) != set(expected):
        names = ", ".join(sorted(found))[:200] or "none"
        raise InputError(
            f"{place}: expected the {what} {', '.join(expected)} as --truth has them, found {names}; make both agree"
        )


def _read_array(archive: Archive, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Read one `.npy` file, whose header is checked before its numbers are read."""
    place = str(archive.place(name))
    with archive.reading(name) as file:
        start = io.BytesIO(file.read(_HEADER))
        found, fortran_order, dtype = _read_header(start, place)
        _check_array(place, dtype, found, shape)
        size = shape[0] * shape[1] * dtype.itemsize
        data = start.read() + file.read(size)
    if len(data) != size:
        amount = "more" if len(data) > size else f"{len(data):,}"
        raise InputError(f"{place}: expected {size:,} bytes of numbers, found {amount}; write it with numpy.save")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    _check_finite(place, array)
    return array


def _read_header(file: IO[bytes], place: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        return read(file)  # refuses a header of over 10,000 characters
    except Exception as error:  # NumPy's header parser raises many kinds on a damaged file
        raise InputError(f"{place}: expected a .npy file, found another; write it with numpy.save") from error


def _check_array(place: str, dtype: np.dtype, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if dtype != _FLOAT32:
        raise InputError(f"{place}: expected float32, found {dtype}; convert it with .astype('float32')")
    if found != shape:
        turned = "; transpose it" if found == shape[::-1] else "; predict the test stimuli, in the order of their files"
        raise InputError(f"{place}: expected {shape}, stimuli × targets, found {found}{turned}")


def _check_finite(place: str, array: np.ndarray) -> None:
    faulty = int((~np.isfinite(array)).sum())
    if faulty:
        raise InputError(
            f"{place}: expected finite predictions, found {faulty:,} of {array.size:,} that are NaN or infinite; "
            "correct them"
        )
