"""Folder: a user's own images and responses, of one recording or several."""

import csv
import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError, one_line
from ...recording import HEMISPHERES, TEST, TRAIN, UNASSIGNED, VALIDATION, Recording, Responses, Roi
from ..arrays import check_finite, open_array
from ..noise_ceiling import ceiling_of_mean, read_noise_ceiling
from ..reliability import mean_over_repetitions
from ..stimuli import ImageFiles, list_images
from .base import OWN_NAMES, Source

SPLIT_WORDS = (TRAIN, VALIDATION, TEST)


class Folder(Source):
    """Reads a folder of images and responses, or several, each a recording of its own.

    A folder holds `images/` and `responses.npy` (stimuli, targets), rows in the order of the image names, in which
    numbers sort by number. In place of `responses.npy`, or beside it, `responses_repeats.npy` (stimuli, repetitions,
    targets) holds single presentations, NaN where one is missing; they tell the noise ceiling. Optional: `split.csv`
    (stimulus,split), `rois.csv` (target,hemisphere,roi) and `coordinates.npy` (targets, 3) in millimetres. The subject
    has the folder's name.

    Args:
        root: The folder, or a list of several.
        noise_ceiling: Noise ceilings, per cent or fraction of variance: a `.npy` file (targets,), or a folder that
            holds `noise_ceiling.npy`; of several recordings, a folder that holds `SUBJECT/noise_ceiling.npy` for each.
            Where not given, that of the mean over the repetitions, where they are there.
        shuffle: Permute the responses over the training stimuli: a control that must score about 0.

    Raises:
        InputError: There is no such folder, it holds no responses, or two have the same name.
    """

    def __init__(self, root: list[Path] | Path, noise_ceiling: Path | None = None, shuffle: bool = False) -> None:
        super().__init__(shuffle)
        roots = [Path(each) for each in root] if isinstance(root, list) else [Path(root)]
        subjects = Counter(each.resolve().name for each in roots)
        if not roots or max(subjects.values()) > 1:
            found = ", ".join(f"{name} twice" for name, count in subjects.items() if count > 1) or "none"
            raise InputError(
                f"--data.source.root: expected folders of different names, which name the subjects, found {found}; "
                "rename or link them"
            )
        ceilings = [None if noise_ceiling is None else Path(noise_ceiling)] * len(roots)
        if noise_ceiling is not None and len(roots) > 1:
            ceilings = [Path(noise_ceiling) / subject / "noise_ceiling.npy" for subject in subjects]
        self._trees = [_Tree(each, ceiling) for each, ceiling in zip(roots, ceilings, strict=True)]
        self._num_targets = sum(tree.num_targets for tree in self._trees)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def read(self) -> Sequence[Recording]:
        return [tree.read() for tree in self._trees]


class _Tree:
    """The files of one recording.

    Args:
        root: The folder.
        noise_ceiling: As in Folder, of this recording.
    """

    def __init__(self, root: Path, noise_ceiling: Path | None) -> None:
        self.root, self.noise_ceiling = root, noise_ceiling
        if not self.root.is_dir():
            raise InputError(
                f"--data.source.root {self.root}: expected a folder with images/ and responses.npy, found no folder; "
                "correct the path"
            )
        self._repeats = self.root / "responses_repeats.npy"
        self.num_targets = self._open()[0].shape[-1]

    def read(self) -> Recording:
        """Read and check everything about this recording."""
        images = list_images(self.root / "images")
        arrays = self._open()
        if len(arrays[0]) != len(images):
            raise InputError(
                f"{arrays[0].filename}: expected {len(images)} rows, one per image of {self.root / 'images'}, found "
                f"{len(arrays[0])}; add or remove images, or write the responses again"
            )
        hemispheres, rois = read_rois(self.root / "rois.csv", self.num_targets)
        splits = read_splits(self.root / "split.csv", [path.name for path in images])
        coordinates = _read_coordinates(self.root / "coordinates.npy", self.num_targets)
        for array in arrays:
            check_finite(array, allow_nan=array.ndim == 3)
        repeats = arrays[-1] if arrays[-1].ndim == 3 else None
        responses = arrays[0] if arrays[0].ndim == 2 else mean_over_repetitions(arrays[0], self._repeats)
        return Recording(
            subject=self.root.resolve().name,
            stimuli=ImageFiles(images),
            responses=Responses.of(responses),
            splits=splits,
            hemispheres=hemispheres,
            rois=rois,
            noise_ceiling=self._noise_ceiling(repeats),
            coordinates=coordinates,
        )

    def _open(self) -> list[np.memmap]:
        """The responses (stimuli, targets), the repetitions (stimuli, repetitions, targets), or both, agreeing."""
        single, repeated = self.root / "responses.npy", self._repeats
        repeats = open_array(repeated, ("stimuli", "repetitions", "targets")) if repeated.exists() else None
        if repeats is not None and not single.exists():
            return [repeats]
        responses = open_array(single, ("stimuli", "targets"))
        if repeats is None:
            return [responses]
        if (len(repeats), repeats.shape[2]) != responses.shape:
            raise InputError(
                f"{repeated}: expected ({responses.shape[0]}, repetitions, {responses.shape[1]}) as in responses.npy, "
                f"found {repeats.shape}; write both from the same stimuli and targets"
            )
        return [responses, repeats]

    def _noise_ceiling(self, repeats: np.memmap | None) -> np.ndarray | None:
        """The ceilings that were given; where none were, those that the repetitions tell."""
        if self.noise_ceiling is None:
            return None if repeats is None else ceiling_of_mean(repeats)
        path = self.noise_ceiling / "noise_ceiling.npy" if self.noise_ceiling.is_dir() else self.noise_ceiling
        return read_noise_ceiling({path: self.num_targets})


