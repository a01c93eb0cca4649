"""TVSD: the THINGS ventral stream spiking dataset, multi-unit activity of macaque V1, V4 and IT.

Papale, Wang, Self & Roelfsema 2025, "An extensive dataset of spiking activity to reveal the syntax of the ventral
stream".
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import InputError
from ...names import TEST, UNASSIGNED
from ...recording import Part, Recording, Roi
from ..hdf5 import dataset_in, node_in, opened
from ..matlab import read_texts
from ..noise_ceiling import ceiling_of_snr, noise_ceiling_snr
from ..offsets import measured
from ..stimuli import ImageFiles
from ..trials.repeats import ArrayRepeats
from ..trials.told import Told, ToldBeside
from .base import Source
from .things_images import find_images, things_folder

if TYPE_CHECKING:
    import h5py

Monkey = Literal["N", "F"]

MONKEYS: tuple[Monkey, ...] = ("N", "F")
CHANNELS = 1024
AREAS: dict[Monkey, dict[str, range]] = {
    "N": {"V1": range(512), "V4": range(512, 768), "IT": range(768, 1024)},
    "F": {"V1": range(512), "IT": range(512, 832), "V4": range(832, 1024)},
}
"""Channels of each area, counted from 0. The two monkeys' arrays stand in different order."""

RESPONSES, IMAGES = "THINGS_normMUA.mat", "_logs/things_imgs.mat"
RELIABILITY = "reliab of the file"

log = logging.getLogger(__name__)


class TVSD(Source):
    """Reads multi-unit activity of two monkeys as it is downloaded: `monkeyN/` and `monkeyF/`, and THINGS images.

    Responses are as in `THINGS_normMUA.mat`: normalised by day, averaged over a time window, one number per channel.
    Training images were shown once; test responses are the means over repetitions, which tell the noise ceilings.
    Channels without any measurement are left out.

    Args:
        root: The folder that holds `monkeyN` or `monkeyF`.
        monkey: One monkey, or a list of both.
        images: The folder of the THINGS images, one folder per concept; `object_images` in the root where not given.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: A file is missing or damaged, or its arrays disagree in shape.
    """

    layout = f"monkeyN/{RESPONSES}"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return any((root / f"monkey{monkey}" / RESPONSES).is_file() for monkey in MONKEYS)

    def __init__(
        self, root: Path, monkey: Monkey | list[Monkey] = "N", images: Path | None = None, shuffle: bool = False
    ) -> None:
        super().__init__(shuffle)
        monkeys: list[Monkey] = list(monkey) if isinstance(monkey, list) else [monkey]
        if not monkeys or len(set(monkeys)) < len(monkeys) or not set(monkeys) <= set(MONKEYS):
            raise InputError(f"--data.source.monkey {monkey}: expected N, F or [N,F], found {monkeys}; correct it")
        folder = things_folder(Path(root), None if images is None else Path(images))
        self._monkeys = [MonkeyFiles(Path(root), each, folder) for each in monkeys]
        self._num_targets = sum(len(each.channels) for each in self._monkeys)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def read(self) -> Sequence[Recording]:
        return [each.read() for each in self._monkeys]


@dataclass(frozen=True)
class Activity:
    """What `THINGS_normMUA.mat` holds of the channels that were measured.

    Args:
        train: (n_train, channels).
        test: Means over repetitions, (n_test, channels).
        repeats: (n_test, repetitions, channels), NaN where a repetition is missing.
        reliability: Correlation over test images between repetitions, the mean over pairs, float64 (channels,); None
            where the file does not have it.
    """

    train: np.ndarray
    test: np.ndarray
    repeats: np.ndarray
    reliability: np.ndarray | None


