"""The IT spikes' file, laid open."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...hdf5 import dataset_in, opened
from ...sources.it_spikes import FILE, MEASURED, SPLITS, Hdf5Images, ItSpikes, check_shapes
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart, Symptom

_LOOKED_AT, _HIGHEST = 16, 3.0
"""Images whose range is looked at, and what no normalised image exceeds."""


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return [root / FILE if root.is_dir() else root]


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """The one recording that the file holds."""
    path = own_files(root)[0]
    chart.attempt("reading", path, lambda: ItSpikes(root).read())
    counts = chart.attempt("reading", path, lambda: _counts(path))
    if counts is None:
        return
    chart.add(chart.attempt("pictures", path, lambda: list(_range(path))) or [])
    blocks = []
    for split, name in SPLITS.items():
        gallery = Gallery(path, Hdf5Images(path, {split: counts[split]}))
        spikes = chart.attempt("reading", path, lambda key=split: _spikes(path, key)) if split in MEASURED else None
        blocks.append(Block(gallery, [] if spikes is None else [Table(path / f"spikes_{split}", spikes)], name))
    yield Case(path.stem, blocks)


def _range(path: Path) -> Iterator[Symptom]:
    """Images are normalised: what lies between 0 and 1 would be read as pale, and 0 to 255 as black and white."""
    with opened(path) as file:
        first = np.asarray(dataset_in(file, "stimulus_train")[:_LOOKED_AT], dtype=np.float64)
    low, high = np.nanmin(first), np.nanmax(first)
    if low >= 0 or high > _HIGHEST or low < -_HIGHEST:
        found = f"images from {low:.3g} to {high:.3g}, where ImageNet's normalisation gives -2.12 to 2.64"
        remedy = "write them less ImageNet's mean and over its standard deviation: what is stored is undone on reading"
        yield Symptom("warning", "pictures", path, found, remedy)


def _counts(path: Path) -> dict[str, int]:
    with opened(path) as file:
        return check_shapes(file)[0]


def _spikes(path: Path, split: str) -> np.ndarray:
    with opened(path) as file:
        return dataset_in(file, f"spikes_{split}")[:]
