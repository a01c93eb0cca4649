"""What a comparison leaves: `report.html`, `rois.csv` and `targets.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation.differences import ALPHA
from ..evaluation.report import number, plotly, write_page
from ..evaluation.tables import write_rows
from .comparison import Comparison, RoiRow
from .comparison_figures import difference_map, differences_per_roi, is_preview, targets_against_each_other
from .configuration import differing
from .new_run import check_outside
from .run_folder import FinishedRun
from .text_table import Cell, text_table

TEMPLATE = Path(__file__).parent / "templates" / "comparison.html"
REPORT = "report.html"
_LONGEST = 80  # characters of a setting in a table


def folder_for(names: Sequence[str]) -> Path:
    """Where a comparison is written unless a folder is named."""
    return Path("comparisons") / "_vs_".join(name.strip("/").replace("/", "-") for name in names)[:200]


def write_comparison(folder: Path, runs: Sequence[FinishedRun], comparisons: Sequence[Comparison]) -> None:
    """Write the page and the tables.

    Args:
        folder: Where; it is made, and what an earlier comparison left there is replaced.
        runs: All of them, the first first.
        comparisons: One for each run but the first.

    Raises:
        InputError: The folder is one of the runs, or lies in it.
    """
    check_outside(runs, folder, "--out")
    names = [comparisons[0].first, *(each.second for each in comparisons)]
    settings = differing([run.config for run in runs])
    write_rows(folder / "rois.csv", [row for each in comparisons for row in each.rows])
    write_rows(folder / "targets.csv", [row for each in comparisons for row in each.targets])
    write_page(
        folder / REPORT,
        TEMPLATE,
        title=" or ".join(names),
        plotly=plotly(),
        alpha=ALPHA,
        names=names,
        settings=[[flag, *(_setting(value) for value in values)] for flag, values in settings.items()],
        comparisons=[_content(each) for each in comparisons],
    )


def printed(comparisons: Sequence[Comparison], settings: dict[str, list[Any]]) -> str:
    """The tables and what is to be known, for a terminal.

    Args:
        comparisons: One for each run but the first.
        settings: What differs in the configurations, from `differing`.
    """
    parts = []
    for each in comparisons:
        heads = [*_heads(each), "better", "worse"]
        parts.append(text_table(heads, [_cells(row) for row in each.rows]))
        parts += [f"note: {note}" for note in each.notes]
        parts.append(each.headline())
    if settings:
        names = [comparisons[0].first, *(each.second for each in comparisons)]
        rows: list[list[Cell]] = [[flag, *map(_setting, values)] for flag, values in settings.items()]
        parts.append(text_table(["setting", *names], rows))
    else:
        parts.append("the configurations are the same")
    return "\n\n".join(parts)


def _heads(comparison: Comparison) -> list[str]:
    return [
        "subject",
        "hemisphere",
        "ROI",
        "targets",
        comparison.first,
        comparison.second,
        "difference",
        "95 % interval",
    ]


def _cells(row: RoiRow) -> list[Cell]:
    interval = None if row.low is None or row.high is None else f"{row.low:+.3f} to {row.high:+.3f}"
    difference = None if row.difference is None else f"{row.difference:+.3f}"
    return [
        row.subject, row.hemisphere, row.roi, row.n_targets, row.first, row.second, difference, interval,
        row.better, row.worse,
    ]  # fmt: skip


def _content(comparison: Comparison) -> dict[str, Any]:
    """One comparison as the template takes it."""
    maps = [(each.recording.subject, difference_map(each), is_preview(each)) for each in comparison.subjects]
    return {
        "comparison": comparison,
        "lines": [[_shown(cell) for cell in _cells(row)] for row in comparison.rows],
        "heads": [*_heads(comparison), "better", "worse"],
        "per_roi": differences_per_roi(comparison),
        "targets": targets_against_each_other(comparison),
        "maps": [(subject, spec, preview) for subject, spec, preview in maps if spec is not None],
    }


def _shown(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell.replace("-", "−") if cell[:1] in "+-" else cell
    return f"{cell:,}" if isinstance(cell, int) else number(cell)


def _setting(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
