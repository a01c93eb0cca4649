"""The report's table of the learning curve: each subject's points over all its targets, for people."""

from collections.abc import Sequence

from .learning_curve import CurveRow
from .report import Table, interval_text, number
from .scores import ALL, BOTH


def curve_table(rows: Sequence[CurveRow], left_out: Sequence[str]) -> Table | None:
    """A line per point and subject; None of a run without a curve.

    Args:
        rows: Of `learning_curve.csv`.
        left_out: Why points are missing, a sentence each.
    """
    whole = [row for row in rows if (row.hemisphere, row.roi) == (BOTH, ALL)]
    if not whole:
        return None
    several = len({row.subject for row in whole}) > 1
    beside = any(row.scratch_mean is not None for row in whole)
    lines = [
        [
            *([row.subject] if several else []),
            f"{row.training_stimuli:,}",
            number(row.pearson_mean), interval_text(row.pearson_ci_low, row.pearson_ci_high),
            *(
                [
                    number(row.scratch_mean), interval_text(row.scratch_ci_low, row.scratch_ci_high),
                    number(row.gain), interval_text(row.gain_ci_low, row.gain_ci_high),
                ]
                if beside
                else []
            ),
        ]
        for row in sorted(whole, key=lambda row: (row.subject, row.point))
    ]  # fmt: skip
    heads = [
        *(["subject"] if several else []),
        "training stimuli", "r", "95 % interval",
        *(["r from scratch", "95 % interval", "gain", "95 % interval"] if beside else []),
    ]  # fmt: skip
    caption = "The same model trained on fewer stimuli, and scored on the same; learning_curve.csv has each ROI. "
    if beside:
        caption += (
            "From scratch: the same model on the same stimuli, whose trunk begins untrained. The interval of the gain "
            "is of the paired difference, each resample of the stimuli drawn for both."
        )
    return Table(heads, lines, 1 if several else 0, [caption, *left_out])
