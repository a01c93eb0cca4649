"""The queue, heartbeats and storages, worker by worker in one process."""

import fcntl
import logging
import re
import threading
import time
from pathlib import Path

import optuna
import pytest
from calcarine.errors import FullDisk, InputError
from calcarine.run.own_defaults import class_changes
from calcarine.study import crew
from calcarine.study.ledger.attributes import DEFAULT, LOST, REASON
from calcarine.study.ledger.heartbeat import BEAT, Heart, Watch
from calcarine.study.ledger.queue import KILLS, MOST_KILLS, RETRY_OF, bury, finished
from calcarine.study.ledger.storage import file_lock, open_storage, place_of
from calcarine.study.search.choosing import make_plan, make_pruner
from calcarine.study.search.options import parse
from calcarine.study.search.space import read_space
from calcarine.study.worker import TrialOutcome, work
from storages import storage_url
from test_kills import check_whole, make_queue, objective

FILES = ("sqlite", "journal")


@pytest.fixture(params=FILES)
def url(request, tmp_path):
    with storage_url(request.param, tmp_path) as url:
        yield url


def test_a_study_ends_with_what_was_asked_for_and_goes_on_when_more_is(url):
    quick = lambda trial: TrialOutcome(trial.suggest_float("rate", 1e-4, 1.0, log=True))  # noqa: E731
    work(make_queue(url, 4), quick)
    work(make_queue(url, 4), quick)
    queue = make_queue(url, 6)
    assert len(queue.study.trials) == 4
    work(queue, quick)
    check_whole(queue.study, 6)
    assert [trial.params["rate"] for trial in queue.study.trials if DEFAULT in trial.user_attrs] == [0.01]


def test_a_study_that_was_left_goes_on_as_if_it_had_not_been(tmp_path):
    """Each trial's draw depends on its number and on what is known, not on the process."""
    quick = lambda trial: TrialOutcome(trial.suggest_float("rate", 0.0, 1.0))  # noqa: E731
    drawn = []
    for name, asked in (("whole", [6]), ("halves", [3, 6])):
        for each in asked:
            queue = make_queue(f"sqlite:///{tmp_path / name}", each)
            queue.sampler = "tpe"
            work(queue, quick)
        drawn.append([trial.params for trial in queue.study.trials])
    assert drawn[0] == drawn[1]


def test_a_full_disk_ends_the_worker_and_is_no_fault_of_the_trials(url):
    queue = make_queue(url, 2)

    def full(trial):
        trial.suggest_float("rate", 1e-4, 1.0, log=True)
        raise FullDisk("runs: expected space to write it, found a full disk")

    with pytest.raises(FullDisk):
        work(queue, full)
    assert [trial.state.name for trial in queue.study.trials] == ["FAIL", "WAITING"]
    work(queue, objective)
    check_whole(queue.study, 2)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_that_has_lost_a_trial_draws_what_it_would_have_drawn(tmp_path, sampler):
    """A lost trial comes back under another number; those after it are not moved by that."""
    drawn = []
    for name, lost in (("undisturbed", None), ("disturbed", 2)):
        queue = make_queue(f"sqlite:///{tmp_path / name}", 6)
        queue.sampler = sampler

        def quick(trial, lost=lost):
            rate, share = trial.suggest_float("rate", 0.0, 1.0), trial.suggest_float("share", 0.0, 1.0)
            if trial.number == lost:
                raise KeyboardInterrupt
            return TrialOutcome(rate + share)

        if lost is not None:
            with pytest.raises(KeyboardInterrupt):
                work(queue, quick)
        work(queue, quick)
        check_whole(queue.study, 6)
        drawn.append([trial.params for trial in finished(queue.study)])
    assert drawn[0] == drawn[1]


def test_two_workers_do_not_begin_more_than_were_asked_for(url):
    first, second = make_queue(url, 3), make_queue(url, 3)
    taken = [first.take(), second.take(), first.take()]
    assert [trial.number for trial in taken] == [0, 1, 2]
    assert first.take() is None
    assert not first.complete
    for trial in taken:
        first.study.tell(trial.number, 1.0)
    assert first.complete
    assert second.take() is None


