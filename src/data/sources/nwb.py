"""Nwb: spikes of sorted units, and images that were shown again and again, in files of Neurodata Without Borders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError
from ...names import UNASSIGNED
from ...recording import Recording, Responses, Roi, Stimuli, Trials
from ...trial_order import TrialOrder
from ..digests import digest_bytes, remembered_digests
from ..hdf5 import dataset_in, opened
from ..stimuli import ImageFiles, natural_key
from ..trials.prepared import mean_over_trials
from ..trials.repeats import TrialRepeats, trial_table
from .base import OWN_NAMES, Source
from .nwb_file import Presentations, images_by_index, images_by_name, read_areas, read_presentations, read_spikes

SUFFIX = ".nwb"
WINDOW = (0.05, 0.2)


class Nwb(Source):
    """Reads spike counts of sorted units from files of Neurodata Without Borders.

    A response is the number of a unit's spikes in a window after the onset of a stimulus, averaged over presentations,
    which tell the noise ceiling. What was shown stands in a table of `intervals` or in an `IndexSeries`, by a text that
    names an image, or by an index that counts along the file's images from 0; presentations of nothing are left out.
    Several files are several recordings.

    Args:
        root: A file, or a folder that holds `*.nwb`.
        images: The folder of the images, where a table names their files.
        presentations: The table of `intervals`, or the `IndexSeries`, that tells what was shown; the only one where
            not given.
        stimulus: The table's column that tells the stimulus; the only one whose name begins with stimul or image where
            not given.
        window: Where counting begins and ends, seconds after the onset; a spike at the end does not count.
        area: The column of the units' table that names each unit's area, which makes the ROIs. Where not given, the
            location of the unit's first electrode.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: There is no such file, or it holds no units or no table of stimuli.
    """

    layout = f"*{SUFFIX}"
    own_subjects = False

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return bool(nwb_files(root))

    def __init__(
        self,
        root: Path,
        images: Path | None = None,
        presentations: str | None = None,
        stimulus: str | None = None,
        window: list[float] | None = None,
        area: str | None = None,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        paths = nwb_files(Path(root))
        if not paths:
            raise InputError(
                f"--data.source.root {root}: expected a {SUFFIX} file or a folder of them, found none; correct the path"
            )
        span = tuple(WINDOW if window is None else window)
        if len(span) != 2 or not np.isfinite(span).all() or span[0] >= span[1]:
            raise InputError(
                f"--data.source.window {list(span)}: expected where counting begins and ends, in seconds, such as "
                f"{list(WINDOW)}; correct it"
            )
        folder = None if images is None else Path(images)
        self.files = [NwbFile(path, folder, presentations, stimulus, (span[0], span[1]), area) for path in paths]
        self._num_targets = sum(each.num_targets for each in self.files)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def trial_columns(self) -> list[str]:
        return []

    def read(self) -> Sequence[Recording]:
        return [each.read() for each in self.files]


def nwb_files(root: Path) -> list[Path]:
    """The files of a folder in order of name, or the file itself."""
    if root.is_file():
        return [root] if root.suffix == SUFFIX else []
    found = [path for path in root.glob(f"*{SUFFIX}") if path.is_file() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: natural_key(path.name))


class NwbFile:
    """One file.

    Args:
        path: The file.
        images: As in Nwb, and so the others.
        presentations: See there.
        stimulus: See there.
        window: See there.
        area: See there.
    """

    def __init__(
        self,
        path: Path,
        images: Path | None,
        presentations: str | None,
        stimulus: str | None,
        window: tuple[float, float],
        area: str | None,
    ) -> None:
        self.path, self.images, self.window = path, images, window
        with opened(path) as file:
            self.num_targets = (dataset_in(file, "units/spike_times_index").shape or (0,))[0]
            self.shown: Presentations = read_presentations(file, presentations, stimulus)
            self.areas = read_areas(file, area, self.num_targets)
        if self.num_targets == 0:
            raise InputError(f"{path}: expected units with spikes, found none; give another file")

    def read(self) -> Recording:
        """Read and check everything in the file."""
        there = self._presented()
        stimuli, index = self._stimuli(self.shown.stimulus[there])
        trials = self.count(self.shown.onsets[there])
        order = np.argsort(self.shown.onsets[there], kind="stable")
        trials, index = trials[order], index[order]
        session = np.ones(len(index), dtype=np.int64)
        return Recording(
            subject=self.path.stem,
            stimuli=stimuli,
            responses=Responses.of(mean_over_trials(trials, trial_table(index))),
            splits=np.full(len(stimuli), UNASSIGNED),
            hemispheres=np.full(self.num_targets, ""),
            rois=self.rois(),
            trials=Trials(trials, index, session),
            order=partial(TrialOrder, index, index, session),
            repeats=TrialRepeats(trials, index),
        )

    def count(self, onsets: np.ndarray) -> np.ndarray:
        """Spikes of each unit in the window after each onset, float32 (onsets, units)."""
        with opened(self.path) as file:
            spikes = read_spikes(file)
        begin, end = onsets + self.window[0], onsets + self.window[1]
        counts = [np.searchsorted(own, end) - np.searchsorted(own, begin) for own in spikes]
        return np.stack(counts, axis=1).astype(np.float32)

    def rois(self) -> list[Roi]:
        """Units by area; those without a name are in none."""
        if self.areas is None:
            return []
        names = [name for name in np.unique(self.areas) if name and name not in OWN_NAMES and ";" not in name]
        return [Roi(str(name), "", np.flatnonzero(self.areas == name)) for name in names]

    def _presented(self) -> np.ndarray:
        """Which presentations show something at a known time, bool (n,)."""
        shown = self.shown.stimulus
        something = shown != "" if shown.dtype.kind == "U" else shown != -1
        there = something & np.isfinite(self.shown.onsets)
        if not there.any():
            raise InputError(f"{self.path}: expected presentations of images in {self.shown.name}, found none")
        return there

    def _stimuli(self, shown: np.ndarray) -> tuple[Stimuli, np.ndarray]:
        """The stimuli that were shown, and which of them each presentation (n,) showed."""
        if shown.dtype.kind == "U":
            names = sorted(set(shown.tolist()), key=natural_key)
            place = {name: number for number, name in enumerate(names)}
            return self._named(names), np.array([place[name] for name in shown.tolist()])
        rows, index = np.unique(shown, return_inverse=True)
        with opened(self.path) as file:
            places = images_by_index(file, self.shown.images)
        if rows[0] < 0 or rows[-1] >= len(places):
            raise InputError(
                f"{self.path}: expected indices from 0 to {len(places) - 1} in {self.shown.name}, one per image, and "
                f"-1 where nothing was shown, found {rows[0] if rows[0] < 0 else rows[-1]}; count from 0, or choose "
                "others with --data.source.presentations"
            )
        return NwbImages(self.path, [places[row] for row in rows]), index

    def _named(self, names: Sequence[str]) -> Stimuli:
        """Images that a table names: files of the folder, or else images of the file."""
        if self.images is None:
            with opened(self.path) as file:
                there = images_by_name(file)
            missing = [name for name in names if name not in there]
            if not missing:
                return NwbImages(self.path, [there[name] for name in names])
            raise InputError(
                f"{self.path}: expected images that {self.shown.name} names, found none called {missing[0]!r} in the "
                "file; give the folder of their files with --data.source.images"
            )
        paths = [self.images / Path(name.replace("\\", "/")).name for name in names]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise InputError(
                f"{missing[0]}: expected an image that {self.path.name} names, found no such file, and {len(missing)} "
                "missing in all; put them there or correct --data.source.images"
            )
        return ImageFiles(paths)


class NwbImages:
    """Images within a file; implements `Stimuli` of src/recording.py.

    The file is opened for every read and kept by none, as a handle does not survive a fork.

    Args:
        path: The file.
        places: The dataset of each image, and its row where a dataset holds several.
    """

    frames: int | None = None

    def __init__(self, path: Path, places: Sequence[tuple[str, int | None]]) -> None:
        self.path, self._places = path, list(places)
        self.names = [f"{name.rpartition('/')[2]}" if row is None else f"{name}[{row}]" for name, row in places]
        self._digests: list[str] = []

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> np.ndarray:
        """One image in RGB, uint8 (height, width, 3); transparency on white.

        Raises:
            InputError: It is no image of 8 bits.
        """
        name, row = self._places[index]
        with opened(self.path) as file:
            dataset = dataset_in(file, name)
            pixels = dataset[()] if row is None else dataset[row]
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in (2, 3)
            or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4))
        ):
            raise InputError(
                f"{self.path}: expected {name} (height, width), or with 3 or 4 colours, of uint8, found "
                f"{pixels.dtype} {pixels.shape}; write it so, or give a folder with --data.source.images"
            )
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            colours = Image.fromarray(pixels)
            return np.asarray(Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB"))
        return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels

    def digests(self, memo: Path | None = None) -> list[str]:
        """BLAKE2b of each image as it is read, computed once; see `StimulusFiles` of src/data/stimuli.py."""
        if not self._digests:
            part = digest_bytes(repr(self._places).encode())
            self._digests = remembered_digests([self.path], lambda _: self._digest_all(), memo, part)[0].split()
        return self._digests

    def _digest_all(self) -> str:
        images = (np.ascontiguousarray(self.read(index)) for index in range(len(self)))
        return " ".join(digest_bytes(f"{image.shape}".encode() + image.tobytes()) for image in images)
