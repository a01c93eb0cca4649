"""How much each member of an ensemble counts in each ROI: `members.csv`."""

from dataclasses import dataclass

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
        member: A member of the ensemble.
        n_targets: Targets of the ROI.
        weight_mean: The member's weight, mean over the targets.
        counted: Targets for which it counts at all.
    """

    subject: str
    hemisphere: str
    roi: str
    member: str
    n_targets: int
    weight_mean: float | None
    counted: int


def member_rows(recording: Recording, findings: Findings) -> list[MemberRow]:
    """Rows of one subject: for each ROI, in the order of `scores.csv`, the members in the order of the ensemble."""
    return [
        MemberRow(
            recording.subject,
            hemisphere,
            roi,
            member,
            n_targets=len(members),
            weight_mean=mean_known(weights[members]),
            counted=int((weights[members] > 0).sum()),
        )
        for hemisphere, roi, members in groups_of(recording)
        for member, weights in findings.member_weight.items()
    ]
