"""Images of the THINGS database, in the folder that a user has them in: one folder per concept."""

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError

FOLDER = "object_images"
"""What the download calls the folder that holds a folder per concept."""


def things_folder(root: Path, images: Path | None) -> Path:
    """The folder of concepts: the one that is named, or `object_images` in it, or else `object_images` of the root.

    Raises:
        InputError: There is no such folder.
    """
    named = root if images is None else images
    found = named / FOLDER
    if images is not None and not found.is_dir():
        found = images
    if not found.is_dir():
        what = f"--data.source.images {images}" if images is not None else f"{found}"
        raise InputError(
            f"{what}: expected the folder of the THINGS images, one folder per concept, found none; name it with "
            "--data.source.images"
        )
    return found


def find_images(folder: Path, names: Sequence[str], said_by: Path) -> list[Path]:
    """The file of each image.

    Args:
        folder: Of the concepts.
        names: Concept and file, such as "aardvark\\\\aardvark_01b.jpg", parted by a slash of either kind.
        said_by: The file that names them, for messages.

    Raises:
        InputError: A name is not of this kind, or there is no such image.
    """
    paths = [folder.joinpath(*_parts(name, said_by)) for name in names]
    there = {path.parent for path in paths if path.parent.is_dir()}
    files = {found for concept in there for found in concept.iterdir()}
    missing = [path for path in paths if path not in files]
    if missing:
        raise InputError(
            f"{folder}: expected {len(set(paths))} images that {said_by.name} names, found no file for "
            f"{len(set(missing))} of them, such as {missing[0].relative_to(folder)}; put them there or correct "
            "--data.source.images"
        )
    return paths


def _parts(name: str, said_by: Path) -> list[str]:
    """Concept and file; nothing that leads elsewhere."""
    parts = re.split(r"[\\/]", name)
    if len(parts) != 2 or any(part in ("", ".", "..") or "\0" in part or ":" in part for part in parts):
        raise InputError(
            f"{said_by}: expected the names of images as CONCEPT/FILE, found {name!r}; copy the file again"
        )
    return parts
