"""A run's predictions → its scores, tables, figures and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..findings import Findings
from ..names import HEMISPHERES, TEST, VALIDATION
from ..recording import Recording
from .figures.drawing import save_figure
from .figures.run import learning_curves, pearson_per_roi, residuals
from .figures.surface import brain_maps
from .found import write_findings
from .report import ReportFigure, write_report
from .scores import ScoreRow, TargetScores, score_rows, target_scores
from .scoring import scoring_of
from .summary import FEW_STIMULI, Summary, summarise
from .tables import write_rows, write_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA, MODEL = "Data", "Model"
"""Facts that name a run's source and encoder, and its model."""


@dataclass(frozen=True)
class SplitPredictions:
    """What a model predicts for one subject's stimuli of one split.

    Args:
        recording: The subject.
        split: "validation" or "test".
        stimuli: Indices of the stimuli in the recording, int64 (n,).
        predictions: float32 (n, recording.num_targets) in the responses' own units, less their offset where they have
            one; may be a memory map.
    """

    recording: Recording
    split: str
    stimuli: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class History:
    """What was logged each epoch, NaN where a figure is missing; empty for models that have no epochs."""

    train_loss: Sequence[float] = ()
    validation_loss: Sequence[float] = ()
    validation_correlation: Sequence[float] = ()


def evaluate_run(
    folder: Path,
    splits: Sequence[SplitPredictions],
    history: History,
    config: str,
    facts: Mapping[str, str] | None = None,
    findings: Mapping[str, Findings] | None = None,
) -> Summary:
    """Score a run and write `scores.csv`, `targets.csv`, `figures/` and `report.html` into its folder.

    What the model found of its targets goes into more columns of `targets.csv`, and where it is of layers or bands,
    into `layers.csv` and `bands.csv`.

    The summary and the figures are about the test split where it is there, else about validation.

    Args:
        folder: The run's folder.
        splits: One per subject and split, with measured responses.
        history: For the learning curves.
        config: The run's configuration as text, for the report.
        facts: What else the report shall say at a glance, name and value; `DATA` and `MODEL` stand first, and in the
            headline.
        findings: What the model found, by subject; nothing for models that only predict.
    """
    if not splits:
        raise ValueError("there is no split with predictions to evaluate")
    splits = sorted(splits, key=lambda part: [VALIDATION, TEST].index(part.split))
    chosen = splits[-1].split
    shown = [part for part in splits if part.split == chosen]
    rows: list[ScoreRow] = []
    tables: list[tuple[Recording, str, TargetScores]] = []
    warnings: list[str] = []
    residual_figures: list[ReportFigure] = []
    for part in splits:
        responses = part.recording.responses.gather(part.stimuli)
        scoring = scoring_of(part.recording)
        scores = target_scores(part.predictions, responses, part.recording.noise_ceiling, scoring)
        rows += score_rows(part.recording, part.split, part.predictions, responses, targets=scores)
        tables.append((part.recording, part.split, scores))
        warnings += _warnings(part, scores)
        if part.split == chosen:
            residual_figures.append(_residuals(folder / "figures", part, responses, alone=len(shown) == 1))
    write_rows(folder / "scores.csv", rows)
    findings = findings or {}
    write_targets(folder / "targets.csv", tables, findings)
    recordings = {part.recording.subject: part.recording for part in splits}
    found = write_findings(folder, [(recordings[name], findings[name]) for name in recordings if name in findings])

    shown_rows = [row for row in rows if row.split == chosen]
    subjects = [(recording, scores) for recording, split, scores in tables if split == chosen]
    figures = [*_figures(folder / "figures", chosen, shown_rows, subjects, history), *found, *residual_figures]
    summary = summarise(chosen, sum(len(part.stimuli) for part in shown), shown_rows, subjects)
    about = {name: facts[name] for name in (DATA, MODEL) if facts and name in facts}
    pictures = {figure.path.stem: figure.path for figure in figures}
    summary = replace(summary, figures=pictures, about=", ".join(about.values()))
    facts = about | _facts(shown, summary) | dict(facts or {})
    title = f"{folder.parent.name}/{folder.name}"
    write_report(folder / "report.html", title, summary, facts, rows, figures, warnings, config)
    return summary


