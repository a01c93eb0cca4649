"""A run's predictions → its scores, tables, figures, maps and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..findings import Attention, Findings
from ..names import TEST, VALIDATION, by_importance
from ..recording import Recording
from ..seen_before import SeenBefore
from .benchmark_table import benchmark_table
from .benchmarks import benchmark_rows
from .beside import BESIDE, Beside, beside_rows, beside_table, summary_of
from .controls import CONTROLS, Control, control_rows, told, verdicts_of
from .curve_table import curve_table
from .drawn import (
    brain_figures,
    control_figures,
    curve_figures,
    layer_figures,
    pair_figures,
    score_figures,
    training_figures,
)
from .figures.training import History
from .found import write_attention, write_findings
from .learning_curve import LEARNING_CURVE, LearningCurve, curve_means, curve_rows, told_curve
from .maps import write_maps
from .predicted import SplitPredictions, scored
from .published import published
from .report import DATA, MODEL, write_report
from .scores import ScoreRow, TargetScores
from .stale import REPORT, remove_stale
from .stimuli import Extremes, Thumbnails, extremes
from .summary import FEW_STIMULI, Summary, summarise
from .tables import write_rows, write_targets


def evaluate_run(
    folder: Path,
    splits: Sequence[SplitPredictions],
    history: History,
    config: str,
    facts: Mapping[str, str] | None = None,
    findings: Mapping[str, Findings] | None = None,
    fsaverage: Path | None = None,
    controls: Sequence[Control] = (),
    min_ceiling: float | None = None,
    attention: Attention | None = None,
    beside: Beside | None = None,
    curve: LearningCurve | None = None,
    seen_before: Sequence[SeenBefore] = (),
) -> Summary:
    """Score a run and write its tables, `figures/`, `maps/` and `report.html` into its folder.

    The tables are `scores.csv`, `benchmarks.csv` and `targets.csv`. What an earlier evaluation left of controls or of a
    learning curve, and this one has not, is removed.

    What the model found of its targets goes into more columns of `targets.csv`, and where it is of layers, bands or an
    ensemble's members, into `layers.csv`, `bands.csv` and `members.csv`. Maps are written where targets have a place.

    The summary, the figures and the maps are about the test split where it is there, else about validation. A test
    set with a name of its own has its figures in `figures/NAME`, and stands beside the summary in the report.

    Args:
        folder: The run's folder.
        splits: One per subject and split, with measured responses.
        history: For the learning curves.
        config: The run's configuration as text, for the report.
        facts: What else the report shall say, name and value; `DATA` and `MODEL` stand in the headline too.
        findings: What the model found, by subject; nothing for models that only predict.
        fsaverage: FreeSurfer's `subjects/fsaverage`, to draw all its vertices; None draws on fsaverage5.
        controls: What the run is held against; `controls.csv` holds their scores.
        min_ceiling: Noise ceiling below which targets are in no figure of `benchmarks.csv`, a share of variance from 0
            to 1; None leaves out none.
        attention: Where in the image the model looked, of validation stimuli where there are any; None of models that
            do not attend.
        beside: What the model has beside the image, and predicts without it; `beside.csv` says what it adds. None of
            one that has nothing.
        curve: What the same model predicts after training on fewer stimuli; `learning_curve.csv` holds the scores.
        seen_before: Held-out stimuli that the model's trained trunk has seen.
    """
    if not splits:
        raise ValueError("there is no split with predictions to evaluate")
    splits = sorted(splits, key=lambda part: by_importance(part.split), reverse=True)
    names = list(dict.fromkeys(part.split for part in splits))
    chosen = next((split for split in (TEST, VALIDATION) if split in names), names[-1])
    shown = [part for part in splits if part.split == chosen]
    rows, tables, warnings = _scored(splits)
    warnings = [*(each.sentence() for each in seen_before), *warnings]
    against = control_rows(shown, controls)
    verdicts = verdicts_of(against, controls)
    curve = curve or LearningCurve()
    of_curve = curve_rows(shown, curve)
    means = curve_means(of_curve)
    remove_stale(folder, {name for name, own in ((CONTROLS, against), (LEARNING_CURVE, of_curve)) if own})
    write_rows(folder / "scores.csv", rows)
    of_targets = [scores for _, _, scores in tables]
    benchmarks = benchmark_rows(list(zip(splits, of_targets, strict=True)), min_ceiling)
    write_rows(folder / "benchmarks.csv", benchmarks)
    findings = findings or {}
    write_targets(folder / "targets.csv", tables, findings)
    recordings = {part.recording.subject: part.recording for part in splits}
    parts = [(recordings[name], findings[name]) for name in recordings if name in findings]

    shown_rows, subjects = _of_split(chosen, rows, tables)
    write_maps(folder / "maps", subjects, findings)
    alone = [] if beside is None else beside_rows(shown, beside)
    adds = None if beside is None else summary_of(alone, beside)
    if alone:
        write_rows(folder / BESIDE, alone)
    if adds is not None:
        warnings = [adds.sentence(), *warnings]
    if against:
        write_rows(folder / CONTROLS, against)
    if of_curve:
        write_rows(folder / LEARNING_CURVE, of_curve)
    warnings += [each.sentence() for each in verdicts if each.known and not each.beaten]
    figures = [
        *score_figures(folder / "figures", chosen, shown_rows, subjects),
        *control_figures(folder / "figures", chosen, against, verdicts),
        *curve_figures(folder / "figures", chosen, means),
        *brain_figures(folder / "figures", chosen, subjects, fsaverage),
        *training_figures(folder / "figures", history),
        *write_findings(folder, parts, chosen, {recording.subject: scores for recording, scores in subjects}),
        *write_attention(folder, attention),
        *layer_figures(folder / "figures", parts, fsaverage),
    ]
    stimuli: list[Extremes] = []
    thumbnails = Thumbnails()
    for part, (_, scores) in zip(shown, subjects, strict=True):
        responses = part.responses()
        figures += pair_figures(folder / "figures", part, responses, scores, alone=len(shown) == 1)
        stimuli += extremes(part, responses, scores.scored, thumbnails)
    summary = summarise(chosen, sum(len(part.stimuli) for part in shown), shown_rows, subjects)
    about = {name: facts[name] for name in (DATA, MODEL) if facts and name in facts}
    pictures = {figure.path.stem: figure.path for figure in figures if figure.path is not None}
    sets = [split for split in reversed(names) if split not in (TEST, VALIDATION, chosen)]
    test_sets = []
    for split in sets:
        own_rows, own = _of_split(split, rows, tables)
        count = sum(len(part.stimuli) for part in splits if part.split == split)
        test_sets.append(summarise(split, count, own_rows, own))
        of_set = score_figures(folder / "figures" / split, split, own_rows, own)
        figures += [replace(figure, title=f"{figure.title}, {split}") for figure in of_set]
    summary = replace(
        summary,
        figures=pictures,
        about=", ".join(about.values()),
        controls=told(verdicts),
        curve=told_curve(means),
        beside="" if adds is None else adds.short(),
        seen_before=sum(each.count for each in seen_before if each.split == chosen),
    )
    write_report(
        folder / REPORT,
        f"{folder.parent.name}/{folder.name}",
        summary,
        about | _facts(shown, summary) | dict(facts or {}),
        rows,
        figures,
        warnings,
        config,
        stimuli,
        published([recording for recording, _ in subjects], rows, summary),
        test_sets,
        [each.sentence() for each in verdicts],
        against,
        benchmark_table([row for row in benchmarks if row.split in (chosen, *sets)]),
        beside_table(alone),
        curve_table(of_curve, curve.left_out),
    )
    return summary


def _of_split(
    split: str, rows: Sequence[ScoreRow], tables: Sequence[tuple[Recording, str, TargetScores]]
) -> tuple[list[ScoreRow], list[tuple[Recording, TargetScores]]]:
    """Rows of `scores.csv`, and the scores of each subject's targets, of one split."""
    own = [(recording, scores) for recording, name, scores in tables if name == split]
    return [row for row in rows if row.split == split], own


