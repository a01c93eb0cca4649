"""Every reader of files from elsewhere × every fault: one line, in time, in little memory, and nothing written."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from broken import FAULTS, UNSEEN, answer, copy, same
from foreign import READERS, sound
from hostile import CASES


@cache
def _sound(name: str) -> tuple[Path, Any]:
    path = sound(READERS[name], Path(tempfile.mkdtemp()) / "sound")
    return path, READERS[name].read(path)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_one_line(name: str, fault: str, tmp_path: Path) -> None:
    reader, (original, value) = READERS[name], _sound(name)
    path = copy(original, tmp_path)
    FAULTS[fault](path)
    found = answer(path, reader.read, reader.keeps)
    assert not Path("hacked").exists()
    if found.said is None and fault not in reader.tolerates | UNSEEN:
        assert same(found.value, value), f"read in silence: {found.value!r}"


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_hostile_file_is_one_line(name: str, fault: str, tmp_path: Path) -> None:
    reader, (original, _) = READERS[name], _sound(name)
    path = copy(original, tmp_path)
    CASES[name, fault](path)
    found = answer(path, reader.read, reader.keeps)
    assert not Path("hacked").exists()
    assert found.said is not None, f"read in silence: {found.value!r}"[:500]
