"""BrainScore: an assembly of recordings as Brain-Score packs them, and its stimuli.

Schrimpf et al. 2018, "Brain-Score: Which artificial neural network for object recognition is most brain-like?"
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError, one_line
from ...names import UNASSIGNED
from ...recording import Part, Recording, Responses, Roi, Trials
from ..hdf5 import dataset_in, opened
from ..netcdf import axes_of, names_on, read_variable
from ..stimuli import ImageFiles, natural_key
from ..trials.prepared import mean_over_trials
from ..trials.repeats import TrialRepeats, trial_table
from .base import OWN_NAMES, Source

if TYPE_CHECKING:
    import h5py

PRESENTATION, NEUROID, TIME = "presentation", "neuroid", "time_bin"
_ID, _FILE, _REGION = "stimulus_id", "filename", "region"


class BrainScore(Source):
    """Reads an assembly, `*.nc`, and the table of its stimuli, `*.csv`, as Brain-Score packs them.

    The assembly's `data` is presentation × neuroid (× time_bin), with `stimulus_id` for each presentation. What was
    measured for one stimulus is averaged, and tells the noise ceiling. NaN is not measured. ROIs are the values of
    `region`.

    Args:
        root: The folder that holds the assembly and the table, or the assembly itself, beside which the table lies.
        images: The folder of the images, as the stimuli's zip unpacks; the root, or the one folder in it, where not
            given.
        assembly: The assembly's file name, where the folder holds several.
        time_bin: Which time bin, counted from 0, where the assembly has several.
        region: The coordinate of the neuroids that makes the ROIs.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: A file is missing or damaged, or a flag names what is not there.
    """

    layout = "*.nc and a *.csv of its stimuli"
    own_subjects = False

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return bool(_files(root, ".nc")) and bool(_files(root, ".csv"))

    def __init__(
        self,
        root: Path,
        images: Path | None = None,
        assembly: str | None = None,
        time_bin: int | None = None,
        region: str = _REGION,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        root = Path(root)
        self.folder = root.parent if root.is_file() else root
        own = root.name if root.is_file() and assembly is None else assembly
        self.path = _the(self.folder, ".nc", own, "--data.source.assembly")
        self.images = self.folder if images is None else Path(images)
        self.time_bin, self.region = time_bin, region
        with opened(self.path) as file:
            self._axes = self._check(file)
            self._num_targets = dataset_in(file, "data").shape[self._axes.index(NEUROID)]

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def read(self) -> Sequence[Recording]:
        with opened(self.path) as file:
            trials = self._read_trials(file)
            shown = read_variable(file, _ID)
            regions = read_variable(file, self.region) if self.region in names_on(file, NEUROID) else None
        if regions is None and self.region != _REGION:
            raise InputError(f"--data.source.region {self.region}: expected a coordinate of neuroids in {self.path}")
        ids = sorted({str(each) for each in shown}, key=natural_key)
        place = {name: number for number, name in enumerate(ids)}
        index = np.array([place[str(each)] for each in shown])
        responses = mean_over_trials(trials, trial_table(index))
        return [
            Recording(
                subject=self.path.stem,
                stimuli=ImageFiles(self._find_images(ids)),
                responses=Responses(responses.shape, [Part(0, 0, responses)]),
                splits=np.full(len(ids), UNASSIGNED),
                hemispheres=np.full(self.num_targets, ""),
                rois=_rois(regions),
                trials=Trials(trials, index, np.ones(len(index), dtype=np.int64)),
                repeats=TrialRepeats(trials, index),
            )
        ]

    def _check(self, file: h5py.File) -> tuple[str, ...]:
        """The axes of the data, checked by their headers."""
        axes = axes_of(file, "data")
        sizes = dict(zip(axes, dataset_in(file, "data").shape or (), strict=True))
        if not {PRESENTATION, NEUROID} <= set(axes) <= {PRESENTATION, NEUROID, TIME} or 0 in sizes.values():
            raise InputError(
                f"{self.path}: expected data on {PRESENTATION} × {NEUROID} (× {TIME}), found {' × '.join(axes)}; give "
                "an assembly of recordings"
            )
        bins = sizes.get(TIME, 1)
        if (self.time_bin is None and bins > 1) or not 0 <= (self.time_bin or 0) < bins:
            raise InputError(
                f"--data.source.time_bin {self.time_bin}: expected one of {bins} time bins, counted from 0; name it"
            )
        if _ID not in names_on(file, PRESENTATION):
            raise InputError(
                f"{self.path}: expected {_ID} for each {PRESENTATION}, found "
                f"{', '.join(names_on(file, PRESENTATION)) or 'no coordinate'}; write it as a coordinate of its own"
            )
        return axes

    def _read_trials(self, file: h5py.File) -> np.ndarray:
        """Single presentations, float32 (presentations, neuroids), NaN where not measured."""
        values = read_variable(file, "data")
        if values.dtype.kind not in "iuf" or np.isinf(values).any():
            raise InputError(f"{self.path}: expected finite data, or NaN where not measured; write it again")
        if TIME in self._axes:
            values = values.take(self.time_bin or 0, axis=self._axes.index(TIME))
        axes = [axis for axis in self._axes if axis != TIME]
        return np.ascontiguousarray(values if axes[0] == PRESENTATION else values.T, dtype=np.float32)

    def _find_images(self, ids: Sequence[str]) -> list[Path]:
        """The file of each stimulus."""
        table = _the(self.folder, ".csv", None, "")
        names = _read_stimuli(table)
        unknown = [each for each in ids if each not in names]
        if unknown:
            raise InputError(
                f"{table}: expected the {_ID} of each presentation, found none for {unknown[0]!r} and {len(unknown)} "
                "missing in all; use the table that belongs to the assembly"
            )
        folders = [self.images, *(sorted(path for path in self.images.glob("*") if path.is_dir()))]
        for folder in folders:
            paths = [folder / Path(names[each].replace("\\", "/")).name for each in ids]
            if all(path.is_file() for path in paths):
                return paths
        missing = [names[each] for each in ids if not (folders[-1] / names[each]).is_file()]
        raise InputError(
            f"{self.images}: expected the images that {table.name} names, found no file for some, such as "
            f"{missing[0] if missing else names[ids[0]]}; unpack the stimuli's zip there, or name their folder with "
            "--data.source.images"
        )


def _rois(regions: np.ndarray | None) -> list[Roi]:
    if regions is None:
        return []
    names = [str(name) for name in np.unique(regions) if name and name not in OWN_NAMES and ";" not in str(name)]
    return [Roi(name, "", np.flatnonzero(regions == name)) for name in names]


def _files(root: Path, suffix: str) -> list[Path]:
    folder = root.parent if root.is_file() and root.suffix == ".nc" else root
    return sorted(path for path in folder.glob(f"*{suffix}") if path.is_file()) if folder.is_dir() else []


def _the(folder: Path, suffix: str, name: str | None, flag: str) -> Path:
    """The one file of a kind, or the one that is named."""
    there = _files(folder, suffix)
    found = [path for path in there if name in (None, path.name)]
    if len(found) != 1:
        raise InputError(
            f"{folder}: expected {name or f'one *{suffix}'}, found {', '.join(path.name for path in there) or 'none'}; "
            f"{f'name it with {flag}' if flag and there else 'put it there, and others elsewhere'}"
        )
    return found[0]


def _read_stimuli(path: Path) -> dict[str, str]:
    """The file name of each stimulus, by its id."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {_ID, _FILE} <= set(reader.fieldnames or ()):
                raise InputError(
                    f"{path}: expected the columns {_ID} and {_FILE}, found {', '.join(reader.fieldnames or ())}"
                    "; give the table of the assembly's stimuli"
                )
            rows = [(row[_ID] or "", row[_FILE] or "") for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected a table of stimuli, found {one_line(error)}; copy it again") from error
    twice = len(rows) - len({name for name, _ in rows})
    if twice:
        raise InputError(f"{path}: expected each {_ID} once, found {twice} again; remove their rows")
    return dict(rows)
