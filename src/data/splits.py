"""Which stimuli train, validate and test: the format's own split, completed by a seeded one, without leaks."""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..recording import TEST, TRAIN, UNASSIGNED, VALIDATION, WITHHELD, Recording

LEAKING = "leaking"
"""Training stimuli that a held-out split shows too: they are left out of every split."""


def split_stimuli(recordings: Sequence[Recording], validation: float, test: float, seed: int) -> list[np.ndarray]:
    """Assign every stimulus to a split.

    A format's own test split is used where every recording has one with responses; a format's own validation
    split likewise. Otherwise stimuli that the format leaves unassigned are drawn at random, equal images
    together (by content hash, over all recordings). A training stimulus that also is a held-out one is left out.

    Args:
        recordings: With their own, possibly partial, splits.
        validation: Share of the unassigned stimuli, 0 to 1.
        test: Likewise.
        seed: Of the draw.

    Returns:
        For each recording, str (n_stimuli,): "train", "validation", "test", "withheld" or "leaking".

    Raises:
        InputError: A share is out of range, or a split is left empty.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise InputError(
            f"--data.validation {validation} and --data.test {test}: expected shares from 0 to 1 that leave something "
            "to train on"
        )
    splits = np.concatenate([recording.splits for recording in recordings]).astype("U10")
    digests = np.concatenate([np.asarray(recording.stimuli.digests()) for recording in recordings])
    measured = np.concatenate([recording.responses.measured for recording in recordings])
    splits[(splits == TEST) & ~measured] = WITHHELD
    _, image = np.unique(digests, return_inverse=True)  # equal images share a number

    own = {name: all((recording.splits == name).any() for recording in recordings) for name in (VALIDATION, TEST)}
    if not measured[splits == TEST].any():
        own[TEST] = False
    test_share = 0.0 if own[TEST] else test
    validation_share = 0.0 if own[VALIDATION] else validation

    fixed = np.unique(image[splits != UNASSIGNED])
    candidates = np.setdiff1d(image[splits == UNASSIGNED], fixed)
    # In order of first appearance, so that the draw depends on the seed and the stimuli's order alone.
    first = np.full(image.max() + 1, len(image))
    np.minimum.at(first, image, np.arange(len(image)))
    drawn = np.random.default_rng(seed).permutation(candidates[np.argsort(first[candidates])])
    n_test = round(test_share * len(drawn))
    n_validation = round(validation_share * len(drawn))
    name_of = np.full(image.max() + 1, TRAIN, dtype="U10")
    name_of[drawn[:n_test]] = TEST
    name_of[drawn[n_test : n_test + n_validation]] = VALIDATION
    unassigned = splits == UNASSIGNED
    splits[unassigned] = name_of[image[unassigned]]

    # A later split in this order is never trained or selected on, also not through a copy of the image.
    for held_out, earlier in (((TEST, WITHHELD), (TRAIN, VALIDATION)), ((VALIDATION,), (TRAIN,))):
        copies = np.isin(image, image[np.isin(splits, held_out)]) & np.isin(splits, earlier)
        splits[copies] = LEAKING

    for name, wanted in ((TRAIN, True), (VALIDATION, validation_share > 0), (TEST, test_share > 0)):
        if wanted and not (splits == name).any():
            raise InputError(
                f"--data.validation {validation} and --data.test {test}: no stimulus of {len(splits)} is left for the "
                f"{name} split; change the shares"
            )
    return np.split(splits, np.cumsum([len(recording.stimuli) for recording in recordings])[:-1])
