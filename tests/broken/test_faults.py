"""Every reader of files from elsewhere × every fault: one line, in time, in little memory, and nothing written.

Files are made here and never stored. The fast suite takes a few faults of each reader; `-m slow` takes all.
"""

import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import hostile
import legal
import numpy as np
import pytest
from broken import FAULTS, UNSEEN, answer, copy, same
from foreign import READERS, sound

IN_ALL = ("a third", "an image", "a dangling link")
"""Faults that the fast suite tries with every reader."""
BULKY = ("a bomb", "200,000 columns", "lists in lists", "a vast header", "objects")
"""Hostile files that take some time to make."""


@cache
def _sound(name: str) -> tuple[Path, Any]:
    path = sound(READERS[name], Path(tempfile.mkdtemp()) / "sound")
    return path, READERS[name].read(path)


def _faults() -> Iterable[Any]:
    for name in READERS:
        for fault in FAULTS:
            yield pytest.param(name, fault, marks=_marks(fault in IN_ALL))


def _hostile() -> Iterable[Any]:
    for name, fault in hostile.CASES:
        yield pytest.param(name, fault, marks=_marks(not fault.startswith(BULKY)))


def _marks(fast: bool) -> list[Any]:
    return [] if fast else [pytest.mark.slow]


@pytest.mark.parametrize(("name", "fault"), _faults())
def test_a_broken_file_is_one_line(name: str, fault: str, tmp_path: Path) -> None:
    reader, (original, value) = READERS[name], _sound(name)
    path = copy(original, tmp_path)
    FAULTS[fault](path)
    found = answer(path, reader.read, reader.keeps)
    assert not Path("hacked").exists()
    if found.said is None and fault not in reader.tolerates | UNSEEN:
        assert same(found.value, value), f"read in silence: {found.value!r}"


@pytest.mark.parametrize(("name", "fault"), _hostile())
def test_a_hostile_file_is_one_line(name: str, fault: str, tmp_path: Path) -> None:
    reader, (original, _) = READERS[name], _sound(name)
    path = copy(original, tmp_path)
    hostile.CASES[name, fault](path)
    found = answer(path, reader.read, reader.keeps)
    assert not Path("hacked").exists()
    assert found.said is not None, f"read in silence: {found.value!r}"[:500]


@pytest.mark.parametrize(("name", "kind"), legal.CASES)
def test_an_unusual_file_is_read_right(name: str, kind: str, tmp_path: Path) -> None:
    reader, (original, value) = READERS[name], _sound(name)
    path = copy(original, tmp_path)
    legal.CASES[name, kind](path)
    found = reader.read(path)
    if isinstance(value, np.ndarray):
        np.testing.assert_allclose(found, value, rtol=1e-6)
    else:
        assert same(found, value)


def _odd() -> Iterable[Any]:
    for index, name in enumerate(READERS):
        for odd in legal.ODD_NAMES:
            yield pytest.param(name, odd, marks=[] if index % 8 == 0 else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "odd"), _odd())
def test_an_odd_name_is_a_name(name: str, odd: str, tmp_path: Path) -> None:
    reader, (original, value) = READERS[name], _sound(name)
    path = copy(original, tmp_path / legal.ODD_NAMES[odd])
    found = answer(path, reader.read, reader.keeps)
    assert same(found.value, value) or (odd in legal.MAY_BE_REFUSED and found.said is not None), found.said


@pytest.mark.parametrize("fault", ["an image", "a text", "zeros"])
def test_a_file_that_is_no_journal_stays_as_it_is(fault: str, tmp_path: Path) -> None:
    """Of a journal the last line is cut off where it has no end: of another file that would be what it held."""
    path = copy(_sound("journal study")[0], tmp_path)
    FAULTS[fault](path)
    path.write_bytes(path.read_bytes() + b"\nno end")
    content = path.read_bytes()
    assert answer(path, READERS["journal study"].read, keeps=False).said is not None
    assert path.read_bytes() == content
