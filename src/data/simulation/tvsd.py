"""Writes simulated monkeys as the THINGS ventral stream spiking dataset is downloaded, with its quirks.

Files are MATLAB's v7.3: axes stand in reverse, and names of images are references to characters, with backslashes.
Monkey F's channels stand in another order of areas than monkey N's. Some test images have fewer repetitions. One
channel was never measured.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ..reliability import mean_there
from .planted import Truth, plant
from .subject import visual_patches
from .things import ThingsImages, check_things_flags

if TYPE_CHECKING:
    import h5py

CHANNELS, REPETITIONS = 1024, 30
BLOCKS = {"N": {"V1": 512, "V4": 256, "IT": 256}, "F": {"V1": 512, "IT": 320, "V4": 192}}
"""Channels of each area of each monkey, in the order in which they stand."""

UNMEASURED = {"N": 700, "F": 600}
"""A channel of each monkey that is NaN throughout: of V4, and of IT."""

_MODEL = {"V1": "gabor", "V4": "texture", "IT": "category"}
_POOL = 8000  # targets of which channels are chosen
_MISSING = 0.1  # share of repetitions that are missing
_TARGETS, _CHOICE, _TRIALS, _ORDER = range(4)  # independent streams of randomness
_USERBLOCK = 512


def write_tvsd(folder: Path, images: int, targets: int, subjects: int, seed: int) -> dict[str, Truth]:
    """Write a tree.

    Args:
        folder: Where.
        images: That were shown once, to train on; a fifth as many test images come on top, 100 at most.
        targets: Channels; the data set has 1024 of each monkey, neither more nor fewer.
        subjects: 1, monkey N, or 2.
        seed: Determines everything.

    Returns:
        What drives each monkey's channels, by its name. The noise ceiling is that of a single presentation.

    Raises:
        InputError: A number is out of range.
    """
    check_things_flags(images, targets, subjects, seed, len(BLOCKS))
    if targets != CHANNELS:
        raise InputError(f"--targets: expected {CHANNELS}, the channels of a monkey, found {targets}; leave it out")
    things = ThingsImages(images, seed)
    things.write(folder)
    truths = {}
    for number, monkey in enumerate(list(BLOCKS)[:subjects], start=1):
        truth = _electrodes(monkey, (seed, number))
        _write_monkey(folder / f"monkey{monkey}", monkey, things, truth, np.random.default_rng((seed, number, _TRIALS)))
        truths[f"monkey{monkey}"] = truth
    return truths


def _electrodes(monkey: str, seed: tuple[int, int]) -> Truth:
    """What drives each channel: area by area another kind of model."""
    pool, rng = plant(visual_patches(_POOL), (*seed, _TARGETS)), np.random.default_rng((*seed, _CHOICE))
    blocks = []
    for area, count in BLOCKS[monkey].items():
        own = np.flatnonzero((pool.model == _MODEL[area]) & (pool.noise_ceiling > 0))
        blocks.append(rng.choice(own, count, replace=False))
    chosen = np.concatenate(blocks)
    return Truth(**{each.name: getattr(pool, each.name)[chosen] for each in fields(Truth)})


def _write_monkey(folder: Path, monkey: str, things: ThingsImages, truth: Truth, rng: np.random.Generator) -> None:
    (folder / "_logs").mkdir(parents=True)
    # Each monkey saw the images in an order of its own, which its list of images tells.
    order = np.concatenate([rng.permutation(things.train), things.train + rng.permutation(things.test)])
    signals, names = things.signals(truth)[order], [things.names[index] for index in order]
    share, rest = np.sqrt(truth.noise_ceiling), np.sqrt(1 - truth.noise_ceiling)
    level, gain = rng.uniform(0, 2, CHANNELS), rng.uniform(0.5, 2, CHANNELS)

    def shown(rows: np.ndarray) -> np.ndarray:
        """One presentation of each image whose signals are given."""
        return level + gain * (share * rows + rest * rng.standard_normal(rows.shape))

    train = shown(signals[: things.train])
    repeats = np.stack([shown(signals[things.train :]) for _ in range(REPETITIONS)])  # (repetitions, images, channels)
    missing = rng.random(repeats.shape[:2]) < _MISSING
    missing[:2] = False
    repeats[missing] = np.nan
    for array in (train, repeats):
        array[..., UNMEASURED[monkey]] = np.nan
    with np.errstate(invalid="ignore"):
        mean = mean_there(repeats, ~np.isnan(repeats), (0,))[0]
    arrays = {"train_MUA": train, "test_MUA": mean, "test_MUA_reps": repeats, "reliab": _reliability(repeats)}
    with matlab_file(folder / "THINGS_normMUA.mat") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array).attrs["MATLAB_class"] = np.bytes_("double")
    with matlab_file(folder / "_logs" / "things_imgs.mat") as file:
        for group, part in (("train_imgs", names[: things.train]), ("test_imgs", names[things.train :])):
            write_texts(file, f"{group}/things_path", [name.replace("/", "\\") for name in part])


def _reliability(repeats: np.ndarray) -> np.ndarray:
    """Correlation over images of each pair of repetitions, of the images that both have; (pairs, channels)."""
    return np.stack([_correlation(one, other) for one, other in itertools.combinations(repeats, 2)])


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    both = ~np.isnan(one) & ~np.isnan(other)
    with np.errstate(invalid="ignore"):
        first, second = (np.where(both, each - mean_there(each, both, (0,)), 0) for each in (one, other))
        return (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))


@contextmanager
def matlab_file(path: Path) -> Iterator["h5py.File"]:
    """A v7.3 file: HDF5 behind a block of text that MATLAB knows its files by."""
    import h5py

    with h5py.File(path, "w", userblock_size=_USERBLOCK) as file:
        yield file
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"  # version 2.0, little-endian
    with path.open("r+b") as raw:
        raw.write(text.ljust(_USERBLOCK, b"\x00"))


def write_texts(file: "h5py.File", name: str, texts: Sequence[str]) -> None:
    """A field of a struct array of texts, as MATLAB writes it: references to one array of characters each."""
    import h5py

    group = file.require_group("#refs#")
    references = np.empty((len(texts), 1), dtype=h5py.ref_dtype)
    for index, text in enumerate(texts):
        characters = np.frombuffer(text.encode("utf-16-le"), dtype="<u2")[:, None]
        dataset = group.create_dataset(f"{len(group):x}", data=characters)
        dataset.attrs["MATLAB_class"], dataset.attrs["MATLAB_int_decode"] = np.bytes_("char"), np.int32(2)
        references[index, 0] = dataset.ref
    file.create_dataset(name, data=references, dtype=h5py.ref_dtype)
