"""Which stimuli train, validate and test: the format's own split, completed by a seeded one, without leaks."""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..recording import TEST, TRAIN, UNASSIGNED, VALIDATION, WITHHELD, Recording

HELD_OUT = (VALIDATION, TEST, WITHHELD)
LEAKING = "leaking"
"""Training stimuli that a held-out split shows too: they are left out of every split."""


def split_stimuli(recordings: Sequence[Recording], validation: float, test: float, seed: int) -> list[np.ndarray]:
    """Assign every stimulus to a split.

    A format's own test split is used where every recording has one with responses; a format's own validation
    split likewise. Otherwise test stimuli are drawn at random from those that the format leaves unassigned, and
    validation stimuli from these and its training split; equal images together (by content hash, over all
    recordings). A training stimulus that also is a held-out one is left out.

    Args:
        recordings: With their own, possibly partial, splits.
        validation: Share of the unassigned and training stimuli, 0 to 1.
        test: Share of the unassigned stimuli, 0 to 1.
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

    # In order of first appearance, so that the draw depends on the seed and the stimuli's order alone.
    first = np.full(image.max() + 1, len(image))
    np.minimum.at(first, image, np.arange(len(image)))
    free = np.setdiff1d(image[np.isin(splits, (UNASSIGNED, TRAIN))], image[np.isin(splits, HELD_OUT)])
    drawn = np.random.default_rng(seed).permutation(free[np.argsort(first[free])])
    # Test stimuli are drawn from what the format leaves open; validation stimuli also from its training split.
    is_open = ~np.isin(drawn, image[splits == TRAIN])
    tested = drawn[is_open][: round(test_share * is_open.sum())]
    validated = drawn[~np.isin(drawn, tested)][: round(validation_share * len(drawn))]
    splits[splits == UNASSIGNED] = TRAIN
    splits[(splits == TRAIN) & np.isin(image, tested)] = TEST
    splits[(splits == TRAIN) & np.isin(image, validated)] = VALIDATION

    # A later split in this order is never trained or selected on, also not through a copy of the image.
    for held_out, earlier in (((TEST, WITHHELD), (TRAIN, VALIDATION)), ((VALIDATION,), (TRAIN,))):
        copies = np.isin(image, image[np.isin(splits, held_out)]) & np.isin(splits, earlier)
        splits[copies] = LEAKING

    wanted = {TRAIN: True, VALIDATION: validation_share > 0, TEST: test_share > 0 and bool(is_open.any())}
    for name in (name for name, needed in wanted.items() if needed):
        if not (splits == name).any():
            raise InputError(
                f"--data.validation {validation} and --data.test {test}: no stimulus of {len(splits)} is left for the "
                f"{name} split; change the shares"
            )
    if not np.isin(splits, (VALIDATION, TEST)).any():
        raise InputError("--data.validation 0 and --data.test 0: expected something held out to evaluate, found none")
    return np.split(splits, np.cumsum([len(recording.stimuli) for recording in recordings])[:-1])
