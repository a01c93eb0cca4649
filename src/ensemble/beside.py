"""How an ensemble does beside its members and, where it is a stack, beside their average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluation import SplitPredictions, target_scores
from ..names import TEST, WITHHELD
from ..results.run_folder import run_names
from ..results.text_table import Cell, text_table
from .combined import Combined, averaged, combined, of_member
from .members import Members
from .stacking import Combination

AVERAGE, STACK = "average", "stack"


@dataclass(frozen=True)
class Contender:
    """A member, their average, or the stack.

    Args:
        name: What tables call it.
        correlations: Mean Pearson correlation over the scored targets of all subjects, by split; NaN where there is
            none.
        weight: A member's mean over all targets; None of the others.
    """

    name: str
    correlations: Mapping[str, float]
    weight: float | None = None


def contenders(members: Members, combinations: Mapping[str, Combination], predicted: Combined) -> list[Contender]:
    """Each member, then the average, then the stack where weights were learnt.

    Args:
        members: The members.
        combinations: By subject.
        predicted: What they made of the members' predictions.
    """
    splits = scored_splits(predicted)
    weights = np.concatenate([each.weights for each in combinations.values()], axis=1).mean(axis=1)  # (M,)
    found = [
        Contender(name, {split: _correlation(of_member(members, index, split)) for split in splits}, float(weight))
        for index, (name, weight) in enumerate(zip(_called(members), weights, strict=True))
    ]
    own = {split: _correlation(predicted[split]) for split in splits}
    if not is_stack(combinations):
        return [*found, Contender(AVERAGE, own)]
    plain = combined(members, averaged(members), splits)
    average = {split: _correlation(plain[split]) for split in splits}
    return [*found, Contender(AVERAGE, average), Contender(STACK, own)]


def _called(members: Members) -> list[str]:
    """The members; one that was trained again predicts the validation split alone, and the other run the rest."""
    if not members.refitted:
        return list(members.names)
    again = run_names(members.refitted)
    return [f"{name}, again as {other}" for name, other in zip(members.names, again, strict=True)]


def is_stack(combinations: Mapping[str, Combination]) -> bool:
    """Whether weights were learnt."""
    return any(each.pull is not None for each in combinations.values())


def scored_splits(predicted: Combined) -> list[str]:
    """The splits that have responses."""
    return [split for split in predicted if split != WITHHELD]


def printed(found: Sequence[Contender]) -> str:
    """The table for a terminal."""
    splits = list(found[0].correlations)
    rows: list[list[Cell]] = [[each.name, *each.correlations.values(), each.weight] for each in found]
    return text_table(["", *(f"{split} correlation" for split in splits), "mean weight"], rows)


def told(found: Sequence[Contender], combinations: Mapping[str, Combination]) -> dict[str, str]:
    """The same for a report, name and value."""
    splits = list(found[0].correlations)
    split = TEST if TEST in splits else splits[0]
    lines = {}
    for each in found:
        figure = f"{split} correlation {each.correlations[split]:.3f}"
        if each.weight is not None:
            lines[f"Member {each.name}"] = f"{figure}, mean weight {each.weight:.3f}"
        elif each.name == AVERAGE and is_stack(combinations):
            lines["Average of the members"] = figure
    if is_stack(combinations):
        lines["Weights"] = "; ".join(
            f"{subject}: learnt from the validation split, pulled to common ones with strength {each.pull:g}"
            for subject, each in combinations.items()
        )
        lines["Validation split"] = "it taught the weights, so its scores are too good"
    return lines


def _correlation(parts: Sequence[SplitPredictions]) -> float:
    pearson = [target_scores(each.predictions, each.responses()).pearson for each in parts]
    known = np.concatenate(pearson)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")
