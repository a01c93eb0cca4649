"""Writes simulated subjects as THINGS-fMRI's tables are downloaded, with their quirks.

Responses are a pandas frame in HDF5, one row per voxel and one column per trial. Sessions differ in level and gain.
Each test image is shown once in each of twelve sessions, but for some that a session lost. Ceilings are in per cent.
Some voxels see nothing and are in no ROI but a parcel, and one was outside the scanner's view in one session.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .cortex import ROI_CLASSES, Patch
from .planted import Truth, plant
from .subject import visual_patches
from .things import ThingsImages, check_things_flags

SESSIONS, RUNS = 12, 10
SUBJECTS = 3
NAN_SESSION = 3
BLANKS = 20
"""Voxels beside the targets: the last of them is NaN in one session."""

_LOST = 0.05  # share of test trials that are missing
_TARGETS, _TRIALS = range(2)  # independent streams of randomness


def write_things_fmri(folder: Path, images: int, targets: int, subjects: int, seed: int) -> dict[str, Truth]:
    """Write a tree.

    Args:
        folder: Where.
        images: That were shown once, to train on; a fifth as many test images come on top, 100 at most, which were
            shown twelve times.
        targets: Voxels of visual cortex.
        subjects: From 1 to 3.
        seed: Determines everything.

    Returns:
        What drives each subject's voxels, by its name. The noise ceiling is that of a single trial.

    Raises:
        InputError: A number is out of range.
    """
    check_things_flags(images, targets, subjects, seed, SUBJECTS)
    things = ThingsImages(images, seed)
    things.write(folder)
    (folder / "betas_csv").mkdir()
    truths = {}
    for number in range(1, subjects + 1):
        subject = _Subject(folder / "betas_csv", things, number, visual_patches(targets))
        subject.write()
        truths[subject.name] = subject.truth
    return truths


@dataclass(frozen=True)
class _Trial:
    """What was shown, and when."""

    session: int
    run: int
    image: int
    test: bool


@dataclass(frozen=True)
class _Subject:
    """One subject's tables."""

    folder: Path
    things: ThingsImages
    number: int
    patches: list[Patch]

    @property
    def name(self) -> str:
        return f"sub-{self.number:02d}"

    @cached_property
    def truth(self) -> Truth:
        return plant(self.patches, (self.things.seed, self.number, _TARGETS))

    @cached_property
    def trials(self) -> list[_Trial]:
        """In the order of presentation; an image's session is drawn."""
        rng = np.random.default_rng((self.things.seed, self.number, _TRIALS))
        sessions = rng.permutation(np.arange(self.things.train) % SESSIONS)
        found = []
        for session in range(SESSIONS):
            shown = [(int(image), False) for image in np.flatnonzero(sessions == session)]
            kept = rng.random(self.things.test) >= _LOST
            shown += [(self.things.train + int(image), True) for image in np.flatnonzero(kept)]
            order = rng.permutation(len(shown))
            found += [
                _Trial(session + 1, place * RUNS // len(shown) + 1, *shown[row]) for place, row in enumerate(order)
            ]
        return found

    def write(self) -> None:
        """Write the three files."""
        self._write_trials()
        self._write_voxels()
        voxels = len(self.truth.model) + BLANKS
        write_frame(self.folder / f"{self.name}_ResponseData.h5", np.arange(voxels), self._responses())

    def _responses(self) -> np.ndarray:
        """Of each voxel in each trial, float64 (voxels, trials)."""
        rng = np.random.default_rng((self.things.seed, self.number, _TRIALS, 1))
        ceiling = np.r_[self.truth.noise_ceiling, np.zeros(BLANKS)]
        signals = np.pad(self.things.signals(self.truth), ((0, 0), (0, BLANKS)))
        responses = np.empty((len(ceiling), len(self.trials)))
        session = np.array([trial.session for trial in self.trials])
        image = np.array([trial.image for trial in self.trials])
        for number in range(1, SESSIONS + 1):
            own = np.flatnonzero(session == number)
            noise = rng.standard_normal((len(own), len(ceiling)))
            rows = np.sqrt(ceiling) * signals[image[own]] + np.sqrt(1 - ceiling) * noise
            level, gain = rng.uniform(-1, 2, len(ceiling)), rng.uniform(0.6, 1.6, len(ceiling))
            responses[:, own] = (level + gain * rows).T
        responses[-1, session == NAN_SESSION] = np.nan
        return responses

    def _write_trials(self) -> None:
        columns = ("trial_type", "session", "run", "subject_id", "trial_id", "stimulus", "concept")
        names = [self.things.names[trial.image].split("/") for trial in self.trials]
        rows = (
            ("test" if trial.test else "train", trial.session, trial.run, self.number, number, stimulus, concept)
            for number, (trial, (concept, stimulus)) in enumerate(zip(self.trials, names, strict=True))
        )
        _write_table(self.folder / f"{self.name}_StimulusMetadata.csv", columns, rows)

    def _write_voxels(self) -> None:
        rois = self._rois()
        count = len(self.truth.model) + BLANKS
        side = int(np.ceil(count ** (1 / 3)))
        places = np.stack(np.unravel_index(np.arange(count), (side, side + 1, side + 2)), axis=1)
        single = np.r_[self.truth.noise_ceiling, np.zeros(BLANKS)]
        averaged = single / (single + (1 - single) / SESSIONS)
        columns = ("voxel_id", "subject_id", "voxel_x", "voxel_y", "voxel_z", "nc_singletrial", "nc_testset")
        table = np.stack(list(rois.values()), axis=1).astype(int)
        rows = (
            (voxel, self.number, *places[voxel], 100 * single[voxel], 100 * averaged[voxel], 0.5, *table[voxel])
            for voxel in range(count)
        )
        _write_table(self.folder / f"{self.name}_VoxelMetadata.csv", (*columns, "prf-rsquared", *rois), rows)

    def _rois(self) -> dict[str, np.ndarray]:
        """Which voxels each column of 0 and 1 names, bool (voxels,): areas of both hemispheres, others of one."""
        labels = {name: np.concatenate([patch.labels[name] for patch in self.patches]) for name in ROI_CLASSES}
        rois: dict[str, np.ndarray] = {}
        for name, members in ROI_CLASSES.items():
            for label, roi in enumerate(members, start=1):
                own = labels[name] == label
                if name == "prf-visualrois":
                    area = roi.rstrip("vd")
                    rois[area] = rois.get(area, False) | own
                elif name.startswith("floc-"):
                    for side in ("lh", "rh"):
                        area = f"{side[0]}{roi.partition('-')[0]}"
                        rois[area] = rois.get(area, False) | (own & (self.truth.hemisphere == side))
        padded = {name: np.pad(members, (0, BLANKS)) for name, members in rois.items() if members.any()}
        return padded | {"glasser-V1": padded["V1"], "glasser-24dd": ~padded["V1"]}


def write_frame(path: Path, ids: np.ndarray, values: np.ndarray) -> None:
    """A frame with `voxel_id` and one column per trial, as pandas writes it in format "fixed".

    Args:
        path: The file.
        ids: int64 (rows,).
        values: (rows, trials).
    """
    import h5py

    trials = [str(number).encode() for number in range(values.shape[1])]
    with h5py.File(path, "w") as file:
        group = file.create_group("ResponseData")
        _say(
            group, CLASS=b"GROUP", TITLE=b"", VERSION=b"1.0", encoding=b"UTF-8", errors=b"strict", pandas_type=b"frame"
        )
        _say(group, axis0_variety=b"regular", axis1_variety=b"regular")
        group.attrs.update({"ndim": 2, "nblocks": 2})
        _array(group, "axis0", np.array([b"voxel_id", *trials]), b"string")
        _array(group, "axis1", np.arange(len(ids)), b"integer")
        for number, (items, block) in enumerate(((trials, values), ([b"voxel_id"], ids[:, None]))):
            _say(group, **{f"block{number}_items_variety": b"regular"})
            _array(group, f"block{number}_items", np.array(items), b"string")
            _array(group, f"block{number}_values", block)


def _array(group: Any, name: str, values: np.ndarray, kind: bytes | None = None) -> None:
    dataset = group.create_dataset(name, data=values)
    _say(dataset, CLASS=b"ARRAY", TITLE=b"", VERSION=b"2.4", FLAVOR=b"numpy")
    dataset.attrs["transposed"] = np.uint8(1)
    if kind is not None:
        _say(dataset, kind=kind)
        dataset.attrs["name"] = np.bytes_(b"N.")  # the pickle of None


def _say(node: Any, **words: bytes) -> None:
    """Attributes as PyTables writes its texts."""
    import h5py

    for name, word in words.items():
        text = np.array(word, dtype=h5py.string_dtype("utf-8", len(word))) if word else h5py.Empty("S1")
        node.attrs.create(name, text)


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
