"""The first line of a table, looked at before pandas reads it."""

from pathlib import Path

from .errors import InputError

_MOST = 10_000


def check_head(path: Path, separator: str = ",") -> None:
    """Refuse a table of more columns than any has.

    pandas renames columns of one name in a time that grows with the square of their number: minutes for 200,000.

    Raises:
        InputError: It has more.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        count = file.readline().count(separator.encode()) + 1
    if count > _MOST:
        raise InputError(f"{path}: expected a table of at most {_MOST:,} columns, found {count:,}; copy it again")
