"""Views of stimuli: which are left where some are repeated, and where each then stands."""

import numpy as np
from calcarine.data.sources.simulated import ImageArray
from calcarine.data.stimulus_views import StimulusView, each_once


def pictures(values: list[int]) -> ImageArray:
    return ImageArray(np.array(values, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), dtype=np.uint8), 0)


def test_a_view_is_its_stimuli_under_other_names() -> None:
    view = StimulusView(pictures([5, 6, 7]), np.array([2, 0, 2]), ["a", "b", "c"])
    assert [int(view.read(index)[0, 0, 0]) for index in range(3)] == [7, 5, 7]
    assert view.names == ["a", "b", "c"]
    assert view.digests()[0] == view.digests()[2] != view.digests()[1]


def test_what_is_repeated_is_left_once_in_order_of_appearance() -> None:
    first, second = pictures([9, 3, 9, 4, 3]), pictures([3, 1])
    left, index = each_once([first, second])
    assert [[int(own.read(row)[0, 0, 0]) for row in range(len(own))] for own in left] == [[9, 3, 4], [3, 1]]
    assert index is not None
    assert index.tolist() == [0, 1, 0, 2, 1, 3, 4]
    assert left[1] is second  # its cache entry is the one that it has alone


def test_where_none_is_repeated_nothing_is_done() -> None:
    only = pictures([1, 2])
    left, index = each_once([only])
    assert left[0] is only
    assert index is None
