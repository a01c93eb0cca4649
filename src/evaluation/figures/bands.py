"""Figures of bands: their shares of what the model explains in each ROI, and what two of them explain alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...findings import SHARED
from ..bands import BandRow
from .drawing import EXPLAINED
from .stacked_bars import colours_of, stacked_bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARED = "#b9bec4"


def band_shares(rows: Sequence[BandRow]) -> Figure | None:
    """Bars of the bands' shares of explained variance per ROI, a panel for each hemisphere.

    The number on a bar is the R² that is shared out. Parts below 0 hang below the axis, and the others then reach
    above 1; they are cut at −0.5 and 1.5. Several subjects are averaged before sharing. ROIs with an R² below 0.01
    have no bar.

    Returns:
        The figure, or None where no ROI has an R² of 0.01.
    """
    bands = list(dict.fromkeys(row.band for row in rows if row.r2_mean is not None))

    def shares(parts: Mapping[str, float]) -> Mapping[str, float]:
        total = sum(parts.values())
        return {band: part / total for band, part in parts.items()} if total >= EXPLAINED else {}

    return stacked_bars(
        rows, colours_of(bands), lambda row: (row.band, row.r2_mean), shares,
        "share of explained variance", (-0.5, 1.5),
    )  # fmt: skip


def variance_partition(rows: Sequence[BandRow]) -> Figure | None:
    """Bars of what each of two bands explains alone and what both explain, per ROI, a panel for each hemisphere.

    The number on a bar is their sum, the R² of both together. Parts below 0 hang below the axis.

    Returns:
        The figure, or None where no ROI has such parts.
    """
    known = list(dict.fromkeys(row.band for row in rows if row.unique_r2_mean is not None))
    bands = [band for band in known if band != SHARED]
    colours = colours_of(bands)
    if SHARED in known:
        first, *rest = colours.items()
        colours = dict([first, (SHARED, _SHARED), *rest])
    return stacked_bars(rows, colours, lambda row: (row.band, row.unique_r2_mean), dict, "cross-validated R²")
