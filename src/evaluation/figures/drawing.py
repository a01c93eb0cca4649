"""What all figures share: their colours, a bare page, and where a table's rows stand on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from ...atomic import replacing
from ..scores import ALL, BOTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, PALE, PAPER = "#333333", "#8a8a8a", "#e6e6e6", "#ffffff"
LEFT, RIGHT = "#1b4f8a", "#86b6e2"  # one family for the two hemispheres; apart in grey and for the colour-blind
MARK = "#d1495b"
NEGATIVE = "#e8702a"  # of correlations below 0, beside viridis, which has no such colour

DARK = {
    INK: "#e6eaee", GREY: "#8f9aa5", PALE: "#3a434d", PAPER: "#14181d", LEFT: "#2f6fb5", RIGHT: "#79aede",
    MARK: "#f0808d",
}  # fmt: skip
"""What each colour of a figure is on a dark page."""

EXPLAINED = 0.01  # R² below which differences and shares of it are noise

SIDES = (("lh", "left hemisphere", LEFT), ("rh", "right hemisphere", RIGHT), ("", "", LEFT))


class Row(Protocol):
    """A row of a table per hemisphere and ROI."""

    @property
    def hemisphere(self) -> str: ...

    @property
    def roi(self) -> str: ...


AnyRow = TypeVar("AnyRow", bound=Row)


def sides_of(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """Hemisphere, its label and its colour, of those that have rows; one without a label where there are none."""
    found = {row.hemisphere for row in rows}
    return [side for side in SIDES if side[0] in found] or [SIDES[-1]]


def roi_names(rows: Iterable[Row]) -> list[str]:
    """ROIs in the order of their rows, and `all` last."""
    return [*dict.fromkeys(row.roi for row in rows if row.roi != ALL), ALL]


def roi_places(names: Sequence[str]) -> np.ndarray:
    """Where ROIs stand on an axis, float64 (n,): at whole numbers, `all` a little apart from the others."""
    return np.arange(len(names)) + np.array([0.35 if name == ALL and len(names) > 1 else 0 for name in names])


def rows_of(rows: Iterable[AnyRow], hemisphere: str, roi: str) -> list[AnyRow]:
    """The subjects' rows of one ROI; `all` of a recording without hemispheres stands under `both`."""
    return [row for row in rows if row.roi == roi and row.hemisphere == (hemisphere or (BOTH if roi == ALL else ""))]


def short_number(value: float) -> str:
    """Two decimals for a small space, without the zero before them: .23, −.02."""
    rounded = round(value, 2)
    return ("−" if rounded < 0 else "") + f"{abs(rounded):.2f}".removeprefix("0")


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches, with no place in pyplot's global list."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(axes: Axes) -> None:
    """Leave of the frame what is read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a PNG, and an SVG without a background beside it; their bytes depend on the figure alone.

    Each is drawn once: `Figure.savefig` draws twice, and finds a place for everything both times.

    Returns:
        The PNG.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure.set_dpi(160)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
    figure.set_layout_engine("none")  # everything has its place
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_alpha(0)
    with replacing(path.with_suffix(".svg")) as temporary, rc_context({"svg.hashsalt": path.stem}):
        FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None, "Creator": None})
    return path
