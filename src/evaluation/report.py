"""The report: one HTML file that holds everything, needs no network and runs no script."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..atomic import replacing
from .scores import ALL, ScoreRow
from .scoring import Scoring
from .summary import Summary

_HEMISPHERES = {"lh": "left", "rh": "right"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --soft: #5c6773; --line: #d9dee4; --page: #fff; --panel: #f5f7f9;
  --bar: #1b4f8a; --range: #86b6e2; --mark: #d1495b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #a4afba; --line: #3a434d; --page: #14181d;
  --panel: #1d232a; --bar: #5b9bdc; --range: #c4ddf5; --mark: #f0808d; } }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink);
  background: var(--page); max-width: 64rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p.soft, figcaption, caption, dt { color: var(--soft); }
.headline { display: flex; flex-wrap: wrap; gap: 1rem 2.4rem; align-items: center; background: var(--panel);
  border-radius: .6rem; padding: 1.1rem 1.4rem; margin: 1.2rem 0; }
.headline strong { font-size: 2.6rem; line-height: 1.1; display: block; }
.headline svg { flex: 1 1 22rem; max-width: 34rem; height: auto; }
.headline text { fill: var(--soft); font-size: 12px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.4rem; margin: 0; } dd { margin: 0; }
aside { border-left: .3rem solid var(--mark); padding: .2rem 1rem; background: var(--panel); margin-top: 1.4rem; }
aside ul { padding-left: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem; }
caption { text-align: left; max-width: 56rem; padding-bottom: .4rem; }
th, td { padding: .22rem .5rem; text-align: right; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; } th { font-weight: 600; vertical-align: bottom; }
thead tr:first-child th[colspan] { text-align: center; }
th.name, td.name { text-align: left; } tr.whole td, tr.whole th { border-bottom: 2px solid var(--soft); }
figure { margin: 0 0 1.8rem; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
pre { background: var(--panel); padding: 1rem; overflow-x: auto; font-size: .82rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } figure, tr, .headline { break-inside: avoid; } }
"""


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
        rows: Rows of `scores.csv`.
        figures: In order.
        warnings: What the reader must know before trusting the numbers, one sentence each.
        config: The run's configuration as text.
    """
    sections = [
        _headline(summary),
        facts_list(facts),
        warnings_box(warnings),
        *map(figure_section, figures),
        "<h2>Scores</h2>" + _table(rows, summary.scoring),
        f"<h2>Configuration</h2><details><summary>config.yaml</summary><pre>{escape(config)}</pre></details>"
        if config
        else "",
    ]
    write_page(path, title, sections)


def write_page(path: Path, title: str, sections: Sequence[str]) -> None:
    """Write an HTML page in the style of all reports.

    Args:
        path: The file.
        title: Of the page.
        sections: HTML in order; empty ones are left out.
    """
    body = "\n".join(section for section in sections if section)
    document = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1></header>\n{body}\n</main>\n</body>\n</html>\n"
    )
    with replacing(path) as temporary:
        temporary.write_text(document, encoding="utf-8")


def _headline(summary: Summary) -> str:
    """The mean correlation, large, beside the noise ceiling."""
    interval = ""
    if summary.interval is not None:
        interval = f"<br>95 % interval {summary.interval[0]:.3f} to {summary.interval[1]:.3f}"
    explained = ""
    if summary.explained is not None:
        explained = f"<br>{100 * summary.explained:.0f} % of the correlation that the noise ceiling allows"
    return (
        f'<section class="headline" aria-label="Headline"><div><strong>{number(summary.correlation)}</strong>'
        f"mean {escape(summary.split)} correlation{interval}{explained}</div>{_bullet(summary)}</section>"
    )


def _bullet(summary: Summary) -> str:
    """A bar from 0 to 1 with the interval across it and a mark at the perfect model's correlation."""
    if math.isnan(summary.correlation):
        return ""

    def x(value: float) -> float:
        return round(10 + 380 * min(max(value, 0.0), 1.0), 1)

    parts = [f'<rect x="10" y="22" width="{x(summary.correlation) - 10:.1f}" height="18" fill="var(--bar)"/>']
    if summary.interval is not None:
        low, high = map(x, summary.interval)
        parts.append(f'<line x1="{low}" x2="{high}" y1="31" y2="31" stroke="var(--range)" stroke-width="4"/>')
    if summary.ceiling_correlation is not None:
        ceiling = x(summary.ceiling_correlation)
        label = f"perfect model {summary.ceiling_correlation:.2f}"
        anchor = "end" if ceiling > 250 else "start"
        parts.append(f'<line x1="{ceiling}" x2="{ceiling}" y1="16" y2="46" stroke="var(--mark)" stroke-width="3"/>')
        parts.append(f'<text x="{ceiling}" y="11" text-anchor="{anchor}">{label}</text>')
    ticks = "".join(
        f'<text x="{x(tick)}" y="58" text-anchor="middle">{tick:g}</text>' for tick in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<svg viewBox="0 0 400 62" role="img" aria-label="{escape(summary.headline())}">'
        f'<line x1="10" x2="390" y1="43" y2="43" stroke="var(--line)"/>{"".join(parts)}{ticks}</svg>'
    )


