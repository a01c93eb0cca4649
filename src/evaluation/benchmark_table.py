"""The report's table of `benchmarks.csv`: what is known of it, for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .benchmarks import BenchmarkRow
from .report import HEMISPHERE_NAMES, Table, number
from .rsa import SEED


@dataclass(frozen=True)
class _Figure:
    """A column of figures: its head, what they are, and whence."""

    head: str
    meaning: str
    of: Callable[[BenchmarkRow], float | None]


_FIGURES = (
    _Figure("r / √ceiling", "median over targets; a perfect model has 1", lambda row: row.normalised_median),
    _Figure(
        "Brain-Score",
        "(median r / median ceiling)², which a good model of noisy targets has over 1",
        lambda row: row.brain_score,
    ),
    _Figure(
        "RSA",
        "Spearman's correlation of the correlation-distance matrices of predictions and responses",
        lambda row: row.rsa,
    ),
    _Figure(
        "RSA reliability",
        "of the responses' matrix, by halves of the repeats; its root is about a perfect model's RSA",
        lambda row: row.rsa_reliability,
    ),
    _Figure("RSA lower bound", "correlation with the other subjects' mean matrix", lambda row: row.rsa_ceiling_low),
    _Figure("RSA upper bound", "correlation with all subjects' mean matrix", lambda row: row.rsa_ceiling_high),
)
_WORDS: tuple[tuple[str, Callable[[BenchmarkRow], str]], ...] = (
    ("split", lambda row: row.split),
    ("subject", lambda row: row.subject),
    ("hemisphere", lambda row: HEMISPHERE_NAMES.get(row.hemisphere, row.hemisphere)),
    ("ROI", lambda row: row.roi),
)


def benchmark_table(rows: Sequence[BenchmarkRow]) -> Table | None:
    """The columns that say something of some ROI; None where nothing is known."""
    figures = [figure for figure in _FIGURES if any(figure.of(row) is not None for row in rows)]
    if not figures:
        return None
    told = {head for head, word in _WORDS if len({word(row) for row in rows}) > 1} | {"hemisphere", "ROI"}
    words = [(head, word) for head, word in _WORDS if head in told]
    lines = [
        [*(word(row) for _, word in words), f"{row.rsa_targets:,}", *(number(figure.of(row)) for figure in figures)]
        for row in rows
    ]
    heads = [*(head for head, _ in words), "targets", *(figure.head for figure in figures)]
    return Table(heads, lines, len(words), _captions(rows, figures))


def _captions(rows: Sequence[BenchmarkRow], figures: Sequence[_Figure]) -> list[str]:
    meanings = "; ".join(f"{figure.head}: {figure.meaning}" for figure in figures)
    captions = [f"Figures by which others compare models, of which benchmarks.csv holds more. {meanings}."]
    least = rows[0].min_ceiling
    if least is not None:
        captions.append(f"Targets with a noise ceiling below {least:g} of variance, or an unknown one, are left out.")
    drawn = {row.split: (row.rsa_stimuli, row.n_stimuli) for row in rows if row.rsa_seed is not None}
    captions += [
        f"{split}: RSA is over {some:,} of {count:,} stimuli, drawn with seed {SEED}."
        for split, (some, count) in drawn.items()
    ]
    return captions
