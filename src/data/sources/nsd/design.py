"""Which image each trial of the Natural Scenes Dataset showed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError, one_line
from ....table_file import reading_table
from .tree import NsdTree

_SESSIONS = {1: 40, 2: 40, 3: 32, 4: 30, 5: 40, 6: 32, 7: 40, 8: 30}
_TRIALS = 30_000  # of the whole design


@dataclass(frozen=True)
class Design:
    """The experiment as it was planned for one subject, and how much of it was done.

    Args:
        image: Id of the image that each planned trial shows, from 0, int64 (n_trials,).
        shared: Ids of the images that every subject sees, sorted.
        sessions: How many the subject has, whichever are on disk.
        trials_per_session: Trials of each.
        fewest_sessions: That any subject has.
    """

    image: np.ndarray
    shared: np.ndarray
    sessions: int
    trials_per_session: int
    fewest_sessions: int

    def trials_of(self, session: int) -> range:
        """Planned trials of a session, which is counted from 1."""
        return range((session - 1) * self.trials_per_session, session * self.trials_per_session)

    @property
    def done(self) -> np.ndarray:
        """Images of the trials that the subject did, int64 (n,)."""
        return self.image[: self.sessions * self.trials_per_session]

    @property
    def complete(self) -> bool:
        """Whether the subject did the whole experiment, as subjects 1, 2, 5 and 7 did."""
        return len(self.done) == len(self.image)

    @cached_property
    def shared_by_all(self) -> np.ndarray:
        """Ids of the shared images whose three trials lie in every subject's sessions, sorted: 515 of them.

        Every subject sees the shared images in the same trials, so the sessions that all have tell.
        """
        early = self.image[: self.fewest_sessions * self.trials_per_session]
        planned, seen = (np.bincount(trials, minlength=self.image.max() + 1) for trials in (self.image, early))
        return self.shared[seen[self.shared] == planned[self.shared]]


def read_design(tree: NsdTree, trials_per_session: int) -> Design:
    """Read one subject's part of the design.

    Args:
        tree: The subject's files.
        trials_per_session: As the betas' headers have it.

    Raises:
        InputError: The file is damaged, or it, the betas and the record of behaviour contradict each other.
    """
    path = tree.design
    mat = read_mat(path, ("masterordering", "subjectim", "sharedix"))
    order, images, shared = (mat[name].astype(np.int64) for name in ("masterordering", "subjectim", "sharedix"))
    order, shared = order.ravel(), shared.ravel()
    if images.ndim != 2 or len(images) < tree.subject:
        raise InputError(
            f"{path}: expected subjectim (subjects, images) with a row for subject {tree.subject}, found "
            f"{images.shape}; correct --data.source.subject or copy the file again"
        )
    for name, values, high in (("masterordering", order, images.shape[1]), ("subjectim", images, None)):
        if values.min() < 1 or (high is not None and values.max() > high):
            raise InputError(
                f"{path}: expected {name} to count from 1{f' to {high}' if high else ''}, found {values.min()} to "
                f"{values.max()}; copy the file again"
            )
    own = images[tree.subject - 1]
    if not np.array_equal(np.sort(own[: len(shared)]), np.sort(shared)):
        raise InputError(
            f"{path}: expected the first {len(shared)} images of subject {tree.subject} to be the shared ones "
            "(sharedix), found others; copy the file again"
        )
    image = own[order - 1] - 1
    sessions = _count_sessions(tree, image, trials_per_session)
    fewest = min(_SESSIONS.values()) if len(image) == _TRIALS else min([sessions, *_recorded_sessions(tree)])
    return Design(image, np.sort(shared - 1), sessions, trials_per_session, fewest)


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Numbers from a MATLAB file of version 5.

    Raises:
        InputError: It is missing or damaged, or lacks one of them.
    """
    from scipy.io import loadmat

    expected = f"{path}: expected a MATLAB file with {', '.join(names)}"
    if not path.is_file():
        raise InputError(f"{expected}, found no such file; download it")
    try:
        mat: dict[str, Any] = loadmat(path, variable_names=list(names))
    except Exception as error:  # a parser of a foreign format raises many kinds
        raise InputError(f"{expected}, found a file that cannot be read ({one_line(error)}); copy it again") from error
    for name in names:
        value = mat.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or value.size == 0:
            found = "nothing" if value is None else f"{getattr(value, 'dtype', type(value).__name__)}"
            raise InputError(f"{expected}, found {found} as {name}; copy it again")
        if (value.astype(np.int64) != value).any():
            raise InputError(f"{expected}, found numbers of {name} that are not whole; copy it again")
    return {name: mat[name] for name in names}


def _count_sessions(tree: NsdTree, image: np.ndarray, trials_per_session: int) -> int:
    """How many sessions the subject did: as published, else by the record of behaviour.

    The record may be older than the last sessions, which were published years after the others.
    """
    recorded = _check_behaviour(tree, image, trials_per_session) if tree.behaviour.is_file() else None
    if len(image) == _TRIALS and tree.subject in _SESSIONS:
        return _SESSIONS[tree.subject]
    if recorded is None:
        raise InputError(
            f"{tree.behaviour}: expected the record of {tree.name}'s behaviour, which tells its number of sessions, "
            "found no such file; download it"
        )
    return recorded


def _recorded_sessions(tree: NsdTree) -> list[int]:
    """Sessions of every subject whose record of behaviour is there."""
    import pandas

    found = []
    for path in tree.prepared.parent.glob("subj[0-9][0-9]/behav/responses.tsv"):
        with reading_table(path, "a table with the column SESSION", "\t"):
            found.append(int(pandas.read_csv(path, sep="\t", usecols=["SESSION"]).to_numpy(np.int64).max()))
    return found


def _check_behaviour(tree: NsdTree, image: np.ndarray, trials_per_session: int) -> int:
    """Hold the record of behaviour against the design: an id that counts from the wrong number is found here."""
    import pandas

    path = tree.behaviour
    with reading_table(path, "a table with the columns SESSION and 73KID", "\t"):
        table = pandas.read_csv(path, sep="\t", usecols=["SESSION", "73KID"])
        sessions, shown = table["SESSION"].to_numpy(np.int64), table["73KID"].to_numpy(np.int64) - 1
    rows = len(shown)
    if rows == 0 or rows > len(image) or sessions.max() * trials_per_session != rows:
        raise InputError(
            f"{path}: expected {trials_per_session} trials, as the betas have, in each of {sessions.max(initial=0)} "
            f"sessions, found {rows}; copy it again"
        )
    if not np.array_equal(shown, image[:rows]):
        trial = int((shown != image[:rows]).argmax())
        raise InputError(
            f"{path}: expected the images of {tree.design.name}, found 73KID {shown[trial] + 1} and not "
            f"{image[trial] + 1} in trial {trial + 1}; copy both files again"
        )
    return rows // trials_per_session