def test_a_dead_workers_trial_is_failed_and_comes_back_with_its_values(url):
    queue = make_queue(url, 2, grace=0.2)
    objective_values = queue.take()
    rate = objective_values.suggest_float("rate", 1e-4, 1.0, log=True)
    other = make_queue(url, 2, grace=0.2)
    assert other.take().number == 1  # the first look: it may live
    time.sleep(0.25)
    again = other.take()
    assert (again.number, again.user_attrs[RETRY_OF], again.user_attrs[DEFAULT]) == (2, 0, True)
    assert again.suggest_float("rate", 1e-4, 1.0, log=True) == rate == 0.01
    lost = other.study.trials[0]
    assert (lost.state.name, lost.user_attrs[LOST]) == ("FAIL", "its worker died")
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        objective_values.report(0.5, 1)  # it was alive, and learns of it


def test_a_worker_that_is_known_to_be_dead_is_not_waited_for(url):
    queue = make_queue(url, 1)
    queue.worker = "one"
    queue.take()
    bury(queue.study, queue.storage, "another")
    assert [trial.state.name for trial in queue.study.trials] == ["RUNNING"]
    bury(queue.study, queue.storage, "one")
    bury(queue.study, queue.storage, "one")
    assert [trial.state.name for trial in queue.study.trials] == ["FAIL", "WAITING"]
    assert queue.take().user_attrs[KILLS] == 1


def test_a_trial_that_takes_its_workers_with_it_fails_by_itself(url):
    queue = make_queue(url, 1, grace=0.0)
    assert [queue.take().number for _ in range(MOST_KILLS)] == list(range(MOST_KILLS))
    assert queue.take() is None
    (last,) = finished(queue.study)
    assert (last.state.name, last.user_attrs[KILLS]) == ("FAIL", MOST_KILLS - 1)
    assert "workers died with it" in last.user_attrs[REASON]


def test_a_kill_amid_requeueing_neither_loses_nor_doubles_a_trial(url, monkeypatch):
    queue = make_queue(url, 1, grace=0.0)
    queue.take()

    def killed(*_, **__):
        raise SystemExit

    for moment in ("enqueue_trial", "tell"):
        with monkeypatch.context() as patch:
            patch.setattr(queue.study, moment, killed)
            with pytest.raises(SystemExit):
                queue.take()
    assert queue.take().number == 1
    assert [RETRY_OF in trial.user_attrs for trial in queue.study.trials] == [False, True]


