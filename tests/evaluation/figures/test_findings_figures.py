"""Figures of findings show the numbers they are given, and draw whatever a model may find."""

from pathlib import Path

import numpy as np
import pytest
from calcarine.evaluation.bands import BandRow, band_rows
from calcarine.evaluation.figures.bands import band_shares, variance_partition
from calcarine.evaluation.figures.drawing import save_figure, short_number
from calcarine.evaluation.figures.heat_map import heat_map_of, picture, plot
from calcarine.evaluation.figures.layers import layer_curves, short_labels
from calcarine.evaluation.figures.receptive_fields import (
    MOST_CIRCLES,
    Windows,
    coverage,
    receptive_fields,
    windows_by_side,
)
from calcarine.evaluation.layers import LayerRow, layer_rows
from calcarine.findings import Findings
from calcarine.recording import Recording, Responses, Roi
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Rectangle

pytestmark = pytest.mark.filterwarnings("error")  # a layout that does not fit its figure, a mean of nothing


def recording(num_targets: int = 60, rois: int = 3, hemispheres: tuple[str, ...] = ("lh", "rh")) -> Recording:
    sides = np.array([hemispheres[i * len(hemispheres) // num_targets] for i in range(num_targets)])
    named = [Roi(f"roi{n}", side, np.flatnonzero(sides == side)[n::rois]) for side in hemispheres for n in range(rois)]
    return Recording(
        subject="subj01",
        stimuli=[""] * 2,  # pyright: ignore[reportArgumentType]
        responses=Responses.of(np.zeros((2, num_targets), dtype=np.float32)),
        splits=np.full(2, "test"),
        hemispheres=sides,
        rois=[*named, Roi("empty", hemispheres[0], np.arange(0))] if rois else [],
    )


def random_r2(num_targets: int, names: list[str], low: float = -0.1, high: float = 0.3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    r2 = {name: rng.uniform(low, high, num_targets).astype(np.float32) for name in names}
    for values in r2.values():
        values[: num_targets // 10] = np.nan
    return r2


def layer_heat_map(rows):
    shown = heat_map_of(rows)
    return None if shown is None else picture(shown)


def row(hemisphere: str, roi: str, layer: str, r2: float | None) -> LayerRow:
    return LayerRow("subj01", hemisphere, roi, layer, 9, r2, 0)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def frames(axes) -> set[tuple[float, float]]:
    """Column and row of the framed cells."""
    corners = [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle)]
    return {(x + 0.5, y + 0.5) for x, y in corners}


def test_the_heat_map_frames_the_best_layer_of_each_roi(tmp_path: Path) -> None:
    numbers = {
        ("lh", "V1"): (0.3, 0.1, 0.9),
        ("lh", "IT"): (-0.02, 0.25, 0.9),
        ("lh", "STS"): (0.004, -0.01, 0.9),
        ("lh", "all"): (0.2, 0.1, 0.9),
        ("rh", "IT"): (None, None, None),
        ("rh", "V1"): (0.1, None, 0.9),
        ("rh", "all"): (0.1, 0.2, 0.9),
    }
    rows = [
        row(*key, layer, value)
        for key, values in numbers.items()
        for layer, value in zip(("conv", "fc", "conv + fc"), values, strict=True)
    ]
    figure = layer_heat_map(rows)
    assert figure is not None
    left, right, bar = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["V1", "IT", "STS", "all"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["conv", "fc"]  # pairs stand in the table
    assert texts(left) == [".30", ".10", "−.02", ".25", ".00", "−.01", ".20", ".10"]
    assert frames(left) == {(0, 0), (1, 1), (0, 3.35)}  # none in STS
    assert texts(right) == [".10", ".10", ".20"]
    assert frames(right) == {(1, 3.35)}  # the best of one is no best
    assert bar.get_ylabel() == "cross-validated R²"
    save_figure(figure, tmp_path / "a.png")

    shown = heat_map_of(rows)
    assert shown is not None
    spec = plot(shown)
    cells = [trace for trace in spec["data"] if trace["type"] == "heatmap"]
    assert [trace["z"] for trace in cells] == [
        [[0.3, 0.1], [-0.02, 0.25], [0.004, -0.01], [0.2, 0.1]],
        [[0.1, None], [None, None], [None, None], [0.1, 0.2]],
    ]
    best = [list(zip(each["x"], each["y"], strict=True)) for each in spec["data"] if each["type"] == "scatter"]
    assert best == [[(0, 0), (1, 1), (0, 3)], [(1, 3)]]  # the same as the frames


def test_series_have_panels_of_their_own_and_subjects_are_averaged() -> None:
    rows = [
        row("lh", roi, f"{series}:{layer}", value + offset)
        for roi in ("V1", "all")
        for series, value in (("pretrained", 0.5), ("random", 0.1))
        for layer in ("conv", "fc")
        for offset in (-0.1, 0.1)
    ]
    figure = layer_heat_map(rows)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes[:2]] == ["left hemisphere, pretrained", "left hemisphere, random"]
    assert [texts(axes)[0] for axes in figure.axes[:2]] == [".50", ".10"]


def test_random_weights_are_a_dashed_line_over_the_same_layers(tmp_path: Path) -> None:
    r2 = {f"{series}:{layer}": np.full(60, value, np.float32)
          for series, level in (("pretrained", 0.4), ("random", 0.1))
          for layer, value in (("conv", level), ("fc", level / 2))}  # fmt: skip
    figure = layer_curves([(recording(), Findings(layer_r2=r2))])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["conv", "fc"]
    lines = {
        (line.get_linestyle(), *np.round(np.asarray(line.get_ydata(), float), 6))
        for line in axes.lines
        if len(np.atleast_1d(line.get_xdata())) == 2 and line.get_marker() == "."
    }
    assert lines == {("-", 0.4, 0.2), ("--", 0.1, 0.05)}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["left hemisphere", "right hemisphere", "pretrained", "random"]
    save_figure(figure, tmp_path / "a.png")


def test_the_interval_over_targets_is_that_of_their_mean() -> None:
    values = np.array([0.1, 0.2, 0.6, np.nan], dtype=np.float32)
    figure = layer_curves([(recording(4, 0, ("",)), Findings(layer_r2={"a": values, "b": values}))])
    (shade,) = figure.axes[0].collections
    half = 1.96 * np.std(values[:3], ddof=1) / np.sqrt(3)
    heights = np.asarray(shade.get_paths()[0].vertices)[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [0.3 - half, 0.3 + half], atol=1e-6)


@pytest.mark.parametrize("layers", [1, 40])
@pytest.mark.parametrize(
    "subject", [recording(), recording(1, 1, ("lh",)), recording(9, 0, ("",))], ids=["rois", "one-target", "no-roi"]
)
def test_any_layers_of_any_recording_are_drawn(tmp_path: Path, layers: int, subject: Recording) -> None:
    names = [f"{series}:visual.transformer.blocks.{n}" for series in ("a", "random") for n in range(layers)]
    findings = Findings(layer_r2=random_r2(subject.num_targets, names))
    heat_map = layer_heat_map(layer_rows(subject, findings))
    assert (heat_map is None) == (not subject.rois)
    if heat_map is not None:
        save_figure(heat_map, tmp_path / "a.png")
    save_figure(layer_curves([(subject, findings)] * 2), tmp_path / "b.png")


@pytest.mark.parametrize("value", [np.nan, -3.0])
def test_layers_that_explain_nothing_are_drawn(tmp_path: Path, value: float) -> None:
    findings = Findings(layer_r2={name: np.full(60, value, np.float32) for name in "ab"})
    heat_map = layer_heat_map(layer_rows(recording(), findings))
    assert (heat_map is None) == np.isnan(value)
    if heat_map is not None:
        save_figure(heat_map, tmp_path / "a.png")
    save_figure(layer_curves([(recording(), findings)]), tmp_path / "b.png")


def test_labels_leave_out_what_all_share() -> None:
    assert short_labels(["visual.blocks.0", "visual.blocks.1.mlp"]) == (
        {"visual.blocks.0": "0", "visual.blocks.1.mlp": "1.mlp"},
        "visual.blocks",
    )
    assert short_labels(["layer1", "layer1.0"]) == ({"layer1": "layer1", "layer1.0": "layer1.0"}, "")
    assert short_labels(["features.2"]) == ({"features.2": "features.2"}, "")
    assert [short_number(value) for value in (0.234, -0.02, -0.001, 1.0, -10.5)] == [
        ".23", "−.02", ".00", "1.00", "−10.50",
    ]  # fmt: skip


def band(roi: str, name: str, r2: float | None, unique: float | None = None) -> BandRow:
    return BandRow("subj01", "lh", roi, name, 9, r2, None, unique)


def bars(axes) -> list[tuple[float, float]]:
    """Lower and upper end of each bar, by band and from left to right."""
    patches = [patch for patch in axes.patches if np.isfinite(patch.get_x())]
    return [tuple(sorted((round(p.get_y(), 6), round(p.get_y() + p.get_height(), 6)))) for p in patches]


def test_shares_stack_upwards_and_negative_ones_hang(tmp_path: Path) -> None:
    rows = [
        *(band("V1", name, r2) for name, r2 in zip("abc", (0.3, -0.1, 0.2), strict=True)),
        *(band("IT", name, r2) for name, r2 in zip("abc", (0.003, 0.003, 0.003), strict=True)),
        *(band("all", name, r2) for name, r2 in zip("abc", (0.1, 0.2, 0.1), strict=True)),
    ]
    figure = band_shares(rows)
    assert figure is not None
    (axes,) = figure.axes
    assert bars(axes) == [(0, 0.75), (0, 0.25), (-0.25, 0), (0.25, 0.75), (0.75, 1.25), (0.75, 1)]  # none in IT
    assert texts(axes) == [".40", ".40"]
    save_figure(figure, tmp_path / "a.png")
    assert band_shares([band("all", "a", -0.5), band("all", "b", 0.4)]) is None
    assert band_shares([band("all", "a", None)]) is None


def test_the_shared_part_stands_between_the_unique_ones(tmp_path: Path) -> None:
    rows = [band("all", "a", 0.2, 0.1), band("all", "b", 0.3, 0.25), band("all", "shared", None, 0.05)]
    figure = variance_partition(rows)
    assert figure is not None
    assert bars(figure.axes[0]) == [(0, 0.1), (0.1, 0.15), (0.15, 0.4)]
    assert texts(figure.axes[0]) == [".40"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "shared", "b"]
    save_figure(figure, tmp_path / "a.png")
    assert variance_partition([band("all", "a", 0.2)]) is None


@pytest.mark.parametrize(("rois", "bands"), [(0, 4), (1, 1), (30, 12)])
def test_any_bands_of_any_recording_are_drawn(tmp_path: Path, rois: int, bands: int) -> None:
    for hemispheres in (("lh", "rh"), ("",)):
        subject = recording(80, rois, hemispheres)
        found = Findings(band_r2=random_r2(80, [f"a long name of a band {n}" for n in range(bands)]))
        figure = band_shares(band_rows(subject, found))
        assert figure is not None
        save_figure(figure, tmp_path / "a.png")


def test_windows_are_split_by_hemisphere_and_the_whole_image_is_counted() -> None:
    window = np.array([[0.7, 0.4, 0.1], [0.5, 0.5, np.inf], [0.6, 0.3, 0.2], [0.2, 0.5, 0.1], [np.nan] * 3], np.float32)
    cv_r2 = np.array([0.2, 0.3, 0.01, 0.4, np.nan], dtype=np.float32)
    subject = recording(5, 0)
    assert subject.hemispheres.tolist() == ["lh", "lh", "lh", "rh", "rh"]
    by_side = windows_by_side(subject, Findings(cv_r2=cv_r2, window=window))
    left, right = by_side["lh"], by_side["rh"]
    np.testing.assert_allclose(left.centre, [[0.7, 0.4]], rtol=1e-6)  # not the one that nothing explains
    assert (left.whole, right.whole, len(right.size)) == (1, 0, 1)
    assert left.eccentricity[0] == pytest.approx(np.hypot(0.2, 0.1))
    assert windows_by_side(subject, Findings(cv_r2=cv_r2)) == {}
    assert windows_by_side(subject, Findings(window=window)) == {}
    held_out = windows_by_side(subject, Findings(window=window), cv_r2)  # of a trained head nothing is cross-validated
    np.testing.assert_array_equal(held_out["lh"].centre, left.centre)


def test_coverage_is_the_mean_window_with_y_from_the_top() -> None:
    centre, size = np.array([[0.25, 0.1], [0.25, 0.1], [0.8, 0.6]]), np.array([0.1, 0.1, 0.2])
    found = coverage(Windows(centre, size, np.ones(3), 0))
    points = (np.arange(80) + 0.5) / 80
    expected = np.zeros((80, 80))
    for (x, y), s in zip(centre, size, strict=True):
        expected += np.exp(-((points[None] - x) ** 2 + (points[:, None] - y) ** 2) / (2 * s**2)) / 3
    np.testing.assert_allclose(found, expected, atol=1e-12)
    down, across = np.unravel_index(found.argmax(), found.shape)
    assert (points[across], points[down]) == pytest.approx((0.25, 0.1), abs=0.01)


def test_circles_are_the_best_windows_in_image_coordinates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centre, size, r2 = rng.uniform(size=(3000, 2)), rng.uniform(0.05, 0.2, 3000), rng.uniform(0.1, 0.5, 3000)
    figure = receptive_fields({"lh": Windows(centre, size, r2, 0), "rh": Windows(centre[:0], size[:0], r2[:0], 4)})
    assert figure is not None
    axes = figure.axes[0]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (1, 0))  # y downwards
    (circles,) = (each for each in axes.collections if isinstance(each, EllipseCollection))
    best = np.argsort(r2)[-MOST_CIRCLES:]
    np.testing.assert_array_equal(circles.get_offsets(), centre[best])
    np.testing.assert_allclose(np.asarray(circles.get_widths()), 2 * size[best])
    save_figure(figure, tmp_path / "a.png")


@pytest.mark.parametrize("num_targets", [1, 5000])
@pytest.mark.parametrize("hemispheres", [("lh", "rh"), ("",)])
def test_any_windows_are_drawn(tmp_path: Path, num_targets: int, hemispheres: tuple[str, ...]) -> None:
    subject = recording(num_targets, 0, hemispheres if num_targets > 1 else hemispheres[:1])
    window = np.random.default_rng(0).integers(1, 9, (num_targets, 3)).astype(np.float32) / 10
    figure = receptive_fields(windows_by_side(subject, Findings(cv_r2=np.full(num_targets, 0.2), window=window)))
    assert figure is not None
    save_figure(figure, tmp_path / "a.png")
    unexplained = Findings(cv_r2=np.full(num_targets, -0.2), window=window)
    assert receptive_fields(windows_by_side(subject, unexplained)) is None
    assert receptive_fields({}) is None


@pytest.mark.slow
def test_the_same_findings_make_the_same_bytes(tmp_path: Path) -> None:
    subject = recording(20, 1)
    found = Findings(
        cv_r2=np.full(20, 0.2, np.float32),
        layer_r2=random_r2(20, ["a", "b"]),
        band_r2=random_r2(20, ["a", "b"]),
        unique_r2=random_r2(20, ["a", "b", "shared"]),
        window=np.full((20, 3), 0.3, np.float32),
    )
    for name in ("one", "two"):
        figures = [
            layer_heat_map(layer_rows(subject, found)),
            layer_curves([(subject, found)]),
            band_shares(band_rows(subject, found)),
            variance_partition(band_rows(subject, found)),
            receptive_fields(windows_by_side(subject, found)),
        ]
        for index, figure in enumerate(figures):
            assert figure is not None
            save_figure(figure, tmp_path / f"{name}{index}.png")
    for index in range(5):
        assert (tmp_path / f"one{index}.png").read_bytes() == (tmp_path / f"two{index}.png").read_bytes()
