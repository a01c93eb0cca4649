"""Published figures stand beside a run's own on the very data alone."""

from dataclasses import replace

import numpy as np
import pytest
from calcarine.evaluation.published import published
from calcarine.evaluation.scores import ScoreRow
from calcarine.evaluation.scoring import scoring_of
from calcarine.evaluation.summary import Summary
from calcarine.recording import Part, Recording, Responses

ROW = ScoreRow(
    "validation", "IT_data", "both", "all", 168, 168, 0.6, 0.6, 0.5, 0.7, 0.41, 0.42, 0.07, 1, 1, 1, None, None
)


def recording(subject: str, measured: int, withheld: int, targets: int, submission: str | None) -> Recording:
    n = measured + withheld
    array = np.broadcast_to(np.float32(0), (measured, targets))
    return Recording(
        subject=subject,
        stimuli=[""] * n,  # pyright: ignore[reportArgumentType]
        responses=Responses((n, targets), [Part(0, 0, array)]),
        splits=np.array([""] * measured + ["withheld"] * withheld),
        hemispheres=np.full(targets, "lh"),
        submission=submission,
    )


def summary(of: Recording, score: float | None, split: str = "test") -> Summary:
    return Summary(split, 9, 9, 9, 0.4, scoring_of(of), score=score)


def test_algonauts_2023_is_known_by_its_counts() -> None:
    own = recording("subj01", 9841, 159, 39548, "algonauts2023")
    (found,) = published([own], [], summary(own, 61.234))
    assert (found.own, found.others[0]) == ("61.23", ("winner", "70.85"))
    assert "This run: subj01 on held-out training images, which is another test" in found.note
    assert published([own], [], summary(own, None)) == []  # without ceilings there is no score
    for other in (
        recording("subj01", 1000, 159, 39548, "algonauts2023"),  # a simulated tree
        recording("subj01", 9841, 159, 19004, "algonauts2023"),  # a hemisphere
        recording("subj08", 9841, 159, 39548, "algonauts2023"),
        replace(own, submission=None),
    ):
        assert published([other], [], summary(own, 61.234)) == []


def test_algonauts_2021_is_known_by_its_videos() -> None:
    own = recording("sub01", 1000, 102, 14, "algonauts2021_mini")
    (found,) = published([own], [], summary(own, 0.4))
    assert (found.own, found.others) == ("0.400", [("best known", "0.567")])
    other = recording("sub01", 72, 9, 14, "algonauts2021_mini")
    assert published([other], [], summary(other, 0.4)) == []


@pytest.mark.parametrize("images", [2592, 2591])
def test_it_spikes_have_three_figures_on_the_files_own_validation(images: int) -> None:
    own = recording("IT_data", images + 500, 100, 168, None)
    own = replace(own, splits=np.array(["train"] * images + ["validation"] * 500 + ["withheld"] * 100))
    found = published([own], [ROW], summary(own, None, "validation"))
    figures = [(each.own, each.others[0][1]) for each in found]
    assert figures == ([("0.410", "0.440"), ("0.420", "0.453"), ("0.070", "0.063")] if images == 2592 else [])
    assert published([own], [replace(ROW, split="test")], summary(own, None)) == []
