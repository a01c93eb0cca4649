"""ThingsFmri: single-trial responses of human cortex to THINGS images, as tables.

Hebart et al. 2023, "THINGS-data, a multimodal collection of large-scale datasets for investigating object
representations in human brain and behavior".
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...names import TEST, UNASSIGNED
from ...recording import Grid, Recording, Responses, Roi, Trials
from ...trial_order import TrialOrder, first_that_shows
from ..digests import digest_bytes
from ..noise_ceiling import ceiling_of_snr
from ..pandas_hdf import Block, read_blocks
from ..stimuli import ImageFiles
from ..trials.prepared import PreparedTrials
from ..trials.repeats import REPEATS, TrialRepeats, trial_table
from ..trials.told import Told, ToldBeside
from .base import Source, subject_numbers
from .things_fmri_tables import TrialTable, VoxelTable, read_trials, read_voxels
from .things_images import find_images, things_folder

FOLDER = "betas_csv"
RESPONSES = re.compile(r"sub-([0-9]{2})_ResponseData\.h5")

_PARCELS = "glasser-"
"""How the names of the 180 parcels begin that cover all of cortex."""

_ID = "voxel_id"

log = logging.getLogger(__name__)


class ThingsFmri(Source):
    """Reads THINGS-fMRI's single-trial responses as tables, `betas_csv/`, and THINGS images.

    Each voxel is standardised within each session, and the twelve presentations of a test image are averaged. What is
    prepared so is kept in the cache, session by session, so that a second run reads no responses. Voxels that are NaN
    in any session are left out. Noise ceilings are those of the repeats of the scored images, and beside them the ones
    of the voxels' table.

    Args:
        root: The folder that holds `betas_csv`.
        subject: One subject's number, or a list of several.
        images: The folder of the THINGS images, one folder per concept; `object_images` in the root where not given.
        targets: Which voxels: those of a ROI, of a list of ROIs, or all. Where not given, those of the ROIs that are
            scored.
        rois: ROIs that are scored, by their columns in the voxels' table. Where not given, all but those of the
            parcellation, whose names begin with glasser-.
        zscore: Standardise each voxel within each session.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: A file is missing or damaged, or a flag names what is not there.
    """

    layout = f"{FOLDER}/sub-01_ResponseData.h5"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        folder = root / FOLDER
        return folder.is_dir() and any(RESPONSES.fullmatch(path.name) for path in folder.iterdir())

    def __init__(
        self,
        root: Path,
        subject: int | list[int] = 1,
        images: Path | None = None,
        targets: list[str] | str | None = None,
        rois: list[str] | None = None,
        zscore: bool = True,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        numbers = subject_numbers(subject)
        root = Path(root)
        self.images = things_folder(root, None if images is None else Path(images))
        wanted = [targets] if isinstance(targets, str) else targets
        self.subjects = [ThingsSubject(root, number, wanted, rois, zscore) for number in numbers]
        self._num_targets = sum(each.num_targets for each in self.subjects)
        self.keep_in(Path("cache"))

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def trial_columns(self) -> list[str]:
        return []

    def keep_in(self, cache_dir: Path) -> None:
        self.cache_dir = Path(cache_dir)

    def prepare(self) -> None:
        for subject in self.subjects:
            subject.prepared(self.cache_dir).prepare()

    def read(self) -> Sequence[Recording]:
        return [subject.read(self.cache_dir, self.images) for subject in self.subjects]


@dataclass(frozen=True)
class TrialColumns:
    """One session's trials; implements `Session` of src/data/trials/prepared.py.

    Args:
        name: For people.
        block: Of the file: voxels × trials.
        rows: Voxels that are wanted, int64 (n,), in the order in which they are targets.
        columns: Of the session's trials, int64 (num_trials,).
    """

    name: str
    block: Block
    rows: np.ndarray
    columns: np.ndarray

    @property
    def num_trials(self) -> int:
        return len(self.columns)

    def identity(self) -> object:
        stat = self.block.path.stat()
        chosen = [digest_bytes(np.ascontiguousarray(places).data) for places in (self.rows, self.columns)]
        return [str(self.block.path.resolve()), stat.st_size, stat.st_mtime_ns, *chosen]

    def read(self) -> np.ndarray:
        """See `Session`.

        Raises:
            InputError: The file is damaged, or a voxel is NaN in some of the session's trials only.
        """
        found = self._read(self.columns)
        faults = np.argwhere(~np.isfinite(found))
        if len(faults):
            trial, target = faults[0].tolist()
            raise InputError(
                f"{self.block.path}: expected each voxel to be measured in all trials of a session or in none, found "
                f"{found[trial, target]} in {self.name}, row {self.rows[target]} (counted from 0) and {len(faults)} "
                "such values in all; copy it again, or choose others with --data.source.targets"
            )
        return found

    def missing(self) -> np.ndarray:
        """Which voxels were not measured in this session, by its first trial, bool (n,)."""
        return np.isnan(self._read(self.columns[:1])[0])

    def _read(self, columns: np.ndarray) -> np.ndarray:
        order = np.argsort(self.rows)
        found = np.empty((len(columns), len(self.rows)), dtype=np.float32)
        with np.errstate(over="ignore"):
            found[:, order] = self.block.read(self.rows[order], columns).T
        return found


class ThingsSubject:
    """One subject's tables at the chosen voxels.

    Args:
        root: Of the data set.
        number: The subject's.
        targets: As in ThingsFmri, and so the others.
        rois: See there.
        zscore: See there.
        most: Voxels at most, evenly spread; all where None.
    """

    def __init__(
        self,
        root: Path,
        number: int,
        targets: Sequence[str] | None = None,
        rois: Sequence[str] | None = None,
        zscore: bool = True,
        most: int | None = None,
    ) -> None:
        self.name, self.zscore = f"sub-{number:02d}", zscore
        folder = root / FOLDER
        self.path, self.trials_file, self.voxels_file = (
            folder / f"{self.name}_{each}" for each in ("ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv")
        )
        if not self.path.is_file():
            there = sorted(match[1] for path in folder.glob("*") if (match := RESPONSES.fullmatch(path.name)))
            raise InputError(
                f"{self.path}: expected the responses of subject {number}, found {', '.join(there) or 'none'}; get "
                "them, or choose another with --data.source.subject"
            )
        self.trials: TrialTable = read_trials(self.trials_file)
        self.voxels: VoxelTable = read_voxels(self.voxels_file)
        scored = [name for name in self.voxels.members if not name.startswith(_PARCELS)] if rois is None else rois
        self._rois = self.voxels.named("rois", scored, self.voxels_file)
        self._block, self._columns, self._row = self._open()
        chosen = self._choose(targets)
        step = 1 if most is None else max(1, -(-len(chosen) // most))
        self._chosen = chosen[::step]
        there = ~np.logical_or.reduce([session.missing() for session in self.sessions()])
        if not there.any():
            raise InputError(
                f"{self.path}: expected voxels that are measured in all sessions, found none; copy it again"
            )
        if not there.all():
            log.info("%s: left out %d voxels that are NaN in some session", self.name, int((~there).sum()))
        self._chosen = self._chosen[there]

    @property
    def num_targets(self) -> int:
        return len(self._chosen)

    def sessions(self) -> list[TrialColumns]:
        """The trials of each session, at the chosen voxels."""
        rows = self._row[self._chosen]
        return [
            TrialColumns(f"session {number}", self._block, rows, self._columns[self.trials.session == number])
            for number in np.unique(self.trials.session)
        ]

    def prepared(self, cache_dir: Path) -> PreparedTrials:
        """The trials of all sessions in the cache."""
        return PreparedTrials(cache_dir, self.sessions(), self.num_targets, self.zscore)

    @cached_property
    def order(self) -> np.ndarray:
        """Places of the trials in the table, as sessions follow one another, int64 (n_trials,)."""
        return np.argsort(self.trials.session, kind="stable")

    @cached_property
    def stimulus(self) -> np.ndarray:
        """Stimulus of each trial in that order, int64 (n_trials,): what trains, sorted by name, then what tests."""
        name, test = self.trials.name[self.order], self.trials.test[self.order]
        train_names, train = np.unique(name[~test], return_inverse=True)
        stimulus = np.empty(len(name), dtype=np.int64)
        stimulus[~test] = train
        stimulus[test] = np.unique(name[test], return_inverse=True)[1] + len(train_names)
        return stimulus

    def read(self, cache_dir: Path, images: Path) -> Recording:
        """Read everything about this subject."""
        table, prepared = trial_table(self.stimulus), self.prepared(cache_dir)
        tested = self.tested(table)
        session, run = self.trials.session[self.order], self.trials.run[self.order]
        paths = self.image_paths(images, table)
        trials = Trials(prepared.load(), self.stimulus, session, run)
        responses = prepared.mean(table)
        counts = (table >= 0).sum(axis=1)
        repeats = TrialRepeats(trials.responses, self.stimulus)
        log.info(
            "%s: %d sessions, %d images to train on, %d to test on in %d trials, %d voxels",
            self.name, len(np.unique(session)), (~tested).sum(), tested.sum(), counts[tested].sum(), self.num_targets,
        )  # fmt: skip
        return Recording(
            subject=self.name,
            stimuli=ImageFiles(paths),
            responses=Responses.of(responses),
            splits=np.where(tested, TEST, UNASSIGNED),
            hemispheres=np.full(self.num_targets, ""),
            rois=self.rois(),
            noise_ceiling=_over_all(repeats, np.flatnonzero(tested), counts),
            trials=trials,
            order=partial(self._trial_order, table, session, run),
            repeats=ToldBeside(
                repeats,
                [
                    Told("nc_testset of the file", self.told("nc_testset"), tested),
                    Told("nc_singletrial of the file", self.told("nc_singletrial"), counts == 1),
                ],
            ),
            grid=self._grid(),
            categories=np.array([path.parent.name for path in paths]),
        )

    def _trial_order(self, table: np.ndarray, session: np.ndarray, run: np.ndarray) -> TrialOrder:
        name = self.trials.name[self.order]
        return TrialOrder(self.stimulus, first_that_shows(name, name[table[:, 0]]), session, run)

    def tested(self, table: np.ndarray) -> np.ndarray:
        """Which stimuli test, bool (n_stimuli,)."""
        return self.trials.test[self.order][table[:, 0]]

    def image_paths(self, images: Path, table: np.ndarray) -> list[Path]:
        """The file of each stimulus."""
        return find_images(images, self.trials.name[self.order][table[:, 0]].tolist(), self.trials_file)

    def told(self, name: str) -> np.ndarray:
        """A ceiling of the voxels' table, float64 (num_targets,)."""
        return self.voxels.ceilings[name][self._chosen]

    def rois(self) -> list[Roi]:
        """The ROIs that are scored, with the places of their voxels among the targets."""
        return [Roi(name, "", np.flatnonzero(voxels[self._chosen])) for name, voxels in self._rois.items()]

    def _grid(self) -> Grid | None:
        places = self.voxels.places
        if places is None:
            return None
        shape = tuple(int(size) + 1 for size in places.max(axis=0))
        return Grid(shape, places[self._chosen])  # type: ignore[arg-type]

    def _choose(self, targets: Sequence[str] | None) -> np.ndarray:
        """Rows of the voxels' table that are targets."""
        if targets is not None and list(targets) == ["all"]:
            return np.arange(len(self.voxels.ids))
        wanted = self._rois if targets is None else self.voxels.named("targets", targets, self.voxels_file)
        mask = np.logical_or.reduce([np.zeros(len(self.voxels.ids), dtype=bool), *wanted.values()])
        if not mask.any():
            raise InputError(
                f"--data.source.targets: expected voxels of {', '.join(wanted) or 'some ROI'}, found none in "
                f"{self.voxels_file.name}; name others, or all"
            )
        return np.flatnonzero(mask)

    def _open(self) -> tuple[Block, np.ndarray, np.ndarray]:
        """The block of responses, the column of each trial, and the row of each voxel of the table."""
        blocks = {name: block for block in read_blocks(self.path) for name in block.columns}
        wanted = [str(number) for number in self.trials.ids]
        missing = [name for name in wanted if name not in blocks]
        beyond = sorted(set(blocks) - set(wanted) - {_ID})
        if missing or beyond:
            found = f"none for trial_id {missing[0]}" if missing else f"column {beyond[0]!r} beside them"
            raise InputError(
                f"{self.path}: expected a column for each of {len(wanted)} trials of {self.trials_file.name}, found "
                f"{found}; use the files of one subject"
            )
        block = blocks[wanted[0]]
        if _ID not in blocks or any(blocks[name] is not block for name in wanted):
            raise InputError(
                f"{self.path}: expected a column {_ID} and trials of one dtype, found "
                f"{'several' if _ID in blocks else f'no {_ID}'}; copy it again"
            )
        column = {name: place for place, name in enumerate(block.columns)}
        own = blocks[_ID]
        ids = own.read(np.arange(own.rows), np.array([own.columns.index(_ID)]))[:, 0]
        return block, np.array([column[name] for name in wanted]), self._rows_of(ids)

    def _rows_of(self, ids: np.ndarray) -> np.ndarray:
        """The row of the responses that each voxel of the table has."""
        order = np.argsort(ids, kind="stable")
        if len(ids) != len(self.voxels.ids) or not np.array_equal(ids[order], np.sort(self.voxels.ids)):
            raise InputError(
                f"{self.path}: expected the {len(self.voxels.ids)} voxels of {self.voxels_file.name}, found "
                f"{len(ids)}, or other values of {_ID}; use the files of one subject"
            )
        return order[np.searchsorted(ids[order], self.voxels.ids)]


def _over_all(repeats: TrialRepeats, tests: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """Noise ceiling over all stimuli, most of which were shown once, from that of the repeated ones."""
    ceiling = repeats.ceilings(tests).get(REPEATS)
    if ceiling is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.sqrt((1 / counts[tests]).mean() * ceiling / (1 - ceiling))
    return ceiling_of_snr(snr, float((1 / counts).mean()))
