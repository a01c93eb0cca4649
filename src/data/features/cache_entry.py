"""An entry of the embedding cache: one layer's features for one list of stimuli.

It is named by the hash of what determines its numbers, so a changed image, weight file, layer or size makes a new
entry and nothing is ever stale:

    CACHE/embeddings/3f9c…/manifest.json     what the entry holds
    CACHE/embeddings/3f9c…/features.npy      (n_stimuli, *shape)
    CACHE/embeddings/3f9c….partial/          the same while it is being filled, with a marker per finished chunk

A chunk's marker is written after its rows are on disk, and the folder is renamed once every chunk has one. Killed
at any moment, the entry is absent and the next run computes the missing chunks only. Two processes that fill the
same entry write the same numbers to the same places, and the first rename ends it for both.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np

from ...errors import InputError
from ...npy import create_array
from ...recording import Stimuli
from ..digests import digest_bytes

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


class Entry:
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
        self.stimuli = stimuli
        self.shape = (len(stimuli), *shape)
        self.manifest = {**identity, "dtype": dtype.name, "shape": list(self.shape), "stimuli": content}
        text = json.dumps(self.manifest, sort_keys=True)
        self.folder = cache / digest_bytes(text.encode())
        self.partial = self.folder.with_suffix(".partial")
        self.dtype = dtype

    @property
    def complete(self) -> bool:
        return self.folder.is_dir()

    def load(self) -> np.ndarray:
        """Map the features, copy on write so that torch takes them as they are."""
        return np.load(self.folder / "features.npy", mmap_mode="c", allow_pickle=False)

    def begin(self) -> None:
        """Make the partial entry, or find the one that an earlier or a concurrent process made."""
        self.partial.mkdir(parents=True, exist_ok=True)
        features = self.partial / "features.npy"
        if features.exists() or self.complete:
            return
        own = self.partial / f".{uuid4().hex}.npy"
        create_array(own, self.dtype, self.shape)
        try:
            os.link(own, features)  # unlike a rename, never replaces the file that another process writes to
        except FileExistsError:
            pass
        except OSError:  # a file system without links: only two processes at the very same moment could collide
            own.rename(features)
        finally:
            own.unlink(missing_ok=True)

    def has(self, chunk: int) -> bool:
        return self._marker(chunk).exists() or self.complete

    def write(self, chunk: int, features: np.ndarray) -> None:
        """Write one chunk's rows, then its marker.

        Raises:
            InputError: A value is not finite in the cache's dtype.
        """
        if self.has(chunk):
            return
        with np.errstate(over="ignore"):
            rows = features.astype(self.dtype)
        if not np.isfinite(rows).all():
            raise InputError(
                f"--data.encoder: layer {self.manifest['layer']} gave values that are not finite in "
                f"{self.dtype.name}; set --data.cache_dtype float32, or choose another layer"
            )
        try:
            array = np.lib.format.open_memmap(self.partial / "features.npy", mode="r+")
            own = rows_of(chunk, self.stimuli)
            array[own.start : own.stop] = rows
            array.flush()
            self._marker(chunk).touch()
        except FileNotFoundError:
            if not self.complete:  # otherwise another process finished the entry meanwhile
                raise

    def finish(self) -> None:
        """Turn the partial entry, all chunks of which are written, into the entry."""
        try:
            (self.partial / "manifest.json").write_text(json.dumps(self.manifest, indent=1))
            self.partial.rename(self.folder)
        except OSError:
            if not self.complete:  # otherwise another process finished the entry meanwhile
                raise
        for leftover in self.folder.glob("done.*"):
            leftover.unlink(missing_ok=True)

    def _marker(self, chunk: int) -> Path:
        return self.partial / f"done.{chunk}"
