"""The ROIs of the Algonauts 2023 tree: labels per vertex, and the names of the labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...recording import Roi
from ..arrays import check_finite, open_array
from ..unpickle import load_pickled_npy


def read_rois(folder: Path, sizes: Mapping[str, int]) -> list[Roi]:
    """The ROIs of every class that a subject's `roi_masks` has; a class that is there must be there in full.

    Args:
        folder: The subject's `roi_masks`; none where there is no such folder.
        sizes: Vertices in challenge space by hemisphere, in the order in which they stand among the targets.

    Raises:
        InputError: A file of a class is missing, damaged, or disagrees with another.
    """
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1].tolist(), strict=True))
    classes = {path.stem.removeprefix("mapping_") for path in folder.glob("mapping_*.npy")} | {
        path.stem.removesuffix("_challenge_space")[len("lh.") :]
        for hemisphere in sizes
        for path in folder.glob(f"{hemisphere}.*_challenge_space.npy")
    }
    rois = []
    for name in sorted(classes):
        mapping = _read_mapping(folder / f"mapping_{name}.npy")
        for hemisphere, count in sizes.items():
            path = folder / f"{hemisphere}.{name}_challenge_space.npy"
            labels = read_labels(path, count, "one per vertex in challenge space")
            unnamed = np.setdiff1d(labels, [0, *mapping])
            if len(unnamed):
                raise InputError(
                    f"{path}: expected the labels that mapping_{name}.npy names ({', '.join(map(str, mapping))}), "
                    f"found {int(unnamed[0])} too; restore both files"
                )
            first = starts[hemisphere]
            rois += [Roi(roi, hemisphere, first + np.flatnonzero(labels == label)) for label, roi in mapping.items()]
    return rois


def read_labels(path: Path, count: int, meaning: str) -> np.ndarray:
    """Read whole numbers (count,) as int64.

    Raises:
        InputError: The file is missing or damaged, their count is another, or one is not whole.
    """
    labels = open_array(path, ("vertices",))
    if len(labels) != count:
        raise InputError(
            f"{path}: expected {count} labels, {meaning}, found {len(labels)}; use the files of one subject"
        )
    check_finite(labels)
    with np.errstate(invalid="ignore"):  # beyond whole numbers, and so not equal below
        whole = np.asarray(labels).astype(np.int64)
    if (whole != labels).any():
        raise InputError(f"{path}: expected whole numbers, found {labels[whole != labels][0]}; restore the file")
    return whole


def _read_mapping(path: Path) -> dict[int, str]:
    """The names of a class's labels, without 0, which is "Unknown"."""
    mapping = load_pickled_npy(path)
    if not isinstance(mapping, dict) or not all(
        isinstance(label, int | np.integer) and isinstance(name, str) for label, name in mapping.items()
    ):
        raise InputError(f"{path}: expected a dict of whole numbers to names, found another object; restore the file")
    return {int(label): str(name) for label, name in sorted(mapping.items()) if label != 0}
