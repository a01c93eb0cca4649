"""What a file of Neurodata Without Borders holds of spikes and of what was shown, read without its library.

`pynwb` makes classes of whatever specification a file brings and follows its links into other files; here numbers are
read where they lie in the file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ..hdf5 import dataset_in, node_in

if TYPE_CHECKING:
    import h5py

_AREA = "general/extracellular_ephys/electrodes/location"
_TEMPLATES, _SHOWN = "stimulus/templates", "stimulus/presentation"


@dataclass(frozen=True)
class Presentations:
    """What was shown when.

    Args:
        name: Of the table or series.
        onsets: Seconds, float64 (n,).
        stimulus: Which, int64 (n,), an index into the file's images, −1 where nothing; or its name, str (n,), "" where
            nothing.
        images: The group or series that the indices count along; None where the table does not tell.
    """

    name: str
    onsets: np.ndarray
    stimulus: np.ndarray
    images: str | None = None


def kind_of(node: Any) -> str:
    """A node's type, as the format calls it."""
    said = getattr(node, "attrs", {}).get("neurodata_type", "")
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def read_spikes(file: h5py.File) -> list[np.ndarray]:
    """Each unit's spike times in seconds, sorted, float64 (n_spikes,).

    Raises:
        InputError: There are no units, or their index does not fit their times.
    """
    times, ends = (dataset_in(file, f"units/{name}")[()] for name in ("spike_times", "spike_times_index"))
    right = times.ndim == ends.ndim == 1 and times.dtype.kind == "f" and ends.dtype.kind in "iu" and len(ends)
    ends = ends.astype(np.int64)
    if not right or (np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(times) or not np.isfinite(times).all():
        raise InputError(
            f"{file.filename}: expected finite units/spike_times, and in spike_times_index where each unit's end, "
            f"found {len(times)} times and ends up to {ends.max(initial=0)}; write the file again"
        )
    return [np.sort(own) for own in np.split(times, ends[:-1])]


def read_areas(file: h5py.File, column: str | None, units: int) -> np.ndarray | None:
    """The area of each unit, str (units,): a column of the units' table, or where its first electrode lies.

    Raises:
        InputError: There is no such column.
    """
    if column is not None:
        return _texts(_column(file, f"units/{column}", units, "--data.source.area"))
    regions = ("units/electrodes", "units/electrodes_index")
    if any(node_in(file, name) is None for name in (*regions, _AREA)):
        return None
    rows, ends = (dataset_in(file, name)[()].astype(np.int64) for name in regions)
    places = _texts(dataset_in(file, _AREA)[()])
    firsts = np.r_[0, ends[:-1]]
    if len(ends) != units or (firsts >= ends).any() or ends[-1] > len(rows):
        return None  # a unit without an electrode
    if rows.min(initial=0) < 0 or rows.max(initial=0) >= len(places):
        raise InputError(
            f"{file.filename}: expected units/electrodes to name rows of the {len(places)} electrodes, found others; "
            "write the file again"
        )
    return places[rows[firsts]]


def read_presentations(file: h5py.File, name: str | None, column: str | None) -> Presentations:
    """What was shown: a series of indices in `stimulus/presentation`, or a table of `intervals` that names stimuli.

    Args:
        file: The file.
        name: Of the series or table; the only one where None.
        column: Of the table, that tells the stimulus; the only one whose name speaks of a stimulus or image where
            None.

    Raises:
        InputError: There is none, or several.
    """
    series, tables = _children(file, _SHOWN, "IndexSeries"), _children(file, "intervals", "TimeIntervals")
    told = {each: [column] if column else _speaking(file, each) for each in tables}
    found = {**{each: [""] for each in series}, **{each: names for each, names in told.items() if names}}
    wanted = {each: names for each, names in found.items() if name in (None, each)}
    if len(wanted) != 1 or len(next(iter(wanted.values()))) != 1:
        offered = ", ".join(f"{each} ({', '.join(names)})" if names[0] else each for each, names in found.items())
        raise InputError(
            f"{file.filename}: expected one table of intervals with a column of stimuli, or one IndexSeries, found "
            f"{offered or 'none'}; choose with --data.source.presentations and --data.source.stimulus"
        )
    ((place, (own,)),) = wanted.items()
    return _from_series(file, place) if place in series else _from_table(file, place, own)


def _children(file: h5py.File, group: str, kind: str) -> list[str]:
    node = node_in(file, group)
    return [str(name) for name in node or () if kind_of(node_in(file, f"{group}/{name}")) == kind]


def _speaking(file: h5py.File, table: str) -> list[str]:
    """Columns whose names speak of what was shown."""
    columns = [str(name) for name in node_in(file, f"intervals/{table}")]
    return [name for name in columns if name.startswith(("stimul", "image"))]


def _from_table(file: h5py.File, table: str, column: str) -> Presentations:
    onsets = dataset_in(file, f"intervals/{table}/start_time")[()].astype(np.float64)
    values = _column(file, f"intervals/{table}/{column}", len(onsets), "--data.source.stimulus")
    return Presentations(table, onsets, _indices(values) if values.dtype.kind in "iuf" else _texts(values))


def _from_series(file: h5py.File, name: str) -> Presentations:
    place = f"{_SHOWN}/{name}"
    indices = _indices(dataset_in(file, f"{place}/data")[()])
    if node_in(file, f"{place}/timestamps") is not None:
        onsets = dataset_in(file, f"{place}/timestamps")[()].astype(np.float64)
    else:
        start = dataset_in(file, f"{place}/starting_time")
        onsets = start[()] + np.arange(len(indices)) / np.float64(start.attrs["rate"])  # type: ignore[arg-type]
    if onsets.shape != indices.shape:
        raise InputError(f"{file.filename}: expected a time for each of {len(indices)} {name}, found {len(onsets)}")
    links = (linked(file, f"{place}/{link}") for link in ("indexed_images", "indexed_timeseries"))
    return Presentations(name, onsets, indices, next((link for link in links if link is not None), None))


def linked(file: h5py.File, name: str) -> str | None:
    """Where a link within the file leads; None where there is none."""
    import h5py

    link = file.get(name, getlink=True) if name in file else None
    if isinstance(link, h5py.SoftLink):
        return str(link.path).strip("/")
    return name if isinstance(link, h5py.HardLink) else None


def images_by_index(file: h5py.File, place: str | None) -> list[tuple[str, int | None]]:
    """The dataset of each image, and its row where a dataset holds several, in the order that indices count along.

    Args:
        file: The file.
        place: Of a group of images or a series; the only one of `stimulus/templates` where None.

    Raises:
        InputError: There is none, or a group does not tell the order of its images.
    """
    import h5py

    if place is None:
        there = [each for kind in ("Images", "ImageSeries") for each in _children(file, _TEMPLATES, kind)]
        if len(there) != 1:
            raise InputError(
                f"{file.filename}: expected one set of images in {_TEMPLATES}, which indices count along, found "
                f"{', '.join(there) or 'none'}; name the stimuli by text, and their folder with --data.source.images"
            )
        place = f"{_TEMPLATES}/{there[0]}"
    node = node_in(file, place)
    if kind_of(node) == "ImageSeries":
        shape = dataset_in(file, f"{place}/data").shape or (0,)
        return [(f"{place}/data", row) for row in range(shape[0])]
    told = kind_of(node) == "Images" and node_in(file, f"{place}/order_of_images") is not None
    order = dataset_in(file, f"{place}/order_of_images") if told else None
    if order is None or h5py.check_ref_dtype(order.dtype) is not h5py.Reference:
        raise InputError(
            f"{file.filename}: expected {place} to tell the order_of_images that indices count along, found none: "
            "names alone come in alphabetical order (img1, img10, img2); write it, or name the stimuli by text"
        )
    return [(str(file[reference].name).strip("/"), None) for reference in order[()]]


def images_by_name(file: h5py.File) -> dict[str, tuple[str, int | None]]:
    """The datasets of all single images of the file, by their names."""
    groups = [f"{_TEMPLATES}/{name}" for name in _children(file, _TEMPLATES, "Images")]
    groups += [f"{_SHOWN}/{name}" for name in _children(file, _SHOWN, "Images")]
    return {
        str(name): (f"{group}/{name}", None)
        for group in groups
        for name in node_in(file, group)
        if name != "order_of_images"
    }


def _column(file: h5py.File, name: str, rows: int, flag: str) -> np.ndarray:
    values = dataset_in(file, name)[()]
    if values.shape != (rows,):
        raise InputError(
            f"{flag} {name.rpartition('/')[2]}: expected one value for each of {rows} rows, found {values.shape}; name "
            "another column"
        )
    return values


def _indices(values: np.ndarray) -> np.ndarray:
    """Indices, int64 (n,), −1 where nothing was shown.

    Where a file's indices are unsigned, a −1 that was written is the largest number that they can hold.
    """
    if values.dtype.kind == "f":
        nothing = np.isnan(values)
    elif values.dtype.kind == "u" and values.dtype.itemsize >= 4:
        nothing = values == np.iinfo(values.dtype).max
    else:
        nothing = values < 0
    return np.where(nothing, -1, np.where(nothing, 0, values).astype(np.int64))


def _texts(values: np.ndarray) -> np.ndarray:
    """Texts or numbers as str (n,)."""
    return np.array([each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in values])
