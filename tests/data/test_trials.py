"""Single trials: standardised within a session, averaged over repeats, and what their repeats tell of the noise."""

import numpy as np
import pytest
from calcarine.data.trials.prepared import mean_over_trials, standardise
from calcarine.data.trials.repeats import ArrayRepeats, TrialRepeats, trial_table
from calcarine.data.trials.told import Told, ToldBeside
from calcarine.recording import Trials


def test_a_session_is_standardised_by_its_own_trials():
    rng = np.random.default_rng(0)
    raw = (rng.standard_normal((30, 5000)) * 2 + 7).astype(np.float32)
    raw[:, 3], raw[:, 4], raw[5, 9], raw[:, 11] = 1 / 3, 1e4, np.nan, np.nan
    found = raw.copy()
    standardise(found)
    values = raw.astype(np.float64)
    plain = [column for column in range(5000) if column not in (3, 4, 11)]
    expected = (values - np.nanmean(values[:, :], axis=0)) / np.nanstd(values, axis=0)
    np.testing.assert_allclose(found[:, plain], expected[:, plain], rtol=1e-5, atol=1e-6)
    assert (found[:, [3, 4]] == 0).all()  # targets that stay the same
    assert np.isnan(found[:, 11]).all()
    assert np.isnan(found[5, 9])


def test_the_trials_of_each_stimulus_in_the_order_of_presentation():
    table = trial_table(np.array([2, 0, -1, 2, 1, 2, 0]))
    assert table.tolist() == [[1, 6, -1], [4, -1, -1], [0, 3, 5]]
    trials = np.arange(14, dtype=np.float32).reshape(7, 2)
    trials[3, 1] = np.nan
    np.testing.assert_allclose(mean_over_trials(trials, table), [[7, 8], [8, 9], [16 / 3, (1 + 11) / 2]])


def test_repetitions_are_counted_by_stimulus():
    stimulus = np.array([4, 0, 4, 0, 4, 1])
    trials = Trials(np.zeros((6, 1)), stimulus, np.ones(6, dtype=np.int64))
    assert trials.repetition.tolist() == [0, 0, 1, 1, 2, 0]


@pytest.mark.parametrize("repeats", [(3, 3), (1, 4)])
def test_planted_ceilings_are_recovered(repeats):
    """Within .01 on average, of unequal counts too; a target without signal has none."""
    rng = np.random.default_rng(1)
    counts = rng.integers(repeats[0], repeats[1] + 1, 1500)
    stimulus = rng.permutation(np.repeat(np.arange(1500), counts))
    planted = np.linspace(0, 0.9, 400)
    signal = rng.standard_normal((1500, 400))
    noise = rng.standard_normal((len(stimulus), 400))
    trials = np.sqrt(planted) * signal[stimulus] + np.sqrt(1 - planted) * noise
    (found,) = TrialRepeats(trials.astype(np.float32), stimulus).ceilings(np.arange(1500)).values()
    expected = planted / (planted + (1 - planted) * (1 / counts).mean())
    assert abs(float((found - expected)[20:].mean())) < 0.01
    np.testing.assert_allclose(found[20:], expected[20:], atol=0.12)


def test_both_forms_of_repeats_tell_the_same():
    rng = np.random.default_rng(2)
    repeats = rng.standard_normal((40, 3, 6)) + rng.standard_normal((40, 1, 6))
    repeats[3, 2] = repeats[7, 1:] = np.nan
    there = ~np.isnan(repeats[:, :, 0])
    stimulus = np.repeat(np.arange(40), there.sum(axis=1))
    chosen = np.array([3, 7, 8, 20, 31])
    (one,) = ArrayRepeats(repeats, np.arange(40)).ceilings(chosen).values()
    (other,) = TrialRepeats(repeats[there], stimulus).ceilings(chosen).values()
    np.testing.assert_allclose(one, other, rtol=1e-10)


def test_without_repeats_the_files_tell():
    stimulus, snr = np.arange(5), np.array([0.5, 2.0])
    trials = np.random.default_rng(3).standard_normal((5, 2))
    told = TrialRepeats(trials, stimulus, snr).ceilings(np.arange(5))
    np.testing.assert_allclose(told["the files of ncsnr"], [0.2, 0.8])
    assert len(told) == 1
    assert not TrialRepeats(trials, stimulus).ceilings(np.arange(5))
    assert not ArrayRepeats(trials[:, None], np.array([0, -1, 1, 2, 3])).ceilings(np.array([0, 1]))


def test_presentations_are_those_of_the_stimuli_asked_for():
    rng = np.random.default_rng(4)
    repeats = rng.standard_normal((6, 3, 2))
    repeats[3, 2] = repeats[4, 1:] = np.nan
    there = ~np.isnan(repeats[:, :, 0])
    trials, stimulus = repeats[there], np.repeat(np.arange(6), there.sum(axis=1))
    asked = np.array([4, 3, 0])
    rectangle = ArrayRepeats(repeats, np.array([0, 1, 2, 3, 4, -1]))
    told = Told("the file", np.ones(2), np.ones(6, dtype=bool))
    for each in (rectangle, TrialRepeats(trials, stimulus), ToldBeside(rectangle, [told])):
        np.testing.assert_array_equal(each.presentations(asked), repeats[asked])
    assert rectangle.presentations(np.array([0, 5])) is None  # of which nothing is known
