"""The worker: takes trials from the study's queue and runs them, until none is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import FullDisk
from .ledger.attributes import REASON
from .ledger.heartbeat import INTERVAL_S, Heart
from .ledger.queue import Queue

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import TrialState

POLL_S = 1.0

log = logging.getLogger(__name__)


class TrialFailed(Exception):
    """A trial cannot come to a value, by its own fault; the message is the reason, in one line."""


@dataclass(frozen=True)
class TrialOutcome:
    """What a complete trial came to.

    Args:
        value: What the study makes as large as it can.
        attributes: What else is remembered of the trial, by name, in plain types.
    """

    value: float
    attributes: Mapping[str, Any] = field(default_factory=dict)


Objective = Callable[["Trial"], TrialOutcome]
"""Runs one trial. Raises TrialPruned where it is stopped for falling behind, and TrialFailed."""


def work(
    queue: Queue,
    objective: Objective,
    timeout: float | None = None,
    after: Callable[[], object] = lambda: None,
    interval: float = INTERVAL_S,
    poll: float = POLL_S,
) -> None:
    """Run trials until the study has as many as were asked for.

    A worker that finds all trials begun waits until they have finished: if their workers die, it takes them over.

    Args:
        queue: Where trials come from.
        objective: Runs one.
        timeout: Seconds after which no further trial is begun.
        after: Called after each trial, and where others' trials are waited for.
        interval: Seconds between heartbeats.
        poll: Seconds between looks at others' trials.

    Raises:
        KeyboardInterrupt: The worker was interrupted; its trial is back in the queue.
        FullDisk: There is no space for what the trial writes; so is it.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while (end is None or time.monotonic() < end) and not queue.complete:
        trial = queue.take()
        if trial is None:
            time.sleep(poll)
        else:
            _run(queue, trial, objective, interval)
        after()


def _run(queue: Queue, trial: Trial, objective: Objective, interval: float) -> None:
    """Run one trial, and say how it ended unless others have given it up in the meantime."""
    from optuna.exceptions import UpdateFinishedTrialError

    heart = Heart(queue.storage.trials, trial._trial_id, interval)
    heart.start()
    try:
        end = _end_of(trial, objective)
        heart.stop()
        with queue.storage.lock():
            if queue.storage.trials.get_trial(trial._trial_id).state.is_finished():
                raise UpdateFinishedTrialError
            for name, value in end.attributes.items():
                trial.set_user_attr(name, value)
            queue.study.tell(trial, end.value, end.state)
    except UpdateFinishedTrialError:
        log.warning("trial %d: this worker was thought dead, and its trial was queued again", trial.number)
    except (KeyboardInterrupt, SystemExit):
        heart.stop()
        queue.give_back(trial.number)
        raise KeyboardInterrupt from None
    except FullDisk:  # no fault of the trial's
        heart.stop()
        with suppress(Exception):  # which the storage may have found, too: then the trial is taken for lost
            queue.give_back(trial.number)
        raise
    finally:
        heart.stop()


@dataclass(frozen=True)
class _End:
    state: TrialState
    value: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def _end_of(trial: Trial, objective: Objective) -> _End:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    try:
        outcome = objective(trial)
    except TrialPruned:
        return _End(TrialState.PRUNED)
    except TrialFailed as error:
        log.warning("trial %d failed: %s", trial.number, error)
        return _End(TrialState.FAIL, attributes={REASON: str(error)})
    return _End(TrialState.COMPLETE, outcome.value, outcome.attributes)
