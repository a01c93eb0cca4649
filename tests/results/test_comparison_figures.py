"""The map of a comparison: on fsaverage5 where targets have a vertex on it, else at their coordinates, else none."""

from dataclasses import replace

import numpy as np
from calcarine.evaluation.differences import Paired
from calcarine.recording import Recording, Responses
from calcarine.results.comparison import ComparedSubject
from calcarine.results.comparison_figures import difference_map, is_preview
from calcarine.results.truth import UnseenStimuli


def compared(vertices: np.ndarray | None, coordinates: np.ndarray | None) -> ComparedSubject:
    recording = Recording(
        "subj01", UnseenStimuli(5), Responses.of(np.zeros((5, 4), np.float32)), np.full(5, "test"),
        np.array(["lh", "lh", "rh", "rh"]), vertices=vertices, coordinates=coordinates,
    )  # fmt: skip
    first, second = np.array([0.2, 0.2, 0.2, np.nan]), np.array([0.5, 0.2, 0.0, np.nan])
    return ComparedSubject(recording, 5, Paired(first, second, first), first, [])


def test_the_map_is_where_the_targets_are() -> None:
    on_mesh = compared(np.array([3, 7, 3, 200_000 - 80_000]), np.zeros((4, 3), np.float32))
    spec = difference_map(on_mesh)
    assert spec is not None
    left, right, scale = spec["data"]
    assert (left["type"], right["type"], scale["marker"]["opacity"]) == ("mesh3d", "mesh3d", 0)
    assert left["text"][3] == "+0.300"
    assert right["text"][3] == "-0.200"
    colours = {left["vertexcolor"][3], left["vertexcolor"][7], right["vertexcolor"][3], left["vertexcolor"][0]}
    assert len(colours) == 4
    assert "#cccccc" in colours  # not measured
    assert is_preview(on_mesh)
    placed = compared(None, np.arange(12, dtype=np.float32).reshape(4, 3))
    spec = difference_map(placed)
    assert spec is not None
    assert spec["data"][0]["x"] == [0, 3, 6]
    assert difference_map(compared(None, None)) is None
    unknown = replace(placed, paired=Paired(*[np.full(4, np.nan)] * 3))
    assert difference_map(unknown) is None