def _scored(
    splits: Sequence[SplitPredictions],
) -> tuple[list[ScoreRow], list[tuple[Recording, str, TargetScores]], list[str]]:
    """Rows of `scores.csv`, the scores of each subject's and split's targets, and what to know before trusting them."""
    rows: list[ScoreRow] = []
    tables: list[tuple[Recording, str, TargetScores]] = []
    warnings: list[str] = []
    for part in splits:
        scores, own = scored(part)
        rows += own
        tables.append((part.recording, part.split, scores))
        warnings += _warnings(part, scores)
    return rows, tables, warnings


def _facts(parts: Sequence[SplitPredictions], summary: Summary) -> dict[str, str]:
    facts = {
        "Subjects": ", ".join(part.recording.subject for part in parts),
        f"Stimuli, {summary.split} split": f"{summary.n_stimuli:,}",
        "Targets": f"{summary.n_targets:,}",
    }
    if summary.noise_ceiling is not None:
        facts["Noise ceiling"] = f"{summary.noise_ceiling:.3f} of variance"
    told: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, ceiling in part.ceilings.items():
            told.setdefault(name, []).append(ceiling)
    if len(told) > 1:
        medians = {name: float(np.nanmedian(np.concatenate(own))) for name, own in told.items()}
        facts["Noise ceilings, median"] = ", ".join(f"{median:.3f} from {name}" for name, median in medians.items())
    return facts


def _warnings(part: SplitPredictions, scores: TargetScores) -> list[str]:
    """What makes this subject's and split's numbers weaker than they look, one sentence each."""
    where = f"{part.recording.subject}, {part.split}"
    measured = scores.n > 0
    diverged = measured & ~np.isfinite(scores.mse)
    still = measured & ~scores.scored & ~diverged
    unknown = np.isnan(scores.noise_ceiling) & (part.noise_ceiling is not None)
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
