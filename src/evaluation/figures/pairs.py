"""Predictions against what was measured: all pairs of stimulus and target, and some targets stimulus by stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import GREY, INK, LEFT, MARK, RIGHT, new_figure, plain
from .residuals import MOST_POINTS, limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 60
_EXAMPLES = {"best target": LEFT, "median target": RIGHT, "worst target": MARK}
_MOST_STIMULI = 1000


@dataclass(frozen=True)
class Pairs:
    """Predicted and measured responses, in standard deviations of each target's measured ones about their mean.

    Args:
        counts: Pairs by measured (rows, from below) and predicted response, int64 (bins, bins).
        edges: Of the bins, the same on both axes, float64 (bins + 1,).
        examples: By what they are: the target, its correlation, and its predicted and measured responses (n,), NaN
            where not measured.
    """

    counts: np.ndarray
    edges: np.ndarray
    examples: dict[str, tuple[int, float, np.ndarray, np.ndarray]]


def pairs_of(predictions: np.ndarray, responses: np.ndarray, pearson: np.ndarray) -> Pairs | None:
    """Pairs of the scored targets.

    Args:
        predictions: (n, T).
        responses: (n, T), NaN where not measured.
        pearson: Correlation of each target (T,), NaN where it has none.

    Returns:
        The pairs, or None where no target is scored.
    """
    scored = np.flatnonzero(~np.isnan(pearson))
    if not len(scored):
        return None
    rng = np.random.default_rng(0)
    some = rng.permutation(scored)[: max(MOST_POINTS // len(responses), 1)]
    predicted, measured = (values.ravel() for values in _standardised(predictions, responses, np.sort(some)))
    known = np.isfinite(predicted) & np.isfinite(measured)
    low, high = limits(np.concatenate([predicted[known], measured[known]]))
    edges = np.linspace(low, high, _BINS + 1)
    ranked = scored[np.argsort(pearson[scored], kind="stable")]
    chosen = [int(ranked[-1]), int(ranked[len(ranked) // 2]), int(ranked[0])]
    own = _standardised(predictions, responses, np.array(chosen))
    examples = {
        name: (target, float(pearson[target]), own[0][:, index], own[1][:, index])
        for index, (name, target) in enumerate(zip(_EXAMPLES, chosen, strict=True))
        if target not in chosen[:index]
    }
    return Pairs(np.histogram2d(measured[known], predicted[known], (edges, edges))[0].astype(int), edges, examples)


def _standardised(predictions: np.ndarray, responses: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured responses of some targets, float64 (n, t) each, less the measured mean, over their sd."""
    measured = responses[:, targets].astype(np.float64)
    mean, spread = np.nanmean(measured, axis=0), np.nanstd(measured, axis=0)
    return (predictions[:, targets].astype(np.float64) - mean) / spread, (measured - mean) / spread


def picture(pairs: Pairs) -> Figure:
    """Density of all pairs beside the examples; the line is where both are equal."""
    from matplotlib.colors import LogNorm

    figure = new_figure(8.6, 3.9)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = np.ma.masked_equal(pairs.counts, 0)
    norm = LogNorm(1, max(float(pairs.counts.max()), 2))
    mesh = left.pcolormesh(pairs.edges, pairs.edges, shown, norm=norm, cmap="Blues", rasterized=True)
    bar = figure.colorbar(mesh, ax=left, location="top", aspect=40, pad=0.02)
    bar.set_label("stimulus × target pairs")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    for name, (target, pearson, predicted, measured) in pairs.examples.items():
        label = f"{name}, {target}: r {pearson:.2f}".replace("-", "−")
        right.scatter(
            predicted[:_MOST_STIMULI], measured[:_MOST_STIMULI], s=7, color=_EXAMPLES[name], alpha=0.6, linewidths=0,
            label=label, rasterized=True,
        )  # fmt: skip
    figure.legend(frameon=False, loc="outside upper right", fontsize=8, ncols=3, markerscale=2)
    for axes in (left, right):
        axes.plot(pairs.edges[[0, -1]], pairs.edges[[0, -1]], color=INK, linewidth=0.8)
        axes.set_xlabel("predicted (sd of the measured)")
        plain(axes)
    left.set_ylabel("measured (sd)")
    left.set(xlim=pairs.edges[[0, -1]], ylim=pairs.edges[[0, -1]])
    return figure


def plot(pairs: Pairs, stimuli: Sequence[str]) -> dict[str, Any]:
    """The same for a page in one panel; a click in the legend shows a target, whose points tell their stimulus.

    Args:
        pairs: The numbers.
        stimuli: Names of the n stimuli.
    """
    centres = ((pairs.edges[:-1] + pairs.edges[1:]) / 2).round(3).tolist()
    with np.errstate(divide="ignore"):
        shade = np.log10(pairs.counts)
    traces: list[dict[str, Any]] = [
        {
            "type": "heatmap", "name": "all targets", "showlegend": True, "x": centres, "y": centres,
            "z": [[None if np.isinf(value) else round(value, 3) for value in row] for row in shade.tolist()],
            "customdata": pairs.counts.tolist(), "colorscale": [[0, RIGHT], [1, LEFT]], "showscale": False,
            "hovertemplate": "predicted %{x:.2f}, measured %{y:.2f}<br>%{customdata} pairs<extra></extra>",
        }
    ]  # fmt: skip
    names = [escape(name) for name in stimuli[:_MOST_STIMULI]]
    for name, (target, pearson, predicted, measured) in pairs.examples.items():
        known = np.flatnonzero(np.isfinite(measured[:_MOST_STIMULI]) & np.isfinite(predicted[:_MOST_STIMULI]))
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": f"{name} (r {pearson:.2f})", "visible": "legendonly",
                "x": predicted[known].round(3).tolist(), "y": measured[known].round(3).tolist(),
                "text": [f"target {target}, {names[index]}" for index in known],
                "marker": {"color": MARK if name.startswith("worst") else INK, "size": 5, "opacity": 0.75},
                "hovertemplate": "%{text}<br>predicted %{x:.2f}, measured %{y:.2f}<extra></extra>",
            }
        )  # fmt: skip
    line = {"color": GREY, "width": 1, "dash": "dot"}
    ends = pairs.edges[[0, -1]].tolist()
    equal = {"type": "scatter", "mode": "lines", "name": "equal", "x": ends, "y": ends, "line": line}
    return {
        "data": [*traces, equal | {"hoverinfo": "skip"}],
        "layout": {
            "height": 460, "hovermode": "closest",
            "xaxis": {"title": {"text": "predicted (sd of the measured)"}, "range": ends},
            "yaxis": {"title": {"text": "measured (sd)"}, "range": ends},
        },
    }  # fmt: skip
