"""Tables of trials as laboratories have them: what is served of odd columns, and what is refused or warned of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from calcarine.data import Folder, TrialContext
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.trial_order import TrialOrder
from planted import Identity
from presented import write_presented

STIMULI = 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_presented(tmp_path / "anna", stimuli=STIMULI)


def changed(root: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    table = change(pd.read_csv(root / "trials.csv", keep_default_na=False))
    table.to_csv(root / "trials.csv", index=False)
    return root


def data_of(root: Path, **flags: Any) -> EncodingDataModule:
    settings = {"previous": 0, "time": False, **flags}
    data = EncodingDataModule(Folder(root), Identity(), beside=TrialContext(**settings), cache_dir=root / "cache")
    data.setup()
    return data


def behaviour(data: EncodingDataModule) -> np.ndarray:
    rows = data._served["beside:behaviour"]
    out = torch.empty(len(rows), *rows.shape)
    rows.gather(np.arange(len(rows)), out)
    return out.numpy()


def test_the_milliseconds_of_a_date_are_standardised_as_they_are_without_the_date(root: Path) -> None:
    """float32 holds 1.7e12 to 131,072: 160 s would be a constant."""
    seconds = np.random.default_rng(0).uniform(0, 160, 90)
    changed(root, lambda table: table.assign(near=seconds * 1000, date=(1.7e12 + seconds * 1000)))
    found = behaviour(data := data_of(root, behaviour=["near", "date"]))
    np.testing.assert_allclose(found[:, 1], found[:, 0], atol=1e-3)
    assert abs(found[data.positions("train"), 1].mean()) < 1e-6
    assert found[data.positions("train"), 1].std() == pytest.approx(1, abs=1e-5)


def test_a_column_that_does_not_vary_in_training_is_nothing_in_the_test(root: Path) -> None:
    """The session where the test has sessions of its own, a phase of the experiment."""
    test = [f"image{number:03d}.png" for number in data_of(root, time=True).positions("test")]

    def phase(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(phase=np.where(table.stimulus.isin(test), 4000, 0.1 + 0.2))

    found = behaviour(data_of(changed(root, phase), behaviour=["speed", "phase"]))
    assert (found[:, 1] == 0).all()
    assert found[:, 0].std() > 0.5


def test_numbers_that_are_too_large_are_refused_in_one_line(root: Path) -> None:
    changed(root, lambda table: table.assign(large=np.linspace(-1e300, 1e300, len(table))))
    with pytest.raises(InputError, match=r"^--data.beside: .*, found large infinite, or too large [^\n]*$"):
        data_of(root, behaviour=["speed", "large"])


def test_an_infinite_number_is_said_and_a_pandas_index_is_no_behaviour(root: Path) -> None:
    table = pd.read_csv(root / "trials.csv", keep_default_na=False)
    table.loc[3, "speed"] = np.inf
    table.to_csv(root / "trials.csv")
    assert Folder(root).trial_columns() == ["speed", "old"]
    with pytest.raises(InputError, match=r"found speed infinite, or too large beside its spread [^\n]*$"):
        data_of(root, behaviour=True)
    assert behaviour(data_of(root, behaviour=["old"])).shape == (STIMULI, 1)


def test_runs_out_of_order_are_refused_whatever_the_format(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = TrialOrder(np.arange(60), np.arange(60), np.ones(60, dtype=int), np.arange(60) % 3)
    (recording,) = Folder(root).read()
    monkeypatch.setattr(Folder, "read", lambda self: [replace(recording, order=lambda: order)])
    with pytest.raises(InputError, match=r"run after run, found run 0 of session 1 again at the trial 4; [^\n]*$"):
        data_of(root, previous=2)


def test_runs_that_are_numbered_by_trial_are_warned_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One run of the test's images alone is longer, so that a stimulus before is not too many."""
    table = pd.read_csv(root / "trials.csv", keep_default_na=False)
    table = table.assign(session=1, run=np.arange(len(table)))
    more = table.iloc[:3].assign(stimulus="", run=len(table))
    pd.concat([table, more]).to_csv(root / "trials.csv", index=False)
    data_of(root, previous=1, components=4)
    assert caplog.text.count("--data.beside.previous: no training trial of anna has a known stimulus before it") == 1


def test_a_table_of_other_stimuli_is_refused(root: Path) -> None:
    train = [f"image{number:03d}.png" for number in data_of(root, time=True).positions("train")]
    changed(root, lambda table: table[~table.stimulus.isin(train)])
    with pytest.raises(InputError, match="expected trials of the training stimuli of anna, found none among"):
        data_of(root, time=True)


def test_no_more_stimuli_are_remembered_than_ever_stood_before(root: Path) -> None:
    """Sessions have 18 trials."""
    assert data_of(root, previous=17, components=4).feature_shapes == {"pixels": (48,), "beside:previous": (68,)}
    with pytest.raises(InputError, match=r"previous 18: expected fewer than the 18 trials of the longest session or "):
        data_of(root, previous=18, components=4)
    with pytest.raises(InputError, match=r"^--data.beside.previous 10000000000: expected at most 1,000; [^\n]*$"):
        TrialContext(previous=10**10)
