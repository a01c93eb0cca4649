"""Recording: what a source fills, the data module serves and evaluation reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from .mapped import ask_for, read_at_random
from .trial_order import TrialOrder, times_before


class Stimuli(Protocol):
    """The stimuli of a recording, decoded one at a time."""

    @property
    def names(self) -> Sequence[str]:
        """One name per stimulus, as the user knows it (a file name)."""
        ...

    @property
    def frames(self) -> int | None:
        """Frames F of each clip; None where stimuli are images."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> np.ndarray:
        """Decode one stimulus: an image to uint8 (height, width, 3), a clip to uint8 (F, height, width, 3).

        All stimuli of a recording are of one kind.
        """
        ...

    def digests(self, memo: Path | None = None) -> Sequence[str]:
        """One content hash per stimulus: equal exactly where the content is equal.

        Args:
            memo: A file in which hashes may be remembered between runs.
        """
        ...


@dataclass(frozen=True)
class Roi:
    """A named set of targets in one hemisphere.

    Args:
        name: The field's name, such as "V1v".
        hemisphere: "lh", "rh", or "" where the recording knows none.
        targets: Sorted target indices, int64 (n_targets_in_roi,); may be empty.
    """

    name: str
    hemisphere: str
    targets: np.ndarray


@dataclass(frozen=True)
class Part:
    """A rectangle of measured responses: an array, often a memory map, and where it lies.

    Args:
        first_stimulus: Of the stimuli that it covers.
        first_target: Likewise.
        array: (rows, targets).
        rows: The array's row of each stimulus that it covers, int64 (stimuli,); all rows in order where None.
    """

    first_stimulus: int
    first_target: int
    array: np.ndarray
    rows: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """How many stimuli and targets it covers."""
        return len(self.array if self.rows is None else self.rows), self.array.shape[1]

    def take(self, index: np.ndarray) -> np.ndarray:
        """What was measured for stimuli (n,), counted from the first that it covers: (n, targets)."""
        return self.array[index if self.rows is None else self.rows[index]]

    def take_into(self, index: np.ndarray, out: np.ndarray) -> bool:
        """Copy the same straight into `out` (n, targets), or return False where it is stored otherwise.

        Of a whole brain, a copy that is made first takes three times as long.
        """
        if self.array.dtype != out.dtype or not (self.array.flags.c_contiguous and out.flags.c_contiguous):
            return False
        rows = index if self.rows is None else self.rows[index]
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.array):
            return False  # indexing says what is wrong with it
        np.take(self.array, rows, axis=0, out=out, mode="clip")  # "raise", the default, makes a copy of `out`
        return True


