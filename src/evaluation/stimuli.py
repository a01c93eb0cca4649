"""The stimuli that a model predicts best and worst in each ROI, with small pictures of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..recording import Recording
from .bootstrap import ROUNDING
from .pictures import embedded_jpeg
from .predicted import SplitPredictions
from .scores import ALL

EACH = 4
"""Stimuli of a ROI that are shown of the best, and of the worst."""
FEWEST = 10
"""Scored targets of a ROI below which a pattern over them is chance."""
_SIDE = 96  # pixels of the longer side
_BLOCK_ELEMENTS = 2**20
_MOST_BYTES = 3 * 2**20  # of all pictures of a page together


@dataclass(frozen=True)
class Shown:
    """One stimulus of a ROI.

    Args:
        name: The stimulus.
        correlation: Of its predicted with its measured pattern over the ROI's targets.
        source: Its picture, as a page embeds it; "" where pictures became too many.
    """

    name: str
    correlation: float
    source: str


@dataclass(frozen=True)
class Extremes:
    """A ROI's best and worst predicted stimuli, each from its end.

    Args:
        subject: Whose.
        roi: Of both hemispheres together.
        n_targets: Scored targets.
    """

    subject: str
    roi: str
    n_targets: int
    best: Sequence[Shown]
    worst: Sequence[Shown]


class Thumbnails:
    """Pictures of stimuli, each made once, until they fill the page's share."""

    def __init__(self) -> None:
        self.left = _MOST_BYTES
        self.made: dict[tuple[str, int], str] = {}

    def of(self, recording: Recording, stimulus: int) -> str:
        """A JPEG as a page embeds it, of a clip its middle frame; "" where there is no more space."""
        key = recording.subject, stimulus
        if key not in self.made and self.left > 0:
            pixels = recording.stimuli.read(stimulus)
            image = Image.fromarray(pixels[len(pixels) // 2] if pixels.ndim == 4 else pixels)
            self.made[key] = embedded_jpeg(image, _SIDE)
        source = self.made.get(key, "")
        self.left -= len(source)  # a page holds it wherever it is shown
        return source


def extremes(
    part: SplitPredictions, responses: np.ndarray, scored: np.ndarray, thumbnails: Thumbnails
) -> list[Extremes]:
    """Best and worst stimuli of each ROI that has targets enough, all targets last.

    Args:
        part: A subject's predictions of n stimuli, (n, T).
        responses: (n, T), NaN where not measured.
        scored: Which targets have a correlation, bool (T,).
        thumbnails: Makes the pictures.
    """
    found = []
    names = part.names
    for roi, members in _groups(part.recording):
        own = members[scored[members]]
        if len(own) < FEWEST or len(names) < 2 * EACH:
            continue
        pattern = pattern_correlations(part.predictions, responses, own)
        ranked = np.argsort(pattern, kind="stable")[: int(np.isfinite(pattern).sum())]  # NaN are sorted last
        best, worst = (
            [
                Shown(names[row], float(pattern[row]), thumbnails.of(part.recording, int(part.stimuli[row])))
                for row in rows.tolist()
            ]
            for rows in (ranked[::-1][:EACH], ranked[:EACH])
        )
        if best:
            found.append(Extremes(part.recording.subject, roi, len(own), best, worst))
    return found


def pattern_correlations(
    predictions: np.ndarray, responses: np.ndarray, targets: np.ndarray | None = None
) -> np.ndarray:
    """Correlation over targets of each stimulus's predicted and measured responses, float64 (n,).

    Each target's responses, and its predictions, are first standardised over the stimuli, so that every target counts
    alike. NaN where fewer than three targets were measured.

    Args:
        predictions: (n, T), may be a memory map.
        responses: (n, T), NaN where not measured.
        targets: Those of which, int64 (t,); all where None.
    """
    n = len(responses)
    targets = np.arange(responses.shape[1]) if targets is None else targets
    sums = np.zeros((6, n))  # over targets: their number, x, y, x², y², xy
    block = max(_BLOCK_ELEMENTS // max(n, 1), 1)  # float64 copies of so many targets at a time
    for start in range(0, len(targets), block):
        predicted, measured = (values[:, targets[start : start + block]] for values in (predictions, responses))
        known = np.isfinite(measured) & np.isfinite(predicted)  # (n, t)
        x, y = _standardised(predicted, known), _standardised(measured, known)
        sums += [known.sum(axis=1), *(each.sum(axis=1) for each in (x, y, x * x, y * y, x * y))]
    count, x, y, xx, yy, xy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        pearson = (xy - x * y / count) / np.sqrt((xx - x * x / count) * (yy - y * y / count))
    return np.where(count >= 3, pearson, np.nan)


def _standardised(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each target's values with mean 0 and variance 1 over the stimuli, float64 (n, T); 0 where unknown or constant."""
    values = np.where(known, values, 0).astype(np.float64)
    count = np.maximum(known.sum(axis=0), 1)
    mean = values.sum(axis=0) / count
    centred = np.where(known, values - mean, 0)
    spread = np.sqrt((centred * centred).sum(axis=0) / count)
    spread[spread <= ROUNDING * np.abs(mean)] = np.inf
    return centred / spread


def _groups(recording: Recording) -> Iterator[tuple[str, np.ndarray]]:
    """ROIs by name, those of both hemispheres joined, and all targets."""
    for name in dict.fromkeys(roi.name for roi in recording.rois):
        yield name, np.unique(np.concatenate([roi.targets for roi in recording.rois if roi.name == name]))
    yield ALL, np.arange(recording.num_targets)
