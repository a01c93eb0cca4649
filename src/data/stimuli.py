"""Stimuli in image files: listed and decoded to RGB."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError, one_line
from .digests import digest_file, remembered_digests

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow goes by the content, not by the name, and would have Ghostscript run a file that is PostScript."""
_LARGEST = 1 << 26
"""Pixels of an image, beyond which a file is taken to be made to fill the memory: 200 MB."""
_DESKTOP_FILES = ("thumbs.db", "desktop.ini")  # what Windows leaves in a folder; others' begin with a dot


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts names with numbers by number: "image2" before "image10"."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name, names with numbers by number.

    Raises:
        InputError: The folder is missing or holds no image, or anything in it is not an image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, found none; put it there or correct the root")
    paths = [
        path
        for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
        if not path.name.startswith(".") and path.name.lower() not in _DESKTOP_FILES
    ]
    for path in paths:
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.is_dir():
            raise InputError(
                f"{path}: expected nothing but images ({' '.join(IMAGE_SUFFIXES)}) in this folder, found a "
                f"{'folder' if path.is_dir() else 'file of another kind'}; move it elsewhere"
            )
    if not paths:
        raise InputError(f"{folder}: expected images ({' '.join(IMAGE_SUFFIXES)}), found none; put them there")
    return paths


class StimulusFiles(ABC):
    """Stimuli that are files, one each; what is left to say is how one is read.

    Args:
        paths: One file per stimulus.
    """

    frames: int | None = None

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.names = [path.name for path in self.paths]
        self._digests: list[str] = []

    def __len__(self) -> int:
        return len(self.paths)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Decode one stimulus, as `Stimuli` of src/recording.py says."""

    def digests(self, memo: Path | None = None) -> list[str]:
        """BLAKE2b of each file's bytes, read once.

        Args:
            memo: A file that remembers digests between runs, so that a second start need not read every stimulus
                again; several recordings may share it.

        Raises:
            InputError: A file cannot be read.
        """
        if not self._digests:
            self._digests = remembered_digests(self.paths, digest_file, memo)
        return self._digests


class ImageFiles(StimulusFiles):
    """Stimuli that are image files; implements `Stimuli` of src/recording.py."""

    def read(self, index: int) -> np.ndarray:
        """Decode one image to uint8 (height, width, 3).

        Raises:
            InputError: The file is unreadable or truncated, or has pixels of 32 bits.
        """
        return decode(self.paths[index])


def decode(path: Path, content: bytes | None = None) -> np.ndarray:
    """Decode an image file as viewers show it: uprighted by its EXIF orientation, transparency on white, in RGB.

    16-bit grey is scaled to 8 bits (65535 becomes 255). Colour profiles are not applied; of an animation the
    first frame is taken.

    Args:
        path: The file, or what messages call it where its content is given.
        content: Of the file.

    Returns:
        uint8 (height, width, 3).

    Raises:
        InputError: The file is unreadable or truncated, or has pixels of 32 bits.
    """
    try:
        with Image.open(path if content is None else BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > _LARGEST:
                raise ValueError(f"{image.width} × {image.height} pixels, more than {_LARGEST:,}")
            image.load()
            upright = ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's decoders raise many kinds on a damaged file
        raise InputError(
            f"{path}: expected a complete image, found one that cannot be decoded ({one_line(error)}); "
            "copy it again, or remove it with its row of responses"
        ) from error
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright).astype(np.uint32) + 128) // 257  # (H, W), rounded; Pillow would clip at 255
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if upright.mode in ("I", "F"):
        raise InputError(
            f"{path}: expected 8 or 16 bits per channel, found pixels of 32 bits, whose range is unknown; convert it"
        )
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return np.asarray(upright.convert("RGB"))
