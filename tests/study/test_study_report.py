"""A study's figures and report: any study can be drawn, and the page holds what it says."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from browser import BROWSER, opened
from calcarine.evaluation.figures.drawing import GREY, MARK
from calcarine.study.ledger.attributes import CONFIG, DEFAULT, LOST, PER_ROI, REASON, SECONDS, SPACE, TEST_SCORE
from calcarine.study.outcome import figures
from calcarine.study.outcome.report import chance, short_names, write_report
from calcarine.study.search.space import SearchSpace, read_space
from optuna.trial import TrialState, create_trial
from plotly.graph_objects import Figure

YAML = """
model.head: {type: categorical, choices: [FullyConnectedHead]}
model.head.dropout: {type: float, low: 0.0, high: 0.5, when: {model.optimizer: SGD}}
model.optimizer: {type: categorical, choices: [Adam, SGD]}
model.optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
data.batch_size: {type: int, low: 8, high: 64}
data.encoder.layers: {type: categorical, choices: ["[layer2,layer3]", null, true]}
"""


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    (tmp_path / "space.yaml").write_text(YAML)
    return read_space(tmp_path / "space.yaml")


def make_study(space: SearchSpace, states: str) -> optuna.Study:
    """A study whose trials end as the letters say: complete, pruned, failed or lost. The learning rate alone matters.

    The first has the configuration's own values.
    """
    rng = np.random.default_rng(0)
    scratch = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study = optuna.create_study(direction="maximize", study_name="mine")
    study.set_user_attr(SPACE, space.plain())
    study.set_user_attr(CONFIG, {})
    for number, letter in enumerate(states):
        drawn = scratch.ask()
        value = 0.5 - 0.1 * abs(np.log10(space.suggest(drawn)["model.optimizer.lr"]) + 3) + 0.001 * rng.normal()
        attributes = {
            "C": {TEST_SCORE: value - 0.02, SECONDS: 10.0 + number % 3},
            "P": {},
            "F": {REASON: "diverged <at once> & for ever"},
            "L": {LOST: "its worker died"},
        }
        trial = create_trial(
            state={"C": TrialState.COMPLETE, "P": TrialState.PRUNED}.get(letter, TrialState.FAIL),
            params=drawn.params,
            distributions=drawn.distributions,
            value=value if letter == "C" else None,
            user_attrs=attributes[letter] | ({DEFAULT: True} if number == 0 else {}),
            intermediate_values={1: 0.1, 2: 0.3} if letter in "CP" else {},
        )
        trial.datetime_start = datetime(2026, 1, 1) + timedelta(seconds=7 * number)
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=10)
        study.add_trial(trial)
    return study


def named(figure: Figure) -> dict[str, Any]:
    """What a figure shows, by the name in its legend."""
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize("states", ["C", "F", "PL", "CPFL" * 6])
def test_any_study_has_a_report(states: str, space: SearchSpace, tmp_path: Path) -> None:
    study = make_study(space, states)
    write_report(tmp_path, study, space, ["--data.source=Folder"])
    page = (tmp_path / "report.html").read_text()
    assert ("uv run train.py --data.source=Folder" in page) == ("C" in states)
    assert ("diverged &lt;at once&gt; &amp; for ever" in page) == ("F" in states)
    assert ("Parallel coordinates" in page) == ("C" in states)
    assert ("Importance" in page) == (states.count("C") >= 6)
    assert ("Score against time" in page) == (states.count("C") >= 2)
    assert ("no trial came to a value" in page) == ("C" not in states)
    assert "http" not in page.partition("<script>")[0]  # above Plotly itself
    assert len(page) < 15e6


def test_history_has_the_best_so_far_and_every_end(space: SearchSpace) -> None:
    study = make_study(space, "CPCFLC")
    shown = named(figures.history(study))
    assert {"validation correlation", "pruned, where it was", "best so far", "default", "failed"} <= set(shown)
    values = [study.trials[number].value for number in (0, 2, 5)]
    best = dict(zip(shown["best so far"].x, shown["best so far"].y, strict=True))
    assert [best[number] for number in (0, 2, 5)] == pytest.approx(np.maximum.accumulate(values).tolist())
    assert list(shown["failed"].x) == [3]  # a lost trial has not failed
    assert list(shown["default"].y) == [values[0]]


def test_copies_have_short_names_and_the_same_numbers(space: SearchSpace) -> None:
    study = make_study(space, "CLPFC")
    shown = figures.renamed(study, {"model.optimizer.lr": "lr"})
    assert [trial.state for trial in shown.trials] == [trial.state for trial in study.trials]
    assert [trial.params for trial in shown.trials] == [{"lr": t.params["model.optimizer.lr"]} for t in study.trials]
    assert [trial.datetime_start for trial in shown.trials] == [trial.datetime_start for trial in study.trials]


def test_slices_and_lines_are_of_the_trials_that_have_the_flag(space: SearchSpace) -> None:
    study = make_study(space, "C" * 12)
    flags = ["model.optimizer.lr", "model.head.dropout"]
    (row,) = figures.slices(study, flags)
    dropout, rate = row.data
    assert sorted(rate.x) == pytest.approx(sorted(trial.params["model.optimizer.lr"] for trial in study.trials))
    having = sum("model.head.dropout" in trial.params for trial in study.trials)
    assert 0 < having < 12
    assert len(dropout.x) == having
    assert len(figures.slices(study, [*study.trials[0].params])) == 2
    lines = [trace for trace in figures.parallel_coordinates(study, flags).data if trace.mode == "lines"]
    assert len(lines) == 12


def test_timeline_shows_lost_trials_too(space: SearchSpace) -> None:
    shown = named(figures.timeline(make_study(space, "CPFL")))
    assert list(shown) == ["complete", "fail", "pruned"]
    assert list(shown["fail"].y) == [2, 3]
    assert list(shown["fail"].marker.color) == [MARK, GREY]
    assert [list(trace.x) for trace in shown.values()] == [[10_000.0], [10_000.0] * 2, [10_000.0]]


def test_one_bad_trial_does_not_flatten_the_others() -> None:
    low, high = figures.limits([0.5, 0.51, 0.52, 0.53, -0.9])
    assert low > 0.4
    assert high > 0.53
    assert figures.limits([0.3, 0.3])[0] < 0.3


def test_the_flag_that_matters_is_the_important_one(space: SearchSpace) -> None:
    figure = figures.importance(make_study(space, "C" * 80))
    assert figure is not None
    (bars,) = figure.data
    assert bars.y[-1] == "model.optimizer.lr"
    assert sum(bars.x) == pytest.approx(1)
    assert figures.importance(make_study(space, "CCPPPPPP")) is None


def test_the_pareto_front_is_what_no_trial_beats_in_both(space: SearchSpace) -> None:
    study = make_study(space, "CPCFLC" * 5)
    figure = figures.pareto_front(study)
    assert figure is not None
    own = [(trial.user_attrs[SECONDS], trial.value) for trial in study.trials if trial.state.name == "COMPLETE"]
    front = {one for one in own if not any(o != one and o[0] <= one[0] and o[1] >= one[1] for o in own)}
    shown = named(figure)
    assert set(zip(shown["best at its time"].x, shown["best at its time"].y, strict=True)) == front
    assert set(zip(shown["other"].x, shown["other"].y, strict=True)) == set(own) - front
    assert '"number": 2,' in "".join((*shown["best at its time"].text, *shown["other"].text))  # trials keep theirs


def test_the_axis_holds_the_whole_front(space: SearchSpace) -> None:
    """Its quick end is the low one by nature, below what an outlier's axis would hold."""
    study = optuna.create_study(direction="maximize")
    for number, (seconds, value) in enumerate([(5, 0.20), (30, 0.40), (31, 0.41), (32, 0.42), (33, 0.43), (40, 0.1)]):
        drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)).ask()
        space.suggest(drawn)
        study.add_trial(
            create_trial(
                value=value, params=drawn.params, distributions=drawn.distributions, user_attrs={SECONDS: seconds}
            )
        )
    figure = figures.pareto_front(study)
    assert figure is not None
    low, high = figure.layout.yaxis.range
    assert 0.1 < low < min(named(figure)["best at its time"].y) < max(named(figure)["best at its time"].y) < high