def _read_coordinates(path: Path, num_targets: int) -> np.ndarray | None:
    if not path.exists():
        return None
    coordinates = open_array(path, ("targets", "x y z"))
    if coordinates.shape != (num_targets, 3):
        raise InputError(
            f"{path}: expected ({num_targets}, 3), each target's place in mm, found {coordinates.shape}; write it again"
        )
    check_finite(coordinates)
    return np.array(coordinates, dtype=np.float32)


def read_splits(path: Path, names: Sequence[str]) -> np.ndarray:
    """Read `split.csv`: stimulus, split.

    Args:
        path: The file; where there is none, no stimulus is assigned.
        names: File names of the stimuli.

    Returns:
        str (n_stimuli,): "train", "validation", "test", or "" for a stimulus that the file does not name.

    Raises:
        InputError: A row names no stimulus, one that stands above, or an unknown split.
    """
    splits = np.full(len(names), UNASSIGNED, dtype="<U10")
    if not path.exists():
        return splits
    positions = {name: position for position, name in enumerate(names)}
    for line, (stimulus, split) in _read_rows(path, ("stimulus", "split")):
        if stimulus not in positions:
            near = difflib.get_close_matches(stimulus, names, n=1, cutoff=0.0)[0]
            raise InputError(
                f"{path}, line {line}: expected the file name of an image, found {stimulus!r}; did you mean {near!r}?"
            )
        if split not in SPLIT_WORDS:
            raise InputError(
                f"{path}, line {line}: expected one of {', '.join(SPLIT_WORDS)}, found {split!r}; correct the split"
            )
        if splits[positions[stimulus]] != UNASSIGNED:
            raise InputError(
                f"{path}, line {line}: expected each stimulus once, found {stimulus!r} again; remove one of its rows"
            )
        splits[positions[stimulus]] = split
    return splits


def read_rois(path: Path, num_targets: int) -> tuple[np.ndarray, list[Roi]]:
    """Read `rois.csv`: target (counted from 0), hemisphere, roi; a target may stand in several rows.

    Args:
        path: The file; where there is none, there are no ROIs.
        num_targets: How many targets there are.

    Returns:
        The hemisphere of each target, str (n_targets,), "" where not given; and the ROIs in order of appearance.

    Raises:
        InputError: A row names no target, no ROI or one of the program's own, an unknown hemisphere, or another one
            than above.
    """
    hemispheres = np.full(num_targets, "", dtype="<U2")
    if not path.exists():
        return hemispheres, []
    members: dict[tuple[str, str], set[int]] = {}
    seen: dict[int, str] = {}
    for line, (text, hemisphere, roi) in _read_rows(path, ("target", "hemisphere", "roi")):
        target = int(text) if text.isdecimal() and len(text) < 19 else -1
        if not 0 <= target < num_targets:
            raise InputError(
                f"{path}, line {line}: expected a target from 0 to {num_targets - 1}, found {text!r}; targets are "
                "columns of the responses, counted from 0"
            )
        if hemisphere not in (*HEMISPHERES, ""):
            raise InputError(
                f"{path}, line {line}: expected hemisphere lh, rh or nothing, found {hemisphere!r}; correct it"
            )
        if not roi:
            raise InputError(f"{path}, line {line}: expected the name of a ROI, found none; name it or remove the row")
        if roi in OWN_NAMES or ";" in roi:
            raise InputError(
                f"{path}, line {line}: expected a ROI's name without ';' and other than {' and '.join(OWN_NAMES)}, "
                f"which the program uses itself, found {roi!r}; rename it"
            )
        if seen.setdefault(target, hemisphere) != hemisphere:
            raise InputError(
                f"{path}, line {line}: expected hemisphere {seen[target]!r} for target {target} as above, found "
                f"{hemisphere!r}; a target lies in one hemisphere"
            )
        hemispheres[target] = hemisphere
        members.setdefault((roi, hemisphere), set()).add(target)
    rois = [
        Roi(name, hemisphere, np.array(sorted(targets), dtype=np.int64))
        for (name, hemisphere), targets in members.items()
    ]
    return hemispheres, rois


def _read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line number and the values of these columns, row by row; columns beyond them are left alone."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            if not set(columns) <= set(header):
                raise InputError(
                    f"{path}, line 1: expected the columns {','.join(columns)}, found {','.join(header)!r}; "
                    "correct the first line"
                )
            reader.fieldnames = header
            for row in reader:
                values = tuple((row[column] or "").strip() for column in columns)
                if None in row or None in row.values():
                    raise InputError(
                        f"{path}, line {reader.line_num}: expected {len(header)} values, found "
                        f"{'more' if None in row else 'fewer'}; a value that holds a comma stands in quotes"
                    )
                yield reader.line_num, values
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a table of comma-separated values in UTF-8, found {one_line(error)}; save it again"
        ) from error
