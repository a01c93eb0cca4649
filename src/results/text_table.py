"""A table as a terminal shows it."""

from collections.abc import Sequence

Cell = str | int | float | None


def text_table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int = 3) -> str:
    """Columns under their heads, words to the left and figures to the right.

    Args:
        heads: One per column.
        rows: Cells; None, unknown, is a dash.
        digits: Decimals of what is no whole number.
    """
    texts = [list(heads), *([_text(cell, digits) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    words = [all(isinstance(row[column], str | None) for row in rows) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in texts
    ]
    return "\n".join(lines)


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else " ".join(cell.split())
