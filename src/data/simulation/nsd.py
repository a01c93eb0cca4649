"""Writes simulated subjects as the Natural Scenes Dataset is downloaded: single trials of sessions, with its quirks.

Subject 1 did the whole experiment. Subjects after it missed the last session, so that their images have one to three
repeats, and their second session is not there, as after a partial download. Ids count from 1 in the design and from 0
in the images' file; volumes are whole numbers, 300 times the per cent signal change, with reversed axes in HDF5; some
vertices are NaN in one session; ROIs lie on each subject's own surface, whose hemispheres differ in size.
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...errors import InputError
from ...fsaverage import MESH_VERTICES
from ...names import HEMISPHERES
from .cortex import ROI_CLASSES, Patch
from .nsd_experiment import REPEATS, SESSIONS, Experiment
from .planted import Signals, Truth, luminance, plant
from .procedural import ObjectTable
from .subject import check_flags, visual_patches

KIND = "betas_fithrf_GLMdenoise_RR"
NAN_VERTICES, NAN_SESSION = 5, 3
"""So many vertices of each hemisphere in nsdgeneral were outside the scanner's view in this session."""

_STORED = 300
_TARGETS, _TRIALS, _SURFACE = range(3)  # independent streams of randomness


def write_nsd(
    folder: Path,
    images: int,
    targets: int,
    subjects: int,
    seed: int,
    synthetic: bool = False,
    surfaces: bool = True,
) -> dict[str, Truth]:
    """Write a tree.

    Args:
        folder: Where.
        images: That each subject was to see three times; a tenth are the shared ones.
        targets: Of both hemispheres together.
        subjects: From 1 to 8.
        seed: Determines everything.
        synthetic: Write NSD-synthetic of the same subjects too: wide images in linear light, a tenth as many as there
            are of the others, and some more of each subject's own.
        surfaces: Write betas on fsaverage beside those in volumes: 1.3 MB for each trial.

    Returns:
        What drives each subject's targets, by its name. The noise ceiling is that of a single trial.

    Raises:
        InputError: A number is out of range.
    """
    check_flags("--", targets, seed)
    if not 1 <= subjects <= 8:
        raise InputError(f"--subjects: expected 1 to 8, found {subjects}")
    if images < 40 or images * REPEATS % SESSIONS:
        raise InputError(f"--images: expected 40 or more, a multiple of {SESSIONS}, found {images}")
    experiment = Experiment(images, subjects, seed)
    experiment.write(folder)
    if synthetic:
        experiment.write_synthetic(folder)
    patches = visual_patches(targets)
    truths = {}
    for number in range(1, subjects + 1):
        subject = _Subject(folder, experiment, number, patches, surfaces)
        subject.write()
        if synthetic:
            subject.write_synthetic()
        truths[subject.name] = subject.truth
    return truths


