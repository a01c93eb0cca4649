"""Controls beside a run: rows against independent figures, and the verdict in words."""

from pathlib import Path

import numpy as np
import pytest
from calcarine.evaluation import SplitPredictions
from calcarine.evaluation.controls import Control, Verdict, control_rows, told, verdicts_of
from calcarine.evaluation.figures.controls import dots_of, picture, plot
from calcarine.recording import Recording, Responses, Roi
from planted import Pictures
from scipy.stats import pearsonr

N, T = 200, 12
MEMBERS = {("lh", "V1"): range(4), ("rh", "V1"): range(8, 12), ("lh", "all"): range(6), ("rh", "all"): range(6, 12)}
DOUBT = "what it predicts may be chance"


def subjects(count: int = 1) -> list[Recording]:
    rng = np.random.default_rng(0)
    return [
        Recording(
            f"subj{index + 1:02d}",
            Pictures(np.zeros((N, 2, 2, 3), dtype=np.uint8)),
            Responses.of(rng.standard_normal((N, T)).astype(np.float32)),
            np.array(["test"] * N),
            np.array(["lh"] * 6 + ["rh"] * 6),
            [Roi("V1", "lh", np.arange(4)), Roi("V1", "rh", np.arange(8, 12))],
        )
        for index in range(count)
    ]


def predicted(recordings: list[Recording], share: float, seed: int) -> list[SplitPredictions]:
    """Predictions that correlate with the responses by about `share`."""
    rng, every = np.random.default_rng(seed), np.arange(N)
    noise = np.sqrt(1 - share**2)
    return [
        SplitPredictions(
            each,
            "test",
            every,
            (share * each.responses.gather(every) + noise * rng.standard_normal((N, T))).astype(np.float32),
        )
        for each in recordings
    ]


def control(name: str, splits: list[SplitPredictions]) -> Control:
    return Control(name, name.replace("_", " "), DOUBT, splits)


@pytest.mark.parametrize("count", [1, 2])
def test_rows_hold_the_means_of_both_and_their_difference(count):
    recordings = subjects(count)
    run = predicted(recordings, 0.6, 1)
    controls = [control("shuffled", predicted(recordings, 0.0, 2)), control("pixels", predicted(recordings, 0.6, 3))]
    rows = control_rows(run, controls)
    assert len(rows) == 2 * count * 5  # V1 and all in either hemisphere, and all
    for row in rows:
        of = next(part for part in run if part.recording.subject == row.subject)
        other = next(
            part
            for each in controls
            for part in each.splits
            if each.name == row.control and part.recording.subject == row.subject
        )
        members = {
            ("lh", "V1"): range(4),
            ("rh", "V1"): range(8, 12),
            ("lh", "all"): range(6),
            ("rh", "all"): range(6, 12),
        }
        own = members.get((row.hemisphere, row.roi), range(T))
        responses = of.recording.responses.gather(of.stimuli)
        means = [np.mean([pearsonr(each.predictions[:, t], responses[:, t])[0] for t in own]) for each in (of, other)]
        assert (row.result_mean, row.pearson_mean) == pytest.approx(means, abs=1e-6)
        assert row.difference == pytest.approx(means[0] - means[1], abs=1e-6)
        assert row.difference_ci_low is not None
        assert row.difference_ci_high is not None
        assert row.difference_ci_low < row.difference < row.difference_ci_high
    shuffled, pixels = verdicts_of(rows, controls)
    assert shuffled.beaten
    assert not pixels.beaten
    assert told([shuffled, pixels]).startswith("beats shuffled (")
    assert ", does not beat pixels (0." in told([shuffled, pixels])


def test_the_verdict_holds_its_rate_where_run_and_control_are_equally_good():
    (recording,) = subjects()
    beaten = 0
    for seed in range(40):
        run, other = (predicted([recording], 0.3, 2 * seed + each) for each in (0, 1))
        controls = [control("pixels", other)]
        beaten += verdicts_of(control_rows(run, controls), controls)[0].beaten
    assert beaten <= 5  # one side of 95 % intervals: 1 expected


def test_the_verdict_in_words():
    of = Control("shuffled", "shuffled responses", DOUBT)
    beaten = Verdict(of, 0.4, 0.01, (0.3, 0.48))
    assert beaten.sentence() == (
        "The result beats the control with shuffled responses: 0.400 against 0.010, a difference of +0.390 (95 % "
        "interval +0.300 to +0.480)."
    )
    equal = Verdict(of, 0.02, 0.01, (-0.02, 0.04))
    assert equal.sentence().startswith(
        "The result does not beat the control with shuffled responses: 0.020 against 0.010"
    )
    assert equal.sentence().endswith(f"(95 % interval −0.020 to +0.040); {DOUBT}.")
    worse = Verdict(of, 0.1, 0.3, (-0.3, -0.1))
    assert worse.sentence().startswith("The control with shuffled responses predicts better: ")
    absent = Verdict(Control("pixels", "pixels", DOUBT, left_out="they are the run's own features"))
    assert absent.sentence() == "There is no control with pixels: they are the run's own features."
    assert Verdict(of).sentence() == "No target of the control with shuffled responses has a correlation."
    assert told([absent, Verdict(of)]) == ""
    assert told([worse, absent]) == "does not beat shuffled responses (0.300)"


def test_too_few_stimuli_are_no_verdict():
    (recording,) = subjects()
    few = [
        SplitPredictions(recording, "test", each.stimuli[:1], each.predictions[:1])
        for each in predicted([recording], 0.5, 1)
    ]
    controls = [control("pixels", few)]
    (verdict,) = verdicts_of(control_rows(few, controls), controls)
    assert not verdict.beaten
    assert verdict.sentence() == "No target of the control with pixels has a correlation."


@pytest.mark.parametrize("count", [1, 2])
def test_the_figure_has_a_dot_of_each_and_roi(count, tmp_path: Path):
    recordings = subjects(count)
    controls = [control("shuffled", predicted(recordings, 0.0, 2)), control("<pixels>", predicted(recordings, 0.2, 3))]
    dots = dots_of(control_rows(predicted(recordings, 0.6, 1), controls), {each.name: each.label for each in controls})
    assert dots.names == ["V1, left", "V1, right", "all, left", "all, right"]
    assert [each.label for each in dots.series] == ["this run", "shuffled", "<pixels>"]
    assert all(np.isfinite(each.low).all() == (count == 1) for each in dots.series)
    assert dots.series[0].means.mean() > 0.5
    assert len(picture(dots).axes[0].collections) == 2 * 3
    traces = plot(dots)["data"]
    assert [trace["name"] for trace in traces] == ["this run", "shuffled", "<pixels>"]
    assert all(np.isfinite(trace["error_x"]["array"]).all() for trace in traces)
    assert "<pixels>" not in traces[2]["hovertemplate"]
