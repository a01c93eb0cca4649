"""Noise ceilings: from repeated presentations, and as files that the user brings."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..errors import InputError
from .arrays import open_array
from .reliability import mean_there
from .statistics import in_chunks

_READ_VALUES = 1 << 22  # of repetitions at a time: 32 MB of float64

_CONSTANT = 1e-12
"""Spread over mean below which a target counts as one that does not vary."""

_ROUNDING = 1 + 1e-3
"""How far over 1, or over 100 per cent, a value may lie that was computed in single precision or rounded."""


def ceiling_of_mean(repeats: np.ndarray, stimuli: np.ndarray | None = None) -> np.ndarray | None:
    """Noise ceiling of the mean over the repetitions that are there, by the formula of the Natural Scenes Dataset.

    It is what `split_half_reliability` estimates too, the share of the mean's variance that is signal; the two agree
    within 0.013 on every neuron of a real recording. This one stays right where the number is odd or repetitions are
    missing: with 2 or 3 repetitions of each stimulus and a true ceiling of 0.375 it gives 0.375, halves give 0.333.

    Args:
        repeats: (stimuli, repetitions, targets), NaN where missing; may be a memory map.
        stimuli: Those whose ceiling is meant (n,); all where not given.

    Returns:
        float64 (targets,) from 0 to 1, NaN where unknown; None where no target's is known.
    """
    chosen = np.arange(len(repeats)) if stimuli is None else stimuli
    width = repeats.shape[1] * repeats.shape[2]
    return ceiling_of_chunks(in_chunks(lambda rows: repeats[rows], chosen, width, _READ_VALUES))


def ceiling_of_chunks(chunks: Iterable[np.ndarray]) -> np.ndarray | None:
    """`ceiling_of_mean` of repetitions that come stimulus by stimulus, in chunks (n_i, repetitions, targets)."""
    noise = _Noise()
    for chunk in chunks:
        noise.add(chunk)
    ceiling = noise.ceiling()
    return None if np.isnan(ceiling).all() else ceiling


def noise_ceiling_snr(repeats: np.ndarray) -> np.ndarray:
    """Noise ceiling signal-to-noise ratio, `ncsnr` of the Natural Scenes Dataset (Allen et al. 2022).

    The noise's variance is the mean over stimuli of the variance over their repetitions; the signal's is what is left
    of the variance of all presentations, at least 0. The ratio is of the two standard deviations.

    Args:
        repeats: (stimuli, repetitions, targets), NaN where missing.

    Returns:
        float64 (targets,); NaN where no stimulus was repeated or nothing varies, infinite where there is no noise.
    """
    noise = _Noise()
    noise.add(repeats)
    return noise.snr()


class _Noise:
    """What repetitions tell of the noise, added up over stimuli, each sum (targets,)."""

    def __init__(self) -> None:
        self._centre = np.zeros(())
        self._presentations = self._sum = self._squares = np.zeros(())
        self._stimuli = self._repeated = self._variance = self._inverse = np.zeros(())

    def add(self, repeats: np.ndarray) -> None:
        """Take some stimuli's repetitions, (n, repetitions, targets), NaN where missing."""
        values = np.asarray(repeats, dtype=np.float64)
        there = ~np.isnan(values)
        counts = there.sum(axis=1)  # (n, targets)
        with np.errstate(divide="ignore", invalid="ignore"):
            if not self._presentations.shape or not self._presentations.all():  # without it offsets would cost digits
                first = np.nan_to_num(mean_there(values, there, (0, 1))[0, 0])
                self._centre = np.where(self._presentations > 0, self._centre, first)
            values = np.where(there, values - self._centre, 0)
            deviations = np.where(there, values - mean_there(values, there, (1,)), 0)
            variances = np.square(deviations).sum(axis=1) / (counts - 1)  # (n, targets)
        self._presentations = self._presentations + counts.sum(axis=0)
        self._sum = self._sum + values.sum(axis=(0, 1))
        self._squares = self._squares + np.square(values).sum(axis=(0, 1))
        self._stimuli = self._stimuli + (counts > 0).sum(axis=0)
        self._repeated = self._repeated + (counts > 1).sum(axis=0)
        self._variance = self._variance + np.sum(variances, axis=0, where=counts > 1)
        self._inverse = self._inverse + np.sum(1 / np.maximum(counts, 1), axis=0, where=counts > 0)

    def snr(self) -> np.ndarray:
        """As `noise_ceiling_snr`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self._sum / self._presentations
            total = (self._squares - self._sum * mean) / (self._presentations - 1)
            noise = self._variance / self._repeated
            varies = total > np.square(_CONSTANT * (self._centre + mean))
            return np.where(varies, np.sqrt(np.maximum(total - noise, 0) / noise), np.nan)

    def ceiling(self) -> np.ndarray:
        """As `ceiling_of_mean`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return ceiling_of_snr(self.snr(), self._inverse / self._stimuli)


