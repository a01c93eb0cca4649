"""What came beside each stimulus, by trial: which stimuli before, when, and what the subject did."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...names import BESIDE, TRAIN
from ...recording import Recording
from ...trial_order import TIME, TrialOrder, comes_again
from ..digests import digest_bytes
from ..statistics import mean_and_deviation
from ..stimulus_table import StimulusTable
from ..trials.repeats import trial_table
from .context import BEHAVIOUR, FLAG, TIMES, TrialContext

ROUNDING = 16 * np.finfo(np.float64).eps
"""Spread of a column beside its mean up to which it is the rounding of one that does not vary."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BesideTables:
    """What came beside the stimuli of all recordings.

    Args:
        trials: Trials of each position, int64 (n_positions, most repetitions), −1 where there is none.
        shown: The position that shows what each trial showed, int64 (n_trials,), −1 where none does.
        starts: The first trial of each trial's session and run, int64 (n_trials,).
        columns: Time and behaviour by layer, standardised on each recording's training split and averaged over trials,
            float32 (n_positions, columns); 0, the training mean, where nothing is known.
        digest: Hash of the orders and of the behaviour as they were read.
    """

    trials: np.ndarray
    shown: np.ndarray
    starts: np.ndarray
    columns: dict[str, np.ndarray]
    digest: str

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
        InputError: A recording does not tell, its table is damaged or matches no training stimulus, or so many stimuli
            never stood before a trial.
    """
    orders = [_order_of(recording) for recording in table.recordings]
    trials, shown, starts, told = [], [], [], []
    first_trial = first_position = longest = 0
    for order, recording, training in zip(orders, table.recordings, table.of_each_recording(TRAIN), strict=True):
        own, start = _trials_of(order, len(recording.stimuli)), order.starts()
        _check_training(context, recording, order, start, own[training])
        longest = max(longest, int(np.bincount(start).max(initial=0)))
        trials.append(np.where(own >= 0, own + first_trial, -1))
        shown.append(np.where(order.shown >= 0, order.shown + first_position, -1))
        starts.append(start + first_trial)
        told.append(_columns_of(context, columns, order, own, training))
        first_trial, first_position = first_trial + len(order), first_position + len(recording.stimuli)
    if context.previous >= max(longest, 1):
        raise InputError(
            f"{FLAG}.previous {context.previous}: expected fewer than the {longest} trials of the longest session or "
            f"run; ask for at most {longest - 1}"
        )
    most = max(own.shape[1] for own in trials)
    wide = [np.pad(own, ((0, 0), (0, most - own.shape[1])), constant_values=-1) for own in trials]
    return BesideTables(
        np.concatenate(wide),
        np.concatenate(shown),
        np.concatenate(starts),
        {layer: np.concatenate([each[layer] for each in told]) for layer in told[0]},
        digest_bytes(b"".join(_raw(order, columns) for order in orders)),
    )


def _order_of(recording: Recording) -> TrialOrder:
    if recording.order is None:
        raise InputError(f"{FLAG}: expected the order of the trials of {recording.subject}, found none; leave it out")
    order = recording.order()
    again = comes_again(order.session, order.run)
    if again is not None:
        run = "" if order.run is None else f"run {order.run[again]} of "
        raise InputError(
            f"{FLAG}: expected the trials of {recording.subject} in the order of presentation, run after run, found "
            f"{run}session {order.session[again]} again at the trial {again + 1}; correct the source's table"
        )
    return order


def _check_training(
    context: TrialContext, recording: Recording, order: TrialOrder, starts: np.ndarray, trials: np.ndarray
) -> None:
    """Refuse an order that is another recording's, and warn of one in which nothing came before.

    Args:
        context: What is given beside the image.
        recording: Whose order it is.
        order: That order.
        starts: As of TrialOrder.
        trials: Of each training stimulus, int64 (n, repetitions), −1 where there is none.
    """
    known = trials[trials >= 0]
    if len(trials) and not len(known):
        raise InputError(
            f"{FLAG}: expected trials of the training stimuli of {recording.subject}, found none among {len(order):,} "
            "trials; give the table of these stimuli, or leave it out"
        )
    place = np.arange(len(order))
    last = np.maximum.accumulate(np.where(order.shown >= 0, place, -1))
    if context.previous and not (np.r_[-1, last[:-1]] >= np.maximum(starts, place - context.previous))[known].any():
        log.warning(
            "%s.previous: no training trial of %s has a known stimulus before it in its session and run, so that there "
            "is nothing to learn from; look whether its runs are numbered by trial",
            FLAG, recording.subject,
        )  # fmt: skip


def _raw(order: TrialOrder, columns: Sequence[str]) -> bytes:
    """All that is taken of an order, as it was read."""
    arrays = [order.stimulus, order.shown, order.session, *(order.behaviour[name] for name in columns)]
    arrays += [each for each in (order.run, order.seen) if each is not None]
    return str(len(order)).encode() + b"".join(np.ascontiguousarray(each).tobytes() for each in arrays)


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
    names = {TIMES: list(TIME), BEHAVIOUR: list(columns)}
    return {layer: _standardised(values, names[layer], trials, training) for layer, values in layers.items()}


def _standardised(values: np.ndarray, names: Sequence[str], trials: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Columns of trials, averaged over those of each stimulus, float32 (n_stimuli, columns).

    In float64, which holds the milliseconds of a date. A column that does not vary in training is 0 everywhere: a model
    has learnt nothing of it, and its other values would stand in no proportion to the rest.

    Args:
        values: float64 (n_trials, columns), NaN where unknown.
        names: Of the columns, for messages.
        trials: Of each stimulus, int64 (n_stimuli, repetitions), −1 where there is none.
        training: Stimuli of the training split, int64 (n,).
    """
    nothing = np.full((1, values.shape[1]), np.nan)  # found at −1, as is no trial
    own = np.concatenate([values, nothing])[trials]  # (n_stimuli, repetitions, columns)
    counts = (~np.isnan(own)).sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
        of_stimuli = np.where(counts, np.nansum(own, axis=1), np.nan) / np.maximum(counts, 1)
        mean, deviation = mean_and_deviation([of_stimuli[training]])
        varies = deviation > np.abs(mean) * ROUNDING
        found = np.where(varies, (of_stimuli - mean) / np.where(varies, deviation, 1), 0)
        found = np.where(counts, found, 0).astype(np.float32)
    for name, fits in zip(names, np.isfinite(found).all(axis=0) & np.isfinite(deviation), strict=True):
        if not fits:
            raise InputError(
                f"{FLAG}: expected numbers that can be standardised, found {name} infinite, or too large beside its "
                "spread in training; correct the column, or leave it out"
            )
    return found
