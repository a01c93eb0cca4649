import numpy as np
import pytest
from calcarine.data.splits import Fold, limit_training, split_stimuli
from calcarine.errors import InputError
from calcarine.recording import Recording, Responses


class Named:
    """Stimuli that are nothing but their content hashes."""

    def __init__(self, digests):
        self.names = [f"{index}.png" for index in range(len(digests))]
        self.hashes = [str(digest) for digest in digests]

    def __len__(self):
        return len(self.hashes)

    def digests(self, memo=None):
        return self.hashes

    def read(self, index):
        raise AssertionError("a split decodes no image")


def recording(digests, splits=None, measured=None):
    count = len(digests)
    responses = np.zeros((count if measured is None else measured, 2), dtype=np.float32)
    whole = Responses.of(responses)
    if measured is not None:
        whole = Responses((count, 2), whole.parts)
    splits = np.array([""] * count if splits is None else splits)
    return Recording("s", Named(digests), whole, splits, np.array(["", ""]))


def test_shares_and_seed():
    one = recording(range(100))
    splits = split_stimuli([one], 0.1, 0.2, seed=0)[0]
    assert {name: (splits == name).sum() for name in ("train", "validation", "test")} == {
        "train": 70,
        "validation": 10,
        "test": 20,
    }
    assert np.array_equal(splits, split_stimuli([one], 0.1, 0.2, seed=0)[0])
    assert not np.array_equal(splits, split_stimuli([one], 0.1, 0.2, seed=1)[0])


def test_over_all_folds_each_image_is_tested_once():
    digests = np.random.default_rng(0).integers(0, 60, 100)
    one, other = recording(digests), recording(np.arange(40, 80))
    tested = np.zeros((2, 100), dtype=int)
    for number in range(1, 10):
        splits = split_stimuli([one, other], 0.1, 0.2, 0, Fold(number, 9))
        for row, own in zip(tested, splits, strict=True):
            row[: len(own)] += own == "test"
            assert {"validation", "train"} < set(own)
        for digest in np.unique(digests):
            assert len({*splits[0][digests == digest], *splits[1][np.arange(40, 80) == digest]}) == 1
    assert (tested[0] == 1).all()
    assert (tested[1, :40] == 1).all()


def test_folds_are_tested_beside_a_challenge_s_withheld_stimuli():
    splits = np.array([""] * 20 + ["test"] * 5)
    tested = [split_stimuli([recording(range(25), splits, 20)], 0, 0.2, 0, Fold(number, 4))[0] for number in (1, 2)]
    assert [(own == "test").sum() for own in tested] == [5, 5]
    assert not ((tested[0] == "test") & (tested[1] == "test")).any()


@pytest.mark.parametrize("theirs", ["test", "withheld"])
def test_folds_are_of_the_validation_split_where_the_test_split_is_the_format_s(theirs):
    splits = np.array(["train"] * 20 + ["test"] * 5)
    one = recording(range(25), splits, 20 if theirs == "withheld" else None)
    validated = [split_stimuli([one], 0.1, 0.2, 0, Fold(number, 4))[0] for number in range(1, 5)]
    assert (np.sum([own == "validation" for own in validated], axis=0) == (splits == "train")).all()
    assert all((own[20:] == theirs).all() for own in validated)


def test_folds_that_cannot_be():
    splits = np.array(["train"] * 20 + ["test"] * 5 + ["validation"] * 5)
    with pytest.raises(InputError, match=r"--data\.fold: .*found that s comes with both"):
        split_stimuli([recording(range(30), splits)], 0.1, 0.2, 0, Fold(1, 4))
    with pytest.raises(InputError, match="is left for the test split"):
        split_stimuli([recording(range(8))], 0, 0.2, 0, Fold(9, 9))
    for text in ("0/9", "10/9", "1/1", "1-9", ""):
        with pytest.raises(InputError, match=rf"--data\.fold {text}: expected a part"):
            Fold.read(text)


def test_duplicates_fall_on_one_side():
    digests = np.random.default_rng(0).integers(0, 40, 200)
    splits = split_stimuli([recording(digests)], 0.2, 0.3, seed=0)[0]
    for digest in np.unique(digests):
        assert len(set(splits[digests == digest])) == 1


def test_duplicates_across_recordings_fall_on_one_side():
    digests = np.arange(50)
    first, second = split_stimuli([recording(digests), recording(digests[::-1])], 0.2, 0.3, seed=0)
    assert np.array_equal(first, second[::-1])


def test_a_recording_is_split_alone_as_in_company():
    recordings = [
        recording(range(100)),
        recording(range(100, 150)),
        recording(range(200, 280), ["test"] * 20 + [""] * 60),
    ]
    together = split_stimuli(recordings, 0.1, 0.2, seed=3)
    for splits, one in zip(together, recordings, strict=True):
        assert np.array_equal(splits, split_stimuli([one], 0.1, 0.2, seed=3)[0])


