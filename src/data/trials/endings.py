"""What the ending of a file's name tells of its format, and the reader of that."""

from pathlib import Path

from .arrays import CiftiSeries, GlmsingleSeries
from .gifti import GiftiSeries
from .series import ImageSeries, Series

SERIES = {
    ".dscalar.nii": CiftiSeries,
    ".dtseries.nii": CiftiSeries,
    ".nii.gz": ImageSeries,
    ".nii": ImageSeries,
    ".func.gii": GiftiSeries,
    ".time.gii": GiftiSeries,
    ".shape.gii": GiftiSeries,
    ".gii.gz": GiftiSeries,
    ".gii": GiftiSeries,
    ".mgh": ImageSeries,
    ".mgz": ImageSeries,
    ".hdf5": GlmsingleSeries,
    ".h5": GlmsingleSeries,
    ".npy": GlmsingleSeries,
}
"""Endings of files of single trials, the longer before the shorter."""

LABELS = (".dlabel.nii", ".label.gii")
"""Endings of atlases that bring the names of their labels."""

MAPS = (*LABELS, *(ending for ending, kind in SERIES.items() if kind is not GlmsingleSeries))
"""Endings of files of one value per place."""


def ending_of(path: Path) -> str:
    """Of those that are known, in lower case; "" of others."""
    name = path.name.lower()
    return next((ending for ending in (*LABELS, *SERIES) if name.endswith(ending)), "")


def open_series(path: Path) -> Series:
    """Open a file of single trials by its header.

    Raises:
        InputError: It is damaged, or of another kind than its name says.
    """
    return SERIES[ending_of(path)](path)
