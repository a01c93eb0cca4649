"""Whether files that stand under their final names are whole, whatever befell who wrote them."""

from __future__ import annotations

import csv
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml
from calcarine.tensor_file import read_tensors
from PIL import Image
from safetensors.numpy import load_file


def broken(folder: Path) -> list[str]:
    """What is wrong with the files below a folder, one line each; hidden and partial ones may be anything."""
    found = []
    for path in sorted(_final(folder)):
        read = READERS.get(path.suffix)
        try:
            if read is not None:
                read(path)
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {str(error)[:200]}")
    return found


def partial(folder: Path) -> list[str]:
    """Temporary files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if _is_partial(path.name))


def _is_partial(name: str) -> bool:
    return name.endswith(".partial") or (name.startswith(".") and not name.endswith(".lock") and name != ".rows")


def _final(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if _is_partial(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _final(path)
        else:
            yield path


def _table(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows, "empty"
    assert all(len(row) == len(rows[0]) for row in rows), "a row is cut off"
    assert path.read_bytes().endswith(b"\n"), "the last line is cut off"


def _picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


def _page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), "cut off"


def _settings(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict), "no settings"
    assert path.read_bytes().endswith(b"\n"), "cut off"


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, "damaged"


def _database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _array(path: Path) -> None:
    np.load(path, mmap_mode="r", allow_pickle=False)


READERS: dict[str, Callable[[Path], object]] = {
    ".npy": _array,
    ".npz": _archive,
    ".zip": _archive,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".csv": _table,
    ".yaml": _settings,
    ".ckpt": read_tensors,
    ".pt": read_tensors,
    ".safetensors": load_file,
    ".png": _picture,
    ".svg": ElementTree.parse,
    ".gii": ElementTree.parse,
    ".html": _page,
    ".db": _database,
}
