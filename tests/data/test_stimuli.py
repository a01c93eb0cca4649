"""Image files: every kind decodes to the right colours, every fault is one line, digests follow the content."""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calcarine.data import digests as digests_module
from calcarine.data.stimuli import ImageFiles, decode, list_images, natural_key
from calcarine.errors import InputError
from PIL import Image

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)  # (H, W, 3)
GREY = COLOURS[..., 0]


def in_three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_names_with_numbers_sort_by_number() -> None:
    names = [
        "image10.png",
        "image9.png",
        "image2b.png",
        "image2.png",
        "Image3.png",
        "7.png",
        "image02.png",
        "a1b10",
        "a1b9",
    ]
    expected = ["7.png", "Image3.png", "a1b9", "a1b10", "image02.png", "image2.png", "image2b.png", "image9.png"]
    assert sorted(names, key=natural_key) == [*expected, "image10.png"]


def test_lists_images_and_leaves_out_what_desktops_write(tmp_path: Path) -> None:
    for name in (".DS_Store", "._b2.png", "Thumbs.db", "desktop.ini", "b10.PNG", "b2.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["b2.jpeg", "b10.PNG"]


@pytest.mark.parametrize("extra", ["notes.txt", "more/", "more.png/"])
def test_refuses_what_is_no_image_in_a_folder_of_images(tmp_path: Path, extra: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / extra).mkdir() if extra.endswith("/") else (tmp_path / extra).touch()
    with pytest.raises(InputError, match=rf"^{re.escape(str(tmp_path / extra))}: expected nothing but images"):
        list_images(tmp_path)


def test_refuses_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="expected a folder of images"):
        list_images(tmp_path / "absent")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm"])
def test_rgb_is_kept_exactly(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS), **({"lossless": True} if suffix == "webp" else {}))
    decoded = decode(path)
    np.testing.assert_array_equal(decoded, COLOURS)
    assert decoded.dtype == np.uint8


def test_grey_and_two_levels(tmp_path: Path) -> None:
    np.testing.assert_array_equal(decode(saved(tmp_path / "a.png", Image.fromarray(GREY))), in_three(GREY))
    levels = Image.fromarray(GREY > 99)
    np.testing.assert_array_equal(
        decode(saved(tmp_path / "b.png", levels)), in_three(np.where(GREY > 99, 255, 0).astype(np.uint8))
    )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    grey = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(grey))
    np.testing.assert_array_equal(decode(path), in_three(np.round(grey / 257).astype(np.uint8)))


def test_big_endian_16_bit_grey(tmp_path: Path) -> None:
    """A TIFF of Motorola byte order, written by hand as microscopes do: 2 × 1 pixels, 0x1234 and 0xFFFF."""
    fields = [(256, 3, 2), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 3, 1), (279, 4, 4)]
    directory = b"".join(
        tag.to_bytes(2)
        + kind.to_bytes(2)
        + (1).to_bytes(4)
        + (value.to_bytes(2) + b"\0\0" if kind == 3 else value.to_bytes(4))
        for tag, kind, value in fields
    )
    path = tmp_path / "a.tif"
    path.write_bytes(b"MM\0*" + (12).to_bytes(4) + b"\x12\x34\xff\xff" + len(fields).to_bytes(2) + directory + bytes(4))
    np.testing.assert_array_equal(decode(path)[0, :, 0], [round(0x1234 / 257), 255])


