"""Figures of a study, drawn from its trials: how it went, what mattered, and what choosing by validation costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.figures.drawing import GREY, LEFT, MARK, PALE, RIGHT, new_figure, plain
from ..ledger.attributes import DEFAULT, LOST, TEST_SCORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial


def history(trials: Sequence[FrozenTrial]) -> Figure:
    """Each trial's validation correlation by its number, and the best so far."""
    figure = new_figure(8.6, 3.6)
    axes = figure.subplots()
    done, pruned, failed = (of_state(trials, state) for state in ("COMPLETE", "PRUNED", "FAIL"))
    reached = [(trial.number, trial.intermediate_values[trial.last_step]) for trial in pruned if trial.last_step]
    low, high = limits([value for _, value in points(done)] or [value for _, value in reached])
    if reached:
        numbers, values = zip(*reached, strict=True)
        clipped = np.clip(values, low, high)
        axes.plot(numbers, clipped, "o", markerfacecolor="none", color=GREY, markersize=4, label="pruned, when it was")
    if done:
        numbers, values = zip(*points(done), strict=True)
        axes.step(
            [*numbers, max(trial.number for trial in trials)],
            [*np.maximum.accumulate(values), max(values)],
            where="post", color=RIGHT, linewidth=2, label="best so far",
        )  # fmt: skip
        scatter(axes, done, np.asarray(numbers), low, high)
    if failed:
        numbers = [trial.number for trial in failed]
        axes.plot(numbers, [low] * len(numbers), "x", color=MARK, label="failed", clip_on=False)
    axes.set_xlabel("trial")
    _whole(axes.xaxis)
    values_axis(axes, low, high)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(frameon=False, ncols=5, loc="outside upper left", fontsize=9)
    return figure


def validation_against_test(trials: Sequence[FrozenTrial]) -> Figure:
    """Each complete trial's validation and test correlation, beside the line on which both are equal."""
    done = [trial for trial in of_state(trials, "COMPLETE") if trial.user_attrs.get(TEST_SCORE) is not None]
    figure = new_figure(5.4, 4.6)
    axes = figure.subplots()
    validation = [value for _, value in points(done)]
    test = [trial.user_attrs[TEST_SCORE] for trial in done]
    low, high = limits([*validation, *test])
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, label="equal")
    scatter(axes, done, np.clip(validation, low, high), low, high, test)
    axes.set_xlim(low, high)
    axes.set_xlabel("validation correlation")
    values_axis(axes, low, high)
    axes.set_ylabel("test correlation")
    figure.legend(frameon=False, ncols=4, loc="outside upper left", fontsize=9)
    return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """Share of each parameter in what set the best trials apart, the largest on top."""
    names = list(shares)[::-1]
    figure = new_figure(7.0, 0.9 + 0.28 * len(names))
    axes = figure.subplots()
    axes.barh(names, [shares[name] for name in names], color=LEFT, height=0.7)
    axes.set_xlabel("importance, share of all")
    axes.set_xlim(0, max([*shares.values(), 1e-3]) * 1.05)
    axes.set_ylim(-0.6, len(names) - 0.4)
    plain(axes)
    axes.tick_params(axis="y", length=0)
    return figure


