"""Figures of what a study searched: its trials over all flags at once, and over each alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.figures.drawing import GREY, INK, MARK, new_figure
from ..ledger.attributes import DEFAULT
from ..search.space import Parameter, Value
from .figures import limits, of_state, points, scatter, value_of, values_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

_ABSENT = -0.16
"""Where a trial crosses the axis of a parameter that it does not have."""
_COLUMNS = 4


def parallel_coordinates(trials: Sequence[FrozenTrial], parameters: Mapping[str, Parameter]) -> Figure:
    """One line per complete trial across all parameters, the better the darker.

    Args:
        trials: Of the study.
        parameters: Those that vary, by the names that they shall have here.
    """
    done = sorted(of_state(trials, "COMPLETE"), key=lambda trial: (DEFAULT in trial.user_attrs, trial.value))
    low, high = limits([value for _, value in points(done)])
    figure = new_figure(min(2.2 + 1.05 * len(parameters), 15), 4.6)
    axes = figure.subplots()
    places = np.arange(len(parameters) + 1)
    for trial in done:
        quality = (min(max(value_of(trial), low), high) - low) / (high - low)
        heights = [_height(each, trial.params.get(each.flag)) for each in parameters.values()]
        own = DEFAULT in trial.user_attrs
        axes.plot(
            places, [*heights, quality], clip_on=False,
            color=MARK if own else _shade(quality), linewidth=1.6 if own else 0.6 + 1.2 * quality,
            alpha=1 if own else 0.35 + 0.6 * quality, label="default configuration" if own else None,
        )  # fmt: skip
    ends = Parameter("", "float", low, high)
    for place, each in zip(places, [*parameters.values(), ends], strict=True):
        axes.vlines(place, 0, 1, color=INK, linewidth=0.8, zorder=3)
        for height, label in _ticks(each):
            axes.annotate(
                label, (place, height), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK,
                zorder=4, bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
            )  # fmt: skip
    conditional = any(each.when for each in parameters.values())
    if conditional:
        axes.text(-0.06, _ABSENT, "not used", ha="right", va="center", fontsize=8, color=GREY)
    axes.set_xticks(places, [*parameters, "validation\ncorrelation"], rotation=35, ha="right", fontsize=9)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(parameters) + 0.6)
    axes.set_ylim((_ABSENT if conditional else 0) - 0.06, 1.06)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0)
    if any(DEFAULT in trial.user_attrs for trial in done):
        figure.legend(frameon=False, loc="outside upper left", fontsize=9)
    return figure


def slices(trials: Sequence[FrozenTrial], parameters: Mapping[str, Parameter]) -> Figure:
    """Validation correlation against each parameter alone, of the complete trials that have it."""
    done = of_state(trials, "COMPLETE")
    low, high = limits([value for _, value in points(done)])
    rows = math.ceil(len(parameters) / _COLUMNS)
    columns = min(len(parameters), _COLUMNS)
    figure = new_figure(2.5 * columns + 0.7, 2.1 * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, (name, parameter) in zip(panels, parameters.items(), strict=False):
        shown = [trial for trial in done if parameter.flag in trial.params]
        places = np.array([_height(parameter, trial.params[parameter.flag]) for trial in shown])
        if parameter.type == "categorical":  # side by side rather than on top of each other
            room = 0.25 / max(len(parameter.choices) - 1, 1)
            places = places + room * (np.argsort(np.argsort([trial.number for trial in shown])) / len(shown) - 0.5)
        scatter(axes, shown, places, low, high, best=max((value for _, value in points(done)), default=None))
        ticks = _ticks(parameter)
        crowded = sum(len(label) for _, label in ticks) > 22
        axes.set_xticks([place for place, _ in ticks], [label for _, label in ticks], rotation=30 if crowded else 0)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlim(-0.16, 1.16)
        axes.set_xlabel(name, fontsize=9)
        values_axis(axes, low, high)
        axes.set_ylabel("")
    for axes in panels[len(parameters) :]:
        axes.remove()
    figure.supylabel("validation correlation", fontsize=10, color=INK)
    return figure


def _height(parameter: Parameter, value: Value) -> float:
    """Where a value stands between a parameter's ends, from 0 to 1; below 0 where a trial has none."""
    if value is None and None not in parameter.choices:
        return _ABSENT
    if parameter.type == "categorical":
        kinds = [(type(choice), choice) for choice in parameter.choices]  # to Python, 1 and true are equal
        return kinds.index((type(value), value)) / max(len(kinds) - 1, 1)
    low, high, number = parameter.low, parameter.high, float(value)  # type: ignore[arg-type]
    if parameter.log:
        low, high, number = math.log(low), math.log(high), math.log(number)
    return (number - low) / (high - low)


def _ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Places from 0 to 1 with their labels: each choice, or the ends and what lies between."""
    if parameter.type == "categorical":
        texts = [_text(choice) for choice in parameter.choices]
        return [(_height(parameter, choice), text) for choice, text in zip(parameter.choices, texts, strict=True)]
    low, high = parameter.low, parameter.high
    middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
    values = [low, round(middle) if parameter.type == "int" else middle, high]
    return [(_height(parameter, value), _number(value)) for value in dict.fromkeys(values)]


def _number(value: float) -> str:
    text = f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.3g}"
    return text.replace("-", "−")


def _text(choice: Value) -> str:
    text = "none" if choice is None else str(choice).lower() if isinstance(choice, bool) else str(choice)
    return text if len(text) <= 16 else text[:15] + "…"


def _shade(quality: float) -> tuple[float, float, float, float]:
    """From a pale to a deep blue, of a quality from 0 to 1."""
    from matplotlib import colormaps

    return colormaps["Blues"](0.25 + 0.75 * quality)
