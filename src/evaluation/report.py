"""The report: one HTML file that holds everything and needs no network, made from `templates/run.html`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..atomic import replacing
from ..names import by_importance
from .controls import ControlRow
from .figures.drawing import DARK
from .published import Published
from .scores import ALL, ScoreRow
from .stimuli import FEWEST, Extremes
from .summary import Summary
from .svg import embedded

TEMPLATES = Path(__file__).parent / "templates"
DATA, IMAGES, MODEL = "Data", "Images", "Model"
"""Facts that name a run's source and encoder, what was done to the images, and its model."""
FIRST = (DATA, IMAGES, MODEL, "Command", "Date", "Made by", "Versions")
"""Facts of the first screen."""

HEMISPHERE_NAMES = {"lh": "left", "rh": "right"}
"""For people."""
_MOST_PICTURES = 3 * 2**20  # bytes of all pictures of a page: what it holds beside Plotly's 5 MB stays below 10
_TALL = 760  # pixels of a figure beside which two others stand


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report: one that can be questioned, or a picture.

    Args:
        title: Its heading.
        caption: What to look at.
        path: Its PNG file, with an SVG beside it; None where the folder has none.
        plot: What Plotly draws in its place, `data` and `layout`, whose layout has a height.
        whole: Whether it has the page's whole width.
    """

    title: str
    caption: str
    path: Path | None
    plot: Mapping[str, Any] | None = None
    whole: bool = False

    @property
    def shape(self) -> str:
        """Its place among the page's figures."""
        tall = self.plot is not None and self.plot["layout"]["height"] > _TALL
        return "whole" if self.whole else "tall" if tall else ""


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Args:
        heads: Of its columns.
        lines: Its cells.
        names: How many of its first columns are words.
        captions: What to know of it, a paragraph each.
    """

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    names: int
    captions: Sequence[str]


def write_report(
    path: Path,
    title: str,
    summary: Summary,
    facts: Mapping[str, str],
    rows: Sequence[ScoreRow],
    figures: Sequence[ReportFigure],
    warnings: Sequence[str] = (),
    config: str = "",
    stimuli: Sequence[Extremes] = (),
    published: Sequence[Published] = (),
    test_sets: Sequence[Summary] = (),
    verdicts: Sequence[str] = (),
    controls: Sequence[ControlRow] = (),
    benchmarks: Table | None = None,
    beside: Table | None = None,
    curve: Table | None = None,
) -> None:
    """Write `report.html`.

    Args:
        path: The file.
        title: The run's name.
        summary: The headline's numbers.
        facts: What else to know, name and value; those of `FIRST` at a glance.
        rows: Rows of `scores.csv`: a line per subject, hemisphere and ROI, the splits side by side, test first.
        figures: In order.
        warnings: What the reader must know before trusting the numbers, one sentence each.
        config: The run's configuration as text.
        stimuli: The best and worst of each ROI.
        published: Figures of others on the same data.
        test_sets: Of each test set with a name of its own, beside which the headline's split is shown.
        verdicts: Whether the run beats its controls, a sentence each.
        controls: Rows of `controls.csv`.
        benchmarks: What `benchmarks.csv` says of the splits that are shown.
        beside: What `beside.csv` says of a model with inputs beside the image.
        curve: What `learning_curve.csv` says of all targets.
    """
    write_page(
        path,
        TEMPLATES / "run.html",
        title=title,
        plotly=plotly(),
        summary=summary,
        first={name: facts[name] for name in FIRST if name in facts},
        rest={name: value for name, value in facts.items() if name not in FIRST},
        warnings=warnings,
        figures=_figures(figures),
        stimuli=sorted(stimuli, key=lambda each: each.roi != ALL),
        subjects=len({row.subject for row in rows}),
        fewest=FEWEST,
        published=published,
        test_sets=[summary, *test_sets] if test_sets else [],
        verdicts=verdicts,
        controls=_controls(controls),
        scores=_scores(rows),
        benchmarks=benchmarks,
        beside=beside,
        curve=curve,
        config=config,
    )


def _figures(figures: Sequence[ReportFigure]) -> list[dict[str, Any]]:
    """Figures as the template takes them; pictures are embedded until they fill the page's share."""
    left, found = _MOST_PICTURES, []
    for figure in figures:
        each = {"title": figure.title, "caption": figure.caption, "plot": figure.plot, "shape": figure.shape}
        if figure.plot is None and figure.path is not None:
            source, width = embedded(figure.path.with_suffix(".svg"))
            left -= len(source)
            each |= {"source": source if left > 0 else "", "width": width, "name": figure.path.name}
        found.append(each)
    return found


def _scores(rows: Sequence[ScoreRow]) -> dict[str, Any]:
    by_key: dict[tuple[str, str, str], dict[str, ScoreRow]] = {}
    for row in rows:
        by_key.setdefault((row.subject, row.hemisphere, row.roi), {})[row.split] = row
    hidden = 0 if len({row.subject for row in rows}) > 1 else 1  # the subject's name, where there is one alone
    splits = sorted({row.split for row in rows}, key=by_importance)
    lines = [
        {
            "names": [HEMISPHERE_NAMES.get(name, name) for name in key[hidden:-1]],
            "roi": key[-1],
            "first": next(iter(own.values())),
            "by_split": {split: own.get(split) for split in splits},
        }
        for key, own in by_key.items()
    ]
    return {
        "names": ["subject", "hemisphere", "ROI"][hidden:],
        "splits": splits,
        "lines": lines,
        "ceilings": any(row.noise_ceiling_mean is not None for row in rows),
    }


def _controls(rows: Sequence[ControlRow]) -> dict[str, Any]:
    """Heads and lines of the table of controls."""
    hidden = 0 if len({row.subject for row in rows}) > 1 else 1

    def keys(row: ControlRow) -> list[str]:
        return [
            row.subject,
            HEMISPHERE_NAMES.get(row.hemisphere, row.hemisphere),
            row.roi,
            row.control.replace("_", " "),
        ]

    lines = [
        [
            *keys(row)[hidden:],
            f"{row.n_scored:,}", number(row.result_mean), interval_text(row.result_ci_low, row.result_ci_high),
            number(row.pearson_mean), interval_text(row.pearson_ci_low, row.pearson_ci_high),
            number(row.difference), interval_text(row.difference_ci_low, row.difference_ci_high),
        ]
        for row in rows
    ]  # fmt: skip
    names = ["subject", "hemisphere", "ROI", "control"][hidden:]
    figures = ["targets scored", "run r", "95 % interval", "control r", "95 % interval", "difference", "95 % interval"]
    return {"heads": [*names, *figures], "names": len(names), "lines": lines}


def plotly() -> Markup:
    """Plotly's JavaScript, which a page with figures holds once."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def write_page(path: Path, template: Path, **content: object) -> None:
    """Write an HTML page in the style of all reports.

    Args:
        path: The file.
        template: What it is made from; it may extend `page.html` and import `parts.html`.
        content: What the template names; what is no `Markup` is escaped. `plotly` draws the page's figures.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    page = environment.get_template(template.name).render({"plotly": "", "dark": DARK} | content)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def interval_text(low: float | None, high: float | None) -> str:
    """An interval for people; a dash where it is unknown."""
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure for people; a dash where it is unknown."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")