@dataclass(frozen=True)
class _Subject:
    """One subject's files."""

    root: Path
    experiment: Experiment
    number: int
    patches: list[Patch]
    surfaces: bool

    @property
    def name(self) -> str:
        return f"subj{self.number:02d}"

    @cached_property
    def truth(self) -> Truth:
        return plant(self.patches, (self.experiment.seed, self.number, _TARGETS))

    @property
    def sessions(self) -> int:
        """That the subject did."""
        return SESSIONS if self.number == 1 else SESSIONS - 1

    @cached_property
    def shown(self) -> np.ndarray:
        """Image of each trial that the subject did, from 0."""
        trials = self.sessions * self.experiment.trials_per_session
        return self.experiment.ids[self.number - 1, self.experiment.order[:trials]]

    def rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self.experiment.seed, self.number, *stream))

    def write(self) -> None:
        self._write_behaviour()
        self._write_surface_labels()
        self._write_volume_labels()
        signals = self._signals()
        noise_ceiling = self.truth.noise_ceiling
        snr = np.sqrt(noise_ceiling / (1 - noise_ceiling)).astype(np.float32)
        surface = self._betas("fsaverage")
        for side in HEMISPHERES:
            _save_mgh(surface / f"{side}.ncsnr.mgh", self._on_surface(side, snr))
        _save_nifti(self._betas("func1pt8mm") / "ncsnr.nii.gz", self._in_volume(snr))
        per, share = self.experiment.trials_per_session, np.sqrt(noise_ceiling)
        place = {int(image): row for row, image in enumerate(np.unique(self.shown))}
        for session in range(1, self.sessions + 1):
            if self.number > 1 and session == 2:  # as after a partial download
                continue
            rng = self.rng(_TRIALS, session)
            images = self.shown[(session - 1) * per : session * per]
            rows = signals[[place[int(image)] for image in images]]
            rows = share * rows + np.sqrt(1 - noise_ceiling) * rng.standard_normal(rows.shape, dtype=np.float32)
            # Sessions differ in level and gain, in per cent signal change.
            level, gain = rng.uniform(-1, 2, rows.shape[1]), rng.uniform(0.6, 1.6, rows.shape[1])
            self._write_session(session, (level + gain * rows).astype(np.float32), rng)

    def _signals(self) -> np.ndarray:
        """Noiseless responses to the images that the subject saw, sorted by id, of mean 0 and variance 1."""
        respond, objects = Signals(self.truth), self.experiment.objects
        rows = [
            respond(seen, ObjectTable(objects.category[own], objects.centre[own], objects.size[own]))
            for own, seen in self.experiment.luminances(np.unique(self.shown))
        ]
        signals = np.concatenate(rows).astype(np.float64)
        return ((signals - signals.mean(axis=0)) / signals.std(axis=0)).astype(np.float32)

    def write_synthetic(self) -> None:
        """NSD-synthetic's one session, in which every image is shown to the same model of the subject."""
        order, respond, objects = (
            self.experiment.synthetic_order,
            Signals(self.truth),
            self.experiment.synthetic_objects,
        )
        seen = np.stack([luminance(self.experiment.render_synthetic(index)) for index in range(order.max() + 1)])
        raw = respond(seen, objects).astype(np.float64)
        signals = ((raw - raw.mean(axis=0)) / raw.std(axis=0)).astype(np.float32)
        rng, ceiling = self.rng(_TRIALS, 0), self.truth.noise_ceiling
        noise = rng.standard_normal((len(order), signals.shape[1]), dtype=np.float32)
        betas = (1 + np.sqrt(ceiling) * signals[order] + np.sqrt(1 - ceiling) * noise).astype(np.float32)
        root = self.root / "nsddata_betas" / "ppdata" / self.name
        kind = f"nsdsynthetic{KIND}"
        for side, patch in zip(HEMISPHERES, self.patches, strict=True):
            full = rng.standard_normal((len(betas), MESH_VERTICES[7]), dtype=np.float32)
            full[:, patch.vertices] = betas[:, self.truth.hemisphere == side]
            (root / "fsaverage" / kind).mkdir(parents=True, exist_ok=True)
            _save_mgh(root / "fsaverage" / kind / f"{side}.betas_nsdsynthetic.mgh", full.T)
        volume = np.zeros((*self._shape, len(betas)), dtype=np.int16)
        volume[tuple(self._voxels.T)] = np.rint(_STORED * betas).astype(np.int16).T
        (root / "func1pt8mm" / kind).mkdir(parents=True)
        _save_nifti(root / "func1pt8mm" / kind / "betas_nsdsynthetic.nii.gz", volume)

    def _betas(self, space: str) -> Path:
        folder = self.root / "nsddata_betas" / "ppdata" / self.name / space / KIND
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_session(self, session: int, betas: np.ndarray, rng: np.random.Generator) -> None:
        for side, patch in zip(HEMISPHERES, self.patches, strict=True) if self.surfaces else ():
            folder = self._betas("fsaverage")
            full = rng.standard_normal((len(betas), MESH_VERTICES[7]), dtype=np.float32)  # cortex that sees nothing
            full[:, patch.vertices] = betas[:, self.truth.hemisphere == side]
            if session == NAN_SESSION:
                full[:, self._unseen(patch)] = np.nan
            _save_mgh(folder / f"{side}.betas_session{session:02d}.{'mgz' if session == 1 else 'mgh'}", full.T)
        stored = np.rint(_STORED * np.clip(betas, -100, 100)).astype(np.int16)
        volume = np.zeros((*self._shape, len(betas)), dtype=np.int16)
        volume[tuple(self._voxels.T)] = stored.T
        _save_nifti(self._betas("func1pt8mm") / f"betas_session{session:02d}.nii.gz", volume)
        import h5py

        with h5py.File(self._betas("func1pt8mm") / f"betas_session{session:02d}.hdf5", "w") as file:
            file.create_dataset("betas", data=volume.transpose(3, 2, 1, 0))

    def _unseen(self, patch: Patch) -> np.ndarray:
        """Vertices beside the targets that count to nsdgeneral and are NaN in one session."""
        return np.setdiff1d(np.arange(MESH_VERTICES[7]), patch.vertices)[::997][:NAN_VERTICES]

    def _write_behaviour(self) -> None:
        folder = self.root / "nsddata" / "ppdata" / self.name / "behav"
        folder.mkdir(parents=True)
        per = self.experiment.trials_per_session
        with (folder / "responses.tsv").open("w", newline="") as file:
            table = csv.writer(file, delimiter="\t")
            table.writerow(("SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID"))
            for trial, image in enumerate(self.shown):
                own = int(self.experiment.order[trial]) + 1
                table.writerow((self.number, trial // per + 1, trial % per // 15 + 1, trial % per + 1, image + 1, own))

    def _write_surface_labels(self) -> None:
        """nsdgeneral and nsdgeneralRSC on fsaverage, the other classes on the subject's own surface."""
        freesurfer = self.root / "nsddata" / "freesurfer"
        average, native = freesurfer / "fsaverage" / "label", freesurfer / self.name / "label"
        transforms = self.root / "nsddata" / "ppdata" / self.name / "transforms"
        for folder in (average, native, transforms):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("nsdgeneral", "nsdgeneralRSC"):
            (average / f"{name}.mgz.ctab").write_text(f"0 Unknown\n1  {name}\n")
        for side, patch in zip(HEMISPHERES, self.patches, strict=True):
            splenial = patch.labels["floc-places"] == 1 + ROI_CLASSES["floc-places"].index("RSC")
            general, extra = np.zeros(MESH_VERTICES[7]), np.zeros(MESH_VERTICES[7])
            general[patch.vertices[~splenial]] = 1
            general[self._unseen(patch)] = 1
            extra[patch.vertices[splenial]] = 1
            _save_mgh(average / f"{side}.nsdgeneral.mgz", general)
            _save_mgh(average / f"{side}.nsdgeneralRSC.mgz", extra)
            nearest, count = self._nearest(side, patch)
            _save_mgh(transforms / f"{side}.white-to-fsaverage.mgz", nearest + 1)
            for name, labels in patch.labels.items():
                own = np.zeros(count)
                own[nearest[patch.vertices]] = labels
                _save_mgh(native / f"{side}.{name}.mgz", own)
        for name, names in ROI_CLASSES.items():
            lines = [f"{label}   {roi}\n" for label, roi in enumerate(("Unknown", *names))]
            (native / f"{name}.mgz.ctab").write_text("".join(lines))

    def _nearest(self, side: str, patch: Patch) -> tuple[np.ndarray, int]:
        """The native vertex of each fsaverage vertex, from 0, and how many native vertices there are.

        Each target has a native vertex of its own; the others share vertices without a label.
        """
        rng = self.rng(_SURFACE, HEMISPHERES.index(side))
        count = len(patch.vertices) + 3000 + 100 * HEMISPHERES.index(side)
        own = rng.permutation(count)
        nearest = rng.choice(own[len(patch.vertices) :], MESH_VERTICES[7])
        nearest[patch.vertices] = own[: len(patch.vertices)]
        return nearest, count

    def _write_volume_labels(self) -> None:
        folder = self.root / "nsddata" / "ppdata" / self.name / "func1pt8mm"
        (folder / "roi").mkdir(parents=True)
        brain = self._in_volume(np.ones(len(self._voxels)))
        _save_nifti(folder / "brainmask.nii.gz", brain.astype(np.uint8))
        for name in (*ROI_CLASSES, "nsdgeneral"):
            labels = (
                np.ones(len(self._voxels))
                if name == "nsdgeneral"
                else np.concatenate([patch.labels[name] for patch in self.patches])
            )
            both = self._in_volume(labels, outside=-1)
            _save_nifti(folder / "roi" / f"{name}.nii.gz", both.astype(np.float32))
            for side in HEMISPHERES:
                own = np.where(self.truth.hemisphere == side, labels, -1)
                _save_nifti(folder / "roi" / f"{side}.{name}.nii.gz", self._in_volume(own, -1).astype(np.float32))

    @property
    def _shape(self) -> tuple[int, int, int]:
        """Of the volume: no two sizes are equal."""
        side = int(np.ceil((2 * len(self.truth.model)) ** (1 / 3)))
        return side + 1, side + 3, side

    @cached_property
    def _voxels(self) -> np.ndarray:
        """Voxel of each target, int64 (targets, 3)."""
        chosen = self.rng(_SURFACE, 2).permutation(np.prod(self._shape))[: len(self.truth.model)]
        return np.stack(np.unravel_index(np.sort(chosen), self._shape), axis=1)

    def _in_volume(self, values: np.ndarray, outside: float = 0) -> np.ndarray:
        volume = np.full(self._shape, outside, dtype=np.float64)
        volume[tuple(self._voxels.T)] = values
        return volume

    def _on_surface(self, side: str, values: np.ndarray) -> np.ndarray:
        full = np.zeros(MESH_VERTICES[7], dtype=np.float32)
        full[self.patches[HEMISPHERES.index(side)].vertices] = values[self.truth.hemisphere == side]
        return full


def _save_mgh(path: Path, values: np.ndarray) -> None:
    """Values (vertices,) or (vertices, trials) as FreeSurfer writes them."""
    from nibabel.freesurfer.mghformat import MGHImage

    shaped = values.astype(np.float32).reshape(len(values), 1, 1, *values.shape[1:])
    MGHImage(cast(Any, shaped), np.eye(4)).to_filename(path)


def _save_nifti(path: Path, values: np.ndarray) -> None:
    from nibabel.nifti1 import Nifti1Image

    stored = values.astype(np.float32) if values.dtype == np.float64 else values
    Nifti1Image(cast(Any, stored), np.diag([1.8, 1.8, 1.8, 1.0])).to_filename(path)
