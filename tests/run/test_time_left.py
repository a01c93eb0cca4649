from types import SimpleNamespace

import pytest
import torch
from calcarine.run import time_left
from calcarine.run.time_left import TimeLeft, as_time


@pytest.fixture
def training(monkeypatch, caplog):
    """Trains epochs of batches that take so many seconds each; returns the lines that are said."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time_left, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def train(seconds, epochs=2, batches=20, max_epochs=100, solves=False):
        callback = TimeLeft()
        module = SimpleNamespace(device=torch.device("cpu"), automatic_optimization=not solves)
        trainer = SimpleNamespace(max_epochs=max_epochs, num_training_batches=batches, current_epoch=0)
        with caplog.at_level("INFO", logger="calcarine"):
            for trainer.current_epoch in range(epochs):
                callback.on_train_epoch_start(trainer, module)
                for index in range(batches):
                    clock.now += seconds
                    callback.on_train_batch_end(trainer, module, None, None, index)
                callback.on_train_epoch_end(trainer, module)
        return [record.getMessage() for record in caplog.records]

    return train


def test_long_epochs_are_told_after_some_seconds(training):
    assert training(3.0) == ["an epoch takes about 60 s: at most 100 min for 100 more"]


def test_short_epochs_are_told_after_the_first(training):
    assert training(0.1) == ["an epoch takes about 2 s: at most 3 min for 99 more"]


@pytest.mark.parametrize("options", [{"max_epochs": 10}, {"solves": True}, {"epochs": 1, "max_epochs": 1}])
def test_what_is_over_soon_is_not_told(training, options):
    assert training(0.1, **options) == []


def test_a_long_pass_of_a_model_that_solves(training):
    assert training(10.0, solves=True, epochs=1) == ["an epoch takes about 3 min: at most 3 min for 1 more"]


def test_training_without_an_end(training):
    assert training(0.1, max_epochs=-1) == ["an epoch takes about 2 s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.123, "0.12 s"), (64, "64 s"), (150, "2 min"), (8000, "2 h"), (200_000, "2 days")]
)
def test_times_for_people(seconds, text):
    assert as_time(seconds) == text
