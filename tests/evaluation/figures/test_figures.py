"""Figures show the numbers they are given, as pictures and as pages draw them."""

import base64
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from calcarine.evaluation.figures import distribution, pairs, per_roi, training
from calcarine.evaluation.figures.drawing import DARK, save_figure
from calcarine.evaluation.figures.residuals import residuals
from calcarine.evaluation.figures.training import History
from calcarine.evaluation.scores import ScoreRow, TargetScores
from calcarine.evaluation.svg import embedded
from calcarine.recording import Recording, Responses
from matplotlib.collections import LineCollection

ROW = ScoreRow("test", "subj01", "lh", "V1v", 9, 9, 0.4, 0.4, 0.35, 0.44, 0.1, 0.1, 1.0, 1.0, 1.0, 0.5, 0.49, 50.0)

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # a layout that does not fit its figure


def recording(num_targets: int) -> Recording:
    return Recording(
        subject="subj01",
        stimuli=[""] * 2,  # pyright: ignore[reportArgumentType]
        responses=Responses.of(np.zeros((2, num_targets), dtype=np.float32)),
        splits=np.full(2, "test"),
        hemispheres=np.repeat(["lh", "rh"], num_targets // 2),
    )


def bars(figure) -> list[tuple[float, float]]:
    """Centre and height of each bar that is drawn, from left to right."""
    patches = [patch for patch in figure.axes[0].patches if np.isfinite(patch.get_x())]
    return sorted((patch.get_x() + patch.get_width() / 2, patch.get_height()) for patch in patches)


def pearson_per_roi(rows):
    return per_roi.picture(per_roi.bars_of(rows))


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

    left, right, ceilings = per_roi.plot(per_roi.bars_of(rows))["data"]
    assert (left["x"], right["x"]) == ([0.4, 0.3, 0.5], [0.2, 0.1])
    assert left["error_x"]["array"] == pytest.approx([0.04, 0.14, -0.06])
    assert ceilings["x"] == pytest.approx([0.7] * 5)
    assert right["customdata"][0].startswith("V1v right hemisphere<br>mean correlation 0.200<br>95 % interval 0.350 to")


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


def test_learning_curves_mark_the_best_epoch_and_those_that_are_kept(tmp_path: Path) -> None:
    history = History([1.0, 0.5, 0.4], [1.1, 0.7, 0.8], [np.nan, 0.3, 0.2], {"lh.V1": 1, "lh.<V2>": 2, "rh.V1": 1})
    figure = training.picture(history)
    left, right = figure.axes
    assert [np.asarray(line.get_ydata()).tolist() for line in left.lines] == [[1.0, 0.5, 0.4], [1.1, 0.7, 0.8]]
    assert right.get_title("right") == "highest: 0.300 in epoch 2"
    assert np.asarray(right.lines[-1].get_xydata()).tolist() == [[2, 0.3], [3, 0.2]]
    save_figure(figure, tmp_path / "a.png")
    *_, curve, kept = training.plot(history)["data"]
    assert curve["y"] == [None, 0.3, 0.2]
    assert (kept["x"], kept["y"], kept["text"]) == ([2, 3], [0.3, 0.2], ["lh.V1<br>rh.V1", "lh.&lt;V2&gt;"])
    diverged = training.plot(History([1.0, np.inf], [np.nan, 1.0]))["data"]
    assert [curve["y"] for curve in diverged] == [[1.0, None], [None, 1.0]]  # JSON knows no infinity
    for few in (History([0.5], [], [0.1]), History()):
        assert not few.has_curves
        save_figure(training.picture(few), tmp_path / "few.png")
        training.plot(few)


def test_the_distribution_counts_every_scored_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pearson, ceiling = rng.uniform(-0.3, 0.9, 60), rng.uniform(0, 1, 60)
    pearson[:5], ceiling[3:9] = np.nan, np.nan
    scores = TargetScores(*[np.zeros(60)] * 10)
    own = replace(scores, pearson=pearson, noise_ceiling=ceiling)
    shown = distribution.distribution_of([(recording(60), own)])
    assert shown is not None
    assert [(label, int(counts.sum())) for label, _, counts, _ in shown.sides] == [
        ("left hemisphere", 25),
        ("right hemisphere", 30),
    ]
    assert shown.sides[1][3] == pytest.approx(pearson[30:].mean())
    assert shown.perfect is not None
    assert shown.perfect.sum() == 51  # scored, with a ceiling
    drawn = distribution.plot(shown)["data"]
    assert [sum(each["y"]) for each in drawn] == [25, 30, 51]
    save_figure(distribution.picture(shown), tmp_path / "a.png")
    assert distribution.distribution_of([(recording(60), replace(own, pearson=np.full(60, np.nan)))]) is None


def test_pairs_are_in_standard_deviations_of_the_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    responses = 100 + 5 * rng.normal(size=(50, 8))
    predictions = 100 + 0.5 * (responses - 100) + rng.normal(size=(50, 8))
    responses[:4, 2] = np.nan
    pearson = np.array([np.nan, 0.3, 0.5, 0.7, 0.1, 0.2, 0.4, 0.6])
    shown = pairs.pairs_of(predictions, responses, pearson)
    assert shown is not None
    assert {name: target for name, (target, *_) in shown.examples.items()} == {
        "best target": 3,
        "median target": 6,
        "worst target": 4,
    }
    _, r, predicted, measured = shown.examples["best target"]
    assert r == 0.7
    assert (measured.mean(), measured.std()) == pytest.approx((0, 1))
    np.testing.assert_allclose(predicted, (predictions[:, 3] - responses[:, 3].mean()) / responses[:, 3].std())
    assert 0.97 * 346 < shown.counts.sum() <= 346  # 7 × 50 − 4, but for the outermost
    names = [f"<{n}>.png" for n in range(50)]
    cells, best, *_ = pairs.plot(shown, names)["data"]
    assert sum(map(sum, cells["customdata"])) == shown.counts.sum()
    assert best["text"][1] == "target 3, &lt;1&gt;.png"
    save_figure(pairs.picture(shown), tmp_path / "a.png")
    assert pairs.pairs_of(predictions, responses, np.full(8, np.nan)) is None


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]
    again = save_figure(pearson_per_roi([ROW]), tmp_path / "other" / "a.png")
    assert again.with_suffix(".svg").read_bytes() == one.with_suffix(".svg").read_bytes()


def test_a_picture_in_a_page_follows_the_readers_scheme(tmp_path: Path) -> None:
    path = save_figure(pearson_per_roi([ROW]), tmp_path / "a.png").with_suffix(".svg")
    source, width = embedded(path)
    text = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    ElementTree.fromstring(text)
    assert width == pytest.approx(6.4 * 96, abs=1)
    assert "prefers-color-scheme:dark" in text
    for light, dark in DARK.items():
        assert text.count(light) <= 1  # where it is named, and nowhere else
        assert dark in text
