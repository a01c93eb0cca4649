"""Where in the image each ROI's query looks: a small map each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..attention import AttentionMaps
from .drawing import GREY, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8


def attention_figure(shown: AttentionMaps) -> Figure:
    """Maps in the order of the ROIs, all on one scale, which starts at 0."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = min(COLUMNS, len(shown.rois))
    rows = -(-len(shown.rois) // columns)
    figure = new_figure(1.3 * columns + 0.6, 1.5 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False)
    norm = Normalize(0, max(float(shown.maps.max()), 1.0))
    for number, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(GREY)
        if number >= len(shown.rois):
            axes.set_axis_off()
            continue
        axes.imshow(shown.maps[number], norm=norm, cmap="magma", interpolation="nearest")
        axes.set_title(shown.rois[number], fontsize=8, color=INK)
    bar = figure.colorbar(
        ScalarMappable(norm, "magma"), ax=grid, location="bottom", aspect=40, shrink=min(1.0, 4 / columns), pad=0.02
    )
    bar.set_label("attention, times an even one", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure
