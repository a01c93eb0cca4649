"""Gallery: stimuli decoded once, and kept as thumbnails from which all else about them is asked."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from ...recording import Stimuli
from ..digests import digest_bytes
from .symptom import Chart, Symptom

SIDE = 48
"""Pixels on a side of a thumbnail: 12 cycles per image are left to see."""


@dataclass(frozen=True)
class Glimpse:
    """What is kept of one stimulus.

    Args:
        size: Width and height, pixels.
        digest: Of its pixels.
        thumbnail: uint8 (SIDE, SIDE, 3); of a clip the mean over frames.
        motion: float32 (SIDE, SIDE), the mean change from frame to frame; 0 for an image.
        flat: Whether all its pixels are equal, in all frames.
    """

    size: tuple[int, int]
    digest: str
    thumbnail: np.ndarray
    motion: np.ndarray
    flat: bool


class Gallery:
    """The stimuli of a folder or a file.

    Args:
        place: The folder or file.
        stimuli: Each is decoded as a run would decode it.
        fallback: Reads a stimulus that `stimuli` refuses for its length alone; None where there is no such.
    """

    def __init__(self, place: Path, stimuli: Stimuli, fallback: Stimuli | None = None) -> None:
        self.place, self.stimuli = place, stimuli
        self._fallback = fallback
        self.short: list[int] = []
        """Clips of fewer frames than a run reads by default."""

    def __len__(self) -> int:
        return len(self.stimuli)

    def named(self, indices: Iterable[int], most: int = 3) -> str:
        """Some stimuli's names, for a line."""
        names = [self.stimuli.names[index] for index in indices]
        return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

    def path(self, index: int) -> Path:
        """Where one stimulus lies."""
        return self.place / self.stimuli.names[index]

    @cached_property
    def _looked(self) -> list[Glimpse | Symptom]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return list(pool.map(self._look, range(len(self.stimuli))))

    @property
    def glimpses(self) -> list[Glimpse | None]:
        """Of each stimulus; None where it cannot be decoded."""
        return [each if isinstance(each, Glimpse) else None for each in self._looked]

    @property
    def faults(self) -> list[Symptom]:
        """Why those that cannot be decoded cannot."""
        return [each for each in self._looked if isinstance(each, Symptom)]

    @cached_property
    def seen(self) -> np.ndarray:
        """Indices of the stimuli that can be decoded, int64 (n,)."""
        return np.array([index for index, each in enumerate(self.glimpses) if each is not None], dtype=np.int64)

    def _look(self, index: int) -> Glimpse | Symptom:
        chart = Chart()
        pixels = chart.attempt("pictures", self.path(index), lambda: self._read(index))
        if pixels is None:
            return chart.symptoms[0]
        frames = pixels if pixels.ndim == 4 else pixels[None]  # (F, height, width, 3)
        small = np.stack([_thumbnail(frame) for frame in frames])
        return Glimpse(
            size=(frames.shape[2], frames.shape[1]),
            digest=digest_bytes(np.ascontiguousarray(frames).tobytes() + str(frames.shape).encode()),
            thumbnail=np.rint(small.mean(axis=0, dtype=np.float32)).astype(np.uint8),
            motion=np.abs(np.diff(small.astype(np.float32).mean(axis=3), axis=0)).sum(axis=0) / max(len(small) - 1, 1),
            flat=bool((frames == frames[0, 0, 0]).all()),
        )

    def _read(self, index: int) -> np.ndarray:
        try:
            return self.stimuli.read(index)
        except InputError:
            if self._fallback is None:
                raise
            pixels = self._fallback.read(index)  # what is wrong with all of it is raised here
            self.short.append(index)
            return pixels


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """An image or frame (height, width, 3) squeezed to (SIDE, SIDE, 3)."""
    return np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))
