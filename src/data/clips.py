"""Stimuli in video files: listed, and decoded to frames at even distances."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, one_line
from .digests import digest_bytes
from .stimuli import StimulusFiles, natural_key

if TYPE_CHECKING:
    from av import VideoFrame

CLIP_SUFFIX = ".mp4"

VERSION = 2
"""To be raised when clips are decoded otherwise: what was cached of them is then made anew."""

_LARGEST = 1 << 26
"""Pixels of a frame, beyond which a file is taken to be made to fill the memory."""

_WIDEST = 16
"""Width over height of a pixel, or height over width, beyond which a file is taken to be damaged."""


def list_clips(folder: Path) -> list[Path]:
    """The videos of a folder, sorted by name, names with numbers by number.

    Raises:
        InputError: The folder is missing or holds no video, or the videos are numbered and one is not there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of videos, found none; put it there or correct the root")
    clips = [path for path in folder.glob(f"*{CLIP_SUFFIX}") if not path.name.startswith(".")]
    if not clips:
        raise InputError(f"{folder}: expected videos ({CLIP_SUFFIX}), found none; put them there")
    clips.sort(key=lambda path: natural_key(path.name))
    matches = [re.match("[0-9]+", path.name) for path in clips]
    numbers = [int(match[0]) for match in matches if match]
    if len(numbers) == len(clips):  # otherwise the names do not count them
        for path, before, number in zip(clips[1:], numbers, numbers[1:], strict=False):
            if number != before + 1:
                raise InputError(
                    f"{path}: expected video number {before + 1} after number {before}, found {number}; responses "
                    "belong to videos by their order, restore those that belong here"
                )
    return clips


class ClipFiles(StimulusFiles):
    """Stimuli that are video files of some seconds; implements `Stimuli` of src/recording.py.

    Args:
        paths: One file per stimulus.
        frames: Frames per clip, F: those in the middle of F equal parts of the clip.
    """

    def __init__(self, paths: Sequence[Path], frames: int) -> None:
        super().__init__(paths)
        self.frames = self._frames = frames

    def read(self, index: int) -> np.ndarray:
        """Decode one clip to uint8 (F, height, width, 3).

        Raises:
            InputError: The file is unreadable or truncated, or has fewer frames than F.
        """
        return decode_clip(self.paths[index], self._frames)

    def digests(self, memo: Path | None = None) -> list[str]:
        """BLAKE2b of each file's bytes, the number of frames and how they are decoded; see `StimulusFiles`."""
        parts = [f"{file} {self.frames} {VERSION}" for file in super().digests(memo)]
        return [digest_bytes(part.encode()) for part in parts]


def decode_clip(path: Path, frames: int) -> np.ndarray:
    """Decode the frames in the middle of equal parts of a clip, in RGB.

    Of N frames the i-th of F is number ⌊(i + 1/2) N/F⌋, counted from 0. The clip is decoded from its beginning, because
    a seek lands on the nearest key frame; in three seconds there is little to skip. Frames are turned and stretched as
    players show them. A video that does not name its colours is BT.601 in limited range, whatever its size.

    Args:
        path: An MP4 file. It is read as no other format: one that names further files or addresses would be opened.
        frames: F.

    Returns:
        uint8 (F, height, width, 3).

    Raises:
        InputError: The file is unreadable or truncated, or has fewer frames than F.
    """
    try:
        return _decode(path, frames)
    except InputError:
        raise
    except Exception as error:  # FFmpeg reports many kinds on a damaged file
        raise InputError(
            f"{path}: expected a complete video, found one that cannot be decoded ({one_line(error)}); copy it again"
        ) from error


def _decode(path: Path, frames: int) -> np.ndarray:
    import av

    with av.open(str(path.absolute()), format="mp4") as container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None:
            raise ValueError("it has no video stream, or only the head of one")
        if stream.codec_context.width * stream.codec_context.height > _LARGEST:
            raise ValueError(f"{stream.codec_context.width} × {stream.codec_context.height} pixels")
        stream.codec_context.thread_count = 1  # whole clips are decoded side by side
        packets = list(container.demux(stream))  # ends in an empty one, which brings the decoder's last frames
        announced, present = stream.frames, sum(packet.size > 0 for packet in packets)
        if present < announced:
            raise ValueError(f"it ends after {present} of {announced} frames")
        count = sum(packet.size > 0 and not packet.is_discard for packet in packets)
        if count < frames:
            raise InputError(
                f"{path}: expected at least {frames} frames, found {count}; set --data.source.frames {count} or less"
            )
        chosen = {(2 * i + 1) * count // (2 * frames) for i in range(frames)}
        decoded, position = [], 0
        for packet in packets:
            for frame in stream.decode(packet):
                if frame.is_corrupt:
                    raise ValueError(f"frame {position} of {count} is damaged")
                if position in chosen:
                    decoded.append(_as_shown(frame, stream.sample_aspect_ratio))
                position += 1
    if position != count:
        raise ValueError(f"it holds {count} frames, of which {position} can be decoded")
    return np.stack(decoded)  # (F, height, width, 3)


def _as_shown(frame: VideoFrame, aspect: Fraction | None) -> np.ndarray:
    """The picture as players show it, uint8 (height, width, 3).

    Args:
        frame: As stored.
        aspect: Width over height of a stored pixel; None or 0 where it is unknown.

    Raises:
        ValueError: The frame is to be turned by other than quarter turns, or the aspect is out of all proportion.
    """
    picture = frame.to_ndarray(format="rgb24")
    if aspect and aspect != 1:
        picture = _stretched(picture, aspect)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    # A stored point (x, y) is shown at (a x + c y, b x + d y) and is then shifted into view.
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    return _turned(picture, a, b, c, d)


def _stretched(picture: np.ndarray, aspect: Fraction) -> np.ndarray:
    """The picture with square pixels, of the same height."""
    from PIL import Image

    if not Fraction(1, _WIDEST) <= aspect <= _WIDEST:
        raise ValueError(f"its pixels are {aspect} times as wide as high")
    height, width = picture.shape[:2]
    size = (max(round(width * aspect), 1), height)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _turned(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Quarter turns and mirrors of a picture (height, width, 3)."""
    if b == c == 0:
        return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    if a == d == 0:
        return picture.transpose(1, 0, 2)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
    raise ValueError(f"it is to be shown turned by other than quarter turns, by the matrix ({a}, {b}; {c}, {d})")