def test_palette(tmp_path: Path) -> None:
    indices = (GREY % 4).astype(np.uint8)
    palette = np.array([[255, 0, 0], [0, 255, 0], [9, 8, 7], [200, 100, 50]], dtype=np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    for suffix in ("png", "gif"):
        np.testing.assert_array_equal(decode(saved(tmp_path / f"a.{suffix}", image)), palette[indices])
    expected = palette[indices]
    expected[indices == 2] = 255  # the transparent entry lies on white
    np.testing.assert_array_equal(decode(saved(tmp_path / "b.png", image, transparency=2)), expected)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    alpha = np.linspace(0, 255, 35).astype(np.uint8).reshape(5, 7)
    share = alpha[..., None] / 255
    colours = decode(saved(tmp_path / "a.png", Image.fromarray(np.dstack([COLOURS, alpha]))))
    np.testing.assert_allclose(colours, COLOURS * share + 255 * (1 - share), atol=1)
    greys = decode(saved(tmp_path / "b.png", Image.fromarray(np.dstack([GREY, alpha]))))
    np.testing.assert_allclose(greys, in_three(GREY) * share + 255 * (1 - share), atol=1)
    key = decode(saved(tmp_path / "c.png", Image.fromarray(COLOURS), transparency=tuple(int(v) for v in COLOURS[2, 3])))
    np.testing.assert_array_equal(key[2, 3], 255)
    np.testing.assert_array_equal(key[0], COLOURS[0])


def test_cmyk(tmp_path: Path) -> None:
    inks = np.zeros((16, 16, 4), dtype=np.uint8)
    inks[..., 0], inks[..., 3] = 255, 51  # full cyan and a fifth of black
    for suffix in ("jpg", "tif"):
        decoded = decode(saved(tmp_path / f"a.{suffix}", Image.fromarray(inks, mode="CMYK")))
        np.testing.assert_allclose(decoded[8, 8], [0, 204, 204], atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    turns = {  # the EXIF standard: what to do with the stored rows to see the picture
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(decode(path), turns[orientation](COLOURS))


def test_pixels_of_32_bits_are_refused(tmp_path: Path) -> None:
    for dtype in (np.float32, np.int32):
        path = saved(tmp_path / "a.tif", Image.fromarray(GREY.astype(dtype)))
        with pytest.raises(InputError, match=r"a\.tif: expected 8 or 16 bits per channel"):
            decode(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "webp", "bmp"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_a_damaged_image_is_one_line(tmp_path: Path, suffix: str, damage: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"image7.{suffix}", Image.fromarray(noise))
    whole = path.read_bytes()
    flipped = bytes(255 - byte for byte in whole[:40]) + whole[40:]
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"<html>", "flipped": flipped}[damage]
    )
    with pytest.raises(InputError) as refusal:
        ImageFiles([path]).read(0)
    assert str(refusal.value).startswith(f"{path}: expected a complete image")
    assert "\n" not in str(refusal.value)


def test_a_missing_image_is_one_line(tmp_path: Path) -> None:
    files = ImageFiles([tmp_path / "a.png"])
    with pytest.raises(InputError, match=r"a\.png: expected a complete image"):
        files.read(0)
    with pytest.raises(InputError, match=r"a\.png: expected a readable file"):
        files.digests()


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.fromarray(COLOURS + np.uint8(i % 3)).save(path)  # the last shows what the first shows
    return ImageFiles(paths)


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "digests.json"


def test_digests_are_equal_where_the_content_is(files: ImageFiles) -> None:
    digests = files.digests()
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3
    assert ImageFiles(files.paths[::-1]).digests() == digests[::-1]
    assert len(files) == 4
    assert files.names == ["0.png", "1.png", "2.png", "3.png"]


def test_the_memo_saves_reading_what_has_not_changed(
    files: ImageFiles, memo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = files.digests(memo)
    read: list[str] = []
    hash_file = digests_module.hashlib.file_digest

    def spy(file: Any, digest: Callable[[], Any]) -> Any:
        read.append(Path(file.name).name)
        return hash_file(file, digest)

    monkeypatch.setattr(digests_module.hashlib, "file_digest", spy)
    assert ImageFiles(files.paths).digests(memo) == digests
    assert read == []
    Image.fromarray(255 - COLOURS).save(files.paths[1])
    changed = ImageFiles(files.paths).digests(memo)
    assert read == ["1.png"]
    assert [a == b for a, b in zip(changed, digests, strict=True)] == [True, False, True, True]
    files.digests()
    assert read == ["1.png"]  # the same object does not even look


def test_the_memo_sees_two_files_exchanged(tmp_path: Path) -> None:
    """Bitmaps of one size that an archive unpacked with one date: only their order tells them apart."""
    paths = [tmp_path / "a.bmp", tmp_path / "b.bmp"]
    for path, colours in zip(paths, (COLOURS, 255 - COLOURS), strict=True):
        Image.fromarray(colours).save(path)
        os.utime(path, (1e9, 1e9))
    first = ImageFiles(paths).digests(tmp_path / "memo")
    paths[0].rename(tmp_path / "c.bmp")
    paths[1].rename(paths[0])
    (tmp_path / "c.bmp").rename(paths[1])
    assert ImageFiles(paths).digests(tmp_path / "memo") == first[::-1]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"a": 3}', b"\xff"])
def test_a_damaged_memo_is_written_again(files: ImageFiles, memo: Path, damage: bytes) -> None:
    digests = files.digests(memo)
    memo.write_bytes(damage)
    assert ImageFiles(files.paths).digests(memo) == digests
    assert len(json.loads(memo.read_bytes())) == 4
    assert [path.name for path in memo.parent.iterdir()] == ["digests.json"]


def test_a_memo_that_cannot_be_written_leaves_nothing(
    files: ImageFiles, memo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests_module.json, "dumps", lambda _: "\ud800")  # a text that no encoding writes
    with pytest.raises(UnicodeEncodeError):
        files.digests(memo)
    assert list(memo.parent.iterdir()) == []


def test_several_recordings_share_a_memo(files: ImageFiles, memo: Path) -> None:
    ImageFiles(files.paths[:2]).digests(memo)
    ImageFiles(files.paths[2:]).digests(memo)
    assert sorted(json.loads(memo.read_bytes())) == sorted(str(path) for path in files.paths)


def test_goes_to_worker_processes(files: ImageFiles) -> None:
    assert pickle.loads(pickle.dumps(files)).digests() == files.digests()
