"""Figures show the numbers they are given; brain maps put values where the vertices are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calcarine.evaluation.figures.drawing import save_figure
from calcarine.evaluation.figures.run import learning_curves, pearson_per_roi, residuals
from calcarine.evaluation.figures.surface import brain_maps, load_mesh
from calcarine.evaluation.scores import ScoreRow
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

ROW = ScoreRow("test", "subj01", "lh", "V1v", 9, 9, 0.4, 0.4, 0.35, 0.44, 0.1, 0.1, 1.0, 1.0, 1.0, 0.5, 0.49, 50.0)

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # a layout that does not fit its figure


def bars(figure) -> list[tuple[float, float]]:
    """Centre and height of each bar that is drawn, from left to right."""
    patches = [patch for patch in figure.axes[0].patches if np.isfinite(patch.get_x())]
    return sorted((patch.get_x() + patch.get_width() / 2, patch.get_height()) for patch in patches)


def test_bars_stand_in_the_order_of_rois_with_both_hemispheres(tmp_path: Path) -> None:
    rows = [
        ROW,
        replace(ROW, roi="EBA", pearson_mean=0.3),
        replace(ROW, roi="all", pearson_mean=0.5),
        replace(ROW, hemisphere="rh", pearson_mean=0.2),
        replace(ROW, hemisphere="rh", roi="aTL-faces", n_targets=0, n_scored=0, pearson_mean=None),
        replace(ROW, hemisphere="rh", roi="all", pearson_mean=0.1),
        replace(ROW, hemisphere="both", roi="all", pearson_mean=0.7),
    ]
    figure = pearson_per_roi(rows)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["V1v", "EBA", "all"]
    assert [height for _, height in bars(figure)] == [0.4, 0.2, 0.3, 0.5, 0.1]
    lines = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    ceiling = max(segment[0][1] for line in lines for segment in line.get_segments())
    assert ceiling == pytest.approx(0.7)  # the square root of 0.49
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "left hemisphere",
        "right hemisphere",
        "perfect model (√ noise ceiling)",
    ]
    save_figure(figure, tmp_path / "a.png")


def test_bars_of_several_subjects_are_means(tmp_path: Path) -> None:
    rows = [replace(ROW, roi="all", subject=f"subj{n}", pearson_mean=value) for n, value in enumerate((0.2, 0.3, 0.7))]
    figure = pearson_per_roi(rows)
    assert [height for _, height in bars(figure)] == [pytest.approx(0.4)]
    save_figure(figure, tmp_path / "a.png")


@pytest.mark.parametrize("rois", [0, 1, 3, 40])
def test_any_number_of_rois_without_hemispheres_fits(rois: int, tmp_path: Path) -> None:
    bare = replace(ROW, hemisphere="", noise_ceiling_mean=None)
    rows = [*[replace(bare, roi=f"long-name-{n}") for n in range(rois)], replace(bare, hemisphere="both", roi="all")]
    figure = pearson_per_roi(rows)
    assert len(bars(figure)) == rois + 1
    save_figure(figure, tmp_path / "a.png")


def test_learning_curves_mark_the_best_epoch(tmp_path: Path) -> None:
    figure = learning_curves([1.0, 0.5, 0.4], [1.1, 0.7, 0.8], [np.nan, 0.3, 0.2])
    left, right = figure.axes
    assert [np.asarray(line.get_ydata()).tolist() for line in left.lines] == [[1.0, 0.5, 0.4], [1.1, 0.7, 0.8]]
    assert right.get_title("right") == "highest: 0.300 in epoch 2"
    save_figure(figure, tmp_path / "a.png")
    save_figure(learning_curves([0.5], [], [0.1]), tmp_path / "one.png")
    save_figure(learning_curves([], [], []), tmp_path / "none.png")


@pytest.mark.parametrize("shape", [(30, 20), (200, 2000)])
def test_residuals_are_response_minus_prediction(shape: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    predictions = rng.normal(size=shape).astype(np.float32)
    responses = predictions + rng.choice([1.0, 3.0], size=shape)
    responses[::3, ::3] = np.nan
    figure = residuals(predictions, responses)
    assert figure.axes[1].get_title() == "mean 2\nstandard deviation 1"
    save_figure(figure, tmp_path / "a.png")


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_residuals_without_spread_or_data_still_draw(value: float, tmp_path: Path) -> None:
    save_figure(residuals(np.zeros((5, 4)), np.full((5, 4), value)), tmp_path / "a.png")


def test_a_figure_has_the_same_bytes_twice_and_replaces_whole(tmp_path: Path) -> None:
    one, two = (save_figure(pearson_per_roi([ROW]), tmp_path / name) for name in ("a.png", "b.png"))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(("hemisphere", "outward"), [("lh", -1), ("rh", 1)])
def test_mesh_is_the_inflated_fsaverage5(hemisphere: str, outward: int) -> None:
    mesh = load_mesh(hemisphere)
    assert mesh.points.shape == (10_242, 3)
    assert mesh.faces.shape == (20_480, 3)
    assert mesh.faces.max() == 10_241
    corners = mesh.points[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lateral = corners[:, :, 0].mean(axis=1) * outward > 35
    assert (normals[lateral, 0] * outward > 0).mean() > 0.95  # so that faces towards the viewer can be told


def panels(figure) -> list[np.ndarray]:
    """RGB of each panel of a figure, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    return [image[len(image) - int(b.y1) : len(image) - int(b.y0), int(b.x0) : int(b.x1)] for b in boxes]


def centre_of_colour(image: np.ndarray) -> float:
    """Where coloured pixels lie from left (0) to right (1); NaN where all are grey."""
    coloured = image.max(axis=2) - image.min(axis=2) > 40
    return float(np.flatnonzero(coloured.any(axis=0)).mean() / image.shape[1]) if coloured.any() else float("nan")


def test_values_lie_at_the_back_of_the_brain_seen_from_each_side() -> None:
    maps = {}
    for hemisphere in ("lh", "rh"):
        vertices = np.flatnonzero(load_mesh(hemisphere).points[:, 1] < -85)
        maps[hemisphere] = vertices, np.full(len(vertices), 0.5)
    figure = brain_maps(maps, "Pearson correlation")
    assert figure is not None
    assert not figure.texts
    lh_lateral, lh_medial, _, _, rh_lateral, rh_medial = map(centre_of_colour, panels(figure)[:6])
    assert lh_lateral > 0.8  # from the left, the back of the left hemisphere is on the right
    assert lh_medial < 0.2
    assert rh_lateral < 0.2
    assert rh_medial > 0.8


def test_vertices_beyond_fsaverage5_are_left_out_and_told() -> None:
    figure = brain_maps({"lh": (np.array([5, 20_000]), np.array([0.2, 0.9]))}, "Pearson correlation")
    assert figure is not None
    assert [text.get_text() for text in figure.texts] == ["fsaverage5 preview: 1 vertex in 16"]
    assert brain_maps({"lh": (np.array([20_000]), np.array([0.9]))}, "r") is None
    assert brain_maps({"lh": (np.array([5]), np.array([np.nan]))}, "r") is None
    assert brain_maps({}, "r") is None
