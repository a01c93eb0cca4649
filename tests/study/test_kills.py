"""Workers that are killed at any moment: the study ends with the trials that were asked for, on every storage.

The workers run the real loop, queue, heartbeats and storages, with an objective that takes milliseconds.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

import numpy as np
import optuna
import pytest
from calcarine.study.ledger import storage
from calcarine.study.ledger.attributes import LOST, REASON
from calcarine.study.ledger.heartbeat import Watch
from calcarine.study.ledger.queue import RETRY_OF, Queue, counted, finished
from calcarine.study.ledger.storage import open_storage
from calcarine.study.worker import TrialFailed, TrialOutcome, work
from storages import storage_url

KINDS = ("sqlite", "journal", "postgresql")
FORK = multiprocessing.get_context("fork")
KILLS = int(os.environ.get("STUDY_KILLS", "3"))
optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial: optuna.Trial) -> TrialOutcome:
    """Some trials are pruned, some fail by themselves."""
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    for step in range(1, 6):
        time.sleep(0.02)
        trial.report(-abs(np.log10(rate) + 2) * step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    if kind == "b" and rate > 0.1:
        raise TrialFailed("too fast")
    return TrialOutcome(-abs(np.log10(rate) + 2), {"test_score": rate})


def make_queue(url: str, asked: int, grace: float = 4.0, name: str = "study") -> Queue:
    opened = open_storage(url, name)
    with opened.lock():
        study = optuna.create_study(
            storage=opened.trials,
            study_name=name,
            direction="maximize",
            pruner=optuna.pruners.HyperbandPruner(1, 5),
            load_if_exists=True,
        )
    return Queue(
        study=study,
        storage=opened,
        asked=asked,
        sampler="random",
        seed=0,
        plan=[{"rate": 0.01, "kind": "a"}],
        default_first=True,
        watch=Watch(grace),
    )


def member(url: str, asked: int) -> None:
    work(make_queue(url, asked), objective, interval=0.2, poll=0.1)


def start(url: str, asked: int) -> BaseProcess:
    worker = FORK.Process(target=member, args=(url, asked))
    worker.start()
    return worker


def check_whole(study: optuna.Study, asked: int) -> None:
    """As many finished trials as asked for; each lost one came back once, with its values."""
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state.is_finished() for trial in trials)
    assert len(finished(study)) == len(counted(trials)) == asked
    retries = {trial.user_attrs[RETRY_OF]: trial for trial in trials if RETRY_OF in trial.user_attrs}
    assert len(retries) == sum(RETRY_OF in trial.user_attrs for trial in trials)
    lost = [trial for trial in trials if LOST in trial.user_attrs]
    assert {trial.number for trial in lost} == set(retries)
    for trial in lost:
        assert trial.params.items() <= retries[trial.number].params.items()
    for trial in finished(study):
        assert trial.state.name != "FAIL" or trial.user_attrs[REASON]


def end(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_study_survives_kills(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "WRITTEN_S", 3)  # a kill amid a write of the journal; forked workers have it too
    monkeypatch.setattr(storage, "HELD_S", 5)
    asked = 12 * KILLS
    rng = np.random.default_rng(5)
    with storage_url(kind, tmp_path) as url:
        workers = [start(url, asked) for _ in range(2)]
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.4))
            victim = workers.pop(0)
            assert victim.is_alive(), "the study was over before the kill"
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
            workers.append(start(url, asked))
        end(workers)
        queue = make_queue(url, asked)
        check_whole(queue.study, asked)
        assert queue.take() is None


@pytest.mark.slow
def test_three_workers_on_postgresql_share_60_trials(tmp_path):
    with storage_url("postgresql", tmp_path) as url:
        end([start(url, 60) for _ in range(3)])
        study = make_queue(url, 60).study
        check_whole(study, 60)
        assert len(study.trials) == 60
        values = [tuple(trial.params.values()) for trial in study.trials]
        assert len(set(values)) == 60
