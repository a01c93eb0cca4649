"""Which stimuli train, validate and test: the format's own split, completed by a seeded one, without leaks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..names import LEAKING, OWN_SPLITS, TEST, TRAIN, UNASSIGNED, VALIDATION, WITHHELD
from ..recording import Recording

_LIMIT = 1
"""Sets the draw of fewer training stimuli apart from that of the splits."""


@dataclass(frozen=True)
class Fold:
    """Which part of how many is held out, of a cross-validation over runs.

    Args:
        number: From 1.
        count: 2 or more.
    """

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> "Fold":
        """From "3/9".

        Raises:
            InputError: It is no such thing.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        fold = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= fold.number <= fold.count or fold.count < 2:
            raise InputError(f"--data.fold {text}: expected a part and how many there are, as 1/9 to 9/9")
        return fold

    def of(self, images: np.ndarray) -> np.ndarray:
        """Its part of images (n,)."""
        return np.array_split(images, self.count)[self.number - 1]


def split_stimuli(
    recordings: Sequence[Recording], validation: float, test: float, seed: int, fold: Fold | None = None
) -> list[np.ndarray]:
    """Assign every stimulus to a split.

    A recording's own test split is used where it has one with responses; its own validation split likewise.
    Otherwise test stimuli are drawn at random from those that the format leaves unassigned, and validation stimuli
    from these and its training split; equal images together, by content hash. A training stimulus that also is a
    held-out one is left out.

    Each recording is split as it is alone, so that a model of several can be compared with models of each on the
    same test stimuli; but an image that an earlier recording shows too falls on the side on which it is there.
    Stimuli of a test set with a name of its own stay there.

    Args:
        recordings: With their own, possibly partial, splits.
        validation: Share of the unassigned and training stimuli, 0 to 1.
        test: Share of the unassigned stimuli, 0 to 1.
        seed: Of the draw.
        fold: Instead of a share, the test split that is drawn is one of so many parts, of which each image is in one;
            of a recording from which no test split is drawn, the validation split is.

    Returns:
        For each recording, str (n_stimuli,): "train", "validation", "test", "withheld", "leaking" or a test set's name.

    Raises:
        InputError: A share is out of range, a split is left empty, or folds are asked for where nothing is drawn.
    """
    check_shares(validation, test)
    formats = [_own_splits(recording) for recording in recordings]
    digests = np.concatenate([np.asarray(recording.stimuli.digests()) for recording in recordings])
    numbers = np.unique(digests, return_inverse=True)[1]  # equal images share a number
    images = np.split(numbers, np.cumsum([len(own) for own in formats])[:-1])
    sides = _Sides(numbers, np.concatenate(formats))
    shares = [
        {TEST: 0.0 if (own == TEST).any() else test, VALIDATION: 0.0 if (own == VALIDATION).any() else validation}
        for own in formats
    ]
    parts = [
        {} if fold is None else {_folded(own, recording.subject): fold}
        for own, recording in zip(formats, recordings, strict=True)
    ]
    for of_recording, part in zip(shares, parts, strict=True):
        of_recording |= {name: 1 / own.count for name, own in part.items()}
    for image, of_recording, part in zip(images, shares, parts, strict=True):
        sides.draw(image, of_recording, part, seed)
    splits = [sides.assign(*each) for each in zip(images, formats, shares, strict=True)]

    # A later split in this order is never trained or selected on, also not through a copy of the image.
    sets = set(np.concatenate(splits).tolist()) - set(OWN_SPLITS)
    for held_out, earlier in (((TEST, WITHHELD, *sets), (TRAIN, VALIDATION)), ((VALIDATION,), (TRAIN,))):
        shown = numbers[np.isin(np.concatenate(splits), held_out)]
        for own, image in zip(splits, images, strict=True):
            own[np.isin(image, shown) & np.isin(own, earlier)] = LEAKING

    for recording, own, image, of_recording in zip(recordings, splits, images, shares, strict=True):
        wanted = {
            TRAIN: True,
            VALIDATION: of_recording[VALIDATION] > 0,
            TEST: of_recording[TEST] > 0 and (sides.free & sides.open)[image].any(),
        }
        for name in (name for name, needed in wanted.items() if needed and not (own == name).any()):
            raise InputError(
                f"--data.validation {validation} and --data.test {test}: no stimulus of {len(own)} is left for the "
                f"{name} split of {recording.subject}; change the shares or the seed"
            )
    if not np.isin(np.concatenate(splits), (VALIDATION, TEST)).any():
        raise InputError("--data.validation 0 and --data.test 0: expected something held out to evaluate, found none")
    return splits


