"""How the targets' correlations are distributed, beside those of a perfect model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...recording import Recording
from ..scores import TargetScores
from .drawing import INK, MARK, PALE, SIDES, new_figure, plain, short_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEP = 0.02  # of correlation: the width of a bin
PERFECT = "perfect model"


@dataclass(frozen=True)
class Distribution:
    """Counts of targets by their correlation.

    Args:
        edges: Of the bins, float64 (bins + 1,).
        sides: Of each hemisphere its label, colour, counts int64 (bins,) and mean correlation.
        perfect: Targets by the square root of their noise ceiling, int64 (bins,); None where none is known.
    """

    edges: np.ndarray
    sides: Sequence[tuple[str, str, np.ndarray, float]]
    perfect: np.ndarray | None

    @property
    def centres(self) -> np.ndarray:
        """Of the bins, float64 (bins,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def distribution_of(subjects: Sequence[tuple[Recording, TargetScores]]) -> Distribution | None:
    """The scored targets of all subjects by hemisphere; None where there is none."""
    pearson = np.concatenate([scores.pearson for _, scores in subjects])
    ceiling = np.concatenate([scores.noise_ceiling for _, scores in subjects])
    hemisphere = np.concatenate([recording.hemispheres for recording, _ in subjects])
    scored = ~np.isnan(pearson)
    if not scored.any():
        return None
    perfect = np.sqrt(ceiling[scored & ~np.isnan(ceiling)])
    shown = np.concatenate([pearson[scored], perfect])
    low, high = np.floor(shown.min() / _STEP), np.floor(shown.max() / _STEP) + 1
    edges = np.arange(low, high + 1) * _STEP
    sides = []
    for side, label, colour in SIDES:
        own = pearson[scored & (hemisphere == side)]
        if len(own):
            sides.append((label, colour, np.histogram(own, edges)[0], float(own.mean())))
    return Distribution(edges, sides, np.histogram(perfect, edges)[0] if len(perfect) else None)


def picture(shown: Distribution) -> Figure:
    """Stacked bars of the hemispheres, and the perfect model's outline."""
    figure = new_figure(6.4, 3.4)
    axes = figure.subplots()
    below = np.zeros(len(shown.centres))
    for label, colour, counts, mean in shown.sides:
        name = ", ".join(filter(None, (label, f"mean {short_number(mean)}")))
        axes.bar(shown.centres, counts, _STEP * 0.92, bottom=below, color=colour, label=name)
        below += counts
    if shown.perfect is not None:
        axes.stairs(shown.perfect, shown.edges, color=MARK, linewidth=1.6, label=PERFECT)
    figure.legend(frameon=False, ncols=3, loc="outside upper left", fontsize=9)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("Pearson correlation")
    axes.set_ylabel("targets")
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    plain(axes)
    return figure


def plot(shown: Distribution) -> dict[str, Any]:
    """The same for a page."""
    traces: list[dict[str, Any]] = [
        {
            "type": "bar", "name": label or "targets", "x": shown.centres.round(3).tolist(), "y": counts.tolist(),
            "marker": {"color": colour}, "hovertemplate": f"%{{y}} targets at %{{x:.2f}} ± {_STEP / 2:.2f}",
        }
        for label, colour, counts, _ in shown.sides
    ]  # fmt: skip
    if shown.perfect is not None:
        line = {"shape": "hvh", "color": MARK}
        x, y = shown.centres.round(3).tolist(), shown.perfect.tolist()
        traces.append({"type": "scatter", "mode": "lines", "name": PERFECT, "x": x, "y": y, "line": line})
    return {
        "data": traces,
        "layout": {
            "height": 340, "barmode": "stack", "bargap": 0.08,
            "xaxis": {"title": {"text": "Pearson correlation"}, "zeroline": True},
            "yaxis": {"title": {"text": "targets"}},
        },
    }  # fmt: skip
