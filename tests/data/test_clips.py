"""Video files: the right frames, and one line for every kind of damage."""

import pickle
from fractions import Fraction
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


def write_pictures(
    path: Path,
    pictures: np.ndarray,
    turn: tuple[int, bool, bool] | None = None,
    aspect: Fraction | None = None,
    pixels: str = "rgb24",
) -> None:
    """A video of pictures as they are stored; `turn`: degrees counter-clockwise, and mirrors after that."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=pixels) for picture in pictures]
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.gop_size, stream.bit_rate = 3, 30_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def shapes(height: int, width: int, frames: int = 6) -> np.ndarray:
    """Smooth pictures without any symmetry, uint8 (frames, height, width, 3)."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    time = np.arange(frames)[:, None, None] / frames
    planes = [np.sin(3 * x + 2 * y + time), np.cos(5 * x * y + time), np.sin(4 * y - x - time)]
    return (np.stack(planes, axis=-1) * 100 + 128).astype(np.uint8)


def features(clip: np.ndarray) -> np.ndarray:
    import torch
    from calcarine.encoders import PixelEncoder

    return PixelEncoder(size=8)(torch.from_numpy(np.ascontiguousarray(clip)).movedim(-1, 1))["pixels"].numpy().ravel()


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrors", [(False, False), (True, False), (False, True)])
def test_turned_clips_are_shown_as_players_show_them(tmp_path: Path, degrees: int, mirrors: tuple[bool, bool]) -> None:
    upright = shapes(32, 48)
    mirrored = upright[:, :: -1 if mirrors[1] else 1, :: -1 if mirrors[0] else 1]
    stored = np.rot90(mirrored, -degrees // 90, axes=(1, 2))
    write_pictures(tmp_path / "upright.mp4", upright)
    write_pictures(tmp_path / "turned.mp4", stored, (degrees, *mirrors))
    one, other = decode_clip(tmp_path / "upright.mp4", 6), decode_clip(tmp_path / "turned.mp4", 6)
    assert other.shape == one.shape == (6, 32, 48, 3)
    assert np.corrcoef(features(one), features(other))[0, 1] > 0.999


def test_oblong_pixels_are_stretched_before_the_clip_is_turned(tmp_path: Path) -> None:
    upright = shapes(48, 32)
    write_pictures(tmp_path / "upright.mp4", upright)
    stored = np.rot90(upright, axes=(1, 2))[:, :, ::2]  # a quarter turn, and half as many columns
    write_pictures(tmp_path / "turned.mp4", stored, (-90, False, False), Fraction(2))
    one, other = decode_clip(tmp_path / "upright.mp4", 3), decode_clip(tmp_path / "turned.mp4", 3)
    assert other.shape == one.shape
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
    assert np.corrcoef(features(one), features(other))[0, 1] > 0.999


def test_a_clip_that_lies_aslant_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a.mp4", shapes(32, 48), (30, False, False))
    assert "other than quarter turns" in refused(tmp_path / "a.mp4")
    write_pictures(tmp_path / "b.mp4", shapes(32, 48), aspect=Fraction(20))
    assert "20 times as wide as high" in refused(tmp_path / "b.mp4")


PATCHES = [(220, 30, 40), (30, 200, 60), (40, 60, 210), (230, 220, 40), (128, 128, 128), (250, 250, 250)]


@pytest.mark.parametrize("size", [(64, 96), (720, 1280)], ids=["standard", "high definition"])
def test_colours_that_are_not_named_are_bt601_in_limited_range(tmp_path: Path, size: tuple[int, int]) -> None:
    """Patches are stored by the standard's own formulae, and have to come back."""
    height, width = size
    rgb = np.repeat(np.array(PATCHES) / 255, width // len(PATCHES) + 1, axis=0)[:width]  # (width, 3)
    luma = rgb @ [0.299, 0.587, 0.114]
    blue, red = (rgb[:, 2] - luma) / 1.772, (rgb[:, 0] - luma) / 1.402
    y, cb, cr = (np.rint(plane) for plane in (16 + 219 * luma, 128 + 224 * blue[::2], 128 + 224 * red[::2]))
    planes = [np.tile(plane, (rows, 1)) for plane, rows in ((y, height), (cb, height // 2), (cr, height // 2))]
    stored = np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width).astype(np.uint8)
    write_pictures(tmp_path / "a.mp4", np.stack([stored] * 2), pixels="yuv420p")
    frame = decode_clip(tmp_path / "a.mp4", 1)[0]
    step = width // len(PATCHES) + 1
    found = [frame[height // 2, step * index + step // 2] for index in range(len(PATCHES))]
    np.testing.assert_allclose(found, PATCHES, atol=4)  # BT.709 would be 25 off, full range 19


def test_the_real_clips(shared_data: Path) -> None:
    clips = ClipFiles(list_clips(shared_data / "object2vec" / "AlgonautsVideos268_All_30fpsmax"), frames=10)
    assert len(clips) == 81
    assert clips.read(80).shape == (10, 224, 224, 3)
    assert len({frame.tobytes() for frame in clips.read(0)}) == 10  # ten photos
    with pytest.raises(InputError, match=r"0001_airplane\.mp4: expected at least 16 frames, found 10"):
        ClipFiles(clips.paths, frames=16).read(0)
