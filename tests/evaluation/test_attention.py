"""Where queries look, in tables and on the image."""

import csv
from pathlib import Path

import numpy as np
from calcarine.evaluation.attention import AttentionRow, attention_maps, attention_rows
from calcarine.evaluation.found import write_attention
from calcarine.findings import Attention

GRID = np.array([[row, column] for row in range(4) for column in range(4)])
FINE = np.concatenate([[[-1, -1]], GRID])  # behind a class token
COARSE = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def some_attention(**places: np.ndarray) -> Attention:
    """Two ROIs: one looks at the fine cell (1, 2) alone, the other at the coarse cell (1, 0) and the class token."""
    fine, coarse = np.zeros((2, 17), np.float32), np.zeros((2, 4), np.float32)
    fine[0, 1 + 6] = 1
    fine[1, 0], coarse[1, 2] = 0.25, 0.75
    return Attention(["lh.V1v", "rh.FFA-1"], {"fine": fine, "coarse": coarse}, places, "validation")


def test_rows_have_the_places_that_are_known() -> None:
    rows = attention_rows(some_attention(fine=FINE))
    assert len(rows) == 2 * (17 + 4)
    assert rows[0] == AttentionRow("lh.V1v", "fine", 0, None, None, 0.0)
    assert rows[7] == AttentionRow("lh.V1v", "fine", 7, 1, 2, 1.0)
    assert rows[-2] == AttentionRow("rh.FFA-1", "coarse", 2, None, None, 0.75)


def test_layers_add_up_on_the_finest_grid() -> None:
    shown = attention_maps(some_attention(fine=FINE, coarse=COARSE))
    assert shown is not None
    expected = np.zeros((2, 4, 4))
    expected[0, 1, 2] = 16
    expected[1, 2:, :2] = 4
    np.testing.assert_allclose(shown.maps, expected)
    np.testing.assert_allclose(shown.elsewhere, [0, 0.25], atol=1e-6)
    alone = attention_maps(some_attention(coarse=COARSE))  # of the fine layer's tokens no place is known
    assert alone is not None
    np.testing.assert_allclose(alone.maps[0], 0)
    np.testing.assert_allclose(alone.elsewhere, [1, 0.25], atol=1e-6)
    assert attention_maps(some_attention()) is None


def test_a_grid_that_no_other_divides_keeps_its_share() -> None:
    odd = np.array([[row, column] for row in range(3) for column in range(3)])
    attention = Attention(["a"], {"odd": np.full((1, 9), 0.5 / 9), "fine": np.full((1, 16), 0.5 / 16)}, {}, "test")
    shown = attention_maps(Attention(attention.rois, attention.weight, {"odd": odd, "fine": GRID}))
    assert shown is not None
    np.testing.assert_allclose(shown.maps.mean(), 1)
    np.testing.assert_allclose(shown.elsewhere, 0, atol=1e-6)


def test_the_report_says_where_and_how_much_has_no_place(tmp_path: Path) -> None:
    (figure,) = write_attention(tmp_path, some_attention(fine=FINE, coarse=COARSE))
    assert figure.path is not None
    assert figure.path.is_file()
    assert "stimuli of the validation split" in figure.caption
    assert "Between 0% and 25% goes to tokens without a place" in figure.caption
    with (tmp_path / "attention.csv").open(newline="") as file:
        assert sum(float(row["weight"]) for row in csv.DictReader(file) if row["roi"] == "rh.FFA-1") == 1
    assert write_attention(tmp_path / "other", None) == []
    assert write_attention(tmp_path / "placeless", some_attention()) == []
    assert (tmp_path / "placeless" / "attention.csv").is_file()
