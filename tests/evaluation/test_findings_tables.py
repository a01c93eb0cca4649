"""What a model found, in tables: exact numbers from findings made by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calcarine.evaluation import History, SplitPredictions, evaluate_run
from calcarine.evaluation.bands import BandRow, band_rows
from calcarine.evaluation.layers import LayerRow, layer_depth, layer_rows
from calcarine.evaluation.tables import finding_columns, write_rows
from calcarine.findings import Findings
from calcarine.recording import Recording, Responses, Roi
from planted import Pictures

NAN = float("nan")


def recording(subject: str = "subj01", hemispheres: bool = True) -> Recording:
    """Five targets in V1 (left: 0 and 1), IT (right: 3), an empty ROI and none."""
    responses = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    sides = np.array(["lh", "lh", "lh", "rh", "rh"]) if hemispheres else np.full(5, "")
    rois = [Roi("V1", "lh", np.arange(2)), Roi("IT", "rh", np.array([3])), Roi("aTL", "rh", np.arange(0))]
    return Recording(
        subject=subject,
        stimuli=Pictures(np.zeros((12, 4, 4, 3), np.uint8)),
        responses=Responses.of(responses),
        splits=np.repeat(["validation", "test"], 6),
        hemispheres=sides,
        rois=rois if hemispheres else [],
    )


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float32)


LAYERED = Findings(
    penalty=values(0.1, 1e4, 10, 10, 10),
    cv_r2=values(0.25, NAN, 0.5, 0.5, -0.25),
    layer_r2={
        "conv": values(0.25, NAN, 0.5, 0.125, -0.5),
        "fc": values(-0.25, NAN, 0.25, 0.5, -0.25),
        "conv + fc": values(0.125, NAN, 0.25, 0.25, -0.5),
    },
    layer=np.array([0, 0, 0, 1, 1]),
)
BANDED = Findings(
    cv_r2=values(0.5, NAN, 0.5, 0.5, 0.0),
    band_r2={"gabor": values(0.625, NAN, 0.25, 0.125, -0.5), "patches": values(-0.125, NAN, 0.25, 0.375, 0.5)},
    unique_r2={
        "gabor": values(0.5, NAN, 0.25, 0, 0),
        "patches": values(0, NAN, 0.25, 0.25, 0),
        "shared": values(0, NAN, 0, 0.25, -0.125),
    },
)
MIXED = Findings(
    layer_weight={"conv": values(0.75, 0.5, 0.25, 0.125, 0.25), "fc": values(0.25, 0.5, 0.75, 0.875, 0.75)},
    layer=np.array([0, 0, 1, 1, 1]),
)
WINDOWED = Findings(
    cv_r2=values(0.5, NAN, 0.5, 0.5, 0.0),
    window=np.array([[0.1, 0.2, 0.05]] * 3 + [[0.5, 0.5, np.inf]] * 2, dtype=np.float32),
)


def test_layers_by_roi_are_means_over_the_targets_that_have_a_value() -> None:
    rows = layer_rows(recording(), LAYERED)
    assert rows[:9] == [
        LayerRow("subj01", "lh", "V1", "conv", 2, 0.25, 1),  # the target without R² is counted, and chose nothing
        LayerRow("subj01", "lh", "V1", "fc", 2, -0.25, 0),
        LayerRow("subj01", "lh", "V1", "conv + fc", 2, 0.125, 0),
        LayerRow("subj01", "lh", "all", "conv", 3, 0.375, 2),
        LayerRow("subj01", "lh", "all", "fc", 3, 0.0, 0),
        LayerRow("subj01", "lh", "all", "conv + fc", 3, 0.1875, 0),
        LayerRow("subj01", "rh", "IT", "conv", 1, 0.125, 0),
        LayerRow("subj01", "rh", "IT", "fc", 1, 0.5, 1),
        LayerRow("subj01", "rh", "IT", "conv + fc", 1, 0.25, 0),
    ]
    assert rows[9] == LayerRow("subj01", "rh", "aTL", "conv", 0, None, 0)
    assert [(row.hemisphere, row.roi) for row in rows[12::3]] == [("rh", "all"), ("both", "all")]
    assert rows[-3:] == [
        LayerRow("subj01", "both", "all", "conv", 5, 0.09375, 2),
        LayerRow("subj01", "both", "all", "fc", 5, 0.0625, 2),
        LayerRow("subj01", "both", "all", "conv + fc", 5, 0.03125, 0),
    ]


def test_layers_that_are_mixed_have_weights_and_a_depth() -> None:
    rows = layer_rows(recording(), MIXED)
    assert rows[:2] == [
        LayerRow("subj01", "lh", "V1", "conv", 2, None, 2, 0.625),
        LayerRow("subj01", "lh", "V1", "fc", 2, None, 0, 0.375),
    ]
    columns = finding_columns(MIXED)
    assert list(columns) == ["layer", "layer_weight_conv", "layer_weight_fc"]
    assert columns["layer"] == ["conv", "conv", "fc", "fc", "fc"]
    depth = layer_depth(MIXED)
    assert depth is not None
    np.testing.assert_allclose(depth, [0.25, 0.5, 0.75, 0.875, 0.75])
    np.testing.assert_array_equal(layer_depth(LAYERED), [0, NAN, 0, 1, 1])
    pair = replace(LAYERED, layer=np.array([2, 0, 0, 1, 1]))
    np.testing.assert_array_equal(layer_depth(pair), [NAN, NAN, 0, 1, 1])
    assert layer_depth(BANDED) is None
    assert (
        layer_depth(Findings(layer_weight={"a:conv": values(1), "b:conv": values(0)}, layer=np.zeros(1, int))) is None
    )


def test_layers_that_nobody_chose_from_have_no_choices() -> None:
    rows = layer_rows(recording(hemispheres=False), Findings(layer_r2={"fc": values(0, 1, 0, 1, 0.5)}))
    assert rows == [LayerRow("subj01", "both", "all", "fc", 5, 0.5, None)]
    assert layer_rows(recording(), BANDED) == []


def test_shares_of_bands_add_up_with_their_signs() -> None:
    rows = band_rows(recording(), BANDED)
    assert rows[:9] == [
        BandRow("subj01", "lh", "V1", "gabor", 2, 0.625, 1.25, 0.5),
        BandRow("subj01", "lh", "V1", "patches", 2, -0.125, -0.25, 0.0),
        BandRow("subj01", "lh", "V1", "shared", 2, None, None, 0.0),
        BandRow("subj01", "lh", "all", "gabor", 3, 0.4375, 0.875, 0.375),
        BandRow("subj01", "lh", "all", "patches", 3, 0.0625, 0.125, 0.125),
        BandRow("subj01", "lh", "all", "shared", 3, None, None, 0.0),
        BandRow("subj01", "rh", "IT", "gabor", 1, 0.125, 0.25, 0.0),
        BandRow("subj01", "rh", "IT", "patches", 1, 0.375, 0.75, 0.25),
        BandRow("subj01", "rh", "IT", "shared", 1, None, None, 0.25),
    ]
    assert rows[9] == BandRow("subj01", "rh", "aTL", "gabor", 0, None, None, None)
    assert band_rows(recording(), LAYERED) == []


def test_nothing_explained_has_no_shares() -> None:
    rows = band_rows(
        recording(hemispheres=False), Findings(band_r2={"a": values(*[-0.5] * 5), "b": values(*[0.5] * 5)})
    )
    assert [(row.r2_mean, row.share, row.unique_r2_mean) for row in rows] == [(-0.5, None, None), (0.5, None, None)]


def test_columns_of_targets_say_what_was_found() -> None:
    columns = finding_columns(LAYERED)
    assert list(columns) == ["penalty", "cv_r2", "layer"]
    assert columns["penalty"] == [0.1, 1e4, 10.0, 10.0, 10.0]  # not 0.10000000149011612
    assert columns["layer"] == ["conv", "", "conv", "fc", "fc"]
    assert list(finding_columns(BANDED)) == [
        "cv_r2", "band_r2_gabor", "band_r2_patches", "unique_r2_gabor", "unique_r2_patches", "unique_r2_shared",
    ]  # fmt: skip
    windows = finding_columns(WINDOWED)
    assert list(windows) == ["cv_r2", "window_x", "window_y", "window_size"]
    assert (windows["window_x"][0], windows["window_y"][0], windows["window_size"][0]) == (0.1, 0.2, 0.05)
    assert windows["window_size"][4] == np.inf
    assert finding_columns(Findings()) == {}


def test_unknown_cells_are_empty(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", layer_rows(recording(), LAYERED)[9:11])
    assert (tmp_path / "a.csv").read_text() == (
        "subject,hemisphere,roi,layer,n_targets,r2_mean,chosen,weight_mean\n"
        "subj01,rh,aTL,conv,0,,0,\nsubj01,rh,aTL,fc,0,,0,\n"
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(folder: Path, subjects: list[Recording], findings: dict[str, Findings] | None) -> Path:
    splits = [
        SplitPredictions(each, split, np.flatnonzero(each.splits == split), each.responses.gather(np.arange(6)))
        for each in subjects
        for split in ("validation", "test")
    ]
    evaluate_run(folder, splits, History(), "", findings=findings)
    return folder


def test_a_run_without_findings_is_what_it_was(tmp_path: Path) -> None:
    bare = run(tmp_path / "bare", [recording()], None)
    found = run(tmp_path / "found", [recording()], {"subj01": LAYERED})
    assert (bare / "scores.csv").read_bytes() == (found / "scores.csv").read_bytes()
    assert not (bare / "layers.csv").exists()
    assert not (bare / "bands.csv").exists()
    first, second = table(bare / "targets.csv"), table(found / "targets.csv")
    assert [list(row.items()) for row in first] == [list(row.items())[: len(row) - 3] for row in second]
    assert [row["penalty"] for row in second] == ["0.1", "10000.0", "10.0", "10.0", "10.0"] * 2  # validation and test
    assert [row["cv_r2"] for row in second[5:]] == ["0.25", "", "0.5", "0.5", "-0.25"]


def test_subjects_keep_their_own_findings(tmp_path: Path) -> None:
    other = Findings(cv_r2=values(1, 1, 1, 1, 1), layer_r2={"conv": values(*[1.0] * 5), "fc": values(*[0.0] * 5)})
    folder = run(
        tmp_path / "run",
        [recording("subj01"), recording("subj02"), recording("subj03")],
        {"subj01": LAYERED, "subj02": other},
    )
    rows = [row for row in table(folder / "targets.csv") if row["split"] == "test"]
    assert [row["cv_r2"] for row in rows] == ["0.25", "", "0.5", "0.5", "-0.25"] + ["1.0"] * 5 + [""] * 5
    assert [row["layer"] for row in rows] == ["conv", "", "conv", "fc", "fc"] + [""] * 10
    wholes = [row for row in table(folder / "layers.csv") if (row["hemisphere"], row["layer"]) == ("both", "conv")]
    assert [(row["subject"], row["r2_mean"], row["chosen"]) for row in wholes] == [
        ("subj01", "0.09375", "2"),
        ("subj02", "1.0", ""),
    ]


@pytest.mark.parametrize(
    ("findings", "names", "said"),
    [
        (LAYERED, ["layers_per_roi", "layers"], ["optimistic", "layers.csv has the numbers, those of pairs too"]),
        (BANDED, ["band_shares", "variance_partition"], ["product measure", "shared"]),
        (MIXED, ["layer_weights_per_roi"], ["How much each layer counts"]),
        (WINDOWED, ["receptive_fields"], ["3 of 5 have an R² over 0.05; of these 1 look at the whole image and 2"]),
    ],
)
def test_the_report_shows_and_explains_them(tmp_path: Path, findings: Findings, names: list[str], said: list[str]):
    folder = run(tmp_path / "run", [recording()], {"subj01": findings})
    assert {f"{name}.png" for name in names} < {path.name for path in (folder / "figures").iterdir()}
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("cross-validated on the training split") == (0 if findings is MIXED else len(names))
    assert all(words in text for words in said)
    drawn = {"layers_per_roi"} & set(names)  # by Plotly
    assert text.count('<img alt="') == 1 + len(names) - len(drawn)  # with the residuals
    assert text.count('<figure class="plot"') == 3 + len(drawn)
