"""Writes simulated subjects as LAION-fMRI is downloaded: BIDS derivatives of GLMsingle, with their quirks.

Shared images are shown three or four times, others once or twice. Every second session is stored as whole numbers with
a scale, where NaN has become almost 0; the others hold floats and NaN. One session's betas are not there, though its
table is. Noise ceilings are those of 4, of 12 and of all repeats. ROIs lie beside maps of other spaces and
resolutions, one of them as an atlas; images are JPEG files packed into one, whose table has an order of its own.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from ...errors import InputError
from .cortex import ROI_CLASSES, Patch
from .planted import Signals, Truth, luminance, plant
from .procedural import ObjectTable, place_objects, render_image
from .subject import check_flags, visual_patches

SESSIONS, RUNS, SUBJECTS = 6, 4, 8
MISSING_SESSION = 4
NAN_SESSION, ALMOST_SESSION = 2, 5
"""Sessions in which some voxels were outside the scanner's view, of floats and of whole numbers."""
NAN_VOXELS = 5
"""That many in each of the two sessions."""
BLANKS = 60
"""Voxels of the brain beside the targets, which see nothing; those that are not measured are among them."""
SPLITS = ("tau", "ood", *(f"cluster_k5_{fold}" for fold in range(5)))

_SIZE = 128  # pixels on a side
_OBJECTS, _TEXTURES, _ORDER, _TARGETS, _TRIALS, _VOXELS = range(6)  # independent streams of randomness
_SLOPE, _INTERCEPT = 0.002, 0.7
_STEM = "task-images_space-T1w"
_AFFINE = np.array([[-1.8, 0, 0, 60], [0, 1.8, 0, -80], [0, 0, 1.8, -40], [0, 0, 0, 1]])


def write_betas(folder: Path, images: int, targets: int, subjects: int, seed: int) -> dict[str, Truth]:
    """Write a tree.

    Args:
        folder: Where.
        images: Of each subject; a third of them are the shared ones.
        targets: Voxels of visual cortex.
        subjects: From 1 to 8.
        seed: Determines everything.

    Returns:
        What drives each subject's voxels, by its name. The noise ceiling is that of a single trial.

    Raises:
        InputError: A number is out of range.
    """
    check_flags("--", targets, seed)
    if not 1 <= subjects <= SUBJECTS:
        raise InputError(f"--subjects: expected 1 to {SUBJECTS}, found {subjects}")
    if not 30 <= images <= 9_999:
        raise InputError(f"--images: expected 30 to 9999, found {images}")
    pool = _Pool(images, subjects, seed)
    pool.write(folder)
    truths = {}
    for number in range(1, subjects + 1):
        subject = _Subject(folder, pool, number, visual_patches(targets))
        subject.write()
        truths[subject.name] = subject.truth
    return truths


@dataclass(frozen=True)
class _Pool:
    """The images of all subjects: the shared ones, then each subject's own."""

    images: int
    subjects: int
    seed: int

    @property
    def shared(self) -> int:
        return self.images // 3

    @property
    def own(self) -> int:
        return self.images - self.shared

    @cached_property
    def names(self) -> list[str]:
        """File names: a third of the shared images are unusual ones."""
        kinds = ["OOD_shape" if row % 3 == 2 else "LAION_cluster" for row in range(self.shared)]
        shared = [f"shared_4rep_{kind}_{row}_i0.jpg" for row, kind in enumerate(kinds)]
        own = (
            f"unique_sub-{subject:02d}_LAION_cluster_{row}_i0.jpg"
            for subject in range(1, self.subjects + 1)
            for row in range(self.own)
        )
        return [*shared, *own]

    def of(self, subject: int) -> np.ndarray:
        """A subject's images, the shared ones first, int64 (images,)."""
        start = self.shared + (subject - 1) * self.own
        return np.concatenate([np.arange(self.shared), np.arange(start, start + self.own)])

    @cached_property
    def objects(self) -> ObjectTable:
        return place_objects(len(self.names), (self.seed, 0, _OBJECTS))

    def render(self, row: int) -> np.ndarray:
        return render_image(self.objects, row, _SIZE, (self.seed, 0, _TEXTURES))

    @cached_property
    def _rendered(self) -> list[tuple[bytes, np.ndarray]]:
        """The JPEG file of each image, and its luminance."""
        rendered = []
        for row in range(len(self.names)):
            image, content = self.render(row), BytesIO()
            Image.fromarray(image).save(content, "JPEG", quality=95)
            rendered.append((content.getvalue(), luminance(image)))
        return rendered

    def luminances(self, rows: np.ndarray) -> np.ndarray:
        """What the models look at, of some images."""
        return np.stack([self._rendered[row][1] for row in rows.tolist()])

    def write(self, folder: Path) -> None:
        """Write `stimuli/` and `splits/`."""
        import h5py

        stimuli = folder / "stimuli"
        stimuli.mkdir()
        order = np.random.default_rng((self.seed, 0, _ORDER)).permutation(len(self.names)).tolist()
        with h5py.File(stimuli / "task-images_stimuli.h5", "w") as file:
            packed = file.create_dataset("images", (len(order),), dtype=h5py.vlen_dtype(np.uint8))
            for place, row in enumerate(order):
                packed[place] = np.frombuffer(self._rendered[row][0], dtype=np.uint8)
        rows = [(self.names[row], "LAION", "shared" if row < self.shared else "unique") for row in order]
        _write_table(stimuli / "task-images_metadata.csv", ("image_name", "dataset", "unique_or_shared"), rows)
        pools = {"shared": np.arange(self.shared), **{f"sub-{n:02d}": self.of(n) for n in range(1, self.subjects + 1)}}
        for pool, images in pools.items():
            (folder / "splits" / pool).mkdir(parents=True)
            for split in SPLITS:
                path = folder / "splits" / pool / f"{split}.json"
                path.write_text(json.dumps(self._split(split, images)))

    def _split(self, split: str, images: np.ndarray) -> dict[str, object]:
        """Test images are shared ones, which have repeats; the unusual ones are in the split ood alone."""
        names = [self.names[row] for row in images]
        unusual = [name for name in names if "_OOD_" in name]
        usual = [name for name in names if "_OOD_" not in name]
        shared = [name for name in usual if name.startswith("shared")]
        fold = int(split[-1]) if split.startswith("cluster") else 0
        test = unusual if split == "ood" else shared[fold::5] if split.startswith("cluster") else shared[::3]
        train = [name for name in usual if name not in test]
        variant = {"variant_id": 0, "train_ids": train, "test_ids": test}
        return {"name": split, "n_train": len(train), "n_test": len(test), "variants": [variant]}