def _figures(
    folder: Path,
    split: str,
    rows: Sequence[ScoreRow],
    subjects: Sequence[tuple[Recording, TargetScores]],
    history: History,
) -> list[ReportFigure]:
    """Draw and save the figures of one split's scores and of the training, in the report's order."""
    figures = [
        ReportFigure(
            "Correlation per ROI",
            f"Mean Pearson correlation over the targets of each ROI, {split} split. Lines: 95 % interval "
            "over stimuli, or one dot per subject where there are several. Ticks: what a perfect model would reach.",
            save_figure(pearson_per_roi(rows), folder / "pearson_per_roi.png"),
        )
    ]
    for recording, scores in subjects:
        brain = _brain(recording, scores)
        if brain is not None:
            path = save_figure(brain, folder / f"brain_{recording.subject}.png")
            caption = (
                f"Pearson correlation of each vertex, {split} split, on the inflated cortex; grey was not measured."
            )
            figures.append(ReportFigure(f"Brain map, {recording.subject}", caption, path))
    curves_of = (history.train_loss, history.validation_loss, history.validation_correlation)
    if any(np.isfinite(values).sum() > 1 for values in curves_of):  # a model in closed form has one epoch
        curves = learning_curves(*curves_of)
        caption = "A validation loss that rises while the training loss falls is overfitting."
        figures.append(ReportFigure("Learning curves", caption, save_figure(curves, folder / "learning_curves.png")))
    return figures


def _residuals(folder: Path, part: SplitPredictions, responses: np.ndarray, alone: bool) -> ReportFigure:
    """Draw and save one subject's residuals; `alone`: there is no other subject to tell it from."""
    subject = part.recording.subject
    name, title = ("residuals", "Residuals") if alone else (f"residuals_{subject}", f"Residuals, {subject}")
    caption = (
        f"Residuals against predictions, {part.split} split. A good fit is a level cloud about 0; a slope says that "
        "predictions are too small or too large, a funnel that the noise grows with the prediction."
    )
    path = save_figure(residuals(part.predictions, responses), folder / f"{name}.png")
    return ReportFigure(title, caption, path)


def _brain(recording: Recording, scores: TargetScores) -> Figure | None:
    if recording.vertices is None:
        return None
    maps = {}
    for hemisphere in HEMISPHERES:
        members = recording.hemispheres == hemisphere
        if members.any():
            maps[hemisphere] = recording.vertices[members], scores.pearson[members]
    return brain_maps(maps, "Pearson correlation")


def _facts(parts: Sequence[SplitPredictions], summary: Summary) -> dict[str, str]:
    facts = {
        "Subjects": ", ".join(part.recording.subject for part in parts),
        f"Stimuli, {summary.split} split": f"{summary.n_stimuli:,}",
        "Targets": f"{summary.n_targets:,}",
    }
    if summary.noise_ceiling is not None:
        facts["Noise ceiling"] = f"{summary.noise_ceiling:.3f} of variance"
    if summary.score is not None:
        facts["Score"] = summary.scoring.text(summary.score)
    return facts


def _warnings(part: SplitPredictions, scores: TargetScores) -> list[str]:
    """What makes this subject's and split's numbers weaker than they look, one sentence each."""
    where = f"{part.recording.subject}, {part.split}"
    measured = scores.n > 0
    diverged = measured & ~np.isfinite(scores.mse)
    still = measured & ~scores.scored & ~diverged
    unknown = np.isnan(scores.noise_ceiling) & (part.recording.noise_ceiling is not None)
    counts = {
        "targets were not measured and have no score": ~measured,
        "targets were measured for some of the stimuli only, and are scored on these": measured
        & (scores.n < len(part.stimuli)),
        "targets have responses that do not vary; they have no correlation and stand in no mean": still,
        "targets have predictions that are not finite and stand in no mean: the training diverged": diverged,
        "targets get the same prediction for every stimulus: their correlation counts as 0": scores.pearson == 0,
        "targets have a noise ceiling of 0 and stand in no score": scores.noise_ceiling == 0,
        "targets have no known noise ceiling and stand in no score": unknown,
    }
    warnings = [
        f"{where}: {members.sum():,} of {len(members):,} {text}." for text, members in counts.items() if members.any()
    ]
    if len(part.stimuli) < FEW_STIMULI:
        warnings.append(f"{where}: only {len(part.stimuli)} stimuli; every figure is uncertain.")
    return warnings
