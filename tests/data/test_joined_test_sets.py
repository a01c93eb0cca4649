"""Test sets joined to recordings: whose they are, what is known of their noise, and what is left of targets."""

from typing import Any

import numpy as np
import pytest
from calcarine.data.sources.base import Source
from calcarine.data.sources.simulated import ImageArray
from calcarine.data.test_sets import with_test_sets
from calcarine.data.trials.repeats import ArrayRepeats
from calcarine.errors import InputError
from calcarine.recording import Part, Recording, Responses


def recording(subject: str, count: int, seed: int = 0, **known: Any) -> Recording:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    values = known.pop("responses", rng.standard_normal((count, 3)).astype(np.float32))
    responses = values if isinstance(values, Responses) else Responses.of(values)
    splits = known.pop("splits", np.full(count, "test"))
    return Recording(subject, ImageArray(images, 0), responses, splits, np.full(3, ""), **known)


class Given(Source):
    """Recordings as they are."""

    def __init__(self, recordings: list[Recording], own_subjects: bool = True) -> None:
        super().__init__()
        self._recordings = recordings
        self.own_subjects = own_subjects  # type: ignore[misc]

    @property
    def num_targets(self) -> int:
        return 3

    def read(self) -> list[Recording]:
        return self._recordings


def test_another_subject_is_refused_and_a_folder_of_another_name_is_not() -> None:
    main, other = recording("subj01", 6), recording("subj02", 4, 1)
    with pytest.raises(InputError, match=r"--data\.test_sets\.more: expected subj01, found subj02"):
        with_test_sets([main], {"more": Given([other])})
    (joined,) = with_test_sets([main], {"more": Given([other], own_subjects=False)})
    assert (joined.splits == "more").sum() == 4


def test_a_test_set_without_ceilings_has_none_of_the_recordings() -> None:
    main = recording("a", 6, noise_ceiling=np.array([0.1, 0.2, 0.3]))
    (joined,) = with_test_sets([main], {"more": Given([recording("a", 4, 1)])})
    assert np.isnan(next(iter(joined.ceilings(np.arange(6, 10)).values()))).all()
    np.testing.assert_array_equal(next(iter(joined.ceilings(np.arange(6)).values())), [0.1, 0.2, 0.3])


def test_a_test_set_of_which_nothing_was_measured_is_refused() -> None:
    withheld = recording("a", 4, 1, responses=Responses((4, 3), []), splits=np.full(4, "withheld"))
    with pytest.raises(InputError, match="expected measured responses of a, found none"):
        with_test_sets([recording("a", 6)], {"more": Given([withheld])})


def test_an_offset_is_taken_off_test_sets_too() -> None:
    values = 1e6 + np.random.default_rng(3).standard_normal((10, 3))
    offset = values[:6].mean(axis=0)
    main = recording("a", 6, responses=Responses((6, 3), [Part(0, 0, values[:6])], offset))
    (joined,) = with_test_sets([main], {"more": Given([recording("a", 4, 1, responses=values[6:])])})
    found = joined.responses.gather(np.arange(10))
    # What float32 keeps of the test set is what it was given as.
    np.testing.assert_allclose(found[:6], values[:6] - offset, atol=1e-6)
    np.testing.assert_allclose(found[6:], values[6:].astype(np.float32) - offset, atol=0.1)


def test_some_targets_of_a_recording_keep_what_was_withheld() -> None:
    values = np.arange(18, dtype=np.float32).reshape(6, 3)
    parts = [Part(0, 0, values[:2]), Part(4, 0, values[4:])]
    some = recording("a", 6, responses=Responses((6, 3), parts)).of_targets(np.array([2, 0]))
    assert some.responses.measured.tolist() == [True, True, False, False, True, True]
    np.testing.assert_array_equal(some.responses.gather(np.array([0, 5])), values[[0, 5]][:, [2, 0]])


def test_presentations_are_of_the_recording_or_of_the_test_set_and_of_the_targets_of_both() -> None:
    rng = np.random.default_rng(5)
    own, others = rng.standard_normal((6, 2, 3)), rng.standard_normal((4, 3, 3))
    vertices, other_vertices = np.array([7, 8, 9]), np.array([9, 7, 1])
    main = recording("a", 6, repeats=ArrayRepeats(own, np.arange(6)), vertices=vertices)
    other = recording("a", 4, 1, repeats=ArrayRepeats(others, np.arange(4)), vertices=other_vertices)
    (joined,) = with_test_sets([main], {"more": Given([other])})
    np.testing.assert_array_equal(joined.presentations(np.array([5, 0])), own[[5, 0]])
    found = joined.presentations(np.array([9, 6]))
    assert found is not None
    np.testing.assert_array_equal(found[:, :, [0, 2]], others[[3, 0]][:, :, [1, 0]])
    assert np.isnan(found[:, :, 1]).all()
    assert joined.presentations(np.array([5, 6])) is None
    (bare,) = with_test_sets([main], {"more": Given([recording("a", 4, 1, vertices=other_vertices)])})
    assert bare.presentations(np.array([6])) is None
    np.testing.assert_array_equal(main.of_targets(np.array([2])).presentations(np.array([1])), own[[1]][:, :, [2]])
    assert recording("a", 6).presentations(np.arange(2)) is None
