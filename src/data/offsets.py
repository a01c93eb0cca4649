"""Offsets: responses whose spread is small beside their distance from 0 are centred before they are cut to float32."""

from collections.abc import Sequence

import numpy as np

from ..recording import Part, Responses
from .statistics import in_chunks, mean_and_deviation

FAR = 1e4
"""Distance from 0, in standard deviations, beyond which float32 would round by more than a 3,000th of the spread."""


def measured(shape: tuple[int, int], parts: Sequence[Part]) -> Responses:
    """Responses from arrays of any real dtype, with the offset that float32 needs to hold their spread.

    The offset is in no way fitted to the responses: what is standardised by the training split afterwards is the same
    with any. A target that needs none, and any array that float32 holds, has 0.

    Args:
        shape: (n_stimuli, n_targets).
        parts: As in Responses.
    """
    offset = np.zeros(shape[1])
    for part in parts:
        if np.result_type(part.array.dtype, np.float32) == np.float32:
            continue
        rows, columns = part.shape
        targets = slice(part.first_target, part.first_target + columns)
        mean, deviation = mean_and_deviation(in_chunks(part.take, np.arange(rows), columns))
        # The first part that has something to say of a target speaks for the others, which are in the same units.
        new = (offset[targets] == 0) & (np.abs(mean) > FAR * deviation) & (deviation > 0)
        offset[targets] = np.where(new, mean, offset[targets])
    return Responses(shape, parts, offset if offset.any() else None)
