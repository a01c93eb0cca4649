"""A run's predictions as Brain-Score assemblies: netCDF-4 files that xarray opens."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..atomic import whole_folder
from ..errors import InputError
from ..names import TEST, VALIDATION
from ..recording import Recording
from .held_out import HeldOut, read_held_out
from .prediction_files import FOLDER, has
from .responses import read_recordings
from .run_folder import FinishedRun

STIMULI = "stimuli.csv"


def export_assemblies(run: Path, out: Path) -> list[str]:
    """Write what a run predicted for its held-out stimuli: `SPLIT_SUBJECT.nc`, and `stimuli.csv` of all of them.

    An assembly's `data` is presentation × neuroid, float32, in the responses' units. Presentations have `stimulus_id`,
    `repetition` and `split`; neuroids have `neuroid_id`, `subject`, `hemisphere` and `region`, the names of a target's
    ROIs parted by ";".

    Args:
        run: Folder of a finished run; nothing is written into it.
        out: Folder to write; new or empty, which the caller has checked.

    Returns:
        Names of the assemblies.

    Raises:
        InputError: The run is not finished, or its data are no longer there.
    """
    finished = FinishedRun(run)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"--out {out}: expected a new or an empty folder, found one that holds something; name another"
        )
    splits = [split for split in (VALIDATION, TEST) if has(run / FOLDER, split)]
    if not splits:
        raise InputError(f"{run / FOLDER}: expected validation.npy or test.npy, found neither; train it again")
    recordings = read_recordings(finished)
    named, names = [], set()
    with whole_folder(out.resolve()) as folder:
        for split in splits:
            for subject, held in read_held_out(finished, recordings, split).items():
                named.append(f"{split}_{subject}.nc")
                names |= set(held.names)
                _write(folder / named[-1], held, split, str(finished.provenance.get("model", "")))
        with (folder / STIMULI).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(("stimulus_id", "filename"))
            table.writerows((name, name) for name in sorted(names))
    return named


def _write(path: Path, held: HeldOut, split: str, model: str) -> None:
    import h5netcdf
    import h5py

    recording = held.recording
    offset = recording.responses.offset
    predictions = held.predictions if offset is None else held.predictions + offset
    coordinates = {
        "presentation": {
            "stimulus_id": held.names,
            "repetition": np.zeros(len(held.names), dtype=np.int64),
            "split": [split] * len(held.names),
        },
        "neuroid": {
            "neuroid_id": [f"{recording.subject}.{target}" for target in range(recording.num_targets)],
            "subject": [recording.subject] * recording.num_targets,
            "hemisphere": recording.hemispheres.tolist(),
            "region": _regions(recording),
        },
    }
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"presentation": len(held.names), "neuroid": recording.num_targets}
        data = file.create_variable(
            "data", ("presentation", "neuroid"), np.float32, data=predictions.astype(np.float32)
        )
        for axis, variables in coordinates.items():
            for name, values in variables.items():
                numbers = isinstance(values, np.ndarray)
                variable = file.create_variable(name, (axis,), np.int64 if numbers else h5py.string_dtype())
                variable[:] = values if numbers else np.array(values, dtype=object)
        data.attrs["coordinates"] = " ".join(name for variables in coordinates.values() for name in variables)
        data.attrs["identifier"] = f"{recording.subject} {split}, predicted by {model}"


def _regions(recording: Recording) -> list[str]:
    """Names of each target's ROIs."""
    names: list[list[str]] = [[] for _ in range(recording.num_targets)]
    for roi in recording.rois:
        for target in roi.targets:
            names[int(target)].append(roi.name)
    return [";".join(own) for own in names]
