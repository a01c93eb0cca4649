"""What serving a run's data takes of the disk and of memory, from the split and from headers alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..batch import FeatureShapes
from ..errors import FullDisk
from ..names import TRAIN
from ..recording import Recording
from ..space import as_bytes, free_disk
from .features.extraction import Extraction
from .loader import Sizes
from .stimulus_table import StimulusTable

SHOWN = 3
"""Layers that a refusal names, the largest first."""


@dataclass(frozen=True)
class DataDemand:
    """Bytes that a run's data take.

    Args:
        cache: Of the disk, by layer: what the embedding cache lacks.
        to_encode: Stimuli of which features are lacking, in number.
        extraction: Of memory while it is filled, but for what the encoder itself takes.
        mapped: Read through memory maps, which take memory only as long as there is some: features and responses.
        batches: Of memory while training: the loaders' buffers.
        reduced: Of memory: features that a reduction has made.
        evaluation: Of memory: responses to the largest held-out split.
        predictions: Of the disk.
        components: Of memory while principal components of responses are found, before anything is extracted.
    """

    cache: Mapping[str, int]
    to_encode: int = 0
    extraction: int = 0
    mapped: int = 0
    batches: int = 0
    reduced: int = 0
    evaluation: int = 0
    predictions: int = 0
    components: int = 0


def demand_of(
    table: StimulusTable,
    extraction: Extraction,
    batch_size: int,
    world_size: int,
    reduced: FeatureShapes | None,
    beside: FeatureShapes,
) -> DataDemand:
    """What serving data takes of each of a run's processes.

    Args:
        table: All stimuli and their splits.
        extraction: What is served of them.
        batch_size: Stimuli per batch and process.
        world_size: Number of processes.
        reduced: Shapes by layer of what a reduction serves; None where there is none.
        beside: Shapes by layer of what is served beside the image.
    """
    targets = np.array([recording.num_targets for recording in table.recordings])
    numbers = 0 if reduced is None else sum(map(prod, reduced.values()))
    inputs = extraction.stimulus_bytes if reduced is None else 4 * numbers
    inputs += 4 * sum(map(prod, beside.values()))
    counts = {
        split: np.array([len(own) for own in table.of_each_recording(split)]) for split in (TRAIN, *table.evaluated)
    }
    held_out = np.array([counts[split] for split in table.evaluated]).reshape(-1, len(targets))
    return DataDemand(
        cache=extraction.missing,
        to_encode=extraction.to_encode,
        extraction=extraction.working_bytes,
        mapped=extraction.bytes + mapped_responses(table.recordings),
        batches=sum(
            buffer_bytes([Sizes(count, batch_size, world_size) for count in own.tolist()], targets.tolist(), inputs)
            for own in counts.values()
        ),
        reduced=4 * numbers * len(table.splits),
        evaluation=4 * int((held_out * targets).max(initial=0)),
        predictions=4 * int((held_out * targets).sum()) * (1 if table.offset is None else 2) * (2 if beside else 1),
    )


def buffer_bytes(sizes: Sequence[Sizes], targets: Sequence[int], inputs: int) -> int:
    """Bytes of a loader's two buffers, each for the batch of any subject.

    Args:
        sizes: Of each subject's batches.
        targets: Of each.
        inputs: Bytes of one stimulus's features, or its image.
    """
    responses = max(4 * each.largest * own for each, own in zip(sizes, targets, strict=True))
    served = max(each.largest for each in sizes) * inputs
    return min(2, sum(each.steps for each in sizes)) * (responses + served)


def mapped_responses(recordings: Iterable[Recording]) -> int:
    """Bytes of responses that lie in memory maps."""
    arrays = {id(part.array): part.array for recording in recordings for part in recording.responses.parts}
    return sum(array.nbytes for array in arrays.values() if isinstance(array, np.memmap))


def check_cache(folder: Path, cache: Mapping[str, int], images: bool) -> None:
    """Refuse an extraction that the disk has no space for, before it begins.

    Args:
        folder: Of the cache.
        cache: Bytes that it lacks, by layer.
        images: Whether it is decoded images that it lacks.

    Raises:
        FullDisk: There is too little space.
    """
    needed, free = sum(cache.values()), free_disk(folder)
    if needed <= free:
        return
    largest = sorted(cache.items(), key=lambda item: -item[1])[:SHOWN]
    of = ", ".join(f"{layer} {as_bytes(size)}" for layer, size in largest)
    more = f" and {len(cache) - SHOWN} more" if len(cache) > SHOWN else ""
    fewer = (
        "a smaller --data.image_size"
        if images
        else "fewer --data.encoder.layers, a --data.encoder.pool or --data.cache_dtype float16"
    )
    raise FullDisk(
        f"--data.cache_dir {folder}: expected {as_bytes(needed)} of space for what it lacks ({of}{more}), found "
        f"{as_bytes(free)}; take {fewer}, or a cache on another disk"
    )
