"""Figures of bands: their shares of what the model explains in each ROI, and what two of them explain alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...findings import SHARED
from ..bands import BandRow
from ..members import MemberRow
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


def variance_partition(rows: Sequence[BandRow] | Sequence[MemberRow]) -> Figure | None:
    """Bars of what each band, or member, explains alone and what is shared, per ROI, a panel for each hemisphere.

    The number on a bar is their sum, the R² of all together. Parts below 0 hang below the axis.

    Returns:
        The figure, or None where no ROI has such parts.
    """
    known = list(dict.fromkeys(name for name, r2 in map(_unique, rows) if r2 is not None))
    colours = colours_of([name for name in known if name != SHARED])
    if SHARED in known:
        first, *rest = colours.items()
        colours = dict([first, (SHARED, _SHARED), *rest])
    return stacked_bars(rows, colours, _unique, dict, "cross-validated R²")


def _unique(row: BandRow | MemberRow) -> tuple[str, float | None]:
    return row.band if isinstance(row, BandRow) else row.member, row.unique_r2_mean
