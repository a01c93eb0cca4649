"""A run's report opens in a browser, without a network or a complaint, at any width and in both schemes."""

from pathlib import Path

import pytest
from browser import BROWSER, opened
from calcarine.evaluation import History, evaluate_run
from test_evaluate import subject

HARMLESS = ("willReadFrequently", "GL Driver Message")
"""What Plotly's WebGL makes Chromium advise."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "demo" / "version_0"
    history = History([1.0, 0.5, 0.4], [1.1, 0.6, 0.7], [0.2, 0.3, 0.2], {"lh.<V1>": 1, "rh.none": 2})
    facts = {"Command": "train.py " + "--data.source.root=/a/long/path/without/a/break " * 4, "Images": "squeezed"}
    evaluate_run(folder, subject("subj01", 200, surface=True), history, "a: " + "b" * 300, facts)
    return folder / "report.html"


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_page_and_every_figure_is_drawn(report: Path, width: int, dark: bool) -> None:
    measured, said = opened(report, width, dark)
    assert measured["over"] == 0
    assert measured["beyond"] == 0
    assert measured["drawn"] == [True] * 5
    assert measured["paper"] == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert measured["titles"][:3] == ["Correlation per ROI", "Distribution of correlations", "Cortex"]
    assert [line for line in said if not any(each in line for each in HARMLESS)] == []


def test_without_webgl_the_cortex_alone_is_missing(report: Path) -> None:
    measured, said = opened(report, 800, dark=False, webgl=False)
    assert measured["drawn"] == [True, True, False, True, True]
    assert said == []


def test_a_fault_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text('<body><div style="width: 900px">wide</div><script>undefined_name()</script></body>')
    measured, said = opened(page, 400, dark=False)
    assert measured["over"] > 400
    assert any("undefined_name" in line for line in said)
