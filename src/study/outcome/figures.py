"""Figures of a study, as Optuna draws them: how it went, what mattered, and what choosing by validation costs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.figures.drawing import GREY, LEFT, MARK, RIGHT
from ..ledger.attributes import DEFAULT, LOST, SECONDS, TEST_SCORE

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

VALUE = "validation correlation"
FEWEST = 6
"""Complete trials below which importances are chance."""
ROW = 4
"""Slices beside each other."""
SPREAD = 10
"""Longest trial beside the shortest from which on times are drawn by their logarithm."""


def renamed(study: Study, names: Mapping[str, str]) -> Study:
    """A copy in memory whose trials have the flags of `names` alone, under those names; numbers stay.

    Args:
        study: The study, with lost trials.
        names: By flag.
    """
    import optuna

    shown = optuna.create_study(direction="maximize")
    for trial in study.get_trials(deepcopy=False):
        mine = copy.copy(trial)
        mine.params = {names[flag]: value for flag, value in trial.params.items() if flag in names}
        mine.distributions = {names[flag]: each for flag, each in trial.distributions.items() if flag in names}
        shown.add_trial(mine)
    return shown


def history(shown: Study) -> Figure:
    """Each trial's validation correlation by its number, the best so far, and how the others ended."""
    from optuna.visualization import plot_optimization_history

    figure = plot_optimization_history(shown, target_name=VALUE)
    trials = shown.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    reached = {
        trial.number: trial.intermediate_values[trial.last_step]
        for trial in trials
        if trial.state.name == "PRUNED" and trial.last_step
    }
    low, high = limits([value_of(trial) for trial in complete] or list(reached.values()))
    failed = [trial.number for trial in trials if trial.state.name == "FAIL" and LOST not in trial.user_attrs]
    own = {trial.number: value_of(trial) for trial in complete if DEFAULT in trial.user_attrs}
    for name, points, symbol, colour in (
        ("pruned, where it was", reached, "circle-open", GREY),
        ("failed", dict.fromkeys(failed, low), "x", MARK),
        ("default", own, "diamond", MARK),
    ):
        if points:
            marker = {"symbol": symbol, "color": colour, "size": 9}
            x, y = list(points), list(points.values())
            figure.add_scatter(x=x, y=y, mode="markers", name=name, marker=marker, cliponaxis=False)
    figure.update_traces(marker_color=LEFT, selector={"name": VALUE})
    figure.update_traces(line={"color": RIGHT, "shape": "hv"}, selector={"name": "Best Value"}, name="best so far")
    whole = max(1, len(trials) // 10)  # trials between two ticks
    return _dressed(figure, 380).update_yaxes(range=(low, high)).update_xaxes(title="trial", dtick=whole)


def validation_against_test(shown: Study) -> Figure:
    """Each complete trial's validation and test correlation, beside the line on which both are equal."""
    from plotly.graph_objects import Figure

    done = [trial for trial in shown.get_trials(deepcopy=False) if trial.user_attrs.get(TEST_SCORE) is not None]
    low, high = limits([value_of(trial) for trial in done] + [trial.user_attrs[TEST_SCORE] for trial in done])
    figure = Figure()
    figure.add_scatter(x=[low, high], y=[low, high], mode="lines", line_color=GREY, name="equal", hoverinfo="skip")
    for name, colour in (("complete", LEFT), ("default", MARK)):
        own = [trial for trial in done if (DEFAULT in trial.user_attrs) == (name == "default")]
        figure.add_scatter(
            x=[trial.value for trial in own],
            y=[trial.user_attrs[TEST_SCORE] for trial in own],
            text=[f"trial {trial.number}" for trial in own],
            mode="markers",
            name=name,
            marker_color=colour,
        )
    figure.update_xaxes(range=(low, high), title=VALUE).update_yaxes(range=(low, high), title="test correlation")
    return _dressed(figure, 460)


def importance(shown: Study) -> Figure | None:
    """Share of each flag in what set the best trials apart, the largest on top, by PED-ANOVA; None of too few trials.

    Watanabe, Bansal & Hutter, IJCAI 2023; of flags that only some trials have, as in its conditional extension.
    """
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import plot_param_importances

    complete = [trial for trial in shown.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return None
    top = min(max(0.1, 5 / len(complete)), 0.5)  # the estimate wants five trials or more
    with warnings.catch_warnings(action="ignore"):  # of regimes with a single trial
        figure = plot_param_importances(shown, PedAnovaImportanceEvaluator(target_quantile=top))
    figure.update_traces(marker_color=LEFT).update_layout(xaxis_title="importance, share of all", yaxis_title=None)
    return _dressed(figure, 120 + 26 * len({name for trial in complete for name in trial.params}))


def pareto_front(shown: Study) -> Figure | None:
    """Validation correlation against what a trial took, and the trials than which none is both better and quicker.

    The study has one objective, so Optuna is given a copy in memory that has two; None where fewer than two complete
    trials know their seconds.
    """
    import optuna
    from optuna.visualization import plot_pareto_front

    twofold = optuna.create_study(directions=["minimize", "maximize"])
    known = []
    for trial in shown.get_trials(deepcopy=False):  # all of them, so that numbers stay
        seconds = trial.user_attrs.get(SECONDS)
        if trial.state.name != "COMPLETE" or seconds is None:
            twofold.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
            continue
        known.append((seconds, value_of(trial)))
        twofold.add_trial(
            optuna.trial.create_trial(values=known[-1], params=trial.params, distributions=trial.distributions)
        )
    if len(known) < 2:
        return None
    figure = plot_pareto_front(twofold, target_names=["seconds", VALUE])
    for index, (name, colour) in enumerate((("other", GREY), ("best at its time", LEFT))):
        marker = {"color": colour, "colorscale": None, "colorbar": None, "size": 9}
        figure.update_traces(name=name, marker=marker, showlegend=True, selector=index)
    seconds, values = zip(*known, strict=True)
    if max(seconds) > SPREAD * min(seconds) > 0:
        figure.update_xaxes(type="log")
    low, high = limits(values)
    return _dressed(figure, 380).update_yaxes(range=(min(low, _lowest_of_front(known) - (high - low) / 20), high))


def _lowest_of_front(known: Sequence[tuple[float, float]]) -> float:
    """The least value that no quicker trial reaches: of the quickest trials, the best one's."""
    quickest = min(seconds for seconds, _ in known)
    return max(value for seconds, value in known if seconds == quickest)


def parallel_coordinates(shown: Study, names: Sequence[str]) -> Figure:
    """One line per complete trial across all flags, the better the darker."""
    from optuna.visualization import plot_parallel_coordinate

    figure = plot_parallel_coordinate(shown, list(names), target_name=VALUE)
    return _dressed(figure, 480).update_xaxes(tickangle=35 if len(names) > 4 else 0)


def slices(shown: Study, names: Sequence[str]) -> list[Figure]:
    """Validation correlation against each flag alone, of the complete trials that have it; a few to a row."""
    from optuna.visualization import plot_slice

    trials = shown.get_trials(deepcopy=False)
    low, high = limits([value_of(trial) for trial in trials if trial.state.name == "COMPLETE"])
    rows = [list(names[start : start + ROW]) for start in range(0, len(names), ROW)]
    figures = [plot_slice(shown, row, target_name=VALUE).update_layout(width=None) for row in rows]
    for figure in figures:
        figure.update_traces(marker_colorscale=[[0, RIGHT], [1, LEFT]])
        _dressed(figure, 300).update_yaxes(range=(low, high)).update_xaxes(dtick=1, selector={"type": "log"})
    return figures


def timeline(shown: Study) -> Figure:
    """When each trial ran, lost ones too, and how it ended."""
    from optuna.visualization import plot_timeline

    figure = plot_timeline(shown)
    lost = {trial.number for trial in shown.get_trials(deepcopy=False) if LOST in trial.user_attrs}
    for bars, colour in (("COMPLETE", LEFT), ("PRUNED", RIGHT), ("FAIL", MARK)):
        figure.for_each_trace(
            lambda trace, colour=colour: trace.update(
                marker_color=[GREY if number in lost else colour for number in trace.y], name=trace.name.lower()
            ),
            selector={"name": bars},
        )
    figure.update_layout(xaxis_title=None, yaxis={"title": "trial", "autorange": "reversed", "tickformat": "d"})
    return _dressed(figure, int(np.clip(140 + 12 * len(shown.get_trials(deepcopy=False)), 240, 640)))


def value_of(trial: FrozenTrial) -> float:
    """The value of a complete trial."""
    assert trial.value is not None
    return trial.value


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of the axis of values: the better half of the trials has at least a third of it."""
    if not values:
        return 0.0, 1.0
    best, median = max(values), float(np.median(values))
    low = max(min(values), best - 3 * (best - median)) if best > median else min(values)
    margin = 0.06 * (best - low) or 0.01
    return low - margin, best + margin


def _dressed(figure: Figure, height: int) -> Figure:
    """A figure in the report's dress."""
    return figure.update_layout(
        title=None, height=height, margin={"l": 60, "r": 20, "t": 40, "b": 50}, legend={"y": 1.02}
    )
