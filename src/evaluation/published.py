"""Published figures on the very data that a run is of, to stand beside its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..names import TEST, VALIDATION
from ..recording import Recording
from .scores import ScoreRow
from .summary import Summary


@dataclass(frozen=True)
class Published:
    """Figures of one quantity.

    Args:
        quantity: What they are of, such as "Algonauts 2023 score".
        own: This run's, as text.
        others: Whose and the figure, the highest first.
        note: What they were measured on, and where this run differs.
    """

    quantity: str
    own: str
    others: Sequence[tuple[str, str]]
    note: str


_IMAGES_2023 = {1: 9841, 2: 9841, 3: 9082, 4: 8779, 5: 9841, 6: 9082, 7: 9841, 8: 8779}
_VERTICES_2023 = {6: 18978 + 20220, 8: 18981 + 20530}
_VERTICES_2023_OTHERS = 19004 + 20544
_ON_2023 = (
    ("winner", "70.85"),
    ("second", "63.52"),
    ("third", "61.57"),
    ("winner without memory inputs", "61.39"),
    ("ridge on CLIP, per ROI", "52.32"),
    ("linear model of AlexNet, the challenge's baseline", "40.97"),
)
_VIDEOS_2021 = 1000
_SUBJECTS_2021 = 10
_BEST_2021 = {"algonauts2021_mini": "0.567", "algonauts2021_full": "0.264"}
_IT_SPIKES = (2592, 168)  # training images and neurons


def published(recordings: Sequence[Recording], rows: Sequence[ScoreRow], summary: Summary) -> list[Published]:
    """What has been published on these data, where the run has the same quantity; nothing for other data.

    A data set is known by its counts: a simulated tree of the same format is not taken for it.

    Args:
        recordings: All of the run.
        rows: Of `scores.csv`.
        summary: Of the run.
    """
    if summary.score is not None and all(_is_2023(each) for each in recordings):
        whole = len(recordings) == len(_IMAGES_2023)
        note = "Published: all eight subjects on the challenge's own test images."
        if summary.split != TEST or not whole or not all((each.splits == TEST).any() for each in recordings):
            note += f" This run: {_subjects(recordings)} on held-out training images, which is another test of the same"
            note += " score; compare a submission."
        return [Published("Algonauts 2023 score, of 100", f"{summary.score:.2f}", _ON_2023, note)]
    if summary.score is not None and all(_is_2021(each) for each in recordings):
        note = f"Published: all {_SUBJECTS_2021} subjects on the challenge's withheld videos. This run: "
        note += f"{_subjects(recordings)} on held-out training videos, which is another test of the same score."
        best = _BEST_2021[str(recordings[0].submission)]
        return [Published(summary.scoring.name, f"{summary.score:.3f}", [("best known", best)], note)]
    return _it_spikes(recordings, rows)


def _is_2023(recording: Recording) -> bool:
    number = int(recording.subject[-2:]) if recording.subject[-2:].isdigit() else 0
    images = int(recording.responses.measured.sum()) - int((recording.splits == TEST).sum())
    return (
        recording.submission == "algonauts2023"
        and images == _IMAGES_2023.get(number)
        and recording.num_targets == _VERTICES_2023.get(number, _VERTICES_2023_OTHERS)
    )


def _is_2021(recording: Recording) -> bool:
    return recording.submission in _BEST_2021 and int(recording.responses.measured.sum()) == _VIDEOS_2021


def _it_spikes(recordings: Sequence[Recording], rows: Sequence[ScoreRow]) -> list[Published]:
    first = recordings[0]
    own = next((row for row in rows if row.split == VALIDATION and row.roi == "all"), None)
    known = int((first.splits == "train").sum()), first.num_targets
    if len(recordings) > 1 or first.subject != "IT_data" or known != _IT_SPIKES or own is None:
        return []
    note = "Published: the file's validation images, as here."
    figures = (
        ("R², mean over neurons", own.r2_mean, "0.440"),
        ("explained variance", own.explained_variance_mean, "0.453"),
        ("mean squared error", own.mse, "0.063"),
    )
    return [
        Published(name, f"{value:.3f}", [("best", best)], note) for name, value, best in figures if value is not None
    ]


def _subjects(recordings: Sequence[Recording]) -> str:
    return ", ".join(each.subject for each in recordings)