@dataclass(frozen=True)
class _Subject:
    """One subject's files."""

    root: Path
    pool: _Pool
    number: int
    patches: list[Patch]

    @property
    def name(self) -> str:
        return f"sub-{self.number:02d}"

    @property
    def folder(self) -> Path:
        return self.root / "derivatives" / "glmsingle-tedana" / self.name

    def rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self.pool.seed, self.number, *stream))

    @cached_property
    def truth(self) -> Truth:
        return plant(self.patches, (self.pool.seed, self.number, _TARGETS))

    @cached_property
    def shown(self) -> list[np.ndarray]:
        """Places in the subject's list that each session showed, in order."""
        rng = self.rng(_TRIALS)
        repeats = np.r_[rng.integers(3, 5, self.pool.shared), rng.integers(1, 3, self.pool.own)]
        return np.array_split(rng.permutation(np.repeat(np.arange(self.pool.images), repeats)), SESSIONS)

    def write(self) -> None:
        self._write_maps()
        signals = self._signals()
        single = np.r_[self.truth.noise_ceiling, np.zeros(BLANKS)]
        for session, shown in enumerate(self.shown, start=1):
            rng = self.rng(_TRIALS, session)
            rows = np.sqrt(single) * signals[shown]
            rows = rows + np.sqrt(1 - single) * rng.standard_normal(rows.shape)
            # Sessions differ in level and gain, in per cent signal change.
            level, gain = rng.uniform(-1, 2, len(single)), rng.uniform(0.6, 1.6, len(single))
            self._write_session(session, shown, level + gain * rows)

    def _signals(self) -> np.ndarray:
        """Noiseless responses to the subject's images, of mean 0 and variance 1; blanks see nothing."""
        own, objects = self.pool.of(self.number), self.pool.objects
        table = ObjectTable(objects.category[own], objects.centre[own], objects.size[own])
        raw = Signals(self.truth)(self.pool.luminances(own), table).astype(np.float64)
        return np.pad((raw - raw.mean(axis=0)) / raw.std(axis=0), ((0, 0), (0, BLANKS)))

    def _write_session(self, session: int, shown: np.ndarray, betas: np.ndarray) -> None:
        """Betas (trials, voxels) and their table."""
        folder = self.folder / f"ses-{session:02d}" / "func"
        folder.mkdir(parents=True)
        stem = f"{self.name}_ses-{session:02d}"
        if session in (NAN_SESSION, ALMOST_SESSION):
            betas[:, self._unseen(session)] = np.nan
        volume = np.zeros((*self._shape, len(betas)))
        volume[tuple(self._voxels.T)] = betas.T
        if session != MISSING_SESSION:
            path = folder / f"{stem}_{_STEM}_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
            _save(path, volume, whole=session % 2 == 1)
        if session == 1:  # as LAION-fMRI has for each session; it is not the subject's
            ceiling = self._in_volume(np.full(len(self._voxels), 7.0))
            _save(folder / f"{stem}_{_STEM}_desc-Noiseceiling_statmap.nii.gz", ceiling)
        labels = [self.pool.names[row] for row in self.pool.of(self.number)[shown]]
        rows = [
            (f"ses-{session:02d}", f"run-{place * RUNS // len(labels) + 1:02d}", place, label)
            for place, label in enumerate(labels)
        ]
        order = self.rng(_ORDER, session).permutation(len(rows)) if session == 2 else range(len(rows))
        path = folder / f"{stem}_task-images_desc-SingletrialBetas_trials.tsv"
        _write_table(path, ("session", "run", "beta_index", "label"), [rows[int(row)] for row in order])

    def _unseen(self, session: int) -> np.ndarray:
        first = len(self.truth.model) + (0 if session == NAN_SESSION else NAN_VOXELS)
        return np.arange(first, first + NAN_VOXELS)

    def _write_maps(self) -> None:
        self.folder.mkdir(parents=True)
        brain = self._in_volume(np.ones(len(self._voxels)))
        _save(self.folder / f"{self.name}_{_STEM}_desc-brain_mask.nii.gz", brain.astype(np.uint8))
        fit = self._in_volume(self.rng(_VOXELS, 1).uniform(5, 60, len(self._voxels)))
        _save(self.folder / f"{self.name}_{_STEM}_stat-rsquare_desc-R2mean_statmap.nii.gz", fit)
        single = np.r_[self.truth.noise_ceiling, np.zeros(BLANKS)]
        every = float((1 / np.bincount(np.concatenate(self.shown))).mean())
        for word, noise in (("4rep", 1 / 4), ("12rep", 1 / 12), ("Allrep", every)):
            ceiling = self._in_volume(100 * single / (single + (1 - single) * noise))
            _save(self.folder / f"{self.name}_{_STEM}_desc-Noiseceiling{word}_statmap.nii.gz", ceiling)
        rois = self.root / "derivatives" / "rois" / self.name
        labels = {name: np.concatenate([patch.labels[name] for patch in self.patches]) for name in ROI_CLASSES}
        for roi_class, names in ROI_CLASSES.items():
            folder = rois / roi_class.removeprefix("floc-")
            folder.mkdir(parents=True)
            own = np.pad(labels[roi_class], (0, BLANKS))
            if roi_class == "streams":
                path = folder / f"{self.name}_space-T1w_res-1pt8_desc-streams_dseg.nii.gz"
                _save(path, self._in_volume(own).astype(np.int16))
                rows = list(enumerate(("Unknown", *names)))
                _write_table(path.with_name(path.name.replace(".nii.gz", ".tsv")), ("index", "name"), rows)
                continue
            areas: dict[str, np.ndarray] = {}
            for label, roi in enumerate(names, start=1):
                area = roi.rstrip("vd") if roi_class == "prf-visualrois" else roi
                areas[area] = areas.get(area, np.zeros(len(own), dtype=bool)) | (own == label)
            for area, inside in areas.items():
                mask = self._in_volume(inside).astype(np.uint8)
                _save(folder / f"{self.name}_space-T1w_res-1pt8_label-{area}_mask.nii.gz", mask)
                finer = np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)
                _save(folder / f"{self.name}_space-T1w_res-1pt5_label-{area}_mask.nii.gz", finer)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """Of the volume: no two sizes are equal."""
        side = int(np.ceil((2 * len(self.truth.model) + BLANKS) ** (1 / 3)))
        return side + 1, side + 3, side

    @cached_property
    def _voxels(self) -> np.ndarray:
        """Voxel of each target and blank, int64 (n, 3)."""
        count = len(self.truth.model) + BLANKS
        chosen = self.rng(_VOXELS).permutation(np.prod(self._shape))[:count]
        return np.stack(np.unravel_index(chosen, self._shape), axis=1)

    def _in_volume(self, values: np.ndarray) -> np.ndarray:
        volume = np.zeros(self._shape)
        volume[tuple(self._voxels.T)] = values
        return volume


def _save(path: Path, values: np.ndarray, whole: bool = False) -> None:
    """A NIfTI file of floats or, with a scale in its header, whole numbers."""
    from nibabel.nifti1 import Nifti1Image

    stored = values.astype(np.float32) if values.dtype == np.float64 else values
    if whole:
        stored = np.rint((np.nan_to_num(values) - _INTERCEPT) / _SLOPE).clip(-32768, 32767).astype(np.int16)
    image = Nifti1Image(cast(Any, stored), _AFFINE)
    if whole:
        image.header.set_slope_inter(_SLOPE, _INTERCEPT)
    image.to_filename(path)


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        table.writerow(columns)
        table.writerows(rows)