class Responses:
    """What was measured, (n_stimuli, n_targets), gathered by stimulus from arrays left on disk.

    A stimulus that no part covers was not measured: its row is NaN (the withheld test images of a challenge).
    The parts that cover a stimulus must together cover all targets.

    Args:
        shape: (n_stimuli, n_targets).
        parts: Non-overlapping rectangles.
        offset: float64 (n_targets,), which is taken from each target's responses before they are cut to float32, since
            a small spread on a large offset would not survive it; None takes nothing.
    """

    def __init__(self, shape: tuple[int, int], parts: Sequence[Part], offset: np.ndarray | None = None) -> None:
        self.shape = shape
        self.parts = tuple(parts)
        self.offset = offset
        covered = np.zeros(shape[0], dtype=np.int64)
        for part in self.parts:
            rows, columns = part.shape
            covered[part.first_stimulus : part.first_stimulus + rows] += columns
        self.at_random = False
        self.measured: np.ndarray = covered > 0  # (n_stimuli,)
        if not np.isin(covered, (0, shape[1])).all():
            raise ValueError(f"response parts cover some stimuli in part only; shape {shape}")

    @classmethod
    def of(cls, array: np.ndarray) -> "Responses":
        """Responses that lie in one array (n_stimuli, n_targets)."""
        return cls(array.shape, [Part(0, 0, array)])

    def read_at_random(self) -> None:
        """Say that all of them are more than memory holds: see src/mapped.py."""
        told = [read_at_random(part.array) for part in self.parts]
        self.at_random = any(told)

    def expect(self, stimuli: np.ndarray) -> None:
        """Begin to read the rows of stimuli (n,) that are gathered soon, where they are read at random."""
        if not self.at_random:
            return
        for part in self.parts:
            index = stimuli[(stimuli >= part.first_stimulus) & (stimuli < part.first_stimulus + part.shape[0])]
            index = index - part.first_stimulus
            ask_for(part.array, index if part.rows is None else part.rows[index])

    def gather(self, stimuli: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Copy the rows of these stimuli, less `offset`.

        Args:
            stimuli: Stimulus indices (n,).
            out: Where to write, (n, n_targets) float32; made where not given.

        Returns:
            float32 (n, n_targets).
        """
        if out is None:
            out = np.empty((len(stimuli), self.shape[1]), dtype=np.float32)
        self.expect(stimuli)
        if not self.measured[stimuli].all():
            out.fill(np.nan)
        for part in self.parts:
            rows, columns = part.shape
            own = (stimuli >= part.first_stimulus) & (stimuli < part.first_stimulus + rows)
            targets = slice(part.first_target, part.first_target + columns)
            offset = None if self.offset is None else self.offset[targets]
            if own.all():
                index = stimuli - part.first_stimulus
                if offset is not None or columns < self.shape[1] or not part.take_into(index, out):
                    out[:, targets] = _less(part.take(index), offset)
            elif own.any():
                out[own, targets] = _less(part.take(stimuli[own] - part.first_stimulus), offset)
        return out


def _less(values: np.ndarray, offset: np.ndarray | None) -> np.ndarray:
    return values if offset is None else values - offset


@dataclass(frozen=True)
class Grid:
    """The grid of voxels that targets are of.

    Args:
        shape: Of the volume, (X, Y, Z).
        voxels: Index of each target's voxel in it, int64 (n_targets, 3).
        affine: From indices to millimetres, float64 (4, 4); None where the format does not tell it.
    """

    shape: tuple[int, int, int]
    voxels: np.ndarray
    affine: np.ndarray | None = None


@dataclass(frozen=True)
class Trials:
    """Single presentations behind a recording's responses, in the order in which they were measured.

    Args:
        responses: (n_trials, n_targets), often a memory map.
        stimulus: The recording's stimulus whose response each is part of, int64 (n_trials,); −1 where of none.
        session: In which each was measured, int64 (n_trials,), counted from 1.
        run: Likewise; None where the format does not tell.
    """

    responses: np.ndarray
    stimulus: np.ndarray
    session: np.ndarray
    run: np.ndarray | None = None

    @property
    def repetition(self) -> np.ndarray:
        """How often its stimulus had been shown before, int64 (n_trials,)."""
        return times_before(self.stimulus)


class Repeats(Protocol):
    """What repeated presentations tell of a recording's noise."""

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        """Noise ceilings of the mean responses to exactly these stimuli (n,), by what tells them.

        Returns:
            Each float64 (n_targets,), a share of variance, NaN where unknown. The first is what scores are held
            against; empty where nothing tells any.
        """
        ...

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        """What was measured at each presentation of these stimuli (n,), in the responses' own units.

        Returns:
            float64 (n, most repetitions, n_targets), NaN where there is none; None where presentations are not known.
        """
        ...


@dataclass(frozen=True)
class Recording:
    """Everything read from disk about one subject.

    Args:
        subject: The subject as tables and folders name it, such as "subj01".
        stimuli: The images or clips, in the order of the rows of `responses`.
        responses: (n_stimuli, n_targets); rows of withheld stimuli are not measured.
        splits: str (n_stimuli,), each "train", "validation", "test", "withheld" (to be predicted, without
            responses) or "" (left to the data module's seeded split).
        hemispheres: str (n_targets,), each "lh", "rh" or "".
        rois: Named sets of targets; they may overlap, and targets may be in none.
        noise_ceiling: Of the recording as a whole, float64 (n_targets,) share of variance from 0 to 1, NaN where
            unknown; or None.
        trials: The single presentations, where the format has them; or None.
        order: Reads in which order, when, and beside what behaviour stimuli were presented; None where the format does
            not tell.
        repeats: What single presentations tell of the noise ceiling of some of the stimuli; or None.
        coordinates: float32 (n_targets, 3) in millimetres; or None.
        vertices: int64 (n_targets,) index of each target's fsaverage vertex. The first 10,242 of them are
            fsaverage5's; or None.
        grid: The voxels that the targets are; or None.
        categories: str (n_stimuli,) name of the object that each stimulus shows; or None.
        submission: The challenge whose submission the withheld (or test) predictions make, and whose score is theirs:
            "algonauts2023", "algonauts2021_mini", "algonauts2021_full" or None.
    """

    subject: str
    stimuli: Stimuli
    responses: Responses
    splits: np.ndarray
    hemispheres: np.ndarray
    rois: Sequence[Roi] = field(default_factory=list)
    noise_ceiling: np.ndarray | None = None
    trials: Trials | None = None
    order: Callable[[], TrialOrder] | None = None
    repeats: Repeats | None = None
    coordinates: np.ndarray | None = None
    vertices: np.ndarray | None = None
    grid: Grid | None = None
    categories: np.ndarray | None = None
    submission: str | None = None

    def __post_init__(self) -> None:
        n_stimuli, n_targets = self.responses.shape
        sizes = {
            "stimuli": (len(self.stimuli), n_stimuli),
            "splits": (len(self.splits), n_stimuli),
            "hemispheres": (len(self.hemispheres), n_targets),
            "noise_ceiling": (n_targets if self.noise_ceiling is None else len(self.noise_ceiling), n_targets),
            "coordinates": (n_targets if self.coordinates is None else len(self.coordinates), n_targets),
            "categories": (n_stimuli if self.categories is None else len(self.categories), n_stimuli),
            "vertices": (n_targets if self.vertices is None else len(self.vertices), n_targets),
            "grid": (n_targets if self.grid is None else len(self.grid.voxels), n_targets),
        }
        for name, (found, expected) in sizes.items():
            if found != expected:
                raise ValueError(f"recording {self.subject}: {name} has {found} entries, expected {expected}")

    @property
    def num_targets(self) -> int:
        return self.responses.shape[1]

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        """Noise ceilings that scores on these stimuli (n,) can be held against, by what tells them, the best first.

        The number of presentations differs between stimuli, and with it the ceiling. So where presentations are known
        the ceiling is that of exactly these stimuli; else it is the recording's.
        """
        told = {} if self.repeats is None else self.repeats.ceilings(stimuli)
        return told or ({} if self.noise_ceiling is None else {"the recording": self.noise_ceiling})

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        """As `Repeats.presentations`; None too where the format knows no repeats."""
        return None if self.repeats is None else self.repeats.presentations(stimuli)

    def of_targets(self, targets: np.ndarray) -> "Recording":
        """The recording of some of its targets, int64 (n,), in that order."""
        if np.array_equal(targets, np.arange(self.num_targets)):
            return self
        number = np.full(self.num_targets, -1)
        number[targets] = np.arange(len(targets))
        rois = []
        for roi in self.rois:
            own = number[roi.targets]
            rois.append(Roi(roi.name, roi.hemisphere, np.sort(own[own >= 0])))
        responses, offset = self.responses, self.responses.offset
        chosen = responses.gather(np.arange(responses.shape[0]))[:, targets]
        everything = chosen if offset is None else chosen + offset[targets]
        edges = np.flatnonzero(np.diff(responses.measured, prepend=False, append=False))  # of what was measured
        parts = [Part(int(start), 0, everything[start:end]) for start, end in edges.reshape(-1, 2)]
        return replace(
            self,
            responses=Responses(chosen.shape, parts, None if offset is None else offset[targets]),
            hemispheres=self.hemispheres[targets],
            rois=rois,
            noise_ceiling=None if self.noise_ceiling is None else self.noise_ceiling[targets],
            trials=None,
            repeats=None if self.repeats is None else _SomeRepeats(self.repeats, targets),
            coordinates=None if self.coordinates is None else self.coordinates[targets],
            vertices=None if self.vertices is None else self.vertices[targets],
            grid=None if self.grid is None else replace(self.grid, voxels=self.grid.voxels[targets]),
        )


@dataclass(frozen=True)
class _SomeRepeats:
    """What presentations tell of some of the targets."""

    repeats: Repeats
    targets: np.ndarray

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: ceiling[self.targets] for name, ceiling in self.repeats.ceilings(stimuli).items()}

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        presented = self.repeats.presentations(stimuli)
        return None if presented is None else presented[:, :, self.targets]


def stopping_groups(recording: Recording) -> tuple[np.ndarray, list[str]]:
    """Partition the targets into the sets that are stopped together in training.

    ROIs overlap, a partition must not: each target belongs to the smallest ROI that contains it, and the
    targets in none to one group per hemisphere.

    Returns:
        The group of each target, int64 (n_targets,), and the groups' names ("lh.V1v", "rh.none", "V4").
    """
    label = np.array([f"{hemisphere}.none".lstrip(".") for hemisphere in recording.hemispheres], dtype=object)
    for roi in sorted(recording.rois, key=lambda roi: -len(roi.targets)):
        label[roi.targets] = f"{roi.hemisphere}.{roi.name}".lstrip(".")
    names, groups = np.unique(label.astype(str), return_inverse=True)
    return groups.astype(np.int64), names.tolist()
