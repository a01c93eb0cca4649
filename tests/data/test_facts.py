"""The facts of several recordings: their targets one after another, and each recording's own again from them."""

from typing import Any

import numpy as np
import pytest
import torch
from calcarine.data.facts import gather_facts
from calcarine.data.stimulus_table import StimulusTable
from calcarine.recording import Part, Recording, Responses, Roi


class Counted:
    """Stimuli that are only counted and told apart here."""

    def __init__(self, digests):
        self._digests = [str(each) for each in digests]

    def __len__(self):
        return len(self._digests)

    def digests(self):
        return self._digests


def recording(subject, responses, sides, rois, shown=None, **known):
    stimuli: Any = Counted(range(len(responses)) if shown is None else shown)
    return Recording(
        subject, stimuli, Responses.of(responses), np.full(len(responses), ""), np.array(sides), rois, **known
    )


def two():
    """Three targets in two hemispheres with two ROIs that overlap, then two of which neither side nor ROI is known."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(5, 3, (40, count)).astype(np.float32) for count in (3, 2))
    second[:, 1] = 7
    rois = [Roi("big", "lh", np.array([0, 1])), Roi("small", "lh", np.array([1])), Roi("big", "rh", np.array([2]))]
    places = np.arange(9, dtype=np.float32).reshape(3, 3)
    return [
        recording("a", first, ["lh", "lh", "rh"], rois, coordinates=places),
        recording("b", second, ["", ""], [Roi("V4", "", np.array([1]))], noise_ceiling=np.array([0.5, np.nan])),
    ]


def gathered(recordings, training):
    splits = [np.full(len(each.stimuli), "test", dtype="U10") for each in recordings]
    for own, rows in zip(splits, training, strict=True):
        own[rows] = "train"
    return gather_facts(StimulusTable(recordings, splits, None), standardized=True, frames=None, seed=0)


def test_targets_stand_one_after_another():
    recordings = two()
    training = [np.arange(0, 40, 2), np.arange(10)]
    facts = gathered(recordings, training)
    assert {name: own.tolist() for name, own in facts.rois.items()} == {
        "a.lh.big": [0, 1],
        "a.lh.small": [1],
        "a.rh.big": [2],
        "b.V4": [4],
    }
    assert [facts.group_names[group] for group in facts.groups.tolist()] == [
        "a.lh.big",
        "a.lh.small",
        "a.rh.big",
        "b.none",
        "b.V4",
    ]
    assert facts.subjects == {"a": slice(0, 3), "b": slice(3, 5)}
    assert facts.hemispheres.tolist() == [0, 0, 1, -1, -1]
    assert facts.coordinates[:3].flatten().tolist() == list(range(9))
    assert facts.coordinates[3:].isnan().all()
    np.testing.assert_array_equal(facts.noise_ceiling, [np.nan, np.nan, np.nan, 0.5, np.nan])
    shown = [each.responses.gather(own) for each, own in zip(recordings, training, strict=True)]
    np.testing.assert_allclose(facts.response_mean, np.concatenate([own.mean(0) for own in shown]), rtol=1e-6)
    scales = np.concatenate([own.std(0, dtype=np.float64) for own in shown])
    np.testing.assert_allclose(facts.response_scale, [*scales[:4], 1], rtol=1e-5)


def test_the_facts_of_a_subject_are_those_that_it_has_alone():
    recordings = two()
    facts = gathered(recordings, [np.arange(40), np.arange(40)])
    for each, targets in zip(recordings, facts.subjects.values(), strict=True):
        own, alone = facts.of(targets), gathered([each], [np.arange(40)])
        names = ("response_mean", "response_scale", "hemispheres", "coordinates", "noise_ceiling")
        for name in names:
            assert torch.equal(getattr(own, name).nan_to_num(-1), getattr(alone, name).nan_to_num(-1)), name
        prefix = f"{each.subject}."
        assert {name: part.tolist() for name, part in own.rois.items()} == {
            prefix + name: part.tolist() for name, part in alone.rois.items()
        }
        of_target = [own.group_names[group] for group in own.groups.tolist()]
        assert of_target == [prefix + alone.group_names[group] for group in alone.groups.tolist()]
        assert own.subjects[each.subject] == alone.subjects[each.subject]


def test_repeated_images_are_numbered_among_the_training_stimuli():
    rng = np.random.default_rng(0)
    trials = recording("a", rng.normal(size=(6, 2)).astype(np.float32), ["", ""], [], shown="xyxzzy")
    images = recording("b", rng.normal(size=(3, 1)).astype(np.float32), [""], [])
    facts = gathered([trials, images], [np.array([1, 2, 3, 5]), np.array([0, 2])])
    assert {subject: own.tolist() for subject, own in facts.repeated.items()} == {"a": [0, 1, 2, 0]}


def test_what_is_nan_in_training_or_validation_is_counted_whatever_a_source_says():
    (one, _) = two()
    array = one.responses.parts[0].array.copy()
    array[[0, 1, 1, 2], [0, 0, 1, 2]] = np.nan
    splits = np.array(["train", "validation", "test", *["train"] * 37], dtype="U10")
    table = StimulusTable([recording("a", array, ["lh", "lh", "rh"], one.rois)], [splits], None)
    facts = gather_facts(table, standardized=True, frames=None, seed=0)
    assert (facts.gaps, facts.complete) == (3, False)
    assert gathered([one], [np.arange(40)]).complete


def test_a_row_that_is_not_there_is_no_other_stimulus():
    stored = np.arange(6, dtype=np.float32).reshape(3, 2)
    responses = Responses((3, 2), [Part(0, 0, stored, np.array([2, 0, 3]))])
    assert responses.gather(np.array([1, 0])).tolist() == [[0, 1], [4, 5]]
    with pytest.raises(IndexError):
        responses.gather(np.array([2]))
