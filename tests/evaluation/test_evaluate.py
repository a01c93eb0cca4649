"""A run's folder from predictions: tables that agree with each other, a report that stands alone."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from calcarine.evaluation import (
    Control,
    CurvePoint,
    History,
    LearningCurve,
    SplitPredictions,
    algonauts2023_score,
    evaluate_run,
    read_scores,
)
from calcarine.evaluation.stimuli import EACH
from calcarine.recording import Recording, Responses, Roi
from planted import Pictures


def subject(name: str, num_targets: int = 40, seed: int = 0, surface: bool = False) -> list[SplitPredictions]:
    """A subject with stimuli 0–49 in validation and 50–99 in test, predicted well but for one still target."""
    rng = np.random.default_rng(seed)
    responses = rng.normal(size=(100, num_targets)).astype(np.float32)
    responses[50:, 3] = 1e4 + 0.1
    half = num_targets // 2
    recording = Recording(
        subject=name,
        stimuli=Pictures(rng.integers(0, 255, (100, 6, 8, 3), dtype=np.uint8)),
        responses=Responses.of(responses),
        splits=np.repeat(["validation", "test"], 50),
        hemispheres=np.repeat(["lh", "rh"], half),
        rois=[Roi("<V1>", "lh", np.arange(8)), Roi("<V1>", "rh", np.arange(half, half + 8))],
        noise_ceiling=np.r_[0.0, np.linspace(0.2, 1, num_targets - 1)],
        vertices=np.tile(np.arange(half), 2) if surface else None,
    )
    predictions = (responses + rng.normal(size=responses.shape)).astype(np.float32)
    rows = {"test": np.arange(50, 100), "validation": np.arange(50)}
    return [SplitPredictions(recording, split, stimuli, predictions[stimuli]) for split, stimuli in rows.items()]


class Document(HTMLParser):
    """Checks that tags nest, and keeps what would be fetched or run, what Plotly draws, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.plots: list[str] = []
        self.is_plot = False
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "onload", "onclick")]
        self.is_plot = tag == "script" and ("type", "application/json") in attrs and ("id", "dark-colours") not in attrs
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["script"]:
            self.text += data
        elif self.is_plot:
            self.plots.append(data)


def test_a_run_folder_holds_tables_figures_and_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "version_0"
    history = History([1.0, 0.5], [1.1, 0.6], [0.2, 0.3])
    facts = {"Peak memory": "1 GiB", "Model": "a & b", "Data": "Folder mine, GaborEncoder"}
    summary = evaluate_run(folder, subject("subj01", surface=True), history, "head: <script>", facts)

    rows = read_scores(folder / "scores.csv")
    keys = [("lh", "<V1>"), ("lh", "all"), ("rh", "<V1>"), ("rh", "all"), ("both", "all")]
    assert [(row.split, row.hemisphere, row.roi) for row in rows] == [
        (split, *key) for split in ("validation", "test") for key in keys
    ]
    with (folder / "targets.csv").open(newline="") as file:
        targets = [row for row in csv.DictReader(file) if row["split"] == "test"]
    scored = [row for row in targets if row["pearson"]]
    whole = rows[-1]
    assert (whole.n_targets, whole.n_scored, len(targets), len(scored)) == (40, 39, 40, 39)
    assert whole.pearson_mean == pytest.approx(np.mean([float(row["pearson"]) for row in scored]))
    pearson = np.array([float(row["pearson"]) for row in scored])
    ceilings = np.array([float(row["noise_ceiling"]) for row in scored])
    assert whole.score == pytest.approx(algonauts2023_score([pearson], [ceilings]), abs=1e-10)

    assert summary.split == "test"
    assert summary.correlation == whole.pearson_mean
    assert summary.interval == pytest.approx((whole.pearson_ci_low, whole.pearson_ci_high), abs=1e-12)
    assert summary.score == whole.score
    assert summary.explained == pytest.approx(pearson[ceilings > 0].mean() / np.sqrt(ceilings[ceilings > 0]).mean())
    assert re.fullmatch(
        r"test correlation 0\.\d{3} \(95 % interval 0\.\d{3} to 0\.\d{3}\), "
        r"noise ceiling 0\.\d\d of variance \(correlation 0\.\d{3}\), "
        rf"noise-normalised score {summary.score:.2f} of 100; Folder mine, GaborEncoder, a & b",
        summary.headline(),
    )
    names = ["pearson_per_roi", "distribution", "brain_subj01", "learning_curves", "predicted_measured", "residuals"]
    assert list(summary.figures) == names
    files = sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    assert sorted(path.name for path in (folder / "figures").iterdir()) == files
    left = ["benchmarks.csv", "figures", "maps", "report.html", "scores.csv", "targets.csv"]
    assert sorted(path.name for path in folder.iterdir()) == left

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 9e6
    document = Document(page)
    kinds = [source.partition(",")[0] for source in document.sources]
    assert kinds.count("data:image/svg+xml;base64") == 2  # the inflated cortex and the residuals
    assert kinds.count("data:image/jpeg;base64") == len(kinds) - 2 == 2 * 2 * EACH  # of V1 and of all targets
    assert not {"link", "iframe"} & set(document.tags)
    plots = [json.loads(each) for each in document.plots]
    kinds = [[trace["type"] for trace in plot["data"]] for plot in plots]
    assert [each[0] for each in kinds] == ["bar", "bar", "mesh3d", "scatter", "heatmap"]
    assert "&lt;V1&gt;" in plots[0]["layout"]["yaxis"]["ticktext"]  # as Plotly reads names
    assert page.index("<h1>") < page.index("a &amp; b") < page.index('<figure class="plot"')  # on the first screen
    assert document.text.index("Folder mine") < document.text.index("Correlation per ROI")  # and less urgent after it
    assert document.text.index("Correlation per ROI") < document.text.index("1 GiB")
    assert "squared correlation over the noise ceiling" in document.text  # and no explained variance
    for text in ("demo/version_0", "head: <script>", "a & b", "<V1>", f"{summary.correlation:.3f}"):
        assert text in document.text
    assert "subj01, test: 1 of 40 targets have responses that do not vary" in document.text
    assert "subj01, validation: 1 of 40 targets have responses" not in document.text
    assert "1 of 40 targets have a noise ceiling of 0" in document.text


