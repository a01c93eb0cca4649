"""BetasSubject: one subject's betas, trials and targets."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ....errors import InputError
from ....names import TRAIN, UNASSIGNED
from ....recording import Recording, Responses, Stimuli, Trials
from ....trial_order import TrialOrder, first_that_shows
from ...noise_ceiling import share_of
from ...stimuli import natural_key
from ...stimulus_views import StimulusView
from ...trials.maps import OtherGridError
from ...trials.prepared import PreparedTrials
from ...trials.repeats import TrialRepeats, trial_table
from ...trials.session import SeriesSession
from ...trials.told import Told, ToldBeside
from ..base import common_columns
from .names import Named, of_both, of_space
from .sessions import choose_sessions, find_files, open_sessions
from .splits import assign, find_split
from .stimuli import find_images, open_images
from .table import Columns, read_tables
from .targets import Targets
from .tree import SubjectFiles

CeilingIn = Literal["percent", "share"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is to be read; each as in Betas."""

    betas: str | None = None
    space: str | None = None
    sessions: Sequence[int | str] | None = None
    trials: Path | None = None
    columns: Columns = field(default_factory=Columns)
    first_index: int = 0
    mask: Path | None = None
    targets: Sequence[str] | None = None
    rois: Sequence[str] | None = None
    roi_folder: Path | None = None
    noise_ceiling: Path | None = None
    ceiling_in: CeilingIn = "percent"
    images: Path | None = None
    split: str | None = None
    average_repeats: bool = True
    zscore: bool = True


