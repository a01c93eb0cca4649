"""PreparedTrials: the single trials of a subject, standardised within each session, in the cache.

They are read from the data set once, session by session; a kill costs the session that was being read.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ..digests import digest_bytes
from ..filled_array import FilledArray
from .repeats import gathered

VERSION = 1
"""Raise it with every change to the numbers that are kept: it is part of their key."""

_TARGETS = 4096  # standardised at a time: 25 MB of float64 for a session of 750 trials
_STIMULI = 256  # averaged, and marked as done, at a time
_VALUES = 1 << 22  # of trials that are averaged at a time: 32 MB of float64

log = logging.getLogger(__name__)


class Session(Protocol):
    """One session's trials in the data set's own files."""

    @property
    def name(self) -> str:
        """As people call it, such as "session 3"."""
        ...

    @property
    def num_trials(self) -> int:
        """From the files' headers."""
        ...

    def identity(self) -> object:
        """What determines the numbers, as plain JSON types: files, their sizes and times, the chosen targets."""
        ...

    def read(self) -> np.ndarray:
        """Responses, float32 (num_trials, num_targets), NaN where not measured.

        Raises:
            InputError: A file is damaged.
        """
        ...


class PreparedTrials:
    """Single trials of all sessions, one below another.

    Args:
        cache_dir: The cache's folder.
        sessions: In order.
        num_targets: Of each session.
        zscore: Standardise each target within each session, by its mean and population standard deviation over the
            trials that are there; a target that does not vary in a session is 0 there. Sessions differ in level and
            gain, so trials of different sessions are comparable only then.
    """

    def __init__(self, cache_dir: Path, sessions: Sequence[Session], num_targets: int, zscore: bool) -> None:
        self.cache_dir, self.sessions, self.num_targets, self.zscore = Path(cache_dir), sessions, num_targets, zscore
        ends = np.cumsum([0, *(session.num_trials for session in sessions)]).tolist()
        self.rows = [range(start, end) for start, end in itertools.pairwise(ends)]
        self.num_trials: int = ends[-1]

    @cached_property
    def _trials(self) -> FilledArray:
        manifest = {
            "version": VERSION,
            "sessions": [session.identity() for session in self.sessions],
            "zscore": self.zscore,
        }
        shape = (self.num_trials, self.num_targets)
        return FilledArray(self.cache_dir / "trials", "trials", manifest, shape, np.dtype(np.float32))

    def prepare(self) -> None:
        """Read the sessions that are not in the cache yet.

        Raises:
            InputError: A file is damaged, or the disk is full.
        """
        array = self._trials
        if array.complete:
            return
        array.begin()
        todo = [number for number in range(len(self.sessions)) if not array.has(number)]
        if len(todo) < len(self.sessions):
            log.info("%d of %d sessions are prepared already", len(self.sessions) - len(todo), len(self.sessions))
        progress = tqdm(total=len(todo), desc="preparing responses", unit="session")
        with progress, ThreadPoolExecutor(1) as pool:
            written: list[Future[None]] = []  # the session before, while this one is standardised
            for number, responses in self._read_ahead(todo):
                if self.zscore:
                    standardise(responses)
                for before in written[-1:]:
                    before.result()
                written.append(pool.submit(array.write, number, self.rows[number], responses))
                progress.update()
            for last in written[-1:]:
                last.result()
        array.finish()

    def load(self) -> np.ndarray:
        """All trials, float32 (num_trials, num_targets), mapped."""
        self.prepare()
        return self._trials.load()

    def mean(self, table: np.ndarray) -> np.ndarray:
        """The mean over the trials of each stimulus, kept in the cache too.

        Args:
            table: Its trials (n_stimuli, most repetitions), −1 where there is none; see `trial_table`.

        Returns:
            float32 (n_stimuli, num_targets), mapped; NaN where no trial of the stimulus was measured.
        """
        trials = self.load()
        manifest = {"trials": self._trials.folder.name, "table": digest_bytes(np.ascontiguousarray(table).data)}
        shape = (len(table), self.num_targets)
        array = FilledArray(self.cache_dir / "trials", "means", manifest, shape, np.dtype(np.float32))
        if not array.complete:
            array.begin()
            for piece, start in enumerate(range(0, len(table), _STIMULI)):
                rows = range(start, min(start + _STIMULI, len(table)))
                if not array.has(piece):
                    array.write(piece, rows, mean_over_trials(trials, table[rows.start : rows.stop]))
            array.finish()
        return array.load()

    def _read_ahead(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Read each session while the one before is standardised and written."""
        with ThreadPoolExecutor(1) as pool:
            ahead: list[Future[np.ndarray]] = [pool.submit(self.sessions[number].read) for number in numbers[:1]]
            try:
                for place, number in enumerate(numbers):
                    responses = ahead.pop().result()
                    ahead += [pool.submit(self.sessions[later].read) for later in numbers[place + 1 : place + 2]]
                    yield number, responses
            finally:
                pool.shutdown(cancel_futures=True)


def standardise(responses: np.ndarray) -> None:
    """Standardise one session's responses (n_trials, n_targets) in place, as `PreparedTrials` says."""
    for start in range(0, responses.shape[1], _TARGETS):
        columns = slice(start, start + _TARGETS)
        block = responses[:, columns].astype(np.float64)
        there = ~np.isnan(block)
        gaps = not there.all()
        count = np.maximum(there.sum(axis=0), 1) if gaps else len(block)
        mean = (np.sum(block, axis=0, where=there) if gaps else block.sum(axis=0)) / count
        block -= mean
        if gaps:
            block[~there] = 0
        deviation = np.sqrt(np.einsum("nt,nt->t", block, block) / count)
        # A target that stays the same leaves rounding noise beside its level.
        still = deviation <= np.abs(mean) * np.finfo(np.float64).eps * 4
        block /= np.where(still, np.inf, deviation)
        if gaps:
            block[~there] = np.nan
        responses[:, columns] = block


def mean_over_trials(trials: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Mean over each stimulus's trials that are there, float32 (n_stimuli, n_targets); see `PreparedTrials.mean`."""
    mean = np.empty((len(table), trials.shape[1]), dtype=np.float32)
    step = max(1, _VALUES // max(table.shape[1] * trials.shape[1], 1))
    for start in range(0, len(table), step):
        own = gathered(trials, table[start : start + step])  # (n, repetitions, targets)
        there = ~np.isnan(own)
        counts = there.sum(axis=1)
        total = np.sum(own, axis=1, where=there)
        mean[start : start + step] = np.where(counts, total, np.nan) / np.maximum(counts, 1)
    return mean
