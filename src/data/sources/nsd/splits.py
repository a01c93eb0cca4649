"""Which trials of the Natural Scenes Dataset train, and which test: the rules that are published."""

from typing import Literal

import numpy as np

from ....errors import InputError
from .design import Design

Split = Literal["shared1000", "shared515", "algonauts2023"]

_LAST = 3  # sessions that the Algonauts 2023 challenge tests on


def split_trials(
    design: Design, trials: np.ndarray, sessions: np.ndarray, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the trials that make the training responses, and those that make the test responses.

    What is on disk decides only what there is of each: on which side an image falls depends on the design alone, so
    that a partial download changes no split.

    Args:
        design: The subject's.
        trials: Planned trials that are on disk, int64 (n,).
        sessions: The session of each, int64 (n,).
        split: The rule. "shared1000": the shared images test. "shared515": of these, the ones with three trials in
            every subject's first 30 sessions; the other shared images train. "algonauts2023": images that the subject
            saw in the last three sessions alone test, of the shared ones only where all three of their trials lie
            there; the trials of the earlier sessions train.

    Returns:
        Training and test trials, each bool (n,).

    Raises:
        InputError: No test trial is on disk.
    """
    image = design.image[trials]
    if split == "algonauts2023":
        first = design.sessions - _LAST + 1
        early = np.unique(design.done[: (first - 1) * design.trials_per_session])
        train, test = sessions < first, (sessions >= first) & ~np.isin(image, early)
        if not design.complete:
            test &= ~np.isin(image, design.shared)
        wanted = f"session {first} to {design.sessions}, whose images are the test split"
    else:
        held_out = design.shared if split == "shared1000" else design.shared_by_all
        test = np.isin(image, held_out)
        train = ~test
        wanted = "trials of the shared images"
    if not test.any() or not train.any():
        what = wanted if not test.any() else "trials to train on"
        raise InputError(
            f"--data.source.split {split}: expected {what}, found none in the sessions that are read "
            f"({', '.join(map(str, np.unique(sessions)))}); download them, or choose another split"
        )
    return train, test