def test_the_same_run_makes_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "version_0", tmp_path / "two" / "version_0"
    for folder in (one, two):
        evaluate_run(folder, subject("subj01"), History(), "")
    for name in ("scores.csv", "targets.csv", "figures/pearson_per_roi.png", "figures/residuals.png"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_subjects_are_pooled_over_their_targets(tmp_path: Path) -> None:
    parts = [*subject("subj01", 40, seed=1), *subject("subj02", 20, seed=2)]
    summary = evaluate_run(tmp_path / "run", parts, History(), "")
    rows = [row for row in read_scores(tmp_path / "run" / "scores.csv") if row.hemisphere == "both"]
    assert [(row.split, row.subject) for row in rows] == [
        (split, name) for split in ("validation", "test") for name in ("subj01", "subj02")
    ]
    one, two = rows[2:]
    assert one.pearson_mean is not None
    assert two.pearson_mean is not None
    assert summary.correlation == pytest.approx((39 * one.pearson_mean + 19 * two.pearson_mean) / 58)
    assert summary.interval is not None
    widths = [high - low for low, high in ((r.pearson_ci_low or 0, r.pearson_ci_high or 0) for r in (one, two))]
    assert summary.interval[0] < summary.correlation < summary.interval[1]
    assert summary.interval[1] - summary.interval[0] < max(widths)
    assert {"residuals_subj01", "residuals_subj02"} < set(summary.figures)
    assert summary.n_stimuli == 100


def test_diverged_and_constant_predictions_are_told(tmp_path: Path) -> None:
    parts = subject("subj01")[1:]
    parts[0].predictions[:, 5] = np.nan
    parts[0].predictions[:, 6] = 7.5
    summary = evaluate_run(tmp_path / "run", parts, History(), "")
    assert summary.split == "validation"
    assert summary.n_scored == 39
    text = Document((tmp_path / "run" / "report.html").read_text()).text
    assert "1 of 40 targets have predictions that are not finite" in text
    assert "1 of 40 targets get the same prediction for every stimulus" in text


def test_nothing_to_score_is_a_report_all_the_same(tmp_path: Path) -> None:
    (_, validation) = subject("subj01")
    still = SplitPredictions(validation.recording, "validation", np.array([4]), validation.predictions[:1])
    summary = evaluate_run(tmp_path / "run", [still], History(), "")
    assert summary.n_scored == 0
    few = "over 1 stimulus only, which is little"
    assert summary.headline() == f"validation correlation nan {few}, noise ceiling unknown"
    assert few in (tmp_path / "run" / "report.html").read_text()
    assert "only 1 stimuli" in (tmp_path / "run" / "report.html").read_text()
    with pytest.raises(ValueError, match="no split"):
        evaluate_run(tmp_path / "run", [], History(), "")


def test_scoring_imports_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, calcarine.evaluation;"
        "print(sorted({'torch', 'lightning', 'matplotlib', 'nilearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_second_evaluation_leaves_nothing_of_the_first_that_it_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of controls and of a learning curve; killed at its first table it leaves no report, and not the first's."""
    parts, others = subject("subj01", 16), subject("subj01", 16, seed=1)
    others = [replace(own, predictions=other.predictions) for own, other in zip(parts, others, strict=True)]
    control = Control("shuffled", "shuffled responses", "it may be chance", others)
    curve = LearningCurve([CurvePoint({"subj01": 20}, others), CurvePoint({"subj01": 50}, parts)])
    beside = {"controls.csv", "learning_curve.csv"} | {
        f"figures/{name}.{kind}" for name in ("controls", "training_stimuli") for kind in ("png", "svg")
    }

    def files() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    (tmp_path / "history.csv").write_text("mine")
    evaluate_run(tmp_path, parts, History(), "", controls=[control], curve=curve)
    first = files()
    assert beside | {"report.html", "history.csv"} < first

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("calcarine.evaluation.evaluate.write_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(tmp_path, parts, History(), "", controls=[control])
    assert beside & files() == {"controls.csv", "figures/controls.png", "figures/controls.svg"}
    assert not (tmp_path / "report.html").exists()
    evaluate_run(tmp_path, parts, History(), "")
    assert files() == first - beside
    page = (tmp_path / "report.html").read_text()
    assert "Beside its controls" not in page
    assert "training stimuli" not in page
