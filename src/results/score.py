"""`calcarine score`: a challenge's score of a submission, in all and per subject, hemisphere and ROI."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..evaluation.scores import ALL, BOTH, ScoreRow, TargetScores, groups_of, score_rows, target_scores
from ..evaluation.scoring import scoring_of
from ..evaluation.summary import Summary, summarise
from ..names import TEST
from ..recording import Recording
from .archive import open_archive
from .submission import predictions_2021, predictions_2023, track_of
from .text_table import text_table
from .truth import is_truth_2021, read_truth_2021, read_truth_2023


@dataclass(frozen=True)
class SubmissionRow:
    """A row of the table: one ROI, hemisphere or subject, or the whole, which is the first.

    Args:
        subject: "all" in the row of the whole.
        hemisphere: "lh", "rh", "" where the challenge knows none, or "both".
        roi: A ROI's name, or "all".
        n_targets: How many targets it has.
        n_in_score: How many of them are in the score: those with a correlation and a noise ceiling over 0.
        pearson_mean: Mean Pearson correlation.
        pearson_ci_low: Lower end of its 95 % interval.
        pearson_ci_high: Upper end.
        noise_ceiling_mean: Mean share of variance that a perfect model explains.
        score: The challenge's.
    """

    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    n_in_score: int
    pearson_mean: float | None
    pearson_ci_low: float | None
    pearson_ci_high: float | None
    noise_ceiling_mean: float | None
    score: float | None


@dataclass(frozen=True)
class Scored:
    """A submission's score.

    Args:
        submission: Its path.
        summary: The whole in a few numbers.
        rows: The table.
    """

    submission: Path
    summary: Summary
    rows: list[SubmissionRow]

    def text(self) -> str:
        """The table, and the whole in a line."""
        heads = ["subject", "hemisphere", "ROI", "targets", "in score", "mean r", "95 % interval", "ceiling", "score"]
        lines = [
            [
                row.subject,
                row.hemisphere,
                row.roi,
                row.n_targets,
                row.n_in_score,
                row.pearson_mean,
                None if row.pearson_ci_low is None else f"{row.pearson_ci_low:.3f} to {row.pearson_ci_high:.3f}",
                row.noise_ceiling_mean,
                row.score,
            ]
            for row in self.rows
        ]
        total = self.rows[0]
        counted = f"{total.n_in_score:,} of {total.n_targets:,} targets are in the score"
        if total.noise_ceiling_mean is None:
            counted = "give --ceiling for the challenge's score"
        return f"{text_table(heads, lines)}\n\n{self.submission}: {self.summary.headline()}; {counted}"

    def as_json(self) -> dict[str, Any]:
        """The same, as plain types."""
        return {
            "submission": str(self.submission),
            "scoring": self.summary.scoring.name,
            "score": self.summary.score,
            "rows": [asdict(row) for row in self.rows],
        }


def score_submission(submission: Path, truth: Path, ceilings: Path | None) -> Scored:
    """Score a submission of Algonauts 2023 or 2021, whichever it is.

    Args:
        submission: A zip, or a folder of the same layout.
        truth: A folder with the test responses, as `truth.py` says.
        ceilings: Of 2023, a folder with `subjNN/{lh,rh}.npy`; without, there are correlations and no score.

    Raises:
        InputError: A file is missing, too many, or not what it has to be.
    """
    if not truth.is_dir():
        raise InputError(f"--truth {truth}: expected a folder with test responses, found none; correct the path")
    archive = open_archive(submission)
    track = track_of(archive)
    if is_truth_2021(truth) != (track is not None):
        years = ("2023", "2021") if track is None else ("2021", "2023")
        raise InputError(
            f"--truth {truth}: expected responses of Algonauts {years[0]}, as {submission} is of, found those of "
            f"{years[1]}; give both of one challenge"
        )
    if track is None:
        truths = {each.recording.subject: each for each in read_truth_2023(truth, ceilings)}
        predictions = predictions_2023(archive, truths)
    else:
        if ceilings is not None:
            raise InputError(
                f"--ceiling {ceilings}: Algonauts 2021 has none, because the repetitions in --truth tell the "
                "reliability; leave it out"
            )
        truths = {each.recording.subject: each for each in read_truth_2021(truth, track)}
        predictions = predictions_2021(archive, track, truths)
    rows: list[SubmissionRow] = []
    whole: list[ScoreRow] = []
    subjects: list[tuple[Recording, TargetScores]] = []
    for subject, predicted in predictions:
        recording, responses = truths[subject].recording, truths[subject].responses
        scores = target_scores(predicted, responses, recording.noise_ceiling, scoring_of(recording))
        own = score_rows(recording, TEST, predicted, responses, targets=scores)
        for row, (_, _, members) in zip(own, groups_of(recording), strict=True):
            rows.append(_line(row, _in_score(scores.score[members])))
        whole.append(own[-1])
        subjects.append((recording, scores))
    summary = summarise(TEST, sum(len(each.responses) for each in truths.values()), whole, subjects)
    counted = sum(_in_score(scores.score) for _, scores in subjects)
    return Scored(submission, summary, [_total(summary, counted), *rows])


def _in_score(scores: np.ndarray) -> int:
    return int((~np.isnan(scores)).sum())


def _line(row: ScoreRow, in_score: int) -> SubmissionRow:
    known = {name: getattr(row, name) for name in SubmissionRow.__dataclass_fields__ if name != "n_in_score"}
    return SubmissionRow(**known, n_in_score=in_score)


def _total(summary: Summary, in_score: int) -> SubmissionRow:
    low, high = summary.interval or (None, None)
    return SubmissionRow(
        subject=ALL,
        hemisphere=BOTH,
        roi=ALL,
        n_targets=summary.n_targets,
        n_in_score=in_score,
        pearson_mean=None if math.isnan(summary.correlation) else summary.correlation,
        pearson_ci_low=low,
        pearson_ci_high=high,
        noise_ceiling_mean=summary.noise_ceiling,
        score=summary.score,
    )
