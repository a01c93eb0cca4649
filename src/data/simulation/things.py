"""Images as the THINGS database has them: photographs of objects, several of each concept in a folder of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from .planted import Signals, Truth, luminance
from .procedural import CATEGORIES, ObjectTable, place_objects, render_image
from .subject import check_flags

TESTS = 100
"""Test images of the data sets that show THINGS, and the most that are written."""

_EXEMPLARS = 12  # training images of a concept, as in these data sets
_SIZE = 128  # pixels on a side
_OBJECTS, _TEXTURES = 100, 101  # streams of randomness, apart from those of subjects
_CHUNK = 64  # images whose signals are computed at a time


@dataclass(frozen=True)
class ThingsImages:
    """Training images, sorted by name, then test images.

    Args:
        train: How many training images.
        seed: Determines them.
    """

    train: int
    seed: int

    @property
    def test(self) -> int:
        return min(TESTS, self.train // 5)

    @cached_property
    def objects(self) -> ObjectTable:
        return place_objects(self.train + self.test, (self.seed, 0, _OBJECTS))

    @cached_property
    def drawn(self) -> np.ndarray:
        """Which row of the table each image shows, int64 (train + test,)."""
        return np.concatenate([np.argsort(self._unsorted[: self.train]), self.train + np.arange(self.test)])

    @cached_property
    def names(self) -> list[str]:
        """Concept and file of each image, such as "face2/face2_01b.jpg"."""
        return self._unsorted[self.drawn].tolist()

    @cached_property
    def _unsorted(self) -> np.ndarray:
        """Names by row of the table: the objects of one category, dozen by dozen, are concepts."""
        names = np.empty(self.train + self.test, dtype=object)
        for category, word in enumerate(CATEGORIES):
            own = np.flatnonzero(self.objects.category == category)
            for letter, rows in (("b", own[own < self.train]), ("s", own[own >= self.train])):
                for place, row in enumerate(rows):
                    concept = f"{word}{place // _EXEMPLARS + 1}"
                    names[row] = f"{concept}/{concept}_{place % _EXEMPLARS + 1:02d}{letter}.jpg"
        return names

    def write(self, folder: Path) -> None:
        """Write `object_images/CONCEPT/FILE`."""
        for name, image in zip(self.names, self._rendered(), strict=True):
            path = folder / "object_images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=95)

    def signals(self, truth: Truth) -> np.ndarray:
        """Noiseless responses, float32 (train + test, targets), of mean 0 and variance 1 in each of the two parts."""
        signals = np.concatenate(list(self._raw(truth))).astype(np.float64)
        parts = (signals[: self.train], signals[self.train :])
        return np.concatenate([(own - own.mean(axis=0)) / own.std(axis=0) for own in parts]).astype(np.float32)

    def _raw(self, truth: Truth) -> Iterator[np.ndarray]:
        respond, objects = Signals(truth), self.objects
        for start in range(0, len(self.drawn), _CHUNK):
            own = np.arange(start, min(start + _CHUNK, len(self.drawn)))
            rows = self.drawn[own]
            yield respond(
                self._luminances[own], ObjectTable(objects.category[rows], objects.centre[rows], objects.size[rows])
            )

    @cached_property
    def _luminances(self) -> np.ndarray:
        """What the models look at: they are many, and all see the same."""
        return np.stack([luminance(image) for image in self._rendered()])

    def _rendered(self) -> Iterator[np.ndarray]:
        for row in self.drawn.tolist():
            yield render_image(self.objects, row, _SIZE, (self.seed, 0, _TEXTURES))


def check_things_flags(images: int, targets: int, subjects: int, seed: int, most: int) -> None:
    """Check the flags of a data set that shows THINGS.

    Args:
        images: To train on.
        targets: See `check_flags`.
        subjects: How many are wanted.
        seed: See `check_flags`.
        most: Subjects that the data set has.

    Raises:
        InputError: A number is out of range.
    """
    check_flags("--", targets, seed)
    if not 20 <= images <= 9_999:
        raise InputError(f"--images: expected 20 to 9999, found {images}")
    if not 1 <= subjects <= most:
        raise InputError(f"--subjects: expected 1 to {most}, as the data set has, found {subjects}")
