"""What each target of a model is, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ..batch import Facts
from ..names import HEMISPHERES

if TYPE_CHECKING:
    import pandas as pd


def targets_table(facts: Facts, chosen: Tensor | None = None) -> pd.DataFrame:
    """A row for each target: its subject, its number there, hemisphere, ROIs, noise ceiling and place.

    Args:
        facts: Of the training data.
        chosen: Targets to list, int64 (n,); all without.
    """
    import pandas as pd

    rois: list[list[str]] = [[] for _ in facts.groups]
    for name, members in facts.rois.items():
        for member in members.tolist():
            rois[member].append(name)
    columns = ("subject", "target", "hemisphere", "rois", "noise_ceiling", "x", "y", "z")
    rows = []
    for target in range(len(facts.groups)) if chosen is None else chosen.tolist():
        owner, own = next((name, part) for name, part in facts.subjects.items() if part.start <= target < part.stop)
        index = int(facts.hemispheres[target])
        side = HEMISPHERES[index] if index >= 0 else ""
        place = facts.coordinates[target].tolist()
        rows.append(
            (owner, target - own.start, side, " ".join(rois[target]), float(facts.noise_ceiling[target]), *place)
        )
    return pd.DataFrame(rows, columns=list(columns))
