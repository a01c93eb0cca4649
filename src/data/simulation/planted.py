"""Planted responses: what drives each target of a simulated subject, known exactly.

Written apart from `calcarine.encoders`, so that no encoder is tested against itself. Three models:

- "gabor": amplitude (square root of energy; Adelson & Bergen 1985) of a quadrature pair of Gabors, less a share of
  the mean over orientations, averaged under a Gaussian receptive field.
- "texture": covariance of the amplitudes of two orientations under a large receptive field, with its sign and square
  root; a second-order statistic as in Portilla & Simoncelli 2000 and Freeman et al. 2013.
- "category": a tuning over object categories, times how near the object is to the receptive field, times how large
  it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InputError, one_line
from ...names import HEMISPHERES
from .cortex import ROI_CLASSES, Patch
from .procedural import CATEGORIES, ObjectTable

FREQUENCIES = (4.0, 8.0, 16.0)  # cycles per image
ORIENTATIONS = np.arange(8) * 22.5  # of the bars, degrees anticlockwise from the horizontal
WORKING_SIZE = 96  # pixels; the models look at luminance at this size, whatever the image's own

_PADDING = 12  # pixels of reflection on each side, so that filters do not wrap around
_PADDED = WORKING_SIZE + 2 * _PADDING
_BANDWIDTH = 0.35  # standard deviation of a Gabor's spectrum, as a share of its frequency: about 1.2 octaves
_TRUNCATION = 3.0  # receptive fields end at this many standard deviations
_SUPPRESSION = 0.4  # cross-orientation: without it the contrast of an image drives all targets together
_GROWTH = {"V1": 1.0, "V2": 1.1, "V3": 1.2, "hV4": 1.4}  # of receptive fields along the hierarchy
_PREFERRED = {"bodies": "body", "faces": "face", "places": "place", "words": "word"}


@dataclass(frozen=True)
class Truth:
    """What drives each target; the left hemisphere's targets come first.

    Args:
        hemisphere: "lh" or "rh", str (n_targets,).
        vertex: fsaverage vertex, int64 (n_targets,).
        model: "gabor", "texture" or "category", str (n_targets,).
        centre: Of the receptive field, x from the left and y from the top in image widths, float64 (n_targets, 2).
        size: Standard deviation of the receptive field in image widths, float64 (n_targets,). A Gabor's own
            envelope, of standard deviation 1 / (2 pi 0.35 frequency), comes on top.
        frequency: Cycles per image, float64 (n_targets,); NaN for "category".
        orientation: Of the bars, degrees anticlockwise from the horizontal, float64 (n_targets,); NaN for "category".
        second_orientation: The other orientation of "texture", float64 (n_targets,); NaN otherwise.
        tuning: Response to each of CATEGORIES, float64 (n_targets, n_categories); NaN but for "category".
        noise_ceiling: Share of the response's variance that is signal, float64 (n_targets,). Exact in expectation
            over the noise: the signal has variance 1 over the subject's stimuli by construction, and the noise is
            Gaussian of variance (1 - noise_ceiling) / noise_ceiling relative to it. Where it is 0 there is none.
    """

    hemisphere: np.ndarray
    vertex: np.ndarray
    model: np.ndarray
    centre: np.ndarray
    size: np.ndarray
    frequency: np.ndarray
    orientation: np.ndarray
    second_orientation: np.ndarray
    tuning: np.ndarray
    noise_ceiling: np.ndarray

    def write(self, path: Path) -> None:
        """Write to an .npz file."""
        np.savez(path, allow_pickle=False, **asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Truth":
        """Read what `write` wrote.

        Raises:
            InputError: The file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**arrays)
        except Exception as error:  # zip files and NumPy's header parser raise many kinds
            raise InputError(
                f"{path}: expected what responses were made from, found {one_line(error)}; delete its folder to make "
                "it anew"
            ) from error