def test_an_interrupt_puts_the_trial_back(url):
    queue = make_queue(url, 2)

    def interrupted(trial):
        trial.suggest_float("rate", 1e-4, 1.0, log=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(queue, interrupted)
    assert [trial.state.name for trial in queue.study.trials] == ["FAIL", "WAITING"]
    work(queue, objective)
    check_whole(queue.study, 2)


def test_a_worker_that_was_thought_dead_does_not_count_twice(url, caplog):
    slow, quick = make_queue(url, 1), make_queue(url, 1, grace=0.0)

    def stalled(trial):
        trial.suggest_float("rate", 1e-4, 1.0, log=True)
        assert quick.take().number == 1
        quick.study.tell(1, 2.0)
        return TrialOutcome(1.0)

    with caplog.at_level(logging.WARNING):
        work(slow, stalled)
    assert "thought dead" in caplog.text
    (counts,) = finished(slow.study)
    assert counts.value == 2.0


def test_hearts_beat_until_stopped_and_are_watched_by_the_watchers_clock(url):
    queue = make_queue(url, 1)
    trial = queue.take()
    watch = Watch(grace=0.5)
    heart = Heart(queue.storage.trials, trial._trial_id, interval=0.05)
    heart.start()
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert not watch.dead(queue.study.trials)
        time.sleep(0.05)
    heart.stop()
    assert queue.study.trials[0].user_attrs[BEAT] > 3
    watch.dead(queue.study.trials)
    time.sleep(0.6)
    assert [each.number for each in watch.dead(queue.study.trials)] == [0]


def test_a_journal_with_half_a_line_goes_on(tmp_path):
    """What a kill or a full disk leaves; a line after it would make the journal unreadable for all."""
    url = f"journal:///{tmp_path / 'study'}"
    work(make_queue(url, 2), objective)
    with (tmp_path / "study").open("ab") as file:
        file.write(b'{"op_code":5,"worker')
    work(make_queue(url, 4), objective)
    check_whole(make_queue(url, 4).study, 4)
    assert b'"worker{' not in (tmp_path / "study").read_bytes()


def test_workers_that_open_a_storage_at_once_do_not_collide(url):
    errors = []

    def join():
        try:
            make_queue(url, 1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=join) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me@host/db", "expected sqlite:///FILE"),
        ("sqlite:///", "found no file"),
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_is_one_line_without_its_password(url, message):
    with pytest.raises(InputError, match=message) as error:
        open_storage(url, "study")
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_storage_says_where_it_is_and_that_three_slashes_are_no_root(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert place_of("journal:///kept") == f"journal:///{tmp_path}/kept"
    assert place_of("journal:////tmp/kept") == "journal:////tmp/kept"
    assert place_of("postgresql://me:secret@host/db") == "postgresql://me@host/db"
    open_storage("journal:///kept", "study")
    assert not caplog.text
    open_storage("journal:///tmp/studies/kept", "study")
    assert "a path from the root has four slashes: journal:////tmp/studies/kept" in caplog.text
    text = Path(__file__).parents[2].joinpath("docs/tuning.md").read_text()
    assert [each for each in re.findall(r"journal:///\S+", text) if not each.startswith("journal:////")] == []


@pytest.mark.parametrize(("name", "max_epochs"), [("hyperband", 100), ("hyperband", 5), ("median", -1), ("none", -1)])
def test_a_pruner_does_not_learn_its_limit_from_the_first_trial(name, max_epochs):
    pruner = make_pruner(name, max_epochs)
    assert getattr(pruner, "_max_resource", max_epochs) == max_epochs
    with pytest.raises(InputError, match=r"--trainer\.max_epochs -1: --pruner hyperband"):
        make_pruner("hyperband", -1)


def test_workers_share_the_cores_that_they_may_use(tmp_path, monkeypatch):
    started = []

    class Process:
        def __init__(self, command, env, **_):
            started.append(env["OMP_NUM_THREADS"])

    monkeypatch.setattr(crew.subprocess, "Popen", Process)
    monkeypatch.setattr(crew.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(crew.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with crew._started(parse(["--workers=2"]), [], tmp_path):
        assert started == ["2", "2"]


def test_a_class_that_starts_from_its_own_defaults_says_so():
    def config(name, **settings):
        return {"model": {"class_path": "M", "init_args": {"optimizer": {"class_path": name, "init_args": settings}}}}

    before, now = config("torch.optim.SGD", lr=0.0003, momentum=0.9), config("torch.optim.Adam", lr=0.001, eps=1e-8)
    (line,) = class_changes(before, now)
    assert line == "model.optimizer Adam: has its own defaults, not what SGD had: lr 0.001 (0.0003)"
    assert list(class_changes(before, now, {"model.optimizer.lr=0.001"})) == []
    assert list(class_changes(before, before)) == []
    assert list(class_changes(before, config("torch.optim.SGD", lr=0.1, momentum=0.9))) == []


def test_a_file_lock_is_held_by_one(tmp_path):
    with (tmp_path / "lock").open("a") as other:
        with file_lock(tmp_path / "lock"), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_grid_begins_with_the_configurations_own_values(tmp_path):
    (tmp_path / "space.yaml").write_text("a: {type: categorical, choices: [1, 2, 3]}")
    space = read_space(tmp_path / "space.yaml")
    assert make_plan("grid", space, {"a": 2}) == [{"a": 2}, {"a": 1}, {"a": 3}]
    assert make_plan("grid", space, None) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert make_plan("tpe", space, {"a": 2}) == [{"a": 2}]
