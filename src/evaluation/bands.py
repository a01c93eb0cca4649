"""What each band of features explains in each ROI: `bands.csv`."""

from dataclasses import dataclass

from ..findings import Findings
from ..recording import Recording
from .scores import groups_of, mean_known


@dataclass(frozen=True)
class BandRow:
    """One row of `bands.csv`. Fields stand in the table's order.

    Args:
        subject: The recording.
        hemisphere: "lh", "rh", "both" or "".
        roi: Its name, or "all".
        band: A band, or "shared": what both of two bands explain.
        n_targets: Targets of the ROI.
        r2_mean: The band's part of the model's cross-validated R² (product measure), mean over the targets that
            have one; negative where the band makes predictions worse.
        share: That part over the sum of all bands' parts; None where the sum is not over 0.
        unique_r2_mean: What the band adds to the other of two, or for "shared" what either explains; else None.
    """

    subject: str
    hemisphere: str
    roi: str
    band: str
    n_targets: int
    r2_mean: float | None
    share: float | None
    unique_r2_mean: float | None


def band_rows(recording: Recording, findings: Findings) -> list[BandRow]:
    """Rows of one subject: for each ROI, in the order of `scores.csv`, its bands in the order of the model."""
    rows = []
    for hemisphere, roi, members in groups_of(recording):
        parts = {band: mean_known(values[members]) for band, values in findings.band_r2.items()}
        unique = {band: mean_known(values[members]) for band, values in findings.unique_r2.items()}
        total = sum(part for part in parts.values() if part is not None)
        for band in dict.fromkeys([*parts, *unique]):
            part = parts.get(band)
            share = None if part is None or total <= 0 else part / total
            figures = (len(members), part, share, unique.get(band))
            rows.append(BandRow(recording.subject, hemisphere, roi, band, *figures))
    return rows
