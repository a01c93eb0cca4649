"""The embedding cache: features of frozen encoders, and decoded images, computed once and shared by processes."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ...encoders import Encoder
from ...encoders.base import part_layer
from ...encoders.intake import Precision, resized, with_spread
from ...errors import InputError
from ...recording import Stimuli
from .batch_that_fits import AT_ONCE, BatchThatFits
from .cache_entry import Entry, num_chunks, rows_of
from .share import ALONE, Share

IMAGES = "images"
"""Name of the layer that is the decoded image itself."""

log = logging.getLogger(__name__)

Entries = Mapping[str, Mapping[str, Entry]]
"""By the name of an encoder's part, and then by layer: where its features lie."""

Compute = Callable[[list[np.ndarray]], Mapping[str, np.ndarray]]
"""From decoded images, each uint8 (height, width, 3), to features by layer, each (n, *shape)."""


class EmbeddingCache:
    """Features on disk, computed where they are missing.

    Args:
        folder: The cache's folder.
        dtype: "float32", or "float16" for half the space.
        threads: Threads that decode images.
        precision: Of the encoders' products.
    """

    def __init__(
        self, folder: Path, dtype: str = "float32", threads: int = 4, precision: Precision = "32-true"
    ) -> None:
        self.folder = folder
        self.dtype = np.dtype(dtype)
        self.threads = threads
        self.precision: Precision = precision

    def identity(self) -> dict[str, object]:
        """What determines the features beside stimuli and encoder, in plain JSON types."""
        # Full precision goes without saying, so that entries made before there was another keep their names.
        precision = {} if self.precision == "32-true" else {"precision": self.precision}
        return {"dtype": self.dtype.name, **precision}

    def embed(
        self,
        stimuli: Stimuli,
        encoder: Encoder,
        device: torch.device,
        batch_size: int | None = None,
        share: Share = ALONE,
        average_frames: bool = True,
        frame_spread: bool = False,
        entries: Entries | None = None,
    ) -> dict[str, np.ndarray]:
        """Features of every layer of a frozen encoder, each part of which has its own entries.

        Args:
            stimuli: What to encode.
            encoder: Moved to `device` only where something is missing.
            device: Where to compute.
            batch_size: Images per forward pass; None for 64, or as many as a GPU's memory holds.
            share: Which part of the work is this process's.
            average_frames: Keep the mean over a clip's frames rather than each frame's features.
            frame_spread: Keep the standard deviation over a clip's frames beside the mean.
            entries: What `entries` says of the same, where it was asked before: the hash of big weights takes seconds.

        Returns:
            By layer, a memory map (n_stimuli, *shape), or (n_stimuli, frames, *shape).

        Raises:
            InputError: An image cannot be read, or a feature is not finite in the cache's dtype.
        """
        features: dict[str, np.ndarray] = {}
        entries = entries or self.entries(stimuli, encoder, average_frames, frame_spread)
        for name, part in encoder.parts().items():
            own, batches = entries[name], BatchThatFits(batch_size)

            def compute(
                images: list[np.ndarray], part: Encoder = part, batches: BatchThatFits = batches
            ) -> dict[str, np.ndarray]:
                return batches.encode(part, images, device, average_frames, frame_spread, self.precision)

            if not all(entry.complete for entry in own.values()):
                part.eval().to(device)
            self._fill(own, stimuli, compute, share, f"embedding {name}".strip(), batches)
            features |= {part_layer(name, layer): entry.load() for layer, entry in own.items()}
        return features

    def entries(
        self, stimuli: Stimuli, encoder: Encoder, average_frames: bool = True, frame_spread: bool = False
    ) -> Entries:
        """Where the features of a frozen encoder lie or will lie, by its parts and their layers.

        Args:
            stimuli: What to encode.
            encoder: Fitted, where it is one that learns.
            average_frames: See `embed`.
            frame_spread: See there.
        """
        return {
            name: self._entries(stimuli, part, average_frames, frame_spread) for name, part in encoder.parts().items()
        }

    def _entries(
        self, stimuli: Stimuli, encoder: Encoder, average_frames: bool, frame_spread: bool
    ) -> dict[str, Entry]:
        shapes = encoder.feature_shapes()
        identity: dict[str, object] = {"encoder": encoder.fingerprint(), **self.identity()}
        if stimuli.frames is not None:
            identity["frames"] = "mean" if average_frames else "each"
            if not average_frames:
                shapes = {layer: (stimuli.frames, *shape) for layer, shape in shapes.items()}
            if frame_spread:
                shapes = with_spread(shapes, shapes)
        return {
            layer: Entry(self.folder / "embeddings", stimuli, {**identity, "layer": layer}, shape, self.dtype)
            for layer, shape in shapes.items()
        }

    def decode(self, stimuli: Stimuli, image_size: int | None, share: Share = ALONE) -> np.ndarray:
        """Decoded images and clips, for models that have their own backbone.

        1,000 clips of 16 frames of 112 × 112 pixels are 600 MB, of 268 × 268 pixels 3.4 GB.

        Args:
            stimuli: What to decode.
            image_size: Side to which the whole image, or each frame, is resized; None keeps their own size, which
                must be one for all.
            share: Which part of the work is this process's.

        Returns:
            A memory map, uint8 (n_stimuli, 3, height, width), of clips (n_stimuli, frames, 3, height, width).

        Raises:
            InputError: A stimulus cannot be read or has another size than the first.
        """
        entry = self.decoded_entry(stimuli, image_size)
        shape = entry.shape[1:]

        def compute(images: list[np.ndarray]) -> dict[str, np.ndarray]:
            return {IMAGES: np.moveaxis(np.stack([resized(image, shape) for image in images]), -1, -3)}

        if image_size is None:
            stimuli = _OfOneSize(stimuli, shape)
        self._fill({IMAGES: entry}, stimuli, compute, share, "decoding")
        return entry.load()

    def decoded_entry(self, stimuli: Stimuli, image_size: int | None) -> Entry:
        """Where decoded images lie or will lie; the arguments are those of `decode`."""
        shape = image_shape(stimuli, image_size)
        identity = {"encoder": {"class": "decoded"}, "layer": IMAGES, "shape": list(shape)}
        return Entry(self.folder / "embeddings", stimuli, identity, shape, np.dtype(np.uint8))

    def _fill(
        self,
        entries: Mapping[str, "Entry"],
        stimuli: Stimuli,
        compute: Compute,
        share: Share,
        verb: str,
        batches: BatchThatFits | None = None,
    ) -> None:
        missing = {layer: entry for layer, entry in entries.items() if not entry.complete}
        if not missing:
            log.info("%s: %d stimuli found in %s, nothing to extract", verb, len(stimuli), self.folder)
        # No rank leaves early: what one finds complete, another may have found missing a moment before.
        share.agree(None)
        chunks = range(num_chunks(stimuli))
        own = chunks[share.rank :: share.world_size]
        # Ranks that share no disk find each other's chunks missing in the second pass, and compute them.
        for todo, show in ((own, share.rank == 0), (chunks, False)):
            error: InputError | None = None
            try:
                for entry in missing.values():
                    entry.begin()
                self._compute_chunks(missing, stimuli, compute, todo, show, verb)
            except InputError as raised:
                error = raised
            share.agree(error)
        for entry in missing.values():
            entry.finish({} if batches is None else {AT_ONCE: batches.size})
        share.agree(None)

    def _compute_chunks(
        self,
        entries: Mapping[str, "Entry"],
        stimuli: Stimuli,
        compute: Compute,
        chunks: Sequence[int],
        show: bool,
        verb: str,
    ) -> None:
        todo = [chunk for chunk in chunks if not all(entry.has(chunk) for entry in entries.values())]
        count = sum(len(rows_of(chunk, stimuli)) for chunk in todo)
        with tqdm(total=count, desc=verb, unit="image", disable=not show or not todo) as progress:
            for chunk, images in self._decoded(stimuli, todo):
                features = compute(images)
                for layer, entry in entries.items():
                    entry.fill(chunk, features[layer])
                progress.update(len(images))

    def _decoded(self, stimuli: Stimuli, chunks: Sequence[int]) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Decode in threads, one chunk ahead of the encoder."""
        with ThreadPoolExecutor(self.threads) as pool:

            def submit(chunk: int) -> list[Future[np.ndarray]]:
                return [pool.submit(stimuli.read, row) for row in rows_of(chunk, stimuli)]

            ahead = [submit(chunk) for chunk in chunks[:1]]
            try:
                for position, chunk in enumerate(chunks):
                    current = ahead.pop()
                    ahead.extend(submit(following) for following in chunks[position + 1 : position + 2])
                    yield chunk, [future.result() for future in current]
            finally:
                pool.shutdown(cancel_futures=True)


def image_shape(stimuli: Stimuli, image_size: int | None) -> tuple[int, ...]:
    """Shape (3, height, width) in which a data module serves raw images, (frames, 3, height, width) of clips."""
    frames = () if stimuli.frames is None else (stimuli.frames,)
    height, width = stimuli.read(0).shape[-3:-1] if image_size is None else (image_size, image_size)
    return *frames, 3, height, width


class _OfOneSize:
    """Stimuli that must all have the size of the first."""

    def __init__(self, stimuli: Stimuli, shape: tuple[int, ...]) -> None:
        self.stimuli = stimuli
        self.shape = shape
        self.names = stimuli.names
        self.frames = stimuli.frames

    def __len__(self) -> int:
        return len(self.stimuli)

    def digests(self, memo: Path | None = None) -> Sequence[str]:
        return self.stimuli.digests(memo)

    def read(self, index: int) -> np.ndarray:
        image = self.stimuli.read(index)
        if image.shape[-3:-1] != self.shape[-2:]:
            found, expected = ("×".join(map(str, size)) for size in (image.shape[-3:-1], self.shape[-2:]))
            raise InputError(
                f"{self.names[index]}: expected {expected} pixels like the first, found {found}; set --data.image_size"
            )
        return image
