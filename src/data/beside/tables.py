"""What came beside each stimulus, by trial: which stimuli before, when, and what the subject did."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...names import BESIDE, TRAIN
from ...recording import Recording
from ...trial_order import TrialOrder
from ..digests import digest_bytes
from ..statistics import mean_and_scale
from ..stimulus_table import StimulusTable
from ..trials.repeats import trial_table
from .context import BEHAVIOUR, FLAG, TIMES, TrialContext


@dataclass(frozen=True)
class BesideTables:
    """What came beside the stimuli of all recordings.

    Args:
        trials: Trials of each position, int64 (n_positions, most repetitions), −1 where there is none.
        previous: Positions that show what came before each trial, int32 (n_trials, count), −1 where there is none.
        columns: Time and behaviour by layer, standardised on each recording's training split and averaged over trials,
            float32 (n_positions, columns); 0, the training mean, where nothing is known.
    """

    trials: np.ndarray
    previous: np.ndarray
    columns: dict[str, np.ndarray]

    def digest(self) -> str:
        """Hash of all of it."""
        arrays = [self.trials, self.previous, *self.columns.values()]
        return digest_bytes(b"".join(np.ascontiguousarray(each).tobytes() for each in arrays))

    def told(self, layers: Sequence[str], table: StimulusTable) -> str:
        """What stands beside the image, and how many stimuli of each split have no trial, for people."""
        text, missing = ", ".join(layer.removeprefix(BESIDE) for layer in layers), []
        for split in (TRAIN, *table.evaluated):
            known = self.known[table.positions(split)]
            missing += [] if known.all() else [f"{(~known).sum():,} of {len(known):,} in {split}"]
        if missing:
            text += f"; the training mean stands for it where no trial is known ({', '.join(missing)})"
        return text

    @property
    def known(self) -> np.ndarray:
        """Whether a position has any trial, bool (n_positions,)."""
        return np.asarray((self.trials >= 0).any(axis=1))


def read_tables(context: TrialContext, columns: Sequence[str], table: StimulusTable) -> BesideTables:
    """Read in which order all recordings' stimuli were presented.

    Args:
        context: What is given beside the image.
        columns: Of behaviour.
        table: The stimuli, and what trains.

    Raises:
        InputError: A recording does not tell, or its table is damaged.
    """
    orders = [_order_of(recording) for recording in table.recordings]
    trials, previous, told = [], [], []
    first_trial = first_position = 0
    for order, recording, training in zip(orders, table.recordings, table.of_each_recording(TRAIN), strict=True):
        own = _trials_of(order, len(recording.stimuli))
        before = order.previous(context.previous)
        trials.append(np.where(own >= 0, own + first_trial, -1))
        previous.append(np.where(before >= 0, before + first_position, -1).astype(np.int32))
        told.append(_columns_of(context, columns, order, own, training))
        first_trial, first_position = first_trial + len(order), first_position + len(recording.stimuli)
    most = max(own.shape[1] for own in trials)
    wide = [np.pad(own, ((0, 0), (0, most - own.shape[1])), constant_values=-1) for own in trials]
    return BesideTables(
        np.concatenate(wide),
        np.concatenate(previous),
        {layer: np.concatenate([each[layer] for each in told]) for layer in told[0]},
    )


def _order_of(recording: Recording) -> TrialOrder:
    if recording.order is None:
        raise InputError(f"{FLAG}: expected the order of the trials of {recording.subject}, found none; leave it out")
    return recording.order()


def _trials_of(order: TrialOrder, count: int) -> np.ndarray:
    """Trials of each stimulus, int64 (count, most repetitions), −1 where there is none."""
    known = trial_table(order.stimulus)
    return np.pad(known, ((0, count - len(known)), (0, max(0, 1 - known.shape[1]))), constant_values=-1)


def _columns_of(
    context: TrialContext, columns: Sequence[str], order: TrialOrder, trials: np.ndarray, training: np.ndarray
) -> dict[str, np.ndarray]:
    """Time and behaviour of each stimulus by layer, float32 (n_stimuli, columns), of mean 0 and variance 1 in training.

    Subjects differ in how fast and how often they answer, so each is standardised alone.
    """
    layers = {}
    if context.time:
        layers[TIMES] = order.time()
    if columns:
        layers[BEHAVIOUR] = np.stack([order.behaviour[name] for name in columns], axis=1)
    found = {}
    for layer, values in layers.items():
        nothing = np.full((1, values.shape[1]), np.nan)  # found at −1, as is no trial
        own = np.concatenate([values, nothing])[trials]  # (n_stimuli, repetitions, columns)
        counts = (~np.isnan(own)).sum(axis=1)
        of_stimuli = np.where(counts, np.nansum(own, axis=1), np.nan) / np.maximum(counts, 1)
        mean, scale = mean_and_scale([of_stimuli[training]])
        found[layer] = np.nan_to_num((of_stimuli - mean) / scale).astype(np.float32)
    return found
