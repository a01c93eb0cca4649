"""Which trial a worker runs next, so that a study ends with exactly the trials that were asked for.

All workers see one storage, and each takes its next trial under the storage's lock. A trial counts once it has
begun: when it ends by itself it is complete, pruned or failed, and when its worker dies the next that looks fails it
as lost, which does not count, and puts its values back into the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..search.choosing import SamplerName, make_sampler
from ..search.space import Value
from .attributes import DEFAULT, KILLS, LOST, REASON, RETRY_OF, WORKER
from .heartbeat import Watch
from .storage import Storage

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

DIED = "its worker died"
MOST_KILLS = 3
"""Workers that a trial may take with it before the fault is its own, as where memory runs out."""

log = logging.getLogger(__name__)


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are not lost, in order of their numbers."""
    return [trial for trial in trials if LOST not in trial.user_attrs or trial.state.name != "FAIL"]


def finished(study: Study) -> list[FrozenTrial]:
    """The finished trials of a study: complete, pruned, or failed by themselves; those lost to a kill are not."""
    return [trial for trial in counted(study.get_trials(deepcopy=False)) if trial.state.is_finished()]


@dataclass(kw_only=True)
class Queue:
    """Gives a worker its next trial.

    Args:
        study: The study.
        storage: Where it is kept.
        asked: Finished trials that the study shall have.
        sampler: How values are chosen.
        seed: Of the sampler.
        plan: Values of the first trials that are set beforehand.
        default_first: The first of these are the configuration's own.
        watch: Tells which trials have lost their worker.
        worker: What the process that watches over this worker calls it; None where there is none.
    """

    study: Study
    storage: Storage
    asked: int
    sampler: SamplerName
    seed: int
    plan: Sequence[dict[str, Value]]
    default_first: bool
    watch: Watch
    worker: str | None = None

    def take(self) -> Trial | None:
        """Begin the next trial; None where all are begun, though perhaps not all finished."""
        with self.storage.lock():
            trials = self._trials()
            dead = self.watch.dead([trial for trial in trials if trial.state.name == "RUNNING"])
            for trial in dead:
                log.warning("trial %d: nothing is heard of its worker; it is queued again", trial.number)
                requeue(self.study, trial, DIED, killed=True)
            trials = self._trials() if dead else trials
            waiting = [trial.number for trial in trials if trial.state.name == "WAITING"]
            if not waiting:
                if len(counted(trials)) >= self.asked:
                    return None
                waiting = [len(trials)]
                self._add(trials)
            self.study.sampler = make_sampler(self.sampler, self.seed, _place(self._trials(), waiting[0]))
            taken = self.study.ask()
            if self.worker is not None:
                taken.set_user_attr(WORKER, self.worker)
            return taken

    def give_back(self, number: int) -> None:
        """Put a trial that this worker cannot finish back into the queue."""
        with self.storage.lock():
            trial = next(trial for trial in self._trials() if trial.number == number)
            if not trial.state.is_finished():
                requeue(self.study, trial, "its worker was interrupted", killed=False)

    @property
    def complete(self) -> bool:
        """Whether as many trials have finished as were asked for."""
        return len(finished(self.study)) >= self.asked

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _add(self, trials: Sequence[FrozenTrial]) -> None:
        """Put a new trial into the queue."""
        place = _new_ones(trials)
        values = self.plan[place] if place < len(self.plan) else {}
        self.study.enqueue_trial(dict(values), {DEFAULT: True} if place == 0 and self.default_first else None)


def _place(trials: Sequence[FrozenTrial], number: int) -> int:
    """Which of the trials that were asked for one is: its number, in a study that has lost none."""
    while (lost := trials[number].user_attrs.get(RETRY_OF)) is not None:
        number = lost
    return _new_ones(trials[:number])


def _new_ones(trials: Sequence[FrozenTrial]) -> int:
    """How many trials are not there in place of a lost one."""
    return sum(RETRY_OF not in trial.user_attrs for trial in trials)


def bury(study: Study, storage: Storage, worker: str) -> None:
    """Fail the trial of a worker that is known to be dead, and put its values back."""
    with storage.lock():
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and trial.user_attrs.get(WORKER) == worker:
                requeue(study, trial, DIED, killed=True)


def requeue(study: Study, trial: FrozenTrial, reason: str, killed: bool) -> None:
    """Fail a trial as lost, and put its values back, under the storage's lock.

    A kill between the two is made good by the next look.

    Args:
        study: The trial's.
        trial: It runs, or did.
        reason: Why it is lost.
        killed: Its worker died, by which it may be at fault itself.
    """
    from optuna.trial import TrialState

    kills = trial.user_attrs.get(KILLS, 0) + killed
    if kills >= MOST_KILLS:
        reason = f"{kills} workers died with it: perhaps it needs more memory than there is"
        _mark(study, trial, REASON, reason)
        log.warning("trial %d: %s", trial.number, reason)
    else:
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        attributes = {RETRY_OF: trial.number, KILLS: kills}
        if DEFAULT in trial.user_attrs:
            attributes[DEFAULT] = True
        if not any(other.user_attrs.get(RETRY_OF) == trial.number for other in study.get_trials(deepcopy=False)):
            study.enqueue_trial(values, attributes)
        _mark(study, trial, LOST, reason)
    study.tell(trial.number, state=TrialState.FAIL)


def _mark(study: Study, trial: FrozenTrial, name: str, value: str) -> None:
    study._storage.set_trial_user_attr(trial._trial_id, name, value)
