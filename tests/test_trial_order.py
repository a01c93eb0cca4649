"""What came before a trial and when it was, held against loops."""

import numpy as np
from calcarine.trial_order import TrialOrder, first_that_shows

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
    for count in (0, 1, 3, 12):  # the last is more than there are trials
        np.testing.assert_array_equal(order().previous(count), np.reshape(by_hand(count, None), (8, count)))
        np.testing.assert_array_equal(order(run=RUN).previous(count), np.reshape(by_hand(count, RUN), (8, count)))


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


def test_an_image_is_found_by_the_first_stimulus_that_shows_it() -> None:
    stimuli = np.array(["b", "a", "b", "d"])
    np.testing.assert_array_equal(first_that_shows(np.array(["a", "b", "c", "e", "d"]), stimuli), [1, 0, -1, -1, 3])
