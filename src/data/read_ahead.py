"""Whether a run's features and responses are read a batch ahead: where they are more than memory holds."""

import logging
from collections.abc import Callable, Mapping

import numpy as np

from ..space import as_bytes, memory
from .loader import Rows
from .stimulus_table import StimulusTable

SHARE = 0.75
"""Of the available memory, up to which the page cache is left to hold what is mapped: the rest is for training."""

log = logging.getLogger(__name__)


def read_ahead(table: StimulusTable, inputs: Mapping[str, Rows]) -> Callable[[np.ndarray], None] | None:
    """What a loader tells the positions of its next batch; None where memory holds all that is mapped.

    Args:
        table: Stimuli and responses.
        inputs: What a model is given of them, by layer.
    """
    arrays = {id(part.array): part.array for each in table.recordings for part in each.responses.parts}
    arrays |= {id(array): array for rows in inputs.values() for array in rows.own}
    mapped = sum(array.nbytes for array in arrays.values() if isinstance(array, np.memmap))
    room = memory()
    if room is None or mapped <= SHARE * room.available:
        return None
    log.info(
        "features and responses of %s are more than the memory that is free (%s): each batch is read from the disk, "
        "while the one before it is trained on",
        as_bytes(mapped),
        as_bytes(room.available),
    )
    for rows in inputs.values():
        rows.read_at_random()
    for recording in table.recordings:
        recording.responses.read_at_random()
    return expecting(table, inputs)


def expecting(table: StimulusTable, inputs: Mapping[str, Rows]) -> Callable[[np.ndarray], None]:
    """What begins to read the stimuli of positions (n,), of these layers, and their responses."""

    def expect(positions: np.ndarray) -> None:
        for rows in inputs.values():
            rows.expect(positions)
        table.expect(positions)

    return expect
