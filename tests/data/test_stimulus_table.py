"""StimulusTable: several recordings in one row of stimuli and one of targets, with and without shuffling."""

from itertools import product

import numpy as np
import pytest
from calcarine.data.stimulus_table import StimulusTable
from calcarine.names import FOLD, HELD_OUT, TRAIN, VALIDATION
from calcarine.recording import Recording, Responses

STIMULI, TARGETS = (20, 11), (3, 2)


def recordings(categories=(None, None)):
    """Two recordings, whose responses number them, their stimuli and their targets: 1203 is target 3 of stimulus 20."""
    return [
        Recording(
            subject=str(index),
            stimuli=range(count),  # pyright: ignore[reportArgumentType]  # only counted here
            responses=Responses.of(
                (1000 * (index + 1) + 10 * np.arange(count)[:, None] + np.arange(targets)).astype(np.float32)
            ),
            splits=np.full(count, ""),
            hemispheres=np.full(targets, ""),
            categories=categories[index],
        )
        for index, (count, targets) in enumerate(zip(STIMULI, TARGETS, strict=True))
    ]


def splits():
    """Every fourth stimulus validates, every fifth tests."""
    numbers = [np.arange(count) for count in STIMULI]
    return [np.select([own % 4 == 0, own % 5 == 0], ["validation", "test"], TRAIN) for own in numbers]


def test_each_recording_answers_for_its_own_stimuli_and_targets():
    table = StimulusTable(recordings(), splits(), None)
    positions = np.array([30, 0, 19, 20])
    own = {0: [[1000, 1001, 1002], [1190, 1191, 1192]], 1: [[2100, 2101], [2000, 2001]]}
    for recording, expected in own.items():
        theirs = positions[table.subject[positions] == recording]
        np.testing.assert_array_equal(table.respond(recording, theirs), expected)
        out = np.ones((2, TARGETS[recording]), dtype=np.float32)
        np.testing.assert_array_equal(table.respond(recording, theirs, out), expected)
        assert table.respond(recording, theirs[:0]).shape == (0, TARGETS[recording])
    assert table.subject[positions].tolist() == [1, 0, 0, 1]
    assert [table.targets_of(0), table.targets_of(1)] == [slice(0, 3), slice(3, 5)]
    assert table.positions("test").tolist() == [5, 10, 15, 25, 30]
    assert [own.tolist() for own in table.of_each_recording("test")] == [[5, 10, 15], [5, 10]]


def test_a_fold_is_held_out_of_the_training_split_and_nothing_else_is_but_validation():
    table = StimulusTable(recordings(), splits(), 0)
    fold = table.positions(TRAIN)[1::3]
    part = table.of_fold(fold)
    assert part.evaluated == [VALIDATION, FOLD]
    np.testing.assert_array_equal(part.positions(FOLD), fold)
    np.testing.assert_array_equal(part.positions(TRAIN), np.setdiff1d(table.positions(TRAIN), fold))
    np.testing.assert_array_equal(part.response_rows, table.response_rows)  # of controls, the very same pairs
    assert "test" in table.evaluated
    assert table.of_fold(fold[:0]).evaluated == [VALIDATION]


def test_shuffling_permutes_what_is_learnt_and_chosen_from_within_each_recording():
    plain, shuffled = (StimulusTable(recordings(), splits(), seed) for seed in (None, 0))
    for split, index in product((TRAIN, VALIDATION), (0, 1)):
        own = plain.positions_of(index, split)
        before, after = plain.respond(index, own), shuffled.respond(index, own)
        assert not np.array_equal(before, after)
        np.testing.assert_array_equal(np.sort(after, axis=0), before)
    for split, index in product(set(HELD_OUT) - {VALIDATION}, (0, 1)):
        held_out = plain.positions_of(index, split)
        np.testing.assert_array_equal(shuffled.respond(index, held_out), plain.respond(index, held_out))
    again = StimulusTable(recordings(), splits(), 0)
    np.testing.assert_array_equal(again.response_rows, shuffled.response_rows)
    assert not np.array_equal(StimulusTable(recordings(), splits(), 1).response_rows, shuffled.response_rows)


@pytest.mark.parametrize("known", [(False, False), (False, True)])
def test_categories_of_all_recordings_are_numbered_together(known):
    names = [np.array(["pear", "apple", "", *["fig"] * (count - 3)]) for count in STIMULI]
    given = [own if there else None for own, there in zip(names, known, strict=True)]
    table = StimulusTable(recordings(given), splits(), None)
    if not any(known):
        assert (table.categories, table.category) == ([], None)
        return
    assert table.categories == ["apple", "fig", "pear"]
    assert table.category is not None
    assert table.category.tolist() == [-1] * 20 + [2, 0, -1] + [1] * 8