def limit_training(
    recordings: Sequence[Recording], splits: Sequence[np.ndarray], count: int, seed: int
) -> list[np.ndarray]:
    """Leave so many stimuli in each recording's training split; the others are in no split.

    They are the first of a permutation, so those of a smaller count are among those of a larger one, and what is held
    out stays as it is. Rows that show one image are one stimulus, and stay or go together.

    Args:
        recordings: All of them.
        splits: From `split_stimuli`.
        count: 1 or more.
        seed: Of the permutation.

    Returns:
        As `split_stimuli`.

    Raises:
        InputError: A recording has fewer.
    """
    limited = []
    for recording, own in zip(recordings, splits, strict=True):
        rows = np.flatnonzero(own == TRAIN)
        digests = np.asarray(recording.stimuli.digests())[rows]
        first, image = np.unique(digests, return_index=True, return_inverse=True)[1:]
        if count > len(first):
            raise InputError(
                f"--data.training_stimuli {count}: expected at most the {len(first)} training stimuli of "
                f"{recording.subject}; take fewer, or leave it out"
            )
        # In order of first appearance, and not by content, so that one changed image changes no other's place.
        chosen = np.random.default_rng((seed, _LIMIT)).permutation(np.sort(first))[:count]
        own = own.copy()
        own[rows[~np.isin(first[image], chosen)]] = UNASSIGNED
        limited.append(own)
    return limited


def check_shares(validation: float, test: float) -> None:
    """Raise InputError where the shares leave nothing to train on."""
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise InputError(
            f"--data.validation {validation} and --data.test {test}: expected shares from 0 to 1 that leave something "
            "to train on"
        )


def _folded(own: np.ndarray, subject: str) -> str:
    """Which split is drawn in folds, where the format's own splits are these."""
    if (own == UNASSIGNED).any() and not (own == TEST).any():
        return TEST
    if not (own == VALIDATION).any():
        return VALIDATION
    raise InputError(
        f"--data.fold: expected a test or a validation split to draw, found that {subject} comes with both; "
        "leave it out"
    )


def _own_splits(recording: Recording) -> np.ndarray:
    """The format's own splits, str (n_stimuli,); test stimuli without responses are withheld."""
    splits = recording.splits.astype(f"U{max(10, recording.splits.dtype.itemsize // 4)}")  # room for "validation"
    splits[(splits == TEST) & ~recording.responses.measured] = WITHHELD
    return splits


class _Sides:
    """On which side each image falls, whichever recordings show it.

    Args:
        numbers: Number of the image that each stimulus of all recordings shows, int64 (n,).
        splits: Their formats' own splits, str (n,).
    """

    def __init__(self, numbers: np.ndarray, splits: np.ndarray) -> None:
        count = numbers.max() + 1
        self.side = np.full(count, UNASSIGNED, dtype="U10")  # (n_images,) as drawn so far
        self.free = np.ones(count, dtype=bool)  # (n_images,) held out by no format
        self.free[numbers[~np.isin(splits, (TRAIN, UNASSIGNED))]] = False
        self.open = np.ones(count, dtype=bool)  # (n_images,) in no format's training split
        self.open[numbers[splits == TRAIN]] = False

    def draw(self, image: np.ndarray, shares: Mapping[str, float], folds: Mapping[str, Fold], seed: int) -> None:
        """Draw a recording's images (n_stimuli,), so that with those that are drawn already its shares are full.

        Of a split in `folds`, those that are not drawn already are divided.
        """
        # In order of first appearance, so that the draw depends on the seed and the stimuli's order alone.
        unique = image[np.sort(np.unique(image, return_index=True)[1])]
        drawn = np.random.default_rng(seed).permutation(unique[self.free[unique]])
        # Test stimuli are drawn from what the format leaves open; validation stimuli also from its training split.
        for name, candidates in ((TEST, drawn[self.open[drawn]]), (VALIDATION, drawn)):
            missing = round(shares[name] * len(candidates)) - (self.side[candidates] == name).sum()
            left = candidates[self.side[candidates] == UNASSIGNED]
            self.side[folds[name].of(left) if name in folds else left[: max(missing, 0)]] = name
        self.side[drawn[self.side[drawn] == UNASSIGNED]] = TRAIN

    def assign(self, image: np.ndarray, own: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
        """Splits of a recording's stimuli (n_stimuli,): its format's own, completed by the draw."""
        splits = np.where(own == UNASSIGNED, TRAIN, own)
        for name, share in shares.items():
            if share > 0:
                splits[(splits == TRAIN) & (self.side[image] == name)] = name
        return splits
