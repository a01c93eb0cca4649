"""Which challenge's score a run reports: that of 2021 against FORMATS' sentences, from tables to the headline."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from calcarine.evaluation import History, ScoreRow, SplitPredictions, evaluate_run, read_scores
from calcarine.recording import Recording, Responses, Roi
from planted import Pictures
from scipy.stats import pearsonr

SIZES = {"EBA": 3, "V1": 12, "V2": 5}
Track = Literal["mini", "full"]


def subject(track: Track | None, number: int = 1) -> SplitPredictions:
    """40 test videos, predicted well, of 20 voxels: reliability is 0 or unknown in two, one is still."""
    rng = np.random.default_rng(number)
    responses = rng.normal(size=(40, 20)).astype(np.float32)
    responses[:, 4] = 7
    reliability = rng.uniform(0.05, 0.9, 20)
    reliability[[1, 9]] = 0, np.nan
    starts = dict(zip(SIZES, np.cumsum([0, *SIZES.values()]).tolist(), strict=False))
    rois = [Roi(name, "", np.arange(start, start + SIZES[name])) for name, start in starts.items()]
    recording = Recording(
        subject=f"sub{number:02d}",
        stimuli=Pictures(np.zeros((40, 4, 4, 3), np.uint8)),
        responses=Responses.of(responses),
        splits=np.full(40, "test"),
        hemispheres=np.full(20, ""),
        rois=[Roi("WB", "", np.arange(20))] if track == "full" else rois,
        noise_ceiling=reliability,
        submission=track and f"algonauts2021_{track}",
    )
    predictions = (responses + rng.normal(size=responses.shape)).astype(np.float32)
    return SplitPredictions(recording, "test", np.arange(40), predictions)


def voxels_in_words(part: SplitPredictions, members: np.ndarray) -> list[float]:
    """r / √reliability of each voxel that has one, one voxel at a time."""
    reliability = part.recording.noise_ceiling
    assert reliability is not None
    responses = part.recording.responses.gather(part.stimuli)
    found = []
    for voxel in members.tolist():
        if reliability[voxel] > 0 and responses[:, voxel].min() < responses[:, voxel].max():
            r = pearsonr(part.predictions[:, voxel].astype(float), responses[:, voxel].astype(float)).statistic
            found.append(r / reliability[voxel] ** 0.5)
    return found


def means_in_words(part: SplitPredictions) -> dict[str, float]:
    scores = {roi.name: voxels_in_words(part, roi.targets) for roi in part.recording.rois}
    return {name: sum(values) / len(values) for name, values in scores.items()}


def rows_by_roi(folder: Path) -> dict[str, ScoreRow]:
    return {row.roi: row for row in read_scores(folder / "scores.csv")}


def test_the_mini_track_is_the_mean_over_voxels_then_over_rois(tmp_path: Path) -> None:
    part = subject("mini")
    summary = evaluate_run(tmp_path, [part], History(), "")
    means = means_in_words(part)
    expected = sum(means.values()) / 3
    rows = rows_by_roi(tmp_path)
    for name, mean in means.items():
        assert rows[name].score == pytest.approx(mean, rel=1e-5)
    assert rows["all"].score == pytest.approx(expected, rel=1e-5)
    assert summary.score == rows["all"].score
    over_voxels = voxels_in_words(part, np.arange(20))
    assert expected != pytest.approx(sum(over_voxels) / len(over_voxels), rel=1e-3), "the test tells the two apart"
    with (tmp_path / "targets.csv").open(newline="") as file:
        of_targets = [row["score"] for row in csv.DictReader(file)]
    assert [target for target, score in enumerate(of_targets) if not score] == [1, 4, 9]
    assert sum(float(score) for score in of_targets if score) == pytest.approx(sum(over_voxels), rel=1e-5)


def test_the_full_track_is_the_mean_over_voxels(tmp_path: Path) -> None:
    part = subject("full")
    summary = evaluate_run(tmp_path, [part], History(), "")
    expected = means_in_words(part)["WB"]
    rows = rows_by_roi(tmp_path)
    assert rows["WB"].score == rows["all"].score == summary.score == pytest.approx(expected, rel=1e-5)


def test_subjects_of_the_mini_track_are_averaged_over_their_rois(tmp_path: Path) -> None:
    parts = [subject("mini", 1), subject("mini", 2)]
    summary = evaluate_run(tmp_path, parts, History(), "")
    means = [mean for part in parts for mean in means_in_words(part).values()]
    assert summary.score == pytest.approx(sum(means) / 6, rel=1e-5)


@pytest.mark.slow
def test_the_headline_and_the_report_say_which_score_it_is(tmp_path: Path) -> None:
    mini, full, none = (
        evaluate_run(tmp_path / str(track), [subject(track)], History(), "") for track in ("mini", "full", None)
    )
    assert mini.headline().endswith(f", Algonauts 2021 mini-track score {mini.score:.3f}")
    assert full.headline().endswith(f", Algonauts 2021 full-track score {full.score:.3f}")
    assert none.headline().endswith(f", noise-normalised score {none.score:.2f} of 100")
    report = (tmp_path / "mini" / "report.html").read_text()
    assert f"<br>Algonauts 2021 mini-track score {mini.score:.3f}\n" in report  # in the headline
    assert "Score (Algonauts 2021 mini-track score): correlation as a share" in report
    assert "1 of 20 targets have a noise ceiling of 0 and stand in no score" in report
    assert "1 of 20 targets have no known noise ceiling and stand in no score" in report
    assert f">{mini.score:.3f}</td>" in report


def test_without_repetitions_there_is_no_score(tmp_path: Path) -> None:
    part = subject("mini")
    recording = replace(part.recording, noise_ceiling=None)
    summary = evaluate_run(tmp_path, [replace(part, recording=recording)], History(), "")
    assert summary.score is None
    assert {row.score for row in rows_by_roi(tmp_path).values()} == {None}
    assert "Algonauts" not in summary.headline()