def facts_list(facts: Mapping[str, str]) -> str:
    """Names and values, as HTML; nothing where there are none."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>{items}</dl>" if items else ""


def warnings_box(warnings: Sequence[str]) -> str:
    """What to know before trusting the numbers, as HTML; nothing where there is nothing."""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return (
        f'<aside aria-label="Warnings"><p><b>Before trusting these numbers</b></p><ul>{items}</ul></aside>'
        if items
        else ""
    )


def _table(rows: Sequence[ScoreRow], scoring: Scoring) -> str:
    """One line per subject, hemisphere and ROI; the splits side by side, test first."""
    splits = sorted({row.split for row in rows}, key=["test", "validation"].index)
    lines: dict[tuple[str, str, str], dict[str, ScoreRow]] = {}
    for row in rows:
        lines.setdefault((row.subject, row.hemisphere, row.roi), {})[row.split] = row
    ceilings = any(row.noise_ceiling_mean is not None for row in rows)
    several = len({row.subject for row in rows}) > 1
    keys = ["subject", "hemisphere", "ROI"][0 if several else 1 :]
    names = "".join(f'<th class="name" scope="col" rowspan="2">{name}</th>' for name in keys)
    counts = ["targets scored", "noise ceiling"] if ceilings else ["targets scored"]
    names += "".join(f'<th scope="col" rowspan="2">{name}</th>' for name in counts)
    columns = ["mean r", "95 % interval", "R²", *(["score"] if ceilings else [])]
    top = "".join(f'<th colspan="{len(columns)}" scope="colgroup">{escape(split)}</th>' for split in splits)
    second = "".join(f'<th scope="col">{name}</th>' for name in columns) * len(splits)
    caption = "Means over the scored targets; scores.csv and targets.csv hold more. r: Pearson correlation."
    if ceilings:
        caption += " Noise ceiling: share of variance that a perfect model explains."
        caption += f" Score ({scoring.name}): {scoring.meaning}."
    body = "".join(
        _line(key[0 if several else 1 :], [by_split.get(split) for split in splits], ceilings, scoring.digits)
        for key, by_split in lines.items()
    )
    return (
        f'<div class="wide"><table><caption>{caption}</caption>'
        f"<thead><tr>{names}{top}</tr><tr>{second}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(key: Sequence[str], by_split: Sequence[ScoreRow | None], ceilings: bool, digits: int) -> str:
    """One line of the table; a split that lacks this row leaves its cells empty."""
    *others, roi = (_HEMISPHERES.get(name, name) for name in key)
    first = next(row for row in by_split if row is not None)
    cells = [f"{first.n_scored:,}" + (f" of {first.n_targets:,}" if first.n_scored < first.n_targets else "")]
    if ceilings:
        cells.append(number(first.noise_ceiling_mean))
    for row in by_split:
        if row is None:
            cells += [""] * (4 if ceilings else 3)
            continue
        known = row.pearson_ci_low is not None
        interval = f"{number(row.pearson_ci_low, 2)} to {number(row.pearson_ci_high, 2)}" if known else "–"
        cells += [number(row.pearson_mean), interval, number(row.r2_mean)]
        if ceilings:
            cells.append(number(row.score, digits))
    names = "".join(f'<td class="name">{escape(name)}</td>' for name in others)
    figures = "".join(f"<td>{cell}</td>" for cell in cells)
    whole = ' class="whole"' if roi == ALL else ""
    return f'<tr{whole}>{names}<th class="name" scope="row">{escape(roi)}</th>{figures}</tr>'


def figure_section(figure: ReportFigure) -> str:
    """A picture with its heading and caption, embedded in HTML."""
    png = figure.path.read_bytes()
    width = int.from_bytes(png[16:20], "big")  # where a PNG's header has it
    image = base64.b64encode(png).decode("ascii")
    return (
        f'<h2>{escape(figure.title)}</h2><figure><img alt="{escape(figure.title)}" width="{0.62 * width:.0f}" '
        f'src="data:image/png;base64,{image}"><figcaption>{escape(figure.caption)}</figcaption></figure>'
    )


def number(value: float | None, digits: int = 3) -> str:
    """A figure for a table; a dash where it is unknown."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")