class MonkeyFiles:
    """One monkey's files.

    Args:
        root: Of the data set.
        monkey: Which.
        images: The folder of concepts.

    Attributes:
        channels: That were measured, int64 (num_targets,).
    """

    def __init__(self, root: Path, monkey: Monkey, images: Path) -> None:
        self.name, self.images = f"monkey{monkey}", images
        self.monkey: Monkey = monkey
        self.path, self.image_list = root / self.name / RESPONSES, root / self.name / IMAGES
        for path in (self.path, self.image_list):
            if not path.is_file():
                there = [each.name for each in sorted(root.glob("monkey[NF]"))]
                raise InputError(
                    f"{path}: expected a file of {self.name}, found none (there are {', '.join(there) or 'none'}); "
                    "download it, or choose another with --data.source.monkey"
                )
        with opened(self.path) as file:
            check_shapes(file)
            first = dataset_in(file, "train_MUA")[0]
        self.channels = np.flatnonzero(~np.isnan(first))
        if not len(self.channels):
            raise InputError(f"{self.path}: expected measured channels, found none in train_MUA; copy it again")

    def read(self) -> Recording:
        """Read and check everything about this monkey."""
        activity = self.read_activity()
        train, test = self.read_images((len(activity.train), len(activity.test)))
        n_train, n_test = len(train), len(test)
        if len(self.channels) < CHANNELS:
            log.info("%s: left out %d channels without measurements", self.name, CHANNELS - len(self.channels))
        tested = np.arange(n_train + n_test) >= n_train
        rows = np.where(tested, np.arange(n_train + n_test) - n_train, -1)
        counts = (~np.isnan(activity.repeats)).sum(axis=1)  # (n_test, channels)
        told = []
        if activity.reliability is not None:
            told.append(Told(RELIABILITY, ceiling_of_reliability(activity.reliability, counts), tested))
        shares = (n_train + (1 / counts).sum(axis=0)) / len(rows)
        return Recording(
            subject=self.name,
            stimuli=ImageFiles([*train, *test]),
            responses=measured(
                (len(rows), len(self.channels)), [Part(0, 0, activity.train), Part(n_train, 0, activity.test)]
            ),
            splits=np.where(tested, TEST, UNASSIGNED),
            hemispheres=np.full(len(self.channels), ""),
            rois=self.rois(),
            noise_ceiling=ceiling_of_snr(noise_ceiling_snr(activity.repeats), shares),
            repeats=ToldBeside(ArrayRepeats(activity.repeats, rows), told),
            categories=np.array([path.parent.name for path in (*train, *test)]),
        )

    def rois(self) -> list[Roi]:
        """The three areas, with their places among the channels that were measured."""
        return [
            Roi(area, "", np.flatnonzero(np.isin(self.channels, channels)))
            for area, channels in ((area, AREAS[self.monkey][area]) for area in ("V1", "V4", "IT"))
        ]

    def read_activity(self) -> Activity:
        """The responses, checked.

        Raises:
            InputError: A value is infinite, a channel was measured in some images only, or a test image has no
                repetition.
        """
        with opened(self.path) as file:
            train, test = (self._finite(file, name) for name in ("train_MUA", "test_MUA"))
            repeats = dataset_in(file, "test_MUA_reps")[()][:, :, self.channels].transpose(1, 0, 2)
            pairs = dataset_in(file, "reliab")[()] if node_in(file, "reliab") is not None else None
        if np.isinf(repeats).any() or np.isnan(repeats).all(axis=1).any():
            raise InputError(
                f"{self.path}: expected test_MUA_reps to hold a repetition of every test image, and NaN where one is "
                "missing, found infinite values or an image without any; copy the file again"
            )
        reliability = None if pairs is None else mean_of_pairs(pairs[:, self.channels])
        return Activity(train, test, repeats, reliability)

    def _finite(self, file: h5py.File, name: str) -> np.ndarray:
        """An array (images, channels) of the channels that were measured, finite; the others are NaN throughout."""
        values = dataset_in(file, name)[()]
        unmeasured = np.setdiff1d(np.arange(CHANNELS), self.channels)
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(values.astype(np.float32, copy=False))
        wrong[:, unmeasured] = ~np.isnan(values[:, unmeasured])
        faults = np.argwhere(wrong)
        if len(faults):
            row, channel = faults[0].tolist()
            raise InputError(
                f"{self.path}: expected finite {name}, or NaN in all images of a channel, found {values[row, channel]} "
                f"in image {row}, channel {channel} (counted from 0) and {len(faults)} such values in all; copy the "
                "file again"
            )
        return values[:, self.channels]

    def read_images(self, counts: tuple[int, int]) -> tuple[list[Path], list[Path]]:
        """The files of the training and of the test images, as many as there are rows."""
        found = []
        with opened(self.image_list) as file:
            for group, count in zip(("train_imgs", "test_imgs"), counts, strict=True):
                names = read_texts(file, f"{group}/things_path")
                if len(names) != count:
                    raise InputError(
                        f"{self.image_list}: expected {count} {group}, one per row of {RESPONSES}, found "
                        f"{len(names)}; use the two files of one monkey"
                    )
                found.append(names)
        train, test = (find_images(self.images, names, self.image_list) for names in found)
        return train, test


def mean_of_pairs(pairs: np.ndarray) -> np.ndarray:
    """Mean correlation over pairs of repetitions (pairs, channels), NaN where none is known; float64 (channels,)."""
    known = ~np.isnan(pairs)
    with np.errstate(invalid="ignore"):
        return np.sum(pairs, axis=0, where=known, dtype=np.float64) / known.sum(axis=0)


def ceiling_of_reliability(reliability: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Noise ceiling of means over repetitions, from the correlation between single ones (Spearman 1910, Brown 1910).

    Args:
        reliability: Of one repetition with another, (channels,).
        counts: Repetitions of each mean, (n_test, channels).

    Returns:
        float64 (channels,), a share of variance from 0 to 1, NaN where unknown.
    """
    single = np.clip(reliability, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return ceiling_of_snr(np.sqrt(single / (1 - single)), (1 / counts).mean(axis=0))


def check_shapes(file: h5py.File) -> None:
    """Check every array's shape and type by its header.

    Raises:
        InputError: One is missing, or they disagree.
    """
    axes = {
        "train_MUA": f"(images, {CHANNELS})",
        "test_MUA": f"(images, {CHANNELS})",
        "test_MUA_reps": f"(repetitions, test images, {CHANNELS})",
    }
    shapes: dict[str, tuple[int, ...]] = {name: dataset_in(file, name).shape or () for name in axes}
    for name, words in axes.items():
        shape, kind = shapes[name], dataset_in(file, name).dtype.kind
        if len(shape) != words.count(",") + 1 or shape[-1] != CHANNELS or 0 in shape or kind != "f":
            turned = (
                "; its axes are reversed: MATLAB's first axis is the last one here" if CHANNELS in shape[:1] else ""
            )
            raise InputError(
                f"{file.filename}: expected {name} {words} of floats, as h5py sees it, found {kind} {shape}"
                f"{turned or '; copy the file again'}"
            )
    repetitions, images = shapes["test_MUA_reps"][0], shapes["test_MUA"][0]
    expected: dict[str, tuple[int, ...]] = {"test_MUA_reps": (repetitions, images, CHANNELS)}
    if node_in(file, "reliab") is not None:
        expected["reliab"] = (repetitions * (repetitions - 1) // 2, CHANNELS)
    for name, shape in expected.items():
        found = dataset_in(file, name).shape
        if found != shape:
            raise InputError(
                f"{file.filename}: expected {name} {shape}, as {images} test images and {repetitions} "
                f"repetitions make it, found {found}; copy the file again"
            )
