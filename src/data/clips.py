"""Stimuli in video files: listed, and decoded to frames at even distances."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError, one_line
from .stimuli import StimulusFiles, natural_key

CLIP_SUFFIX = ".mp4"


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
        """BLAKE2b of each file's bytes and the number of frames; see `StimulusFiles`."""
        files = super().digests(memo)
        return [hashlib.blake2b(f"{file} {self.frames}".encode(), digest_size=16).hexdigest() for file in files]


def decode_clip(path: Path, frames: int) -> np.ndarray:
    """Decode the frames in the middle of equal parts of a clip, in RGB.

    Of N frames the i-th of F is number ⌊(i + 1/2) N/F⌋, counted from 0. The clip is decoded from its beginning, because
    a seek lands on the nearest key frame; in three seconds there is little to skip.

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
                    decoded.append(frame.to_ndarray(format="rgb24"))
                position += 1
    if position != count:
        raise ValueError(f"it holds {count} frames, of which {position} can be decoded")
    return np.stack(decoded)  # (F, height, width, 3)