def ceiling_of_snr(snr: np.ndarray, inverse: np.ndarray | float) -> np.ndarray:
    """Noise ceiling, ncsnr² / (ncsnr² + mean(1/k)), from the mean over stimuli of 1/k, k their repetitions."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 / (1 + inverse / np.square(snr, dtype=np.float64))


def noise_ceiling(snr: np.ndarray, repetitions: np.ndarray) -> np.ndarray:
    """Noise ceiling of averaged responses, ncsnr² / (ncsnr² + mean(1/k)) (Allen et al. 2022).

    With A, B and C stimuli of 3, 2 and 1 repetitions the mean is (A/3 + B/2 + C)/(A + B + C).

    Args:
        snr: `ncsnr` of each target (targets,).
        repetitions: How many repetitions of each stimulus were averaged, k (stimuli, targets), or (stimuli, 1) where
            all targets have as many; stimuli without any do not count.

    Returns:
        float64 (targets,), a share of variance from 0 to 1; NaN where the ratio is.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.sum(1 / repetitions, axis=0, where=repetitions > 0) / (repetitions > 0).sum(axis=0)
    return ceiling_of_snr(snr, noise)


def share_of(values: np.ndarray, where: str, most: float, if_shares: str, otherwise: str) -> np.ndarray:
    """Noise ceilings in a unit that is known, as shares of variance.

    Args:
        values: In per cent or as shares, NaN where unknown.
        where: What they are, for the message: "FILE: expected noise ceilings".
        most: 100 or 1.
        if_shares: What to do where per cents were said, and none is above 1.
        otherwise: What to do where some are beyond the unit's range.

    Returns:
        float64, from 0 to 1.

    Raises:
        InputError: They are not of that unit.
    """
    words = "in per cent, 0 to 100" if most == 100 else "as shares of variance, 0 to 1"
    known = values[~np.isnan(values)]
    if ((known < 0) | (known > most * _ROUNDING)).any():
        raise InputError(f"{where} {words}, found {known.min():.4g} to {known.max():.4g}; {otherwise}")
    if most == 100 and len(known) and 0 < known.max() <= _ROUNDING:
        raise InputError(f"{where} {words}, found a maximum of {known.max():.3g}: shares of 1; {if_shares}")
    return np.minimum(values / most, 1, dtype=np.float64)


def read_noise_ceiling(counts: Mapping[Path, int]) -> np.ndarray:
    """Read one noise ceiling per target, in per cent or as a fraction.

    The files are in per cent where any value of theirs is over 1: a set of targets of which the best has at most 1 %
    of explainable variance is not one that anybody models.

    Args:
        counts: `.npy` files of numbers, one after another, such as those of a subject's hemispheres, and how many
            numbers each must hold; NaN stands for unknown.

    Returns:
        float64 (targets of all files,), fractions of variance from 0 to 1, NaN where unknown.

    Raises:
        InputError: A file cannot be read, its count is another, or a value lies outside 0 to 100.
    """
    ceiling = np.concatenate(list(ceilings_in(counts).values()))
    return np.minimum(ceiling / 100 if (ceiling > _ROUNDING).any() else ceiling, 1)


def ceilings_in(counts: Mapping[Path, int]) -> dict[Path, np.ndarray]:
    """The numbers of each file as they stand there, per cent or fraction; see `read_noise_ceiling`."""
    return {path: _read(path, count) for path, count in counts.items()}


def _read(path: Path, count: int) -> np.ndarray:
    ceiling = np.array(open_array(path, ("targets",)), dtype=np.float64)
    if len(ceiling) != count:
        raise InputError(
            f"{path}: expected {count} noise ceilings, one per target, found {len(ceiling)}; "
            "give the ceilings that belong to these responses"
        )
    outside = np.flatnonzero((ceiling < 0) | (ceiling > 100 * _ROUNDING))
    if len(outside):
        raise InputError(
            f"{path}: expected noise ceilings from 0 to 1 or from 0 to 100 per cent, found {ceiling[outside[0]]} at "
            f"index {outside[0]} and {len(outside)} such values in all; correct them, or set NaN where unknown"
        )
    return ceiling
