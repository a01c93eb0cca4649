"""The experiment of a simulated Natural Scenes Dataset: its images, and in which trial which of them is shown."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .planted import luminance
from .procedural import ObjectTable, place_objects, render_image

SESSIONS, REPEATS = 8, 3

_SIZE = 425  # pixels on a side
_HEIGHT, _WIDTH = 714, 1360  # of images of NSD-synthetic
_UNUSED = 7  # images of the file that nobody saw
_OBJECTS, _TEXTURES, _ORDER = range(3)  # independent streams of randomness


@dataclass(frozen=True)
class Experiment:
    """What all subjects have in common: the images, and in which trial which of a subject's images is shown."""

    images: int
    subjects: int
    seed: int

    @property
    def trials_per_session(self) -> int:
        return self.images * REPEATS // SESSIONS

    @property
    def shared(self) -> int:
        return self.images // 10

    @property
    def pool(self) -> int:
        """Images of the file."""
        return _UNUSED + self.shared + self.subjects * (self.images - self.shared)

    def rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, 0, *stream))

    @cached_property
    def objects(self) -> ObjectTable:
        return place_objects(self.pool, (self.seed, 0, _OBJECTS))

    @cached_property
    def ids(self) -> np.ndarray:
        """Image of each subject's list, from 0, int64 (subjects, images); the shared ones come first."""
        order = self.rng(_ORDER).permutation(self.pool)
        shared, rest = np.sort(order[: self.shared]), order[self.shared :]
        own = rest[: self.subjects * (self.images - self.shared)].reshape(self.subjects, -1)
        return np.concatenate([np.tile(shared, (self.subjects, 1)), own], axis=1)

    @cached_property
    def order(self) -> np.ndarray:
        """Place in a subject's list that each trial shows, from 0, int64 (trials,)."""
        rng = self.rng(_ORDER, 1)
        # Some images, shared ones too, are shown in the last three sessions alone: the challenge tests on them.
        late = np.arange(self.images)[self.shared - 1 :: 7][: self.images // 8]
        last = rng.permutation(3 * self.trials_per_session)[: len(late) * REPEATS]
        order = np.full(self.images * REPEATS, -1)
        order[len(order) - 1 - last] = np.repeat(late, REPEATS)
        order[order < 0] = rng.permutation(np.repeat(np.setdiff1d(np.arange(self.images), late), REPEATS))
        return order

    def write(self, folder: Path) -> None:
        import h5py
        from scipy.io import savemat

        design = folder / "nsddata" / "experiments" / "nsd"
        design.mkdir(parents=True)
        shared = self.ids[:1, : self.shared]
        savemat(
            design / "nsd_expdesign.mat",
            {
                "masterordering": (self.order[None] + 1).astype(np.float64),  # MATLAB's numbers are doubles
                "subjectim": (self.ids + 1).astype(np.float64),
                "sharedix": (shared + 1).astype(np.float64),
            },
        )
        stimuli = folder / "nsddata_stimuli" / "stimuli" / "nsd"
        stimuli.mkdir(parents=True)
        with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as file:
            brick = file.create_dataset("imgBrick", (self.pool, _SIZE, _SIZE, 3), dtype=np.uint8)
            for index in range(self.pool):
                brick[index] = self.render(index)

    @property
    def synthetic(self) -> int:
        """Images of NSD-synthetic that all subjects see; each sees a third as many of its own beside them."""
        return max(9, self.images // 10)

    @cached_property
    def synthetic_order(self) -> np.ndarray:
        """Image of each trial of NSD-synthetic, from 0, int64 (trials,): shown twice, four or ten times."""
        count = self.synthetic + self.synthetic // 3
        repeats = np.full(count, 2)
        repeats[::5], repeats[1::11] = 4, 10
        return self.rng(_ORDER, 2).permutation(np.repeat(np.arange(count), repeats))

    def write_synthetic(self, folder: Path) -> None:
        import h5py
        from scipy.io import savemat

        design = folder / "nsddata" / "experiments" / "nsdsynthetic"
        design.mkdir(parents=True)
        savemat(
            design / "nsdsynthetic_expdesign.mat",
            {"masterordering": (self.synthetic_order[None] + 1).astype(np.float64)},
        )
        count = self.synthetic + self.synthetic // 3
        with (design / "nsdsyntheticimageinformation.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("Image number", "Image class"))
            table.writerows((number + 1, ("noise", "natural", "contrast")[number % 3]) for number in range(count))
        stimuli = folder / "nsddata_stimuli" / "stimuli" / "nsdsynthetic"
        stimuli.mkdir(parents=True)
        own = {f"colorstimuli_subj{number:02d}": range(self.synthetic, count) for number in range(1, self.subjects + 1)}
        for name, images in {"stimuli": range(self.synthetic), **own}.items():
            with h5py.File(stimuli / f"nsdsynthetic_{name}.hdf5", "w") as file:
                brick = file.create_dataset("imgBrick", (len(images), _HEIGHT, _WIDTH, 3), dtype=np.uint8)
                for row, index in enumerate(images):
                    brick[row] = _wide_linear(self.render_synthetic(index))

    def render_synthetic(self, index: int) -> np.ndarray:
        """An image of NSD-synthetic as networks get it, uint8 (714, 714, 3)."""
        return render_image(self.synthetic_objects, index, _HEIGHT, (self.seed, 1, _TEXTURES))

    @cached_property
    def synthetic_objects(self) -> ObjectTable:
        return place_objects(self.synthetic + self.synthetic // 3, (self.seed, 1, _OBJECTS))

    def render(self, index: int) -> np.ndarray:
        return render_image(self.objects, index, _SIZE, (self.seed, 0, _TEXTURES))

    def luminances(self, indices: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some of the images at a time: which, and their luminance."""
        for start in range(0, len(indices), 64):
            own = indices[start : start + 64]
            yield own, np.stack([luminance(self.render(int(index))) for index in own])


def _wide_linear(image: np.ndarray) -> np.ndarray:
    """An image (714, 714, 3) in the middle of a wide grey one, in linear light, uint8 (714, 1360, 3)."""
    wide = np.full((_HEIGHT, _WIDTH, 3), 127, dtype=np.uint8)
    left = (_WIDTH - _HEIGHT) // 2
    wide[:, left : left + _HEIGHT] = np.rint(np.square(image / 255) * 255)
    return wide
