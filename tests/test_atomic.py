"""Files and folders appear whole or not at all."""

import errno
import shutil
from pathlib import Path

import pytest
from calcarine.atomic import replacing, whole_folder
from calcarine.errors import FullDisk


def test_a_file_is_replaced_at_the_end_or_never(tmp_path):
    path = tmp_path / "new" / "table.csv"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.suffix == ".csv"
            assert not path.exists() or path.read_text() == "first"
    with pytest.raises(UnicodeEncodeError), replacing(path) as temporary:
        temporary.write_text("third \ud800")
    assert path.read_text() == "second"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.csv"]


def test_two_writers_of_one_process_do_not_meet(tmp_path):
    path = tmp_path / "table.csv"
    with replacing(path) as slow:
        slow.write_text("slow")
        with replacing(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"


def test_whole_folder_appears_at_the_end_or_never(tmp_path):
    target = tmp_path / "data"
    with pytest.raises(FileNotFoundError), whole_folder(target) as folder:
        (folder / "missing" / "file").write_text("1")
    assert list(tmp_path.iterdir()) == []
    with whole_folder(target) as slow:
        (slow / "file").write_text("slow")
        with whole_folder(target) as fast:
            (fast / "file").write_text("fast")
            assert not target.exists()
    assert (target / "file").read_text() == "fast"  # the first to finish stays
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_that_cannot_take_its_place_is_told(tmp_path, monkeypatch):
    """Such as a mount point, whose rename is refused: what was made is not dropped in silence."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    (tmp_path / "data").mkdir()
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="busy"), whole_folder(tmp_path / "data") as folder:
        (folder / "file").write_text("1")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),  # without the file's name, as `write` raises it
        OSError("8294400 requested and 4194176 written"),  # NumPy's
        RuntimeError("PytorchStreamWriter failed writing file data/0"),
    ],
)
@pytest.mark.parametrize("writer", [replacing, whole_folder])
def test_a_full_disk_names_what_was_to_be_written(tmp_path, monkeypatch, error, writer):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    with (
        pytest.raises(FullDisk, match=r"data: expected space to write it, found a full disk"),
        writer(tmp_path / "data"),
    ):
        raise error
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    with pytest.raises(OSError, match="other"), writer(tmp_path / "data"):
        raise OSError(errno.EIO, "other")


def test_an_archive_that_fell_short_is_a_full_disk_though_there_is_room_again(tmp_path):
    with pytest.raises(FullDisk, match="expected space to write it"), replacing(tmp_path / "data"):
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 1142464 vs 1142344")
