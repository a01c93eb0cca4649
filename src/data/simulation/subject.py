"""A simulated subject: images, and responses whose every part is known, made in bounded memory at any size."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from ...errors import InputError
from ...fsaverage import MESH_VERTICES
from ...names import HEMISPHERES
from .cortex import Patch, visual_patch
from .planted import Signals, Truth, luminance, plant
from .procedural import ObjectTable, place_objects, render_image

_CHUNK = 64  # images whose signals are computed, or rows that get their noise, at a time
_OBJECTS, _TEXTURES, _TARGETS, _NOISE = range(4)  # independent streams of randomness

SaveImage = Callable[[int, np.ndarray], None]


def check_flags(prefix: str, targets: int, seed: int) -> None:
    """Check the flags that all simulated data take.

    Args:
        prefix: What stands before the flags' names, such as "--data.source.".
        targets: Of both hemispheres together.
        seed: See `SimulatedSubject`.

    Raises:
        InputError: A number is out of range.
    """
    limit = 2 * (MESH_VERTICES[7] // 5)  # more of the mesh than that is not visual
    if not 20 <= targets <= limit:
        raise InputError(f"{prefix}targets: expected 20 to {limit} for both hemispheres together, found {targets}")
    if seed < 0:
        raise InputError(f"{prefix}seed: expected 0 or more, found {seed}")


def hemisphere_sizes(targets: int) -> tuple[int, int]:
    """How many of all targets are in the left and in the right hemisphere; 39,548 are 19,004 and 20,544."""
    left = round(targets * 19_004 / 39_548)
    return left, targets - left


def visual_patches(targets: int) -> list[Patch]:
    """The visual targets of both hemispheres, left first."""
    return [visual_patch(side, size) for side, size in zip(HEMISPHERES, hemisphere_sizes(targets), strict=True)]


@dataclass(frozen=True)
class SimulatedSubject:
    """One simulated subject.

    Args:
        patches: Its targets, left hemisphere first.
        images: How many training images; they come first.
        test_images: How many test images.
        seed: 0 or more; determines everything, together with `number`.
        number: 1-based; subjects of one seed differ in images, models and noise.
    """

    patches: list[Patch]
    images: int
    test_images: int
    seed: int
    number: int

    @property
    def name(self) -> str:
        return f"subj{self.number:02d}"

    @property
    def stimuli(self) -> int:
        return self.images + self.test_images

    @property
    def truth(self) -> Truth:
        return plant(self.patches, self._stream(_TARGETS))

    @property
    def objects(self) -> ObjectTable:
        """What each image shows, training images first."""
        return place_objects(self.stimuli, self._stream(_OBJECTS))

    def _stream(self, purpose: int) -> tuple[int, ...]:
        return (self.seed, self.number, purpose)

    def make(self, image_size: int, save: SaveImage, signal_file: Path) -> Iterator[tuple[int, np.ndarray]]:
        """Render all images, save them, and respond to them; memory is bounded at any size.

        Args:
            image_size: Pixels on a side.
            save: Called with each image's index and pixels, uint8 (image_size, image_size, 3); from several threads.
            signal_file: Where to write the noiseless signals, float32 (n_stimuli, n_targets), of mean 0 and
                variance 1 over the stimuli; an .npy file.

        Yields:
            The first stimulus and the responses, float32 (n, n_targets), of one run of stimuli after another.
        """
        truth, raw = self.truth, signal_file.with_suffix(".raw.npy")
        shape = (self.stimuli, len(truth.model))
        shift = total = squares = np.float64(0)
        with RowWriter(raw, shape) as rows:
            for signals in self._signals(truth, image_size, save):
                if not len(rows):
                    shift = signals.mean(axis=0, dtype=np.float64)
                rows.append(signals)
                total = total + (signals - shift).sum(axis=0)
                squares = squares + np.square(signals - shift).sum(axis=0)
        mean = shift + total / self.stimuli
        deviation = np.sqrt(squares / self.stimuli - np.square(total / self.stimuli))

        share, rest = np.sqrt(truth.noise_ceiling), np.sqrt(1 - truth.noise_ceiling)
        with RowWriter(signal_file, shape) as rows:
            for first in range(0, self.stimuli, _CHUNK):
                # Opened anew for each chunk, so that pages already read do not stay in memory.
                chunk = np.array(np.load(raw, mmap_mode="r", allow_pickle=False)[first : first + _CHUNK])
                signals = ((chunk - mean) / deviation).astype(np.float32)
                rows.append(signals)
                noise = np.stack([self._noise(first + row, shape[1]) for row in range(len(signals))])
                yield first, (share * signals + rest * noise).astype(np.float32)
        raw.unlink()

    def _signals(self, truth: Truth, image_size: int, save: SaveImage) -> Iterator[np.ndarray]:
        """Signals of one run of images after another, float32 (n, n_targets)."""
        objects, respond = self.objects, Signals(truth)

        def render(index: int) -> np.ndarray:
            image = render_image(objects, index, image_size, self._stream(_TEXTURES))
            save(index, image)
            return luminance(image)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, self.stimuli, _CHUNK):
                run = slice(first, min(first + _CHUNK, self.stimuli))
                luminances = np.stack(list(pool.map(render, range(run.start, run.stop))))
                yield respond(luminances, ObjectTable(objects.category[run], objects.centre[run], objects.size[run]))

    def _noise(self, stimulus: int, targets: int) -> np.ndarray:
        rng = np.random.default_rng((*self._stream(_NOISE), stimulus))
        return rng.standard_normal(targets, dtype=np.float32)


class RowWriter:
    """Writes a float32 .npy file row by row, without ever holding it.

    Args:
        path: The file.
        shape: (n_rows, n_columns) of the whole array.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._rows = 0
        self._file = path.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").data)
        self._rows += len(rows)