def test_images_that_an_earlier_recording_shows_stay_on_their_side_and_count():
    """The first is split as it is alone; the second draws only what it still needs for its own shares."""
    first, second = recording(range(100)), recording(range(60, 160))
    one, two = split_stimuli([first, second], 0.1, 0.2, seed=0)
    assert np.array_equal(one, split_stimuli([first], 0.1, 0.2, seed=0)[0])
    assert np.array_equal(one[60:], two[:40])
    assert [(two == name).sum() for name in ("train", "validation", "test")] == [70, 10, 20]


def test_an_own_test_split_of_one_recording_keeps_its_images_out_of_the_others_training():
    own, other = recording(range(40), ["test"] * 10 + [""] * 30), recording(range(100))
    one, two = split_stimuli([own, other], 0.1, 0.2, seed=0)
    assert (one == "test").tolist() == [True] * 10 + [False] * 30
    assert set(two[:10]) == {"leaking"}
    assert np.array_equal(one[10:], two[10:40])
    two, one = split_stimuli([other, own], 0.1, 0.2, seed=0)
    assert (one == "test").tolist() == [True] * 10 + [False] * 30
    assert ((one == "leaking") == (two[:40] == "test")).all()


def test_the_formats_own_test_split_is_used():
    given = ["test"] * 10 + [""] * 40
    splits = split_stimuli([recording(range(50), given)], 0.1, 0.2, seed=0)[0]
    assert (splits == "test").tolist() == [True] * 10 + [False] * 40
    assert (splits == "validation").sum() == 4


def test_validation_is_drawn_from_a_given_training_split():
    given = ["train"] * 40 + ["test"] * 10
    splits = split_stimuli([recording(range(50), given)], 0.1, 0.2, seed=0)[0]
    assert (splits[:40] == "validation").sum() == 4
    assert (splits[40:] == "test").all()


def test_a_format_that_assigns_all_and_tests_none_is_evaluated_on_validation():
    given = ["train"] * 40 + ["validation"] * 10
    assert split_stimuli([recording(range(50), given)], 0.1, 0.2, seed=0)[0].tolist() == given


def test_nothing_held_out_is_refused():
    with pytest.raises(InputError, match="expected something held out"):
        split_stimuli([recording(range(50))], 0.0, 0.0, seed=0)


def test_a_test_split_without_responses_is_withheld_and_another_is_drawn():
    given = [""] * 40 + ["test"] * 10
    splits = split_stimuli([recording(range(50), given, measured=40)], 0.1, 0.2, seed=0)[0]
    assert (splits[40:] == "withheld").all()
    assert (splits[:40] == "test").sum() == 8


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_a_training_copy_of_a_held_out_stimulus_is_left_out(held_out):
    digests = [0, 1, 2, 3, 0, 5, 6, 7, 8, 9]
    given = [held_out, held_out] + [""] * 8
    splits = split_stimuli([recording(digests, given)], 0.2, 0.2, seed=0)[0]
    assert splits[4] == "leaking"


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.2), (0.5, 0.5), (0.1, 1.0)])
def test_impossible_shares_are_refused(validation, test):
    with pytest.raises(InputError, match=r"--data\.validation"):
        split_stimuli([recording(range(10))], validation, test, seed=0)


def test_too_few_stimuli_are_refused():
    with pytest.raises(InputError, match="no stimulus of 2 is left for the validation split"):
        split_stimuli([recording(range(2))], 0.1, 0.2, seed=0)


def test_fewer_training_stimuli_are_nested_and_hold_nothing_else_out():
    """Rows of one image stay together, each recording has so many, and alone it has the same ones."""
    one, other = recording([*range(60), *range(60)]), recording(range(100, 190))
    splits = split_stimuli([one, other], 0.1, 0.2, seed=0)
    fewer = {count: limit_training([one, other], splits, count, seed=0) for count in (5, 20, 42)}
    for index, (each, whole) in enumerate(zip((one, other), splits, strict=True)):
        digests = np.array(each.stimuli.digests())
        kept = {count: set(digests[own[index] == "train"]) for count, own in fewer.items()}
        assert [len(own) for own in kept.values()] == [5, 20, 42]
        assert kept[5] < kept[20] < kept[42]
        for own in fewer.values():
            assert np.array_equal(own[index][whole != "train"], whole[whole != "train"])
            left_out = set(digests[(whole == "train") & (own[index] == "")])
            assert left_out.isdisjoint(digests[own[index] == "train"])
        alone = limit_training([each], split_stimuli([each], 0.1, 0.2, seed=0), 20, seed=0)
        assert np.array_equal(alone[0], fewer[20][index])
    assert not np.array_equal(limit_training([one], splits[:1], 20, seed=1)[0], fewer[20][0])
    with pytest.raises(
        InputError, match=r"--data\.training_stimuli 43: expected at most the 42 training stimuli of s;"
    ):
        limit_training([one, other], splits, 43, seed=0)
