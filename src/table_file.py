"""Tables of others: the one place where pandas reads a file that may be damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError, one_line

_MOST = 10_000


@contextmanager
def reading_table(path: Path, expected: str, separator: str = ",") -> Iterator[None]:
    """What the block reads of a table; what it cannot is told in one line.

    Args:
        path: The table.
        expected: What it should be, for people.
        separator: Between columns.

    Raises:
        InputError: It has more columns than any table has, or pandas cannot make sense of it.
    """
    try:
        _check_head(path, separator)
        yield
    except InputError:
        raise
    except Exception as error:  # pandas raises many kinds on a damaged file
        raise InputError(f"{path}: expected {expected}, found {one_line(error)}; copy it again") from error


def _check_head(path: Path, separator: str) -> None:
    """pandas renames columns of one name in a time that grows with the square of their number: minutes for 200,000."""
    with path.open("rb") as file:
        count = file.readline().count(separator.encode()) + 1
    if count > _MOST:
        raise InputError(f"{path}: expected a table of at most {_MOST:,} columns, found {count:,}; copy it again")
