"""Video files: the right frames, and one line for every kind of damage."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.clips import ClipFiles, decode_clip, list_clips
from calcarine.errors import InputError
from trees import write_clip


def levels(clip: np.ndarray) -> np.ndarray:
    """Which frame each decoded one is, by its grey level."""
    return np.rint(clip.mean(axis=(1, 2, 3)) / 4).astype(int)


@pytest.mark.parametrize(
    ("count", "frames", "expected"),
    [
        (6, 6, [0, 1, 2, 3, 4, 5]),
        (6, 1, [3]),
        (6, 2, [1, 4]),
        (7, 3, [1, 3, 5]),
        (48, 16, list(range(1, 48, 3))),
    ],
)
def test_frames_lie_in_the_middle_of_equal_parts(tmp_path: Path, count: int, frames: int, expected: list[int]) -> None:
    write_clip(tmp_path / "a.mp4", count)
    clip = decode_clip(tmp_path / "a.mp4", frames)
    assert clip.dtype == np.uint8
    assert clip.shape == (frames, 32, 48, 3)
    assert levels(clip).tolist() == expected


def test_clips_are_stimuli(tmp_path: Path) -> None:
    for index in (10, 2, 1):
        write_clip(tmp_path / f"clip{index}.mp4", shift=4 * (index % 10))  # clips 10 and 0 would be equal
    (tmp_path / ".clip0.mp4").touch()
    (tmp_path / "readme.txt").touch()
    clips = ClipFiles(list_clips(tmp_path), frames=3)
    assert clips.names == ["clip1.mp4", "clip2.mp4", "clip10.mp4"]
    assert len(clips) == 3
    assert levels(clips.read(1)).tolist() == [3, 5, 7]
    write_clip(tmp_path / "clip11.mp4", shift=4)
    again = ClipFiles(list_clips(tmp_path), frames=3).digests(tmp_path / "memo" / "digests.json")
    assert again[:3] == clips.digests()
    assert again[3] == again[0]  # equal content
    assert len(set(again)) == 3
    assert not set(again) & set(ClipFiles(list_clips(tmp_path), frames=2).digests())
    assert pickle.loads(pickle.dumps(clips)).digests() == clips.digests()


def refused(path: Path, frames: int = 6) -> str:
    with pytest.raises(InputError) as refusal:
        decode_clip(path, frames)
    message = str(refusal.value)
    assert message.startswith(f"{path}: expected ")
    assert "\n" not in message
    return message


def test_fewer_frames_than_asked_says_how_many_there_are(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 6)
    message = refused(tmp_path / "a.mp4", 7)
    assert "at least 7 frames, found 6; set --data.source.frames 6" in message


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index last", "index first"])
@pytest.mark.parametrize("share", [0, 0.1, 0.4, 0.7, 0.9])
def test_a_truncated_video_is_refused_wherever_it_ends(tmp_path: Path, options: dict[str, str], share: float) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, 30, **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "expected a complete video" in refused(path)


def test_a_damaged_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, 30)
    content = bytearray(path.read_bytes())
    middle = content.index(b"moov") // 2
    content[middle : middle + 60] = b"\xff" * 60
    path.write_bytes(content)
    assert "cannot be decoded" in refused(path)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4")
    playlist = tmp_path / "b.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'a.mp4'}\n#EXT-X-ENDLIST\n")  # would open another file
    for path in (playlist, tmp_path / "missing.mp4", tmp_path):
        assert "cannot be decoded" in refused(path)


def test_a_missing_video_in_a_numbered_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: expected a folder of videos"):
        list_clips(tmp_path / "absent")
    with pytest.raises(InputError, match=r"expected videos \(\.mp4\), found none"):
        list_clips(tmp_path)
    for number in (1, 2, 4):
        (tmp_path / f"{number:04d}_x.mp4").touch()
    with pytest.raises(InputError, match=r"0004_x\.mp4: expected video number 3 after number 2, found 4"):
        list_clips(tmp_path)


def test_the_real_clips(shared_data: Path) -> None:
    clips = ClipFiles(list_clips(shared_data / "object2vec" / "AlgonautsVideos268_All_30fpsmax"), frames=10)
    assert len(clips) == 81
    assert clips.read(80).shape == (10, 224, 224, 3)
    assert len({frame.tobytes() for frame in clips.read(0)}) == 10  # ten photos
    with pytest.raises(InputError, match=r"0001_airplane\.mp4: expected at least 16 frames, found 10"):
        ClipFiles(clips.paths, frames=16).read(0)
