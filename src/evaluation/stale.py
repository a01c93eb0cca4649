"""What an earlier evaluation of a run wrote, and a later one does not."""

from collections.abc import Collection
from pathlib import Path

from .controls import CONTROLS, CONTROLS_FIGURE
from .learning_curve import CURVE_FIGURE, LEARNING_CURVE

REPORT = "report.html"

_FIGURES = {CONTROLS: CONTROLS_FIGURE, LEARNING_CURVE: CURVE_FIGURE}
"""Picture of each table that only some evaluations write."""


def remove_stale(folder: Path, written: Collection[str]) -> None:
    """Remove tables that this evaluation does not write, and their pictures, from a run's folder.

    The report, which shows them, goes first and is written last: an evaluation that is killed between leaves none,
    rather than one that disagrees with the tables, and the next one goes on removing.

    Args:
        folder: The run's.
        written: Tables that will be written.
    """
    paths = [
        path
        for table, figure in _FIGURES.items()
        if table not in written
        for path in (folder / table, *(folder / "figures" / f"{figure}.{kind}" for kind in ("png", "svg")))
        if path.exists()
    ]
    for path in (folder / REPORT, *paths) if paths else ():
        path.unlink(missing_ok=True)
