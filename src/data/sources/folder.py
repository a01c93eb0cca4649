"""Folder: a user's own images and responses, of one recording or several."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import InputError
from ...names import UNASSIGNED
from ...recording import Part, Recording, Responses
from ..arrays import check_finite, open_array
from ..noise_ceiling import ceiling_of_mean, read_noise_ceiling
from ..offsets import measured
from ..reliability import mean_over_repetitions
from ..stimuli import ImageFiles, list_images
from ..trials.repeats import ArrayRepeats
from .base import Source, common_columns
from .folder_responses import IMAGED, ImagedResponses, find_imaged
from .folder_tables import Unlisted, read_rois, read_splits
from .folder_trials import TRIALS, read_order, read_trials

CEILINGS = "noise_ceiling.npy"

Missing = Literal["refuse", "allow"]

log = logging.getLogger(__name__)


class Folder(Source):
    """Reads a folder of images and responses, or several, each a recording of its own.

    A folder holds `images/` and `responses.npy` (stimuli, targets), rows in the order of the image names, in which
    numbers sort by number. In place of `responses.npy`, or beside it, `responses_repeats.npy` (stimuli, repetitions,
    targets) holds single presentations, NaN where one is missing; they tell the noise ceiling. In place of both,
    `responses.mat` (stimuli, targets), of any version; `responses.nii.gz`, a volume per stimulus, with `mask.nii.gz`;
    `lh.responses.func.gii` and `rh.responses.func.gii` (or `.mgh`, `.mgz`); or `responses.dscalar.nii`. Optional:
    `split.csv` (stimulus,split), `rois.csv` (target,hemisphere,roi), `coordinates.npy` (targets, 3) in millimetres,
    `noise_ceiling.npy` (targets,), per cent or fraction of variance, and `trials.csv`, a row for each presentation in
    order (stimulus, and as far as known session, run and figures of behaviour). The subject has the folder's name.

    Args:
        root: The folder, or a list of several.
        noise_ceiling: Noise ceilings, per cent or fraction of variance: a `.npy` file (targets,), or a folder that
            holds `noise_ceiling.npy`; of several recordings, a folder that holds `SUBJECT/noise_ceiling.npy` for each.
            Where not given, the folder's own `noise_ceiling.npy`, or else what the repetitions of the images that are
            scored tell.
        unlisted: Images that `split.csv` does not name: refuse them, or drop them with their responses.
        missing: NaN in `responses.npy`, or a stimulus without any repetition: refuse it, or allow it as not measured.
            What was not measured is left out of training and scores. Models in closed form need all.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: There is no such folder, it holds no responses, or two have the same name.
    """

    layout = "images/ and responses.npy"
    own_subjects = False

    @classmethod
    def recognises(cls, root: Path) -> bool:
        responses = ("responses.npy", "responses_repeats.npy", *IMAGED)
        return (root / "images").is_dir() and any((root / name).is_file() for name in responses)

    def __init__(
        self,
        root: list[Path] | Path,
        noise_ceiling: Path | None = None,
        unlisted: Unlisted = "refuse",
        missing: Missing = "refuse",
        shuffle: bool = False,
    ) -> None:
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
            ceilings = [Path(noise_ceiling) / subject / CEILINGS for subject in subjects]
        self._trees = [_Tree(each, ceiling, unlisted, missing) for each, ceiling in zip(roots, ceilings, strict=True)]
        self._num_targets = sum(tree.num_targets for tree in self._trees)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def trial_columns(self) -> list[str] | None:
        tables = [tree.root / TRIALS for tree in self._trees]
        return common_columns([list(read_trials(path).behaviour) if os.path.lexists(path) else None for path in tables])

    def read(self) -> Sequence[Recording]:
        return [tree.read() for tree in self._trees]


class _Tree:
    """The files of one recording.

    Args:
        root: The folder.
        noise_ceiling: As in Folder, of this recording.
        unlisted: As in Folder.
        missing: As in Folder.
    """

    def __init__(self, root: Path, noise_ceiling: Path | None, unlisted: Unlisted, missing: Missing) -> None:
        self.root, self.noise_ceiling = root, noise_ceiling
        self.unlisted: Unlisted = unlisted
        self.missing: Missing = missing
        if not self.root.is_dir():
            raise InputError(
                f"--data.source.root {self.root}: expected a folder with images/ and responses.npy, found no folder; "
                "correct the path"
            )
        self._repeats = self.root / "responses_repeats.npy"
        self._imaged = find_imaged(self.root)
        self.num_targets = self._open()[0].shape[-1] if self._imaged is None else self._imaged.shape[1]

    def read(self) -> Recording:
        """Read and check everything about this recording."""
        images = list_images(self.root / "images")
        imaged, arrays = self._imaged, [] if self._imaged else self._open()
        path, rows = (imaged.path, imaged.shape[0]) if imaged else (arrays[0].filename, len(arrays[0]))
        if rows != len(images):
            turned = " (its axes may be turned)" if imaged and self.num_targets == len(images) else ""
            raise InputError(
                f"{path}: expected {len(images)} rows, one per image of {self.root / 'images'}, found {rows}{turned}; "
                "add or remove images, or write the responses again"
            )
        hemispheres, rois = read_rois(self.root / "rois.csv", self.num_targets)
        splits = read_splits(self.root / "split.csv", [path.name for path in images], self.unlisted)
        coordinates = read_coordinates(self.root / "coordinates.npy", self.num_targets)
        kept = np.arange(len(images))
        if (splits != UNASSIGNED).any():
            kept = np.flatnonzero(splits != UNASSIGNED)
            if len(kept) < len(images):
                log.info("%s: left out %d images that split.csv does not name", self.root, len(images) - len(kept))
        responses = self._imaged_responses(imaged, kept) if imaged else self._responses(arrays, kept)
        repeats = arrays[-1] if arrays and arrays[-1].ndim == 3 else None
        ceiling = self._own_ceiling()
        trials, names = self.root / TRIALS, [path.name for path in images]
        recording = Recording(
            subject=self.root.resolve().name,
            stimuli=ImageFiles([images[index] for index in kept]),
            responses=responses,
            splits=splits[kept],
            hemispheres=hemispheres,
            rois=rois,
            noise_ceiling=ceiling_of_mean(repeats, kept) if ceiling is None and repeats is not None else ceiling,
            order=partial(read_order, trials, names, kept) if os.path.lexists(trials) else None,
            repeats=ArrayRepeats(repeats, kept) if ceiling is None and repeats is not None else None,
            coordinates=coordinates,
        )
        return imaged.placed(recording) if imaged else recording

    def _imaged_responses(self, imaged: ImagedResponses, kept: np.ndarray) -> Responses:
        """As `_responses`, of another format than NumPy's."""
        array = imaged.read(self.missing == "allow")
        rows = None if len(kept) == len(array) else kept
        return measured((len(kept), self.num_targets), [Part(0, 0, array, rows)])

    def _responses(self, arrays: Sequence[np.memmap], kept: np.ndarray) -> Responses:
        """The responses to the images (n,) that are kept, checked."""
        allowed, advice = self.missing == "allow", "; or set --data.source.missing allow where NaN is 'not measured'"
        for array in arrays:
            check_finite(array, array.ndim == 3 or allowed, advice)
        array: np.ndarray = arrays[0]
        if array.ndim == 3:
            array = mean_over_repetitions(array, self._repeats, allowed, advice)
        rows = None if len(kept) == len(array) else kept
        gaps = sum(int(np.isnan(array[row]).sum()) for row in kept) if allowed else 0
        if gaps:
            log.info(
                "%s: %d of %d responses are NaN, not measured (--data.source.missing allow)",
                arrays[0].filename, gaps, len(kept) * self.num_targets,
            )  # fmt: skip
        return measured((len(kept), self.num_targets), [Part(0, 0, array, rows)])

    def _open(self) -> list[np.memmap]:
        """The responses (stimuli, targets), the repetitions (stimuli, repetitions, targets), or both, agreeing."""
        single, repeated = self.root / "responses.npy", self._repeats
        repeats = open_array(repeated, ("stimuli", "repetitions", "targets")) if os.path.lexists(repeated) else None
        if repeats is not None and not os.path.lexists(single):
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

    def _own_ceiling(self) -> np.ndarray | None:
        """The ceilings that the flag gives, else the folder's own file; they go before what repetitions tell."""
        own = self.root / CEILINGS
        path = self.noise_ceiling or (own if os.path.lexists(own) else None)
        if path is None:
            return None
        if path.is_dir():
            path /= CEILINGS
        if self._repeats.exists():
            log.info("%s: noise ceilings are those of this file, not those that the repetitions tell", path)
        return read_noise_ceiling({path: self.num_targets})


def read_coordinates(path: Path, num_targets: int) -> np.ndarray | None:
    if not os.path.lexists(path):
        return None
    coordinates = open_array(path, ("targets", "x y z"))
    if coordinates.shape != (num_targets, 3):
        raise InputError(
            f"{path}: expected ({num_targets}, 3), each target's place in mm, found {coordinates.shape}; write it again"
        )
    check_finite(coordinates)
    return np.array(coordinates, dtype=np.float32)
