"""The receptive-field map: where in the image the targets look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...findings import Findings
from ...recording import Recording
from .drawing import GREY, INK, PALE, SIDES, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOCATED = 0.05  # R² over which a target's window is drawn; below, windows are chosen by noise
MOST_CIRCLES = 200

_PIXELS = 80


@dataclass(frozen=True)
class Windows:
    """The windows of some targets that have one and are explained.

    Args:
        centre: float64 (t, 2), x from the left and y from the top, in image widths.
        size: Standard deviation in image widths, float64 (t,).
        r2: Cross-validated R², or that of held-out stimuli, float64 (t,).
        whole: How many explained targets look at the whole image instead.
    """

    centre: np.ndarray
    size: np.ndarray
    r2: np.ndarray
    whole: int

    @property
    def best(self) -> np.ndarray:
        """The windows that are drawn as circles, the best last, int64 (up to 200,)."""
        return np.argsort(self.r2, kind="stable")[-MOST_CIRCLES:]

    @property
    def eccentricity(self) -> np.ndarray:
        """Distance of the centre from the image's, in image widths, float64 (t,)."""
        return np.linalg.norm(self.centre - 0.5, axis=1)


def windows_by_side(recording: Recording, findings: Findings, held_out: np.ndarray | None = None) -> dict[str, Windows]:
    """Windows by hemisphere; without hemispheres all of them under "".

    Args:
        recording: The subject.
        findings: What the model found of its targets.
        held_out: R² of held-out stimuli, (T,), NaN where unknown, which tells what is explained where nothing was
            cross-validated.
    """
    window, r2 = findings.window, held_out if findings.cv_r2 is None else findings.cv_r2
    if window is None or r2 is None:
        return {}
    sides = [side for side, *_ in SIDES if (recording.hemispheres == side).any()]
    explained = r2 > LOCATED
    found = {}
    for side in sides:
        own = explained & (recording.hemispheres == side)
        local = own & np.isfinite(window).all(axis=1)
        x_y_size = window[local].astype(np.float64)
        found[side] = Windows(
            x_y_size[:, :2],
            x_y_size[:, 2],
            r2[local].astype(np.float64),
            whole=int((own & np.isinf(window[:, 2])).sum()),
        )
    return found


def receptive_fields(by_side: dict[str, Windows], r2: str = "cross-validated R²") -> Figure | None:
    """A row for each hemisphere: the best windows as circles, all windows' coverage of the image, size by eccentricity.

    Args:
        by_side: Windows by hemisphere, as `windows_by_side` makes them.
        r2: What their R² is called.

    Returns:
        The figure, or None where no target has a window.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    sides = [side for side in SIDES if side[0] in by_side]
    drawn = np.concatenate([windows.r2[windows.best] for windows in by_side.values()]) if by_side else np.empty(0)
    if not len(drawn):
        return None
    coverages = {side: coverage(windows) for side, windows in by_side.items()}
    edge = ScalarMappable(Normalize(float(drawn.min()) if len(drawn) > 1 else 0, float(drawn.max())), "viridis_r")
    shade = ScalarMappable(Normalize(0, max(float(mean.max()) for mean in coverages.values())), "magma")
    largest = max(float(windows.size.max(initial=0)) for windows in by_side.values())
    figure = new_figure(9.6, 2.9 * len(sides) + 0.9)
    grid = figure.subplots(len(sides), 3, squeeze=False)
    for row, (side, label, _) in zip(grid, sides, strict=True):
        windows = by_side[side]
        _draw_circles(row[0], windows, edge.to_rgba(windows.r2))
        if len(windows.size):
            row[1].imshow(coverages[side], extent=(0, 1, 1, 0), norm=shade.norm, cmap="magma", interpolation="bilinear")
        for axes in row[:2]:
            _picture(axes)
        row[0].set_ylabel(label, color=INK)
        _draw_sizes(row[2], windows, largest)
    for axes, title in zip(
        grid[0], ("windows of the best targets", "coverage by all windows", "size by eccentricity"), strict=True
    ):
        axes.set_title(title, fontsize=10, color=INK)
    grid[-1, 2].set_xlabel("eccentricity (image widths)", color=INK, fontsize=9)
    for column, mappable, label in (
        (0, edge, r2),
        (1, shade, "mean height of the windows"),
    ):
        bar = figure.colorbar(mappable, ax=grid[:, column], location="bottom", aspect=25, shrink=0.8, pad=0.02)
        bar.set_label(label, color=INK, fontsize=9)
        bar.ax.tick_params(labelsize=8, colors=INK)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def coverage(windows: Windows) -> np.ndarray:
    """Mean of the windows, each a Gaussian of height 1, at points of the image, float64 (80 from the top, 80)."""
    points = (np.arange(_PIXELS) + 0.5) / _PIXELS
    if not len(windows.size):
        return np.zeros((_PIXELS, _PIXELS))
    # Windows come from a grid: many targets share one.
    distinct, count = np.unique(np.column_stack([windows.centre, windows.size]), axis=0, return_counts=True)
    across, down = (
        np.exp(-((points - distinct[:, axis, None]) ** 2) / (2 * distinct[:, 2, None] ** 2)) for axis in (0, 1)
    )  # (windows, 80) each
    return (down * count[:, None]).T @ across / count.sum()


def _draw_circles(axes: Axes, windows: Windows, colours: np.ndarray) -> None:
    """The best targets' windows, the best in front; a circle's radius is one standard deviation.

    Args:
        axes: The image.
        windows: Of a hemisphere.
        colours: Red, green, blue and alpha of each window, (t, 4).
    """
    from matplotlib.collections import EllipseCollection

    best = windows.best
    diameter = 2 * windows.size[best]
    axes.add_collection(
        EllipseCollection(
            diameter, diameter, np.zeros(len(best)), units="xy", offsets=windows.centre[best],
            offset_transform=axes.transData, facecolors="none", edgecolors=colours[best], linewidths=0.9, alpha=0.7,
        )
    )  # fmt: skip


def _draw_sizes(axes: Axes, windows: Windows, top: float) -> None:
    """Window size against eccentricity: dots whose area grows with their targets, and the mean along eccentricity."""
    eccentricity = windows.eccentricity
    if len(eccentricity):
        places, count = np.unique(np.column_stack([eccentricity, windows.size]).round(6), axis=0, return_counts=True)
        area = 5 + 100 * (count - 1) / max(count.max() - 1, 1)
        axes.scatter(*places.T, s=area, color=GREY, alpha=0.5, linewidths=0)
    step = np.minimum((eccentricity / 0.1).astype(int), 7)
    steps = [own for own in (step == number for number in range(8)) if own.sum() >= 5]
    if steps:
        axes.plot(
            [eccentricity[own].mean() for own in steps], [windows.size[own].mean() for own in steps],
            "o-", color=INK, linewidth=1.6, markersize=4,
        )  # fmt: skip
    axes.set_xlim(0, 0.72)
    axes.set_ylim(0, 1.1 * top)
    axes.set_ylabel("standard deviation\n(image widths)", color=INK, fontsize=9)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    plain(axes)


def _picture(axes: Axes) -> None:
    """The image's frame with a cross at its centre, y downwards."""
    axes.axhline(0.5, color=GREY, linewidth=0.6, alpha=0.6)
    axes.axvline(0.5, color=GREY, linewidth=0.6, alpha=0.6)
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[:].set_color(GREY)
