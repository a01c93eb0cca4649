"""What came before a trial and when it was, held against loops."""

import numpy as np
import pytest
from calcarine.trial_order import TrialOrder, comes_again, first_that_shows, stimuli_before

SESSION = np.array([1, 1, 1, 1, 1, 2, 2, 2])
RUN = np.array([1, 1, 1, 2, 2, 1, 1, 1])
SHOWN = np.array([4, 2, -1, 4, 0, 2, 2, 4])


def order(**told) -> TrialOrder:
    return TrialOrder(SHOWN, SHOWN, SESSION, **told)


def by_hand(count: int, run: np.ndarray | None) -> list[list[int]]:
    rows = []
    for trial in range(len(SHOWN)):
        row = []
        for back in range(1, count + 1):
            earlier = trial - back
            same = earlier >= 0 and SESSION[earlier] == SESSION[trial]
            same = same and (run is None or run[earlier] == run[trial])
            row.append(int(SHOWN[earlier]) if same else -1)
        rows.append(row)
    return rows


def test_what_came_before_ends_at_the_session_and_the_run() -> None:
    trials = np.arange(len(SHOWN))
    for count in (0, 1, 3, 12):  # the last is more than there are trials
        for run in (None, RUN):
            found = stimuli_before(trials, SHOWN, order(run=run).starts(), count)
            np.testing.assert_array_equal(found, np.reshape(by_hand(count, run), (8, count)))
    np.testing.assert_array_equal(stimuli_before(np.array([-1]), SHOWN, order().starts(), 3), [[-1, -1, -1]])


@pytest.mark.parametrize(
    ("session", "run", "trial"),
    [([1, 1, 2, 2], [1, 2, 1, 2], None), ([1, 1, 1], [1, 2, 1], 2), ([1, 2, 1], None, 2), ([3, 3, 1], None, None)],
)
def test_what_was_interrupted_comes_again(session: list[int], run: list[int] | None, trial: int | None) -> None:
    assert comes_again(np.array(session), None if run is None else np.array(run)) == trial


def test_a_trials_time_is_its_session_run_place_and_repetition() -> None:
    expected = np.array(
        [
            [1, 1, 1, 1, 1, 2, 2, 2],
            [1, 1, 1, 2, 2, 1, 1, 1],
            [0, 1, 2, 3, 4, 0, 1, 2],
            [0, 0, np.nan, 1, 0, 1, 2, 2],
        ]
    ).T
    np.testing.assert_array_equal(order(run=RUN).time(), expected)
    assert np.isnan(order().time()[:, 1]).all()


def test_how_often_an_image_had_been_shown_is_the_formats_word_where_it_has_one() -> None:
    """Of sessions that are not read too."""
    seen = np.array([3, 0, 9, 4, 1, 2, 3, 5])
    np.testing.assert_array_equal(order(seen=seen).time()[:, 3], [3, 0, np.nan, 4, 1, 2, 3, 5])


def test_an_image_is_found_by_the_first_stimulus_that_shows_it() -> None:
    stimuli = np.array(["b", "a", "b", "d"])
    np.testing.assert_array_equal(first_that_shows(np.array(["a", "b", "c", "e", "d"]), stimuli), [1, 0, -1, -1, 3])
