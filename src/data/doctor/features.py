"""Simple features of thumbnails: colour on a coarse grid, and Gabor energy; what early vision responds to."""

from collections.abc import Sequence

import numpy as np

from .glimpse import SIDE, Glimpse

_COLOUR_GRID, _ENERGY_GRID = 6, 4
_FREQUENCIES = (2.0, 4.0, 8.0)  # cycles per image
_ORIENTATIONS = 4
_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luminance
_CHUNK = 256  # thumbnails that are filtered at a time: their spectra take 35 MB


def simple_features(glimpses: Sequence[Glimpse]) -> np.ndarray:
    """Coarse colour (6 × 6 × 3), Gabor energy (3 frequencies × 4 orientations × 4 × 4) and motion (4 × 4).

    The energy is the amplitude of the image within a band of one octave, seen through windows in the Fourier domain.

    Args:
        glimpses: n of them.

    Returns:
        float32 (n, 316).
    """
    filters = _filters()
    rows = []
    for start in range(0, len(glimpses), _CHUNK):
        chunk = glimpses[start : start + _CHUNK]
        thumbnails = np.stack([each.thumbnail for each in chunk]).astype(np.float32)  # (n, SIDE, SIDE, 3)
        motion = np.stack([each.motion for each in chunk])
        spectra = np.fft.fft2(thumbnails @ _WEIGHTS).astype(np.complex64)
        energies = [_pooled(np.abs(np.fft.ifft2(spectra * window)), _ENERGY_GRID) for window in filters]
        colour = [_pooled(thumbnails[..., channel], _COLOUR_GRID) for channel in range(3)]
        rows.append(np.concatenate([*colour, *energies, _pooled(motion, _ENERGY_GRID)], axis=1))
    return np.concatenate(rows).astype(np.float32)


def _filters() -> list[np.ndarray]:
    """One-sided windows in the Fourier domain, float32 (SIDE, SIDE) each, log-Gaussian in frequency."""
    cycles = np.fft.fftfreq(SIDE, 1 / SIDE)
    vertical, horizontal = np.meshgrid(cycles, cycles, indexing="ij")
    radius, angle = np.hypot(vertical, horizontal), np.arctan2(vertical, horizontal)
    radius[0, 0] = 1
    windows = []
    for frequency in _FREQUENCIES:
        band = np.exp(-np.square(np.log2(radius / frequency)) / (2 * 0.5**2))
        band[0, 0] = 0
        for orientation in range(_ORIENTATIONS):
            away = np.angle(np.exp(1j * (angle - np.pi * orientation / _ORIENTATIONS)))
            windows.append((band * np.exp(-np.square(away) / (2 * 0.4**2))).astype(np.float32))
    return windows


def _pooled(maps: np.ndarray, grid: int) -> np.ndarray:
    """Means of maps (n, SIDE, SIDE) over a grid: (n, grid²)."""
    cell = SIDE // grid
    return maps.reshape(len(maps), grid, cell, grid, cell).mean(axis=(2, 4)).reshape(len(maps), -1)