def timeline(trials: Sequence[FrozenTrial]) -> Figure:
    """When each trial ran, lost ones too, and how it ended."""
    begun = [trial for trial in trials if trial.datetime_start is not None and trial.datetime_complete is not None]
    figure = new_figure(8.6, float(np.clip(1.2 + 0.09 * len(begun), 2.2, 6)))
    axes = figure.subplots()
    first = min((trial.datetime_start for trial in begun if trial.datetime_start), default=None)
    seconds = [
        ((trial.datetime_start - first).total_seconds(), (trial.datetime_complete - first).total_seconds())
        for trial in begun
        if first and trial.datetime_start and trial.datetime_complete
    ]
    length, unit = max((end for _, end in seconds), default=0), "seconds"
    scale = 1.0
    for longer, name in ((60.0, "minutes"), (3600.0, "hours")):
        if length > 3 * longer:
            scale, unit = longer, name
    for label, colour in (("complete", LEFT), ("pruned", RIGHT), ("failed", MARK), ("worker lost", GREY)):
        own = [index for index, trial in enumerate(begun) if _end_of(trial) == label]
        if own:
            starts = np.array([seconds[index][0] for index in own]) / scale
            widths = np.array([seconds[index][1] for index in own]) / scale - starts
            axes.barh(
                [begun[index].number for index in own], np.maximum(widths, 0.002 * length / scale), left=starts,
                color=colour, height=0.8, label=label,
            )  # fmt: skip
    axes.set_xlabel(f"{unit} since the first trial began")
    axes.set_ylabel("trial")
    _whole(axes.yaxis)
    axes.set_ylim(max((trial.number for trial in begun), default=0) + 0.7, -0.7)
    plain(axes)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(frameon=False, ncols=4, loc="outside upper left", fontsize=9)
    return figure


def of_state(trials: Sequence[FrozenTrial], state: str) -> list[FrozenTrial]:
    """The trials that ended so, but for those that were lost."""
    return [trial for trial in trials if trial.state.name == state and LOST not in trial.user_attrs]


def _end_of(trial: FrozenTrial) -> str:
    if trial.state.name == "FAIL":
        return "worker lost" if LOST in trial.user_attrs else "failed"
    return trial.state.name.lower()


def value_of(trial: FrozenTrial) -> float:
    """The value of a complete trial."""
    assert trial.value is not None
    return trial.value


def points(done: Sequence[FrozenTrial]) -> list[tuple[int, float]]:
    """Number and value of complete trials."""
    return [(trial.number, value_of(trial)) for trial in done]


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of the axis of values: the better half of the trials has at least a third of it."""
    if not values:
        return 0.0, 1.0
    best, median = max(values), float(np.median(values))
    low = max(min(values), best - 3 * (best - median)) if best > median else min(values)
    margin = 0.06 * (best - low) or 0.01
    return low - margin, best + margin


def _whole(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def values_axis(axes: Axes, low: float, high: float) -> None:
    """Make the axis from below that of validation correlations."""
    axes.set_ylim(low, high)
    axes.set_ylabel("validation correlation")
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    plain(axes)


def scatter(
    axes: Axes,
    done: Sequence[FrozenTrial],
    places: np.ndarray,
    low: float,
    high: float,
    heights: Sequence[float] | None = None,
    best: float | None = None,
) -> None:
    """Complete trials as dots, those below the axis as arrows at its end; the best and the default are marked.

    Args:
        axes: Where to draw.
        done: Complete trials.
        places: Where each stands from left to right.
        low: Lower end of the axis.
        high: Upper end.
        heights: Where each stands from below; at its value without.
        best: Value of the study's best, where these are not all its trials.
    """
    if not done:
        return
    values = np.array([value_of(trial) for trial in done])
    shown = values if heights is None else np.asarray(heights)
    below = shown < low
    clipped = np.clip(shown, low, high)
    alpha = 0.8 if len(done) < 100 else 0.45
    axes.scatter(places[~below], clipped[~below], s=18, color=LEFT, alpha=alpha, linewidths=0, label="complete")
    if below.any():
        axes.scatter(places[below], clipped[below], s=22, marker="v", color=LEFT, alpha=alpha, linewidths=0,
                     label="complete, below the axis", clip_on=False)  # fmt: skip
    for index in np.flatnonzero(values == (values.max() if best is None else best))[:1]:
        axes.plot(places[index], clipped[index], "o", color=LEFT, markersize=9, markerfacecolor="none", label="best")
    for index in (index for index, trial in enumerate(done) if DEFAULT in trial.user_attrs):
        axes.plot(places[index], clipped[index], "D", color=MARK, markersize=6, label="default", clip_on=False)