def plant(patches: Sequence[Patch], seed: tuple[int, ...]) -> Truth:
    """Choose what drives each target.

    Retinotopic areas get "gabor", category-selective areas "category" (where two overlap, the class that stands
    later in ROI_CLASSES), everything else "texture".

    Args:
        patches: The left hemisphere's targets, then the right's.
        seed: Determines the choice.
    """
    rng = np.random.default_rng(seed)
    area = np.concatenate([_areas(patch) for patch in patches])
    labels = {name: np.concatenate([patch.labels[name] for patch in patches]) for name in ROI_CLASSES}
    field = np.concatenate([patch.field for patch in patches])
    count = len(area)

    preferred = np.full(count, -1)
    for name, category in _PREFERRED.items():
        preferred[labels[f"floc-{name}"] > 0] = CATEGORIES.index(category)
    model = np.where(area != "", "gabor", np.where(preferred >= 0, "category", "texture"))
    gabor, texture, category = (model == name for name in ("gabor", "texture", "category"))

    eccentricity = np.linalg.norm(field - 0.5, axis=1)
    growth = np.array([_GROWTH.get(name, 1.0) for name in area])
    size = (0.115 + 0.06 * eccentricity) * growth
    size[texture] = rng.uniform(0.1, 0.16, texture.sum())
    size[category] = rng.uniform(0.25, 0.4, category.sum())
    centre = np.where(gabor[:, None], field, 0.5 + 0.6 * (field - 0.5))  # large fields lie nearer to the fovea

    # Foveal targets prefer fine gratings; textures are of the two finer frequencies.
    finest = len(FREQUENCIES) - 1
    channel = np.clip(np.rint(finest - 3 * eccentricity + rng.normal(0, 0.6, count)), 0, finest).astype(int)
    channel[texture] = rng.integers(1, finest + 1, texture.sum())
    first = rng.integers(len(ORIENTATIONS), size=count)
    second = (first + rng.choice([2, 4], count)) % len(ORIENTATIONS)

    tuning = rng.uniform(0, 0.3, (count, len(CATEGORIES)))
    tuning[np.arange(count), preferred] = 1.0
    low, high = np.where(gabor, 0.65, np.where(category, 0.25, 0.1)), np.where(gabor, 0.9, 0.65)
    ceiling = rng.uniform(low, high)
    in_no_roi = texture & (labels["streams"] == 0)
    ceiling[in_no_roi & (rng.random(count) < 0.1)] = 0.0  # vertices that see nothing, as real ones do

    return Truth(
        hemisphere=np.repeat(HEMISPHERES, [len(patch.vertices) for patch in patches]),
        vertex=np.concatenate([patch.vertices for patch in patches]),
        model=model,
        centre=centre,
        size=size,
        frequency=np.where(category, np.nan, np.array(FREQUENCIES)[channel]),
        orientation=np.where(category, np.nan, ORIENTATIONS[first]),
        second_orientation=np.where(texture, ORIENTATIONS[second], np.nan),
        tuning=np.where(category[:, None], tuning, np.nan),
        noise_ceiling=ceiling,
    )


def _areas(patch: Patch) -> np.ndarray:
    """Name of each target's retinotopic area without its bank, "" where in none; str (n_targets,)."""
    names = ["", *(name.rstrip("vd") for name in ROI_CLASSES["prf-visualrois"])]
    return np.array(names)[patch.labels["prf-visualrois"]]


def luminance(image: np.ndarray) -> np.ndarray:
    """Luminance (Rec. 601) of an image uint8 (height, width, 3), float32 (WORKING_SIZE, WORKING_SIZE) from 0 to 1."""
    grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255
    resized = Image.fromarray(grey).resize((WORKING_SIZE, WORKING_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(resized)


class Signals:
    """Computes the noiseless signals of all targets, in their models' own scale.

    Args:
        truth: What drives each target.
    """

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self._groups = {frequency: list(_groups(truth, frequency)) for frequency in FREQUENCIES}

    def __call__(self, luminances: np.ndarray, objects: ObjectTable) -> np.ndarray:
        """Signals of some images, float32 (n_images, n_targets).

        Args:
            luminances: float32 (n_images, WORKING_SIZE, WORKING_SIZE).
            objects: What these images show.
        """
        signals = np.empty((len(luminances), len(self.truth.model)), dtype=np.float32)
        padded = np.pad(luminances, ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)), mode="reflect")
        spectrum = np.fft.fft2(padded)
        for frequency, groups in self._groups.items():
            maps = amplitude_maps(spectrum, frequency)
            maps = maps.reshape(*maps.shape[:2], -1)  # (n_images, n_orientations, n_cells)
            suppression = np.float32(_SUPPRESSION) * maps.mean(axis=1)
            for group in groups:
                signals[:, group.targets] = group.respond(maps, suppression)
        driven = np.flatnonzero(self.truth.model == "category")
        signals[:, driven] = self._category_signals(objects, driven)
        return signals

    def _category_signals(self, objects: ObjectTable, targets: np.ndarray) -> np.ndarray:
        """(n_images, len(targets))"""
        truth = self.truth
        offset = objects.centre[:, None] - truth.centre[targets]  # (n_images, n, 2)
        near = np.exp(-np.square(offset / truth.size[targets, None]).sum(axis=-1) / 2)
        return truth.tuning[targets][:, objects.category].T * near * (0.5 + 2 * objects.size[:, None])


