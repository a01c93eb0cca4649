"""Simulated: a subject whose truth is known, made on the spot; what a bare `train.py` runs on."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from ...atomic import whole_folder
from ...errors import InputError, one_line
from ...names import TEST, UNASSIGNED
from ...recording import Recording, Responses, Roi
from ..digests import digest_bytes
from ..simulation.planted import Truth
from ..simulation.procedural import CATEGORIES
from ..simulation.subject import SimulatedSubject, check_flags, hemisphere_sizes, visual_patches
from .base import Source

GENERATOR_VERSION = 2
"""Raise it with every change to what the generator makes: it is part of a data set's key."""


class Simulated(Source):
    """A simulated subject: procedural images, and responses planted by known models on the fsaverage5 surface.

    Early areas respond to Gabor energy in a receptive field, intermediate ones to pooled texture, category-selective
    ones to the object in the image; noise makes every target's noise ceiling known. `data/simulation/planted.py` tells
    how.
    The data set is made once per setting, in the cache's folder.

    Args:
        images: Training images; validation images are drawn from them.
        test_images: Test images.
        targets: Targets of both hemispheres together.
        image_size: Pixels on a side.
        seed: Determines images, models and noise.
        subject: One subject's number, or a list of several; each has its own images.
        hemisphere: One hemisphere; both where not given.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: A number is out of range.
    """

    def __init__(
        self,
        images: int = 1200,
        test_images: int = 300,
        targets: int = 1000,
        image_size: int = 96,
        seed: int = 0,
        subject: int | list[int] = 1,
        hemisphere: Literal["lh", "rh"] | None = None,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        for flag, value, low in (
            ("images", images, 10),
            ("test_images", test_images, 2),
            ("image_size", image_size, 16),
        ):
            if value < low:
                raise InputError(f"--data.source.{flag}: expected {low} or more, found {value}")
        check_flags("--data.source.", targets, seed)
        self.subjects = [subject] if isinstance(subject, int) else list(subject)
        if not self.subjects or min(self.subjects) < 1 or len(set(self.subjects)) < len(self.subjects):
            raise InputError(f"--data.source.subject: expected different numbers from 1, found {subject}")
        self.images, self.test_images, self.targets = images, test_images, targets
        self.image_size, self.seed, self.hemisphere = image_size, seed, hemisphere
        self.keep_in(Path("cache"))
        left, right = hemisphere_sizes(targets)
        self._columns = {None: slice(0, targets), "lh": slice(0, left), "rh": slice(left, left + right)}[hemisphere]

    @property
    def num_targets(self) -> int:
        return (self._columns.stop - self._columns.start) * len(self.subjects)

    def keep_in(self, cache_dir: Path) -> None:
        self.root = Path(cache_dir) / "simulated"

    def folder(self, subject: int) -> Path:
        """Where a subject's data set lies: images.npy, responses.npy, signal.npy, truth.npz and settings.json."""
        settings = json.dumps(self._settings(subject), sort_keys=True)
        return self.root / f"subj{subject:02d}-{hashlib.blake2b(settings.encode(), digest_size=6).hexdigest()}"

    def truth(self, subject: int) -> Truth:
        """What drives each of a subject's targets, of both hemispheres."""
        return Truth.read(self.folder(subject) / "truth.npz")

    def prepare(self) -> None:
        """Make the data sets that are not there yet.

        Each appears whole or not at all, whenever this is killed; two processes may do it at once.
        """
        for subject in self.subjects:
            folder = self.folder(subject)
            if folder.is_dir():
                continue
            _sweep(folder)
            with whole_folder(folder) as temporary:
                self._make(subject, temporary)

    def read(self) -> Sequence[Recording]:
        self.prepare()
        return [self._read(subject) for subject in self.subjects]

    def _settings(self, subject: int) -> dict[str, int]:
        return {
            "generator_version": GENERATOR_VERSION,
            "images": self.images,
            "test_images": self.test_images,
            "targets": self.targets,
            "image_size": self.image_size,
            "seed": self.seed,
            "subject": subject,
        }

    def _subject(self, number: int) -> SimulatedSubject:
        return SimulatedSubject(visual_patches(self.targets), self.images, self.test_images, self.seed, number)

    def _make(self, number: int, folder: Path) -> None:
        subject = self._subject(number)
        images = np.empty((subject.stimuli, self.image_size, self.image_size, 3), dtype=np.uint8)
        responses = np.empty((subject.stimuli, self.targets), dtype=np.float32)
        for first, rows in subject.make(self.image_size, images.__setitem__, folder / "signal.npy"):
            responses[first : first + len(rows)] = rows
        np.save(folder / "images.npy", images)
        np.save(folder / "responses.npy", responses)
        subject.truth.write(folder / "truth.npz")
        (folder / "settings.json").write_text(json.dumps(self._settings(number), indent=2) + "\n")

    def _read(self, number: int) -> Recording:
        folder, subject = self.folder(number), self._subject(number)
        images = _map(folder / "images.npy", (subject.stimuli, self.image_size, self.image_size, 3))
        responses = _map(folder / "responses.npy", (subject.stimuli, self.targets))
        truth, columns = self.truth(number), self._columns
        patches = [patch for patch in subject.patches if self.hemisphere in (None, patch.hemisphere)]
        starts = np.cumsum([0, *(len(patch.vertices) for patch in patches)])
        rois = [
            Roi(name, patch.hemisphere, targets + start)
            for patch, start in zip(patches, starts[:-1], strict=True)
            for name, targets in patch.rois().items()
        ]
        return Recording(
            subject=subject.name,
            stimuli=ImageArray(images, subject.images),
            responses=Responses.of(responses[:, columns]),
            splits=np.repeat(np.array([UNASSIGNED, TEST]), [subject.images, subject.test_images]),
            hemispheres=truth.hemisphere[columns],
            rois=rois,
            noise_ceiling=truth.noise_ceiling[columns],
            coordinates=np.concatenate([patch.coordinates for patch in patches]),
            vertices=truth.vertex[columns],
            categories=np.array(CATEGORIES)[subject.objects.category],
        )


class ImageArray:
    """Stimuli that lie in one array.

    Args:
        images: uint8 (n_stimuli, height, width, 3).
        training: How many of them, at the start, are training images; the rest are test images.
    """

    frames: int | None = None

    def __init__(self, images: np.ndarray, training: int) -> None:
        self.images = images
        tests = len(images) - training
        self.names = [f"train-{i + 1:05d}" for i in range(training)] + [f"test-{i + 1:05d}" for i in range(tests)]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        """One image, uint8 (height, width, 3)."""
        return np.array(self.images[index])

    def digests(self, memo: Path | None = None) -> list[str]:
        """One hash of its pixels per image."""
        return self._digests

    @cached_property
    def _digests(self) -> list[str]:
        shape = str(self.images.shape[1:]).encode()
        return [digest_bytes(image.tobytes() + shape) for image in self.images]


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-map an array that this source wrote."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected an array {shape}, found {one_line(error)}; delete its folder to make it anew"
        ) from None
    if array.shape != shape:
        raise InputError(f"{path}: expected an array {shape}, found {array.shape}; delete its folder to make it anew")
    return array


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind: temporary folders that nobody has touched for an hour."""
    for path in folder.parent.glob(f".{folder.name}.*.partial"):
        if time.time() - path.stat().st_mtime > 3600:
            shutil.rmtree(path, ignore_errors=True)
