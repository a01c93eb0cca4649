"""Heartbeats: how workers know of each other that they live, on every storage alike.

Optuna has heartbeats on databases alone; on a journal a killed worker's trial would run for ever. Ours are a number
in the trial's user attributes that its worker counts up. Who watches compares what it sees with what it saw, on its
own clock, so machines' clocks need not agree.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

BEAT = "heartbeat"
INTERVAL_S = 10.0
GRACE_S = 60.0  # above the 30 s for which a journal may be locked by a killed worker, in which nobody can beat

log = logging.getLogger(__name__)


class Heart(threading.Thread):
    """Counts up a running trial's heartbeat until `stop`.

    Args:
        storage: Where the trial is.
        trial_id: The storage's name of it.
        interval: Seconds between beats.
    """

    def __init__(self, storage: BaseStorage, trial_id: int, interval: float = INTERVAL_S) -> None:
        super().__init__(daemon=True)
        self.storage = storage
        self.trial_id = trial_id
        self.interval = interval
        self._stopped = threading.Event()

    def run(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        beats = 0
        while not self._stopped.wait(self.interval):
            beats += 1
            try:
                self.storage.set_trial_user_attr(self.trial_id, BEAT, beats)
            except (UpdateFinishedTrialError, KeyError):
                return  # others thought us dead; the worker learns of it when it reports
            except Exception as error:  # a database that restarts; a beat is missed, not the trial
                log.warning("a heartbeat could not be written: %s", error)

    def stop(self) -> None:
        """End, and wait for the last beat to be written."""
        self._stopped.set()
        self.join()


@dataclass
class Watch:
    """Tells which running trials have lost their worker.

    Args:
        grace: Seconds without a beat after which one has.
    """

    grace: float = GRACE_S
    _seen: dict[int, tuple[object, float]] = field(default_factory=dict)

    def dead(self, running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those of the running trials that have not beaten for `grace` seconds since they were first looked at."""
        now = time.monotonic()
        seen = {}
        for trial in running:
            beat = trial.user_attrs.get(BEAT)
            before, since = self._seen.get(trial.number, (None, now))
            seen[trial.number] = (beat, since if before == beat else now)
        self._seen = seen
        return [trial for trial in running if now - seen[trial.number][1] >= self.grace]
