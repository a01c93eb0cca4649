"""Every fault that is planted in a user's folder is named, with its file, and its severity is right."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.doctor import order
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from PIL import Image
from seen import TARGETS, write_seen_folder, write_table


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_seen_folder(tmp_path_factory.mktemp("sound") / "mine")


@pytest.fixture
def root(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "mine")


def said(root: Path, asked: Asked | None = None) -> list[str]:
    """The lines of every examination of a root."""
    return [symptom.line(each.root) for each in examine(root, asked=asked) for symptom in each.chart.symptoms]


def changed(name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Plants a fault in an array: `change` alters it, or returns another."""

    def plant(root: Path) -> None:
        array = np.load(root / name)
        other = change(array)
        np.save(root / name, array if other is None else other)

    return plant


def responses(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Plants a fault in the responses, beside which there are no repetitions."""

    def plant(root: Path) -> None:
        changed("responses.npy", change)(root)
        (root / "responses_repeats.npy").unlink()

    return plant


def put(index: object, value: float) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(index, value)


def as_text(array: np.ndarray) -> np.ndarray:
    """Rows as a program writes them that sorts names as text."""
    return array[sorted(range(len(array)), key=lambda index: f"image{index + 1}.png")]


def picture(change: Callable[[Image.Image], Image.Image], source: int = 5, name: str = "image5.png"):
    return lambda root: change(Image.open(root / f"images/image{source}.png")).save(root / "images" / name)


def cut(name: str, share: float = 0.5) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(
        (root / name).read_bytes()[: int((root / name).stat().st_size * share)]
    )


def table(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(change((root / name).read_text()))


def linked(root: Path) -> None:
    (root / "images/image5.png").unlink()
    (root / "images/image5.png").symlink_to(root / "annex/image5.png")


def a_pipe(root: Path) -> None:
    import os

    (root / "split.csv").unlink()
    os.mkfifo(root / "split.csv")


def sides(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return changed("coordinates.npy", change)


FAULTS = {
    # pictures
    "truncated image": (cut("images/image5.png"), "error: images/image5.png", "cannot be decoded"),
    "text among the images": (lambda root: (root / "images/notes.txt").touch(), "error: images/notes.txt", "move it"),
    "empty image": (lambda root: (root / "images/image5.png").write_bytes(b""), "error: images/image5.png", "0 bytes"),
    "pointer of Git LFS": (
        lambda root: (root / "images/image5.png").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "error: images/image5.png",
        "git lfs pull",
    ),
    "web page for an array": (
        lambda root: (root / "responses.npy").write_text("<!DOCTYPE html><html>sign in</html>"),
        "error: responses.npy",
        "a web page",
    ),
    "link to nothing": (linked, "error: images/image5.png", "where there is nothing"),
    "image of another size": (picture(lambda image: image.resize((30, 20))), "warning: images", "image5.png"),
    "image of one colour": (picture(lambda image: Image.new("RGB", image.size)), "warning: images", "one colour"),
    "image in train and test": (picture(lambda image: image, source=40), "warning: images", "equal in all pixels"),
    "compressed copy in train and test": (
        picture(lambda image: image.resize((90, 90)), source=40),
        "warning: images",
        "nearly equal",
    ),
    "copy within the training images": (
        picture(lambda image: image, source=40, name="image41.png"),
        "note: images",
        "equal in all pixels",
    ),
    # numbers
    "transposed": (responses(lambda array: array.T[:, :48].copy()), "error: responses.npy", "look transposed"),
    "too few rows": (responses(lambda array: array[:-3]), "error: responses.npy", "expected 48 rows"),
    "float16": (responses(lambda array: array.astype(np.float16)), "warning: responses.npy", "float16"),
    "text for numbers": (responses(lambda array: array.astype(str)), "error: responses.npy", "dtype"),
    "truncated array": (cut("responses.npy"), "error: responses.npy", "damaged"),
    "scattered NaN": (responses(put((3, 4), np.nan)), "error: responses.npy", "allow"),
    "a row of NaN": (responses(put(3, np.nan)), "warning: responses.npy", "1 whole row (3)"),
    "a target of NaN": (responses(put((slice(None), 7), np.nan)), "warning: responses.npy", "1 whole target (7)"),
    "infinite": (responses(put((3, 4), np.inf)), "error: responses.npy", "1 infinite value"),
    "constant target": (responses(put((slice(None), 7), 2.5)), "warning: responses.npy", "without any variation (7)"),
    "target twice": (
        responses(lambda array: array.__setitem__((slice(None), 7), array[:, 2])),
        "note: responses.npy",
        "such as 2 and 7",
    ),
    "row twice": (responses(lambda array: array.__setitem__(9, array[4])), "warning: responses.npy", "such as 4 and 9"),
    "number for a gap": (responses(put((3, 4), -9999)), "warning: responses.npy", "1 target with -9999"),
    "a target in another unit": (
        responses(lambda array: array.__setitem__((slice(None), 7), 1e5 * array[:, 7])),
        "warning: responses.npy",
        "another unit",
    ),
    "offset that float32 does not hold": (
        responses(lambda array: array + 3e5),
        "warning: responses.npy",
        "loses digits",
    ),
    # repetitions
    "repetitions of others": (
        changed("responses_repeats.npy", lambda array: array[:, :, ::-1]),
        "warning: responses.npy",
        "not the mean",
    ),
    "repetitions one row off": (
        changed("responses_repeats.npy", lambda array: np.roll(array, -1, axis=0)),
        "error: responses.npy",
        "+1 rows away",
    ),
    "single repetition": (
        changed("responses_repeats.npy", lambda array: array.mean(axis=1, keepdims=True)),
        "warning: responses_repeats.npy",
        "no noise ceiling",
    ),
    # tables
    "split of an unknown image": (
        table("split.csv", lambda text: text.replace("image5.png", "imagge5.png")),
        "error: split.csv: line 6",
        "did you mean",
    ),
    "split without an image": (
        table("split.csv", lambda text: text.replace("image5.png,test\r\n", "").replace("image5.png,test\n", "")),
        "error: split.csv",
        "found none for 1 (image5.png)",
    ),
    "nothing to train on": (
        table("split.csv", lambda text: text.replace("train", "test")),
        "error: split.csv",
        "in train",
    ),
    "nothing to test": (
        table("split.csv", lambda text: text.replace("test", "train")),
        "warning: split.csv",
        "in test",
    ),
    "tiny test": (
        table("split.csv", lambda text: text.replace("test", "train").replace("image5.png,train", "image5.png,test")),
        "warning: split.csv",
        "1 image in test",
    ),
    "target out of range": (
        table("rois.csv", lambda text: text + f"{TARGETS},lh,V1\n"),
        "error: rois.csv",
        "from 0 to 11",
    ),
    "row of rois.csv twice": (table("rois.csv", lambda text: text + "0,lh,V2\n"), "warning: rois.csv", "1 row twice"),
    "ROI of all targets": (
        lambda root: write_table(
            root / "rois.csv", ("target", "hemisphere", "roi"), ((i, "", "V4") for i in range(TARGETS))
        ),
        "note: rois.csv",
        "holds all 12 targets",
    ),
    # places
    "metres": (sides(lambda array: array / 1000), "warning: coordinates.npy", "metres?"),
    "micrometres": (sides(lambda array: array * 1000), "warning: coordinates.npy", "micrometres?"),
    "indices of voxels": (sides(lambda array: np.rint(np.abs(array))), "warning: coordinates.npy", "voxels"),
    "one place": (sides(lambda array: array * 0 + 1), "warning: coordinates.npy", "at one place"),
    "axes swapped": (sides(lambda array: array[:, [1, 0, 2]]), "warning: coordinates.npy", "columns look swapped"),
    "wrong side": (sides(lambda array: array * [-1, 1, 1]), "warning: coordinates.npy", "at positive x"),
    # ceilings
    "negative ceiling": (changed("noise_ceiling.npy", put(3, -0.2)), "error: noise_ceiling.npy", "from 0 to 1"),
    "ceilings of others": (
        changed("noise_ceiling.npy", lambda array: array[:-1]),
        "error: noise_ceiling.npy",
        "found 11",
    ),
    "a fraction above 1": (
        changed("noise_ceiling.npy", put(3, 1.2)),
        "warning: noise_ceiling.npy",
        "all are read as per cent",
    ),
    "ceilings of 0": (changed("noise_ceiling.npy", lambda array: array * 0), "warning: noise_ceiling.npy", "all are 0"),
    "ceilings beside repetitions": (
        changed("noise_ceiling.npy", lambda array: array / 4),
        "warning: noise_ceiling.npy",
        "that responses_repeats.npy tells",
    ),
    # whatever else lies there
    "a pipe": (a_pipe, "error: split.csv", "a pipe"),
    "array of objects": (
        lambda root: np.save(root / "coordinates.npy", np.array([{}], dtype=object)),
        "error: coordinates.npy",
        "damaged",
    ),
}

ORDERS = {
    "one late": (
        responses(lambda array: np.roll(array, 1, axis=0)),
        "error: responses.npy",
        "at lag +1: rows are one late",
    ),
    "two early": (
        responses(lambda array: np.roll(array, -2, axis=0)),
        "error: responses.npy",
        "at lag -2: rows are 2 early",
    ),
    "reversed": (responses(lambda array: array[::-1]), "error: responses.npy", "in reverse"),
    "sorted as text": (responses(as_text), "error: responses.npy", "names sorted as text"),
    "shuffled": (
        responses(lambda array: np.random.default_rng(0).permutation(array)),
        "note: responses.npy",
        "their order cannot be verified",
    ),
}


@pytest.mark.parametrize("name", [*FAULTS, *ORDERS])
def test_a_planted_fault_is_named(name, root, monkeypatch):
    if name in FAULTS:  # the order of the rows, which takes most of the time, is not what is asked
        monkeypatch.setattr(order, "check", lambda case: [])
    plant, begins, words = (FAULTS | ORDERS)[name]
    plant(root)
    lines = said(root)
    assert any(line.startswith(begins) and words in line for line in lines), lines
    assert not any("could not be checked" in line for line in lines), lines


def test_what_is_sound_has_neither_errors_nor_warnings(root):
    lines = said(root)
    assert all(line.startswith("note: ") for line in lines), lines
    assert any("rows fit the stimuli best in the order they stand in" in line for line in lines), lines


def test_two_faults_are_both_named(root):
    for name in ("truncated image", "scattered NaN", "target out of range", "metres", "negative ceiling"):
        FAULTS[name][0](root)
    lines = [line for line in said(root) if not line.startswith("note")]
    for file in ("images/image5.png", "responses.npy", "rois.csv", "coordinates.npy", "noise_ceiling.npy"):
        assert any(file in line for line in lines), (file, lines)


def test_what_the_user_allows_is_no_fault(root):
    FAULTS["a row of NaN"][0](root)
    FAULTS["split without an image"][0](root)
    lines = said(root, Asked(missing="allow", unlisted="drop"))
    assert all(line.startswith("note: ") for line in lines), lines
    assert any("1 of 48 images not named" in line for line in lines), lines


def test_nothing_is_written(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    said(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(500)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "numbers without an axis": lambda path: np.save(path.open("wb"), np.array(3.0)),
    "complex numbers": lambda path: np.save(path.open("wb"), np.ones((48, 12), dtype=complex)),
    "all NaN": lambda path: np.save(path.open("wb"), np.full((48, 12), np.nan)),
    "beyond float32": lambda path: np.save(path.open("wb"), np.full((48, 12), 1e300)),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_a_file_is_the_others_are_asked(damage, sound, tmp_path, monkeypatch):
    monkeypatch.setattr(order, "check", lambda case: [])  # what takes most of the time is asked by the other tests
    for name in (*sorted({path.name for path in sound.iterdir()} - {"images"}), "images/image5.png"):
        root = shutil.copytree(sound, tmp_path / damage / Path(name).stem / "mine")
        DAMAGES[damage](root / name)
        (root / "images/image9.png").write_bytes(b"")
        lines = said(root)
        assert any(line.startswith("error: images/image9.png") for line in lines), (name, lines)
        assert not any("could not be checked" in line for line in lines), (name, lines)
