"""The report: one HTML file that holds everything and needs no network, made from `templates/run.html`."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..atomic import replacing
from .scores import ScoreRow
from .summary import Summary

TEMPLATES = Path(__file__).parent / "templates"
_HEMISPHERES = {"lh": "left", "rh": "right"}


@dataclass(frozen=True)
class ReportFigure:
    """A picture of the report.

    Args:
        title: Its heading.
        caption: What to look at.
        path: A PNG file, which is embedded.
    """

    title: str
    caption: str
    path: Path

    @property
    def source(self) -> str:
        """The picture itself, as a page embeds it."""
        return f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode('ascii')}"

    @property
    def width(self) -> int:
        """In the page's pixels; figures are drawn at 160 dots per inch."""
        with self.path.open("rb") as file:
            return round(0.62 * int.from_bytes(file.read(20)[16:], "big"))  # where a PNG's header has its own


def write_report(
    path: Path,
    title: str,
    summary: Summary,
    facts: Mapping[str, str],
    rows: Sequence[ScoreRow],
    figures: Sequence[ReportFigure],
    warnings: Sequence[str] = (),
    config: str = "",
) -> None:
    """Write `report.html`.

    Args:
        path: The file.
        title: The run's name.
        summary: The headline's numbers.
        facts: What else to know at a glance, name and value.
        rows: Rows of `scores.csv`: a line per subject, hemisphere and ROI, the splits side by side, test first.
        figures: In order.
        warnings: What the reader must know before trusting the numbers, one sentence each.
        config: The run's configuration as text.
    """
    by_key: dict[tuple[str, str, str], dict[str, ScoreRow]] = {}
    for row in rows:
        by_key.setdefault((row.subject, row.hemisphere, row.roi), {})[row.split] = row
    hidden = 0 if len({row.subject for row in rows}) > 1 else 1  # the subject's name, where there is one alone
    splits = sorted({row.split for row in rows}, key=["test", "validation"].index)
    lines = [
        {
            "names": [_HEMISPHERES.get(name, name) for name in key[hidden:-1]],
            "roi": key[-1],
            "first": next(iter(own.values())),
            "by_split": {split: own.get(split) for split in splits},
        }
        for key, own in by_key.items()
    ]
    write_page(
        path,
        TEMPLATES / "run.html",
        title=title,
        summary=summary,
        facts=facts,
        warnings=warnings,
        figures=figures,
        keys=["subject", "hemisphere", "ROI"][hidden:],
        splits=splits,
        lines=lines,
        ceilings=any(row.noise_ceiling_mean is not None for row in rows),
        config=config,
    )


def write_page(path: Path, template: Path, **content: object) -> None:
    """Write an HTML page in the style of all reports.

    Args:
        path: The file.
        template: What it is made from; it may extend `page.html` and import `parts.html`.
        content: What the template names; what is no `Markup` is escaped.
    """
    folders = [template.parent, TEMPLATES]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    page = environment.get_template(template.name).render(content)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def number(value: float | None, digits: int = 3) -> str:
    """A figure for people; a dash where it is unknown."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")
