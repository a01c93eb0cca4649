"""ItSpikes: macaque inferior temporal spikes to images of objects, in one HDF5 file.

Majaj, Hong et al. 2015, "Simple learned weighted sums of inferior temporal neuronal firing rates accurately predict
human core object recognition performance", as packed for a course.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ...names import TRAIN, VALIDATION, WITHHELD
from ...recording import Part, Recording
from ..digests import digest_bytes, remembered_digests
from ..hdf5 import dataset_in, opened
from ..offsets import measured
from .base import Source

if TYPE_CHECKING:
    import h5py

SPLITS = {"train": TRAIN, "val": VALIDATION, "test": WITHHELD}
MEASURED = ("train", "val")
_AXES = {"stimulus": ("images", "3", "height", "width"), "spikes": ("images", "targets"), "object": ("images",)}
FILE = "IT_data.h5"
_ROWS_PER_READ = 32  # of float32 images, 20 MB

# How ImageNet's images were normalised, per colour channel (3, 1, 1).
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)[:, None, None]
_SCALE = np.array([0.229, 0.224, 0.225], dtype=np.float32)[:, None, None]


class ItSpikes(Source):
    """Reads `IT_data.h5`: normalised images, spikes and names of objects, split into train, val and test.

    Validation is the file's own; its test images have no spikes, and are withheld. Images are read one at a time, so
    the file may be larger than the memory.

    Args:
        root: The folder that holds `IT_data.h5`, or the file itself.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: There is no such file, or its datasets are missing or disagree in shape.
    """

    layout = FILE
    own_subjects = False

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return root.name == FILE if root.is_file() else (root / FILE).is_file()

    def __init__(self, root: Path, shuffle: bool = False) -> None:
        super().__init__(shuffle)
        self.path = Path(root) / FILE if Path(root).is_dir() else Path(root)
        if not self.path.is_file():
            raise InputError(
                f"--data.source.root {root}: expected {FILE} or a folder that holds it, found none; correct the path"
            )
        with opened(self.path) as file:
            self._counts, self._num_targets = check_shapes(file)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def read(self) -> Sequence[Recording]:
        with opened(self.path) as file:
            spikes = [read_spikes(file, split) for split in MEASURED]
            objects = [_read_names(file, split) for split in SPLITS]
        stimuli = Hdf5Images(self.path, self._counts)
        firsts = np.cumsum([0, *self._counts.values()])
        parts = [Part(int(first), 0, array) for first, array in zip(firsts, spikes, strict=False)]
        return [
            Recording(
                subject=self.path.stem,
                stimuli=stimuli,
                responses=measured((len(stimuli), self.num_targets), parts),
                splits=np.repeat(list(SPLITS.values()), list(self._counts.values())),
                hemispheres=np.full(self.num_targets, ""),
                categories=np.concatenate(objects),
            )
        ]


class Hdf5Images:
    """Stimuli that are rows of `stimulus_*` in one HDF5 file; implements `Stimuli` of src/recording.py.

    The file is opened for every read and kept by none: a handle that lived on would be shared after a fork, where two
    processes would work on one state of the library. Opening costs half of what reading an image does.

    Args:
        path: The file.
        counts: Rows of each split's images, in order.
    """

    frames: int | None = None

    def __init__(self, path: Path, counts: dict[str, int]) -> None:
        self.path = path
        self.rows = [(f"stimulus_{split}", row) for split, count in counts.items() for row in range(count)]
        self.names = [f"{dataset}[{row}]" for dataset, row in self.rows]
        self._counts = counts
        self._digests: list[str] = []

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> np.ndarray:
        """Undo the normalisation of one image: uint8 (height, width, 3).

        Raises:
            InputError: The row cannot be read or is not finite.
        """
        dataset, row = self.rows[index]
        with opened(self.path) as file:
            normalised = dataset_in(file, dataset)[row].astype(np.float32)  # (3, height, width)
        if not np.isfinite(normalised).all():
            raise InputError(
                f"{self.path}: expected finite images, found {normalised[~np.isfinite(normalised)][0]} in "
                f"{self.names[index]}; copy the file again"
            )
        shares = normalised * _SCALE + _MEAN
        return np.clip(np.rint(shares * 255), 0, 255).astype(np.uint8).transpose(1, 2, 0)

    def digests(self, memo: Path | None = None) -> list[str]:
        """BLAKE2b of each row's bytes, read once; see `StimulusFiles` of src/data/stimuli.py."""
        if not self._digests:
            self._digests = remembered_digests([self.path], self._digest_rows, memo)[0].split()
        return self._digests

    def _digest_rows(self, path: Path) -> str:
        digests: list[str] = []
        with opened(path) as file:
            for split, count in self._counts.items():
                images = dataset_in(file, f"stimulus_{split}")
                for start in range(0, count, _ROWS_PER_READ):
                    rows = np.ascontiguousarray(images[start : start + _ROWS_PER_READ], dtype="<f4")
                    digests += [digest_bytes(row) for row in rows]
        return " ".join(digests)


def check_shapes(file: h5py.File) -> tuple[dict[str, int], int]:
    """Check every dataset's shape and type by its header; images per split, and targets."""
    import h5py

    images = dataset_in(file, "stimulus_train").shape or ()
    targets = (dataset_in(file, "spikes_train").shape or ())[1:2]
    counts: dict[str, int] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for split in SPLITS:
        shape = dataset_in(file, f"stimulus_{split}").shape
        counts[split] = shape[0] if shape else 0
        expected[f"stimulus_{split}"] = (counts[split], 3, *images[2:4])
        expected[f"object_{split}"] = (counts[split],)
        if split in MEASURED:
            expected[f"spikes_{split}"] = (counts[split], *targets)
    for name, shape in expected.items():
        dataset = dataset_in(file, name)
        text = name.startswith("object_")
        right = h5py.check_string_dtype(dataset.dtype) is not None if text else dataset.dtype.kind in "iuf"
        axes = _AXES[name.split("_")[0]]
        if dataset.shape != shape or len(shape) != len(axes) or not right or dataset.size == 0:
            raise InputError(
                f"{file.filename}: expected {name} ({', '.join(axes)}) of {'text' if text else 'numbers'}, as the "
                f"other datasets {shape}, found {dataset.dtype} {dataset.shape}; copy the file again"
            )
    return counts, expected["spikes_train"][1]


def read_spikes(file: h5py.File, split: str) -> np.ndarray:
    """The spikes of one split, (n, targets), finite as float32."""
    spikes = dataset_in(file, f"spikes_{split}")[:]
    with np.errstate(over="ignore"):
        single = spikes.astype(np.float32)
    faults = np.argwhere(~np.isfinite(single))
    if len(faults):
        row, column = faults[0].tolist()
        raise InputError(
            f"{file.filename}: expected finite spikes, found {single[row, column]} in spikes_{split} at row {row}, "
            f"column {column} (counted from 0) and {len(faults)} such entries in all; copy the file again"
        )
    return spikes


def _read_names(file: h5py.File, split: str) -> np.ndarray:
    """The object on each image of one split, str (n,), from bytes in latin-1."""
    return np.array([bytes(name).decode("latin-1") for name in dataset_in(file, f"object_{split}")[:]])
