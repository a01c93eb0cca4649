"""Learning curves: loss and validation correlation over epochs, and the epoch whose weights each ROI keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import INK, LEFT, MARK, PALE, RIGHT, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = "weights kept"
_LISTED = 12


@dataclass(frozen=True)
class History:
    """What was logged each epoch, NaN where a figure is missing; empty for models that have no epochs.

    Args:
        train_loss: One value per epoch.
        validation_loss: The same loss on the validation split.
        validation_correlation: Mean Pearson correlation over targets.
        restored: Epoch, counted from 0, whose weights each ROI has in the end, by the ROI's name; "all" where all
            targets share one.
    """

    train_loss: Sequence[float] = ()
    validation_loss: Sequence[float] = ()
    validation_correlation: Sequence[float] = ()
    restored: Mapping[str, int] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        return max(len(self.train_loss), len(self.validation_loss), len(self.validation_correlation), 1)

    @property
    def has_curves(self) -> bool:
        """Whether there is more than a point to draw: a model in closed form has one epoch."""
        curves = (self.train_loss, self.validation_loss, self.validation_correlation)
        return any(np.isfinite(values).sum() > 1 for values in curves)

    def kept(self) -> dict[int, list[str]]:
        """The ROIs that keep each epoch's weights, by the epoch counted from 1, where its correlation is known."""
        found: dict[int, list[str]] = {}
        for name, epoch in self.restored.items():
            if epoch < len(self.validation_correlation) and np.isfinite(self.validation_correlation[epoch]):
                found.setdefault(epoch + 1, []).append(name)
        return dict(sorted(found.items()))


def picture(history: History) -> Figure:
    """Loss on the left; validation correlation on the right, with a circle where ROIs keep an epoch's weights."""
    figure = new_figure(8.6, 3.2)
    left, right = figure.subplots(1, 2)
    for values, name, colour in _losses(history):
        left.plot(range(1, len(values) + 1), values, ".-", color=colour, linewidth=2, label=name)
    if left.lines:
        left.legend(frameon=False)
    correlation = history.validation_correlation
    if len(correlation):
        right.plot(range(1, len(correlation) + 1), correlation, ".-", color=LEFT, linewidth=2)
        best = int(np.argmax(np.nan_to_num(correlation, nan=-np.inf)))
        right.plot(best + 1, correlation[best], "o", color=LEFT, markersize=6)
        highest = f"highest: {correlation[best]:.3f} in epoch {best + 1}".replace("-", "−")
        right.set_title(highest, loc="right", fontsize=9, color=INK)  # above, where no curve runs through it
    kept = history.kept()
    if kept:
        heights = [correlation[epoch - 1] for epoch in kept]
        label = f"{KEPT}, of {sum(map(len, kept.values()))} ROIs"
        right.plot(list(kept), heights, "o", color=MARK, markerfacecolor="none", markersize=9, label=label)
        right.legend(frameon=False, loc="lower right")
    left.set_ylabel("loss")
    right.set_ylabel("validation correlation")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, history.epochs + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=PALE, linewidth=0.8)
        plain(axes)
    return figure


def plot(history: History) -> dict[str, Any]:
    """The same for a page, below each other on one axis of epochs; circles tell which ROIs keep an epoch."""
    traces: list[dict[str, Any]] = [
        _curve(values, name, colour) | {"yaxis": "y2"} for values, name, colour in _losses(history)
    ]
    correlation = history.validation_correlation
    if len(correlation):
        traces.append(_curve(correlation, "validation correlation", LEFT) | {"showlegend": False})
    kept = history.kept()
    if kept:
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": KEPT, "x": list(kept), "cliponaxis": False,
                "y": [correlation[epoch - 1] for epoch in kept], "text": list(map(_listed, kept.values())),
                "marker": {
                    "symbol": "circle-open", "color": MARK, "line": {"width": 2, "color": MARK},
                    "size": [9 + 2 * min(len(names), 8) for names in kept.values()],
                },
                "hovertemplate": "epoch %{x} is kept by<br>%{text}<extra></extra>",
            }
        )  # fmt: skip
    return {
        "data": traces,
        "layout": {
            "height": 480,
            "xaxis": {"title": {"text": "epoch"}, "range": [0.5, history.epochs + 0.5], "anchor": "y2"},
            "yaxis": {"title": {"text": "validation correlation"}, "domain": [0.54, 1]},
            "yaxis2": {"title": {"text": "loss"}, "domain": [0, 0.46]},
        },
    }


def _losses(history: History) -> list[tuple[Sequence[float], str, str]]:
    curves = ((history.train_loss, "training loss", RIGHT), (history.validation_loss, "validation loss", LEFT))
    return [curve for curve in curves if len(curve[0])]


def _curve(values: Sequence[float], name: str, colour: str) -> dict[str, Any]:
    x, y = range(1, len(values) + 1), [value if np.isfinite(value) else None for value in values]
    look = {"mode": "lines+markers", "marker": {"size": 4, "color": colour}, "line": {"color": colour}}
    return {"type": "scatter", "x": list(x), "y": y, "name": name, "hovertemplate": "%{y:.4g}", **look}


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return "<br>".join([*(escape(name) for name in names[:_LISTED]), *more])
