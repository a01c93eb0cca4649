"""How much each member of an ensemble counts in each ROI, and what it explains there: `members.csv`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..findings import Findings
from ..recording import Recording
from .scores import groups_of, mean_known


@dataclass(frozen=True)
class MemberRow:
    """One row of `members.csv`. Fields stand in the table's order.

    Args:
        subject: The recording.
        hemisphere: "lh", "rh", "both" or "".
        roi: Its name, or "all".
        member: A member of the ensemble, or "shared": what no member explains alone.
        n_targets: Targets of the ROI.
        weight_mean: The member's weight, mean over the targets; None for "shared".
        counted: Targets for which it counts at all; None for "shared".
        r2_alone_mean: What the member explains alone, cross-validated, mean over the targets that have it; None of an
            ensemble of runs, and for "shared".
        unique_r2_mean: What the stack loses without the member, or for "shared" what is left of the stack's R² when
            these are taken off; None of an ensemble of runs.
    """

    subject: str
    hemisphere: str
    roi: str
    member: str
    n_targets: int
    weight_mean: float | None
    counted: int | None
    r2_alone_mean: float | None
    unique_r2_mean: float | None


def member_rows(recording: Recording, findings: Findings) -> list[MemberRow]:
    """Rows of one subject: for each ROI, in the order of `scores.csv`, the members in the order of the ensemble."""
    rows = []
    for hemisphere, roi, members in groups_of(recording):

        def mean(known: Mapping[str, np.ndarray], name: str, members: np.ndarray = members) -> float | None:
            return mean_known(known[name][members]) if name in known else None

        for name in dict.fromkeys([*findings.member_weight, *findings.unique_member_r2]):
            weights = findings.member_weight.get(name)
            rows.append(
                MemberRow(
                    recording.subject,
                    hemisphere,
                    roi,
                    name,
                    n_targets=len(members),
                    weight_mean=mean(findings.member_weight, name),
                    counted=None if weights is None else int((weights[members] > 0).sum()),
                    r2_alone_mean=mean(findings.member_r2, name),
                    unique_r2_mean=mean(findings.unique_member_r2, name),
                )
            )
    return rows
