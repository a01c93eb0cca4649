"""An entry of the embedding cache: one layer's features for one list of stimuli, filled in chunks of images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...recording import Stimuli
from ..digests import digest_bytes
from ..filled_array import FilledArray

CHUNK = 256
"""Images per marker: what a kill costs at most. Of clips as many as have so many frames."""


def num_chunks(stimuli: Stimuli) -> int:
    """Chunks in which stimuli are filled."""
    return -(-len(stimuli) // _size(stimuli))


def at_once(batch_size: int) -> int:
    """The largest batch, of at most this size, of which a chunk is a whole number, or nearly: batches are filled up."""
    return -(-CHUNK // -(-CHUNK // batch_size))


def rows_of(chunk: int, stimuli: Stimuli) -> range:
    """Rows of one chunk among the stimuli."""
    size = _size(stimuli)
    return range(chunk * size, min((chunk + 1) * size, len(stimuli)))


def _size(stimuli: Stimuli) -> int:
    return max(1, CHUNK // (stimuli.frames or 1))


class Entry(FilledArray):
    """One layer's features for one list of stimuli, complete or being filled.

    Args:
        cache: Folder of all entries.
        stimuli: Whose content is part of the entry's name.
        identity: What else determines the numbers, as plain JSON types.
        shape: Of one stimulus's features.
        dtype: Of the features on disk.
    """

    def __init__(
        self,
        cache: Path,
        stimuli: Stimuli,
        identity: Mapping[str, object],
        shape: tuple[int, ...],
        dtype: np.dtype,
    ) -> None:
        content = digest_bytes("\n".join(stimuli.digests()).encode())
        super().__init__(cache, "features", {**identity, "stimuli": content}, (len(stimuli), *shape), dtype)
        self.stimuli = stimuli

    def fill(self, chunk: int, features: np.ndarray) -> None:
        """Write one chunk's rows, then its marker.

        Raises:
            InputError: A value is not finite in the cache's dtype.
        """
        with np.errstate(over="ignore"):
            rows = features.astype(self.dtype)
        if not np.isfinite(rows).all():
            raise InputError(
                f"--data.encoder: layer {self.manifest['layer']} gave values that are not finite in "
                f"{self.dtype.name}; set --data.cache_dtype float32, or choose another layer"
            )
        self.write(chunk, rows_of(chunk, self.stimuli), rows)
