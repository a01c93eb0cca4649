"""`trials.csv` of a user's folder: in which order images were presented, and what cannot be read of it."""

from pathlib import Path

import numpy as np
import pytest
from calcarine.data import Folder
from calcarine.errors import InputError
from trees import write_folder

ROWS = ["image2.png,1,1,0.5,left", "image10.png,1,1,,right", ",1,2,0.25,left", "image2.png,2,1,0.75,left"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "monkey7", 12, 5)


def write(root: Path, *rows: str, header: str = "stimulus,session,run,rt,hand") -> Path:
    (root / "trials.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def test_the_order_and_the_columns_of_numbers_are_read(root: Path) -> None:
    source = Folder(write(root, *ROWS))
    assert source.trial_columns() == ["rt"]
    (recording,) = source.read()
    assert recording.order is not None
    order = recording.order()
    np.testing.assert_array_equal(order.shown, [1, 9, -1, 1])
    np.testing.assert_array_equal(order.stimulus, order.shown)
    np.testing.assert_array_equal(order.session, [1, 1, 1, 2])
    np.testing.assert_array_equal(order.run, [1, 1, 2, 1])
    np.testing.assert_array_equal(order.behaviour["rt"], [0.5, np.nan, 0.25, 0.75])


def test_images_alone_tell_an_order(root: Path) -> None:
    source = Folder(write(root, "image3.png", "image1.png", header="stimulus"))
    assert source.trial_columns() == []
    (recording,) = source.read()
    assert recording.order is not None
    assert recording.order().run is None
    np.testing.assert_array_equal(recording.order().shown, [2, 0])
    np.testing.assert_array_equal(recording.order().starts(), [0, 0])


def test_images_that_a_split_drops_are_no_stimuli(root: Path) -> None:
    lines = [f"image{number}.png,{'test' if number < 4 else 'train'}" for number in range(1, 13) if number != 2]
    (root / "split.csv").write_text("\n".join(["stimulus,split", *lines]) + "\n")
    (recording,) = Folder(write(root, *ROWS), unlisted="drop").read()
    assert recording.order is not None
    np.testing.assert_array_equal(recording.order().shown, [-1, 8, -1, -1])


def test_a_table_that_nobody_asks_for_is_not_read(root: Path) -> None:
    write(root, "one,two", header="something,else")
    (recording,) = Folder(root).read()
    assert recording.order is not None


def test_without_the_table_no_order_is_known(root: Path) -> None:
    source = Folder(root)
    assert source.trial_columns() is None
    assert source.read()[0].order is None


@pytest.mark.parametrize(
    ("rows", "header", "line"),
    [
        (["image2.png"], "name", "line 1: expected the columns stimulus"),
        ([], "stimulus", "expected a row for each presentation, found none"),
        (["image1.png", "imgae2.png"], "stimulus", "line 3: expected the file name of an image, or nothing"),
        (["image1.png,1", "image2.png,one"], "stimulus,session", "line 3: expected a whole number as session"),
        (["image1.png,1.5"], "stimulus,run", "line 2: expected a whole number as run, found '1.5'"),
        (
            ["image1.png,1", "image2.png,2", "image3.png,1"],
            "stimulus,session",
            "line 4: expected rows in the order of presentation, session after session, found session 1 again",
        ),
        (
            ["image1.png,1,1", "image2.png,1,2", "image3.png,1,1"],
            "stimulus,session,run",
            "line 4: expected rows in the order of presentation, run after run, found run 1 of session 1 again",
        ),
        (["image1.png,1,2"], "stimulus,session", "line 2: expected 2 values, found more"),
    ],
)
def test_each_fault_is_one_line(root: Path, rows: list[str], header: str, line: str) -> None:
    write(root, *rows, header=header)
    (recording,) = Folder(root).read()
    assert recording.order is not None
    with pytest.raises(InputError, match=r"trials\.csv") as raised:
        recording.order()
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)
