"""Algonauts2021: the challenge's tree of fMRI responses to three-second videos.

Cichy et al. 2021, "The Algonauts Project 2021 Challenge: how the human brain makes sense of a world in motion".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import InputError
from ...names import TRAIN, UNASSIGNED, WITHHELD
from ...recording import Grid, Part, Recording, Responses, Roi
from ..clips import ClipFiles, list_clips
from ..reliability import mean_over_repetitions, split_half_reliability
from ..unpickle import load_pickle
from .base import OWN_NAMES, Source, subject_numbers

Track = Literal["mini", "full"]

RESPONSES, VIDEOS = "participants_data_v2021", "AlgonautsVideos268_All_30fpsmax"


class Algonauts2021(Source):
    """Reads the Algonauts 2021 tree: `ROOT/participants_data_v2021` and `ROOT/AlgonautsVideos268_All_30fpsmax`.

    A subject's targets are the voxels of its ROI files side by side, responses the mean over repetitions. The first
    videos are those that have responses, left to the seeded split; the rest are withheld, and predicted for the
    submission. Where videos were shown repeatedly, the responses' reliability is the noise ceiling. The files tell
    neither hemispheres nor the place of the voxel grid in the brain, so there are no coordinates.

    Args:
        root: The folder that holds both folders.
        subject: One subject's number, or a list of several.
        track: "mini" has a file of voxels per ROI, "full" one of the whole brain, `WB.pkl`.
        rois: The ROI files to read, such as `[V1, LOC]`; all where not given.
        frames: Frames per video, those in the middle of so many equal parts of it.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: There is no such subject or ROI, or a file of responses is damaged or disagrees with another.
    """

    layout = f"{RESPONSES}/"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return (root / RESPONSES).is_dir()

    def __init__(
        self,
        root: Path,
        subject: int | list[int] = 1,
        track: Track = "mini",
        rois: list[str] | None = None,
        frames: int = 16,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        if frames < 1:
            raise InputError(f"--data.source.frames {frames}: expected 1 or more")
        self.root = Path(root)
        self.track: Track = track
        self.frames = self._frames = frames
        numbers = subject_numbers(subject)
        self.subjects = [_Subject(self._folder(number), rois) for number in numbers]
        self._num_targets = sum(subject.num_targets for subject in self.subjects)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def read(self) -> Sequence[Recording]:
        clips = ClipFiles(list_clips(self.root / VIDEOS), self._frames)
        return [subject.read(clips, self.track) for subject in self.subjects]

    def _folder(self, number: int) -> Path:
        track = self.root / RESPONSES / f"{self.track}_track"
        if not track.is_dir():
            raise InputError(
                f"--data.source.root {self.root}: expected a folder with {track.relative_to(self.root)} and {VIDEOS}, "
                "found none; correct the path or --data.source.track"
            )
        folder = track / f"sub{number:02d}"
        if not folder.is_dir():
            there = sorted(path.name for path in track.glob("sub[0-9][0-9]"))
            raise InputError(
                f"{folder}: expected the folder of subject {number}, found {', '.join(there) or 'none'} in {track}; "
                "correct --data.source.subject"
            )
        return folder


@dataclass(frozen=True)
class _Subject:
    """The ROI files of one subject."""

    folder: Path
    rois: Sequence[str] | None

    @property
    def num_targets(self) -> int:
        return sum(repeats.shape[2] for repeats in self.repeats.values())

    @cached_property
    def _content(self) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """By ROI its repeats and, where the file has one, the mask of its voxels.

        A pickle has no header: its arrays' sizes are known once it is read, so it is read once and kept.
        """
        return {path.stem: _read_roi(path, TRAIN, np.float32) for path in self._files()}

    @cached_property
    def repeats(self) -> dict[str, np.ndarray]:
        """By ROI, (n_train, repetitions, voxels) of as many videos each."""
        repeats = {roi: array for roi, (array, _) in self._content.items()}
        lengths = {roi: len(array) for roi, array in repeats.items()}
        first = next(iter(lengths))
        for roi, length in lengths.items():
            if length != lengths[first]:
                raise InputError(
                    f"{self.folder / roi}.pkl: expected responses to {lengths[first]} videos as in {first}.pkl, found "
                    f"{length}; use the files of one release"
                )
        return repeats

    def read(self, clips: ClipFiles, track: Track) -> Recording:
        """Average the repetitions and put the ROIs side by side."""
        n_train = len(next(iter(self.repeats.values())))
        if len(clips) < n_train:
            raise InputError(
                f"{clips.paths[0].parent}: expected at least {n_train} videos, one per row of the responses in "
                f"{self.folder}, found {len(clips)}; put the others there"
            )
        parts, rois, reliability = [], [], []
        first = 0
        for name, repeats in self.repeats.items():
            parts.append(Part(0, first, mean_over_repetitions(repeats, self.folder / f"{name}.pkl")))
            rois.append(Roi(name, "", np.arange(first, first + repeats.shape[2])))
            reliability.append(split_half_reliability(repeats))
            first += repeats.shape[2]
        ceiling = np.maximum(np.concatenate(reliability), 0)  # not reliable at all: nothing to explain
        n_withheld = len(clips) - n_train
        return Recording(
            subject=self.folder.name,
            stimuli=clips,
            responses=Responses((len(clips), first), parts),
            splits=np.array([UNASSIGNED] * n_train + [WITHHELD] * n_withheld),
            hemispheres=np.full(first, ""),
            rois=rois,
            noise_ceiling=None if np.isnan(ceiling).all() else ceiling,
            grid=self._grid(),
            submission=f"algonauts2021_{track}",
        )

    def _grid(self) -> Grid | None:
        """The voxels of `WB.pkl`, in the order of its responses; the files say nothing of how the grid lies."""
        masks = [mask for _, mask in self._content.values() if mask is not None and mask.ndim == 3]
        if len(masks) < len(self._content) or len({mask.shape for mask in masks}) > 1:
            return None
        x, y, z = masks[0].shape
        return Grid((x, y, z), np.concatenate([np.argwhere(mask) for mask in masks]))

    def _files(self) -> list[Path]:
        there = {path.stem: path for path in sorted(self.folder.glob("*.pkl")) if not path.name.startswith(".")}
        if not there:
            raise InputError(f"{self.folder}: expected files such as V1.pkl or WB.pkl, found none; put them there")
        for name, path in there.items():
            if name in OWN_NAMES or ";" in name:
                raise InputError(
                    f"{path}: expected a ROI's name without ';' and other than {' and '.join(OWN_NAMES)}, which the "
                    f"program uses itself, found {name!r}; rename the file"
                )
        if self.rois is None:
            return list(there.values())
        unknown = [roi for roi in self.rois if roi not in there]
        if unknown or len(set(self.rois)) < len(self.rois) or not self.rois:
            raise InputError(
                f"--data.source.rois {self.rois}: expected each ROI once, of {', '.join(there)} in {self.folder}, "
                f"found {unknown[0] if unknown else 'one twice or none'}; correct the list"
            )
        return [there[roi] for roi in self.rois]


def read_repeats(path: Path, split: str, dtype: type[np.floating]) -> np.ndarray:
    """The responses of one ROI file to one split's videos, (videos, repetitions, voxels), NaN where missing.

    Raises:
        InputError: The file is missing or damaged, or holds no such responses.
    """
    return _read_roi(path, split, dtype)[0]


def _read_roi(path: Path, split: str, dtype: type[np.floating]) -> tuple[np.ndarray, np.ndarray | None]:
    """The same, and the file's mask of its voxels where it has one."""
    content = load_pickle(path)
    expected = f"expected {{'{split}': numbers (videos, repetitions, voxels)}}"
    repeats: Any = content.get(split) if isinstance(content, dict) else None
    if not isinstance(repeats, np.ndarray) or repeats.dtype.kind not in "iuf":
        kind = repeats.dtype if isinstance(repeats, np.ndarray) else type(repeats if repeats is not None else content)
        raise InputError(f"{path}: {expected}, found {getattr(kind, '__name__', kind)}; copy the file again")
    if repeats.ndim != 3 or repeats.size == 0:
        raise InputError(f"{path}: {expected}, none of them 0, found shape {repeats.shape}; copy the file again")
    with np.errstate(over="ignore"):
        repeats = repeats.astype(dtype, copy=False)
    infinite = int(np.isinf(repeats).sum())
    if infinite:
        raise InputError(f"{path}: expected finite responses, found {infinite} infinite ones; copy the file again")
    mask = content.get("voxel_mask")
    if mask is not None and (not isinstance(mask, np.ndarray) or np.count_nonzero(mask) != repeats.shape[2]):
        marked = np.count_nonzero(mask) if isinstance(mask, np.ndarray) else f"a {type(mask).__name__}"
        raise InputError(
            f"{path}: expected a voxel_mask that marks {repeats.shape[2]} voxels as the responses have, found "
            f"{marked}; copy the file again"
        )
    return repeats, mask