def test_trials_of_equal_value_or_of_unknown_time_break_no_figure(space: SearchSpace, tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", study_name="equal")
    study.set_user_attr(SPACE, space.plain())
    study.set_user_attr(CONFIG, {})
    for number in range(8):
        drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)).ask()
        space.suggest(drawn)
        seconds = {} if number == 7 else {SECONDS: 5.0 * 3**number}  # a study that an earlier version began
        study.add_trial(
            create_trial(value=0.25, params=drawn.params, distributions=drawn.distributions, user_attrs=seconds)
        )
    figure = figures.pareto_front(study)
    assert figure is not None
    assert figure.layout.xaxis.type == "log"
    assert list(named(figure)["best at its time"].x) == [5.0]
    assert len(named(figure)["other"].x) == 6
    write_report(tmp_path, study, space, [])
    assert "Score against time" in (tmp_path / "report.html").read_text()


def test_pruned_trials_alone_have_an_axis(space: SearchSpace) -> None:
    study = optuna.create_study(direction="maximize")
    for value in (-0.4, -0.3):
        study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: value}))
    low, high = figures.history(study).layout.yaxis.range
    assert low < -0.4 < -0.3 < high


def test_what_choosing_by_validation_costs_is_said(space: SearchSpace, tmp_path: Path) -> None:
    write_report(tmp_path, make_study(space, "C" * 6), space, [])
    text = " ".join((tmp_path / "report.html").read_text().rpartition("<h2>Validation against test")[2].split())
    assert "on the test split: 0.020 less." in text
    assert "median trial's difference is 0.020." in text
    assert "Rank correlation of the two over 6 trials: 1.00." in text
    alone = chance(make_study(space, "C").trials)
    assert alone is not None
    assert alone["rank"] is None
    assert chance(make_study(space, "PF").trials) is None


def test_names_are_as_short_as_they_can_be() -> None:
    flags = ["model.head.dropout.0", "model.optimizer.lr", "data.encoder.layers", "model.encoder.layers"]
    assert list(short_names(flags).values()) == ["dropout.0", "lr", *flags[2:]]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
def test_the_report_opens_in_a_browser_without_network_and_without_a_complaint(
    space: SearchSpace, tmp_path: Path
) -> None:
    study = make_study(space, "CPFL" * 6)
    roi = {"roi": "lh.V1", "trial": 0, "validation": 0.5, "test": None, "best_validation": 0.4, "best_test": None}
    study.set_user_attr(PER_ROI, {"folder": "runs/mine/per_roi/version_0", "trials": 6, "rois": [roi]})
    write_report(tmp_path, study, space, [])
    for width in (400, 1600):
        measured, said = opened(tmp_path / "report.html", width, dark=width == 400)
        assert measured["over"] == 0
        assert measured["drawn"] == [True] * 8  # and not only asked for
        assert measured["titles"][-2:] == ["One trial, or one per ROI", "Failed trials"]
        assert said == []
