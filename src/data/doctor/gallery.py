"""Gallery: stimuli decoded once, and kept as thumbnails from which all else about them is asked."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from ...recording import Stimuli
from ..digests import digest_bytes
from .features import simple_features
from .glimpse import SIDE, Glimpse
from .symptom import Chart, Symptom

_STILL = np.zeros((SIDE, SIDE), dtype=np.float32)
"""The motion of every image."""


class Gallery:
    """The stimuli of a folder or a file.

    Args:
        place: The folder or file.
        stimuli: Each is decoded as a run would decode it.
        shorter: Read a clip that `stimuli` refuses for its length alone, with ever fewer frames.
        shows: Which image each is, int64 (n,), where trials show some several times.
    """

    def __init__(
        self, place: Path, stimuli: Stimuli, shorter: Sequence[Stimuli] = (), shows: np.ndarray | None = None
    ) -> None:
        self.place, self.stimuli = place, stimuli
        self._shorter = shorter
        self._shows = np.arange(len(stimuli)) if shows is None else shows
        self.short: dict[int, Symptom] = {}
        """Clips of fewer frames than a run reads by default, and what it would say of them."""

    def __len__(self) -> int:
        return len(self.stimuli)

    def named(self, indices: Iterable[int], most: int = 3) -> str:
        """Some stimuli's names, for a line."""
        names = [self.stimuli.names[index] for index in indices]
        return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

    @cached_property
    def firsts(self) -> set[int]:
        """Indices of the stimuli that are no further trial of an image."""
        return set(np.unique(self._shows, return_index=True)[1].tolist())

    def path(self, index: int) -> Path:
        """Where one stimulus lies."""
        return self.place / self.stimuli.names[index]

    @cached_property
    def _looked(self) -> list[Glimpse | Symptom]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return list(pool.map(self._look, range(len(self.stimuli))))

    @cached_property
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

    @cached_property
    def features(self) -> np.ndarray:
        """Simple features of each stimulus, float32 (n, d); those of the first where one cannot be decoded.

        Raises:
            InputError: None can be decoded.
        """
        first = next((each for each in self.glimpses if each is not None), None)
        if first is None:
            raise InputError(f"{self.place}: expected stimuli that can be decoded, found none; copy them again")
        return simple_features([each or first for each in self.glimpses])

    def _look(self, index: int) -> Glimpse | Symptom:
        chart = Chart()
        pixels = chart.attempt("pictures", self.path(index), lambda: self._read(index))
        if pixels is None:
            return chart.symptoms[0]
        frames = pixels if pixels.ndim == 4 else pixels[None]  # (F, height, width, 3)
        small = np.stack([_thumbnail(frame) for frame in frames])
        change = np.abs(np.diff(small.astype(np.float32).mean(axis=3), axis=0))
        return Glimpse(
            size=(frames.shape[2], frames.shape[1]),
            digest=digest_bytes(np.ascontiguousarray(frames).tobytes() + str(frames.shape).encode()),
            thumbnail=np.rint(small.mean(axis=0, dtype=np.float32)).astype(np.uint8),
            motion=change.mean(axis=0) if len(change) else _STILL,
            flat=bool((frames == frames[0, 0, 0]).all()),
        )

    def _read(self, index: int) -> np.ndarray:
        refused = None
        for stimuli in (self.stimuli, *self._shorter):
            try:
                pixels = stimuli.read(index)
            except InputError as error:
                refused = refused or error
                continue
            if refused:
                self.short[index] = Symptom.of("pictures", refused)
            return pixels
        raise refused or InputError(f"{self.path(index)}: expected a stimulus, found none; put it there")


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """An image or frame (height, width, 3) squeezed to (SIDE, SIDE, 3)."""
    return np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))
