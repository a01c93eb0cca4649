"""A learning curve: rows against independent figures, points over subjects, and what is drawn of them."""

from dataclasses import replace

import numpy as np
import pytest
from calcarine.evaluation import CurvePoint, LearningCurve, SplitPredictions
from calcarine.evaluation.curve_table import curve_table
from calcarine.evaluation.figures.learning_curve import picture, plot, series_of
from calcarine.evaluation.learning_curve import curve_means, curve_rows, told_curve
from calcarine.recording import Recording, Responses, Roi
from planted import Pictures
from scipy.stats import pearsonr

N, T = 200, 8


def subjects() -> list[Recording]:
    rng = np.random.default_rng(0)
    return [
        Recording(
            f"subj{index + 1:02d}",
            Pictures(np.zeros((N, 2, 2, 3), dtype=np.uint8)),
            Responses.of(rng.standard_normal((N, T + 4 * index)).astype(np.float32)),
            np.array(["test"] * N),
            np.array([""] * (T + 4 * index)),
            [Roi("V1", "", np.arange(4))],
        )
        for index in range(2)
    ]


def predicted(recordings: list[Recording], share: float, seed: int) -> list[SplitPredictions]:
    """Predictions that correlate with the responses by about `share`."""
    rng, every = np.random.default_rng(seed), np.arange(N)
    found = []
    for each in recordings:
        noise = np.sqrt(1 - share**2) * rng.standard_normal((N, each.num_targets))
        found.append(
            SplitPredictions(each, "test", every, (share * each.responses.gather(every) + noise).astype(np.float32))
        )
    return found


def mean_of(part: SplitPredictions, targets: range) -> float:
    responses = part.responses()
    return float(np.mean([pearsonr(part.predictions[:, t], responses[:, t])[0] for t in targets]))


def curve(recordings: list[Recording]) -> LearningCurve:
    counts = {"subj01": 400, "subj02": 600}
    return LearningCurve(
        [
            CurvePoint(dict.fromkeys(counts, 50), predicted(recordings, 0.4, 1), predicted(recordings, 0.1, 2)),
            CurvePoint(dict.fromkeys(counts, 200), predicted(recordings, 0.5, 3), predicted(recordings, 0.5, 4)),
            CurvePoint(counts, predicted(recordings, 0.6, 5)),
        ],
        ["There is no point of 10 training stimuli: its training says 'no'."],
    )


def test_rows_hold_each_points_means_and_what_the_trunk_gains() -> None:
    recordings = subjects()
    made = curve(recordings)
    rows = curve_rows(list(made.points[-1].splits), made)
    assert len(rows) == 3 * 2 * 2  # V1 and all
    for row in rows:
        index = int(row.subject[-1]) - 1
        point = made.points[row.point - 1]
        assert row.training_stimuli == point.stimuli[row.subject]
        targets = range(4) if row.roi == "V1" else range(recordings[index].num_targets)
        own = mean_of(point.splits[index], targets)
        assert row.pearson_mean == pytest.approx(own, abs=1e-6)
        if row.point == 3:
            assert (row.scratch_mean, row.gain, row.gain_ci_low) == (None, None, None)
            continue
        scratch = mean_of(point.scratch[index], targets)
        assert row.scratch_mean == pytest.approx(scratch, abs=1e-6)
        assert row.gain == pytest.approx(own - scratch, abs=1e-6)
        assert row.gain_ci_low is not None
        assert row.gain_ci_high is not None
        assert row.gain_ci_low < row.gain < row.gain_ci_high
        assert (row.gain_ci_low > 0) == (row.point == 1)


def test_points_are_pooled_over_targets_and_told_in_words() -> None:
    made = curve(subjects())
    rows = curve_rows(list(made.points[-1].splits), made)
    means = curve_means(rows)
    assert [each.stimuli for each in means] == [50, 200, 500]
    for number, mean in enumerate(means, start=1):
        own = [row.pearson_mean or 0 for row in rows if row.point == number and row.roi == "all"]
        assert mean.correlation == pytest.approx((8 * own[0] + 12 * own[1]) / 20)
        assert mean.interval is not None
        assert mean.interval[0] < mean.correlation < mean.interval[1]
    assert [each.gains for each in means] == [True, False, False]
    assert told_curve(means) == "its trained trunk gains at 50, is not shown to gain at 200 training stimuli"
    assert told_curve([replace(each, scratch=None) for each in means]) == ""


def test_curves_are_drawn_and_tabled_with_and_without_scratch() -> None:
    made = curve(subjects())
    for beside in (True, False):
        points = made.points if beside else [replace(each, scratch=()) for each in made.points]
        rows = curve_rows(list(made.points[-1].splits), LearningCurve(points))
        series = series_of(curve_means(rows))
        assert [each.label for each in series] == (["trained trunk", "from scratch"] if beside else ["this run"])
        assert [len(each.means) for each in series] == ([3, 2] if beside else [3])
        (axes,) = picture(series).axes
        assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "200", "500"]
        assert plot(series)["data"][0]["x"] == [50.0, 200.0, 500.0]
        table = curve_table(rows, made.left_out)
        assert table is not None
        assert len(table.lines) == 6
        assert {len(line) for line in table.lines} == {len(table.heads)}
        assert ("gain" in table.heads) == beside
        assert table.captions[-1].startswith("There is no point of 10")
    assert curve_table([], ()) is None