@dataclass(frozen=True)
class _Group:
    """Targets of one frequency and the same orientation or orientations."""

    targets: np.ndarray
    windows: np.ndarray  # float32 (n_cells, n_targets), each column sums to 1
    first: int
    second: int | None

    def respond(self, maps: np.ndarray, suppression: np.ndarray) -> np.ndarray:
        """(n_images, n_targets) from amplitudes (n_images, n_orientations, n_cells) and cross-orientation
        suppression (n_images, n_cells)."""
        one = maps[:, self.first]
        if self.second is None:
            return (one - suppression) @ self.windows
        other = maps[:, self.second]
        covariance = (one * other) @ self.windows - (one @ self.windows) * (other @ self.windows)
        return np.sign(covariance) * np.sqrt(np.abs(covariance))


def _groups(truth: Truth, frequency: float) -> Iterator[_Group]:
    for first, angle in enumerate(ORIENTATIONS):
        tuned = (truth.frequency == frequency) & (truth.orientation == angle)
        for second, other in [(None, np.nan), *enumerate(ORIENTATIONS)]:
            same = np.isnan(truth.second_orientation) if second is None else truth.second_orientation == other
            targets = np.flatnonzero(tuned & same)
            if len(targets):
                windows = receptive_fields(truth.centre[targets], truth.size[targets], _cells(frequency))
                yield _Group(targets, windows.T, first, second)


def _cells(frequency: float) -> int:
    """Side of a frequency's amplitude maps: enough to hold its spectrum to three standard deviations."""
    deviation = _BANDWIDTH * frequency * _PADDED / WORKING_SIZE
    return max(16, 2 * int(np.ceil(3 * deviation)))


def amplitude_maps(spectrum: np.ndarray, frequency: float) -> np.ndarray:
    """Amplitude of the quadrature pairs of one frequency at every place.

    The spectrum under each Gabor is moved to the origin, which leaves amplitudes as they are and makes them smooth
    enough to be sampled at fewer places than the image has pixels.

    Args:
        spectrum: Of the padded images, complex (n_images, _PADDED, _PADDED).
        frequency: Cycles per image.

    Returns:
        float32 (n_images, n_orientations, cells, cells), covering the padded image.
    """
    cells = _cells(frequency)
    scale = _PADDED / WORKING_SIZE  # cycles per padded image for one cycle per image
    around = np.arange(cells) - cells // 2
    maps = np.empty((len(spectrum), len(ORIENTATIONS), cells, cells), dtype=np.float32)
    for index, angle in enumerate(np.radians(ORIENTATIONS)):
        across = frequency * scale * np.array([np.cos(angle), np.sin(angle)])  # rows, columns: normal to the bars
        rows, columns = np.rint(across[0]).astype(int) + around, np.rint(across[1]).astype(int) + around
        distance = np.hypot(rows[:, None] - across[0], columns[None] - across[1]) / (_BANDWIDTH * frequency * scale)
        window = spectrum[:, rows[:, None] % _PADDED, columns[None] % _PADDED]
        filtered = np.fft.ifft2(window * np.exp(-np.square(distance) / 2).astype(np.float32))
        maps[:, index] = np.sqrt(np.square(filtered.real) + np.square(filtered.imag))
    return maps * np.float32((cells / _PADDED) ** 2)


def receptive_fields(centre: np.ndarray, size: np.ndarray, cells: int) -> np.ndarray:
    """Truncated Gaussian windows over a map that covers the padded image; 0 outside the image itself.

    Args:
        centre: (n_targets, 2), image widths.
        size: (n_targets,), image widths.
        cells: Side of the map.

    Returns:
        float32 (n_targets, cells * cells), each row sums to 1.
    """
    place = (np.arange(cells) / cells * _PADDED - _PADDING + 0.5) / WORKING_SIZE  # image widths
    offset = (place - centre[:, :, None]) / size[:, None, None]  # (n_targets, 2, cells)
    weight = np.exp(-np.square(offset) / 2) * (np.abs(offset) <= _TRUNCATION) * (place >= 0) * (place <= 1)
    windows = (weight[:, 1, :, None] * weight[:, 0, None, :]).reshape(len(centre), -1)
    return (windows / windows.sum(axis=1, keepdims=True)).astype(np.float32)