class BetasSubject:
    """One subject.

    Args:
        root: Of the data set.
        subject: As in Betas.
        wanted: What is to be read.
    """

    def __init__(self, root: Path, subject: int | str | None, wanted: Wanted) -> None:
        self.root, self.wanted = root, wanted
        files = SubjectFiles.find(root, subject)
        named = find_files(files, wanted.betas, wanted.space, wanted.sessions)
        first = next(iter(next(iter(named.values())).values()))
        self.files = replace(files, chosen=first.top)
        opened = open_sessions(named)
        counts = {key: next(iter(sides.values())).num_trials for key, sides in opened.items()}
        self.tables = self.files.tables if wanted.trials is None else [wanted.trials]
        self.trials, absent = read_tables(self.tables, wanted.columns, counts, wanted.first_index, self.files.home)
        if absent and wanted.sessions is None:
            log.warning("%s: the betas of session %s are not there; the others are read", self.name, ", ".join(absent))
        of_table = [*self.trials, *absent]
        if "" in opened:
            keys = choose_sessions(list(self.trials), wanted.sessions, self.tables[0])
            self.trials = {key: self.trials[key] for key in keys}
        short = [key for key, trials in self.trials.items() if len(trials.rows) < 2]
        if wanted.zscore and short:
            raise InputError(
                f"{self.tables[0]}: expected at least 2 trials with a stimulus in session {short[0]}, over which it is "
                "standardised, found 1; leave it out with --data.source.sessions, or set --data.source.zscore false"
            )
        self.whole = wanted.average_repeats and len(self.trials) == len(of_table)
        """Whether responses are means over all trials of the table."""
        self.sessions = {key: opened.get(key) or opened[""] for key in self.trials}
        self.targets = Targets(
            self.files,
            [(files, self.trials[key].rows) for key, files in self.sessions.items()],
            first.entity("space"),
            wanted.targets,
            wanted.mask,
            wanted.rois,
            wanted.roi_folder,
        )
        self.images = find_images(root, wanted.images)
        self.split = find_split(root, self.name, wanted.split)
        if not wanted.average_repeats and self.split is None:
            raise InputError(
                "--data.source.average_repeats false: expected a split that says which images test, since tests are on "
                "means, found none; name it with --data.source.split"
            )

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def num_targets(self) -> int:
        return self.targets.num_targets

    def each_session(self) -> dict[str, SeriesSession]:
        """The trials of each session, at the targets."""
        return {
            key: SeriesSession(f"session {key}", files, self.targets.chosen, self.trials[key].rows)
            for key, files in self.sessions.items()
        }

    def prepared(self, cache_dir: Path) -> PreparedTrials:
        """The trials of all sessions in the cache."""
        return PreparedTrials(cache_dir, list(self.each_session().values()), self.num_targets, self.wanted.zscore)

    @property
    def labels(self) -> np.ndarray:
        """The stimulus of each trial, session after session, str (n_trials,)."""
        return np.concatenate([trials.label for trials in self.trials.values()])

    @property
    def trial_columns(self) -> list[str]:
        """Columns of behaviour that every session's table has."""
        return common_columns([list(trials.behaviour) for trials in self.trials.values()]) or []

    def read(self, cache_dir: Path) -> Recording:
        """Read everything about this subject."""
        label = self.labels
        names = sorted(map(str, set(label)), key=natural_key)
        splits = np.full(len(names), UNASSIGNED) if self.split is None else assign(*self.split, names)
        kept = splits != UNASSIGNED if self.split is not None else np.ones(len(names), dtype=bool)
        if not kept.all():
            log.info("%s: left out %d images that the split does not name", self.name, (~kept).sum())
        places = {name: place for place, name in enumerate(names)}
        image = np.array([places[each] for each in label.tolist()])
        stimulus = self._rows(image, splits, kept)
        table = trial_table(stimulus)
        shown = image[table[:, 0]]  # by each row
        prepared = self.prepared(cache_dir)
        responses = prepared.mean(table)
        trials = Trials(prepared.load(), stimulus, self._session_numbers(), self._runs())
        counts = (table >= 0).sum(axis=1)
        told = self.told(counts, self.whole and bool(kept.all()))
        beside = ToldBeside(TrialRepeats(trials.responses, stimulus), told)
        log.info(
            "%s: sessions %s, %d trials of %d images, %d of them repeated, %d targets",
            self.name, ", ".join(self.trials), (stimulus >= 0).sum(), kept.sum(), (counts > 1).sum(), self.num_targets,
        )  # fmt: skip
        every = np.arange(len(table))
        return self.targets.recording(
            stimuli=self._stimuli(names, shown, table, splits),
            responses=Responses.of(responses),
            splits=splits[shown],
            noise_ceiling=next(iter(beside.ceilings(every).values()), None),
            trials=trials,
            order=partial(self._order, trials, first_that_shows(image, shown)),
            repeats=beside,
        )

    def _rows(self, image: np.ndarray, splits: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The recording's row that each trial is part of, int64 (n_trials,); −1 where of none.

        Rows are images by name; where single trials are trained on these come first, in order of presentation.
        """
        stimulus = np.full(len(image), -1)
        single = np.zeros(len(image), dtype=bool) if self.wanted.average_repeats else splits[image] == TRAIN
        stimulus[single] = np.arange(single.sum())
        averaged = kept[image] & ~single
        if averaged.any():
            stimulus[averaged] = np.unique(image[averaged], return_inverse=True)[1] + single.sum()
        return stimulus

    def _stimuli(self, names: Sequence[str], shown: np.ndarray, table: np.ndarray, splits: np.ndarray) -> Stimuli:
        """The image of each row, which may show one several times."""
        own = np.unique(shown)
        images = open_images(self.images, [names[int(row)] for row in own], self.tables[0])
        if self.wanted.average_repeats:
            return images
        trial = [f"session {key}, trial {row + 1}" for key, trials in self.trials.items() for row in trials.rows]
        rows = [
            f"{names[int(row)]} in {trial[first]}" if splits[row] == TRAIN else names[int(row)]
            for row, first in zip(shown.tolist(), table[:, 0].tolist(), strict=True)
        ]
        return StimulusView(images, np.searchsorted(own, shown), rows)

    def _session_numbers(self) -> np.ndarray:
        keys = list(self.trials)
        numbers = [int(key) for key in keys] if all(map(str.isdecimal, keys)) else range(1, len(keys) + 1)
        return np.repeat(list(numbers), [len(trials.rows) for trials in self.trials.values()])

    def _runs(self) -> np.ndarray | None:
        runs = [trials.run for trials in self.trials.values()]
        return None if any(run is None for run in runs) else np.concatenate([run for run in runs if run is not None])

    def _order(self, trials: Trials, shown: np.ndarray) -> TrialOrder:
        """What came before each trial, and what its tables tell of behaviour, session after session."""
        behaviour = {
            name: np.concatenate([own.behaviour[name] for own in self.trials.values()]) for name in self.trial_columns
        }
        return TrialOrder(trials.stimulus, shown, trials.session, trials.run, behaviour=behaviour)

    def told(self, counts: np.ndarray, whole: bool) -> list[Told]:
        """Ceilings of files. One whose name holds a number of repeats is of images that were shown so often.

        Others are of all of the data set's images at once, unless the user says that they are meant.

        Args:
            counts: How often each stimulus was shown, int64 (n_stimuli,).
            whole: Whether the stimuli are all of the data set's, each with all its trials.
        """
        flag = self.wanted.noise_ceiling
        if flag is None:
            files = of_space(self.files.ceilings, self.targets.space)
        else:
            files = [Named(path, path.parent) for path in of_both(flag)]
        groups: dict[str, list[Named]] = {}
        for each in files:
            groups.setdefault(each.variety, []).append(each)
        told = []
        for variety, group in groups.items():
            repeats = re.search(r"([0-9]+)rep", variety, re.IGNORECASE)
            together = flag is None and not repeats
            if together and not whole:
                continue
            try:
                ceiling = self._ceiling(group)
            except OtherGridError:
                if flag is not None:
                    raise
                log.info("%s: left out, for it lies on another grid than the betas", group[0].path)
                continue
            of = counts == int(repeats[1]) if repeats else np.ones(len(counts), dtype=bool)
            told.append(Told(f"the file {variety}", ceiling, of, together, group[0].path))
        return told

    def _ceiling(self, files: Sequence[Named]) -> np.ndarray:
        """Noise ceilings of files, float64 (num_targets,), a share of variance."""
        parts = []
        for side in self.sessions[next(iter(self.sessions))]:
            own = [each for each in files if side in ("", each.side)]
            if len(own) != 1:
                kind = InputError if any(each.side for each in files) else OtherGridError
                raise kind(
                    f"{files[0].path}: expected one file of noise ceilings {f'of {side}' if side else ''}, found "
                    f"{len(own)}; name one with --data.source.noise_ceiling"
                )
            parts.append(self.targets.values(own[0].path, side))
        return share_of(
            np.concatenate(parts),
            f"{files[0].path}: expected noise ceilings",
            100 if self.wanted.ceiling_in == "percent" else 1,
            "set --data.source.ceiling_in share",
            "correct them, or see --data.source.ceiling_in",
        )
