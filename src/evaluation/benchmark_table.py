"""The report's table of `benchmarks.csv`: what is known of it, for people."""

from collections.abc import Callable, Sequence

from .benchmarks import BenchmarkRow
from .report import HEMISPHERE_NAMES, Table, number
from .rsa import SEED

_Column = tuple[str, Callable[[BenchmarkRow], float | None]]
_FIGURES: Sequence[_Column] = (
    ("median r / √ceiling", lambda row: row.normalised_median),
    ("Brain-Score", lambda row: row.brain_score),
    ("RSA", lambda row: row.rsa),
    ("RSA reliability", lambda row: row.rsa_reliability),
    ("RSA ceiling, lower", lambda row: row.rsa_ceiling_low),
    ("upper", lambda row: row.rsa_ceiling_high),
)


def benchmark_table(rows: Sequence[BenchmarkRow]) -> Table | None:
    """Columns that say something of some ROI; None where nothing is known."""
    figures = [(head, figure) for head, figure in _FIGURES if any(figure(row) is not None for row in rows)]
    if not figures:
        return None
    words: list[tuple[str, Callable[[BenchmarkRow], str]]] = [
        ("split", lambda row: row.split),
        ("subject", lambda row: row.subject),
    ]
    words = [(head, word) for head, word in words if len({word(row) for row in rows}) > 1]
    words += [
        ("hemisphere", lambda row: HEMISPHERE_NAMES.get(row.hemisphere, row.hemisphere)),
        ("ROI", lambda row: row.roi),
    ]
    lines = [
        [*(word(row) for _, word in words), f"{row.rsa_targets:,}", *(number(figure(row)) for _, figure in figures)]
        for row in rows
    ]
    heads = [*(head for head, _ in words), "targets", *(head for head, _ in figures)]
    return Table(heads, lines, len(words), _captions(rows))


def _captions(rows: Sequence[BenchmarkRow]) -> list[str]:
    least = rows[0].min_ceiling
    captions = [
        "Figures by which others compare models; benchmarks.csv holds more, and docs/benchmarks.md says how each is "
        "made. RSA: Spearman's correlation of the correlation-distance matrices of predictions and responses."
    ]
    if least is not None:
        captions.append(f"Targets with a noise ceiling below {least:g} of variance, or an unknown one, are left out.")
    drawn = {row.split: (row.rsa_stimuli, row.n_stimuli) for row in rows if row.rsa_seed is not None}
    captions += [
        f"{split}: RSA is over {some:,} of {count:,} stimuli, drawn with seed {SEED}."
        for split, (some, count) in drawn.items()
    ]
    return captions
