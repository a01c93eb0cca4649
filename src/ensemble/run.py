"""`calcarine ensemble`: finished runs made one, in a run's folder of its own."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..atomic import replacing
from ..errors import InputError
from ..evaluation import History, Summary, check_min_ceiling, evaluate_run, write_submission
from ..evaluation.figures.mesh import load_meshes
from ..findings import Findings
from ..recording import Recording
from ..results.new_run import check_apart, check_name, check_outside, discard, reserve
from ..results.prediction_files import FOLDER
from ..results.provenance import facts, made, result, write_provenance
from ..results.run_folder import BESIDE, CONFIG, MEMBERS, FinishedRun
from .beside import AVERAGE, STACK, Contender, contenders, is_stack, scored_splits, told
from .combined import Combined, averaged, combined, in_units, stacked, write_predictions
from .members import Members, read_members, with_refitted
from .stacking import Combination

_OF_DATA = ("source", "cache_dir", "validation", "test", "test_sets", "split_seed", "fold")
"""Settings of a member's data that hold for the ensemble, too: what it is evaluated on."""
_OF_MEMBERS = ("command", "commit", "data", "model", "data_fingerprint")
"""Of a member's `run.json`, what the ensemble's repeats."""


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that was written.

    Args:
        folder: Its run's folder.
        summary: How well it predicts.
        contenders: It and its members.
        submission: What became of a challenge's submission, in a line; None where the data are of none.
    """

    folder: Path
    summary: Summary
    contenders: Sequence[Contender]
    submission: str | None


def make_ensemble(
    runs: Sequence[FinishedRun],
    learn: bool,
    name: str,
    below: Path,
    command: str,
    fsaverage: Path | None = None,
    refitted: Sequence[FinishedRun] = (),
    min_ceiling: float | None = None,
) -> Ensemble:
    """Combine runs, and write, score and report the ensemble as a run.

    Args:
        runs: Two or more; nothing is written into them.
        learn: Learn weights from the validation split; otherwise predictions are averaged.
        name: Of the new run.
        below: Folder of all runs.
        command: As typed, for `run.json`.
        fsaverage: FreeSurfer's `subjects/fsaverage`, to draw all its vertices.
        refitted: The runs' models trained again on more stimuli, which predict but for the validation split.
        min_ceiling: Noise ceiling below which targets are left out of `benchmarks.csv`, from 0 to 1.

    Raises:
        InputError: The runs cannot be made one, or the new run cannot be written where it would be.
    """
    start = time.time()
    check_name(name)
    check_min_ceiling(min_ceiling, "--min_ceiling")
    check_outside([*runs, *refitted], below / name, "--runs")
    if refitted and not learn:
        raise InputError("--refitted: only weights that are learnt can be handed on; add --stack, or name these runs")
    if fsaverage is not None:
        load_meshes(fsaverage)  # before anything is written
    members = read_members(runs, learn)
    if refitted:
        members = with_refitted(members, refitted)
    check_apart(_source(runs[0])[1].get("root"), {"--runs": below})
    combinations = stacked(members) if learn else averaged(members)
    folder = below / name / f"version_{reserve(below / name)}"
    try:
        return _write(folder, members, combinations, made(command, start), start, fsaverage, min_ceiling)
    except BaseException:
        discard(folder, below)
        raise


def _write(
    folder: Path,
    members: Members,
    combinations: Mapping[str, Combination],
    content: dict[str, Any],
    start: float,
    fsaverage: Path | None,
    min_ceiling: float | None,
) -> Ensemble:
    """Everything that a run's folder holds."""
    predicted = combined(members, combinations)
    write_predictions(folder / FOLDER, members.recordings, predicted)
    found = contenders(members, combinations, predicted)
    config = _config(folder, members, found, is_stack(combinations))
    with replacing(folder / CONFIG) as partial:
        partial.write_text(config, encoding="utf-8")
    content |= _about(members, found, is_stack(combinations)) | {"wall_time_s": round(time.time() - start, 1)}
    summary = evaluate_run(
        folder,
        [part for split in scored_splits(predicted) for part in predicted[split]],
        History(),
        config,
        facts(content) | told(found, combinations) | _refitted(members) | _beside(members),
        {subject: _findings(members, each) for subject, each in combinations.items()},
        fsaverage,
        min_ceiling=min_ceiling,
    )
    submission = write_submission(
        folder, members.recordings, list(predicted), lambda split: _of_split(predicted, split)
    )
    write_provenance(folder, content | {"result": result(summary)})
    return Ensemble(folder, summary, found, submission)


def _of_split(predicted: Combined, split: str) -> Iterator[tuple[Recording, np.ndarray]]:
    for part in predicted[split]:
        yield part.recording, in_units(part)


def _refitted(members: Members) -> dict[str, str]:
    if not members.refitted:
        return {}
    folders = ", ".join(str(each.folder) for each in members.refitted)
    return {"Refitted": f"all but the validation split is predicted by the same models trained again: {folders}"}


def _beside(members: Members) -> dict[str, str]:
    """Which members have inputs beside the image, of which the ensemble's scores then are too."""
    own = [str(run.folder) for run in members.runs if run.beside]
    return {"Inputs beside the image": f"of {', '.join(own)}: see the reports there"} if own else {}


def _findings(members: Members, combination: Combination) -> Findings:
    weights = combination.weights.astype(np.float32)
    return Findings(member_weight=dict(zip(members.names, weights, strict=True)))


def _config(folder: Path, members: Members, found: Sequence[Contender], learnt: bool) -> str:
    """`config.yaml`: the data, which later commands read again, and the members with their mean weights."""
    data = members.runs[0].config["data"]
    own = [
        {"run": str(run.folder), "weight": each.weight} | ({BESIDE: True} if run.beside else {})
        for run, each in zip(members.runs, found, strict=False)
    ]
    config = {
        "name": folder.parent.name,
        "data": {name: data[name] for name in _OF_DATA if name in data},
        "ensemble": {"members": own, "stack": learnt}
        | ({"refitted": [str(each.folder) for each in members.refitted]} if members.refitted else {}),
    }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _about(members: Members, found: Sequence[Contender], learnt: bool) -> dict[str, Any]:
    """What `run.json` says of an ensemble alone."""
    kind, arguments = _source(members.runs[0])
    root = arguments.get("root")
    own = []
    for run, each in zip(members.runs, found, strict=False):
        own.append({"run": str(run.folder), "weight": each.weight} | _origin(run))
    again = [{"run": str(run.folder)} | _origin(run) for run in members.refitted]
    return {
        "device": f"cpu ({platform.machine()})",
        "data": kind if root is None else f"{kind} {root}",
        "model": f"{STACK if learnt else AVERAGE} of {len(members.runs)} runs",
        MEMBERS: own,
    } | ({"refitted": again} if again else {})


def _origin(run: FinishedRun) -> dict[str, Any]:
    return {name: run.provenance[name] for name in _OF_MEMBERS if name in run.provenance}


def _source(run: FinishedRun) -> tuple[str, Mapping[str, Any]]:
    """Class and arguments of a run's source, as its configuration has them."""
    settings = run.config["data"]["source"]
    return settings["class_path"].rpartition(".")[2], settings.get("init_args") or {}
