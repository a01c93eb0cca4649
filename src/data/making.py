"""Making: from the stimuli of a run to the inputs that its models are given of them."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from ..batch import Facts
from ..bf16 import warn_of_imitated_bf16
from ..encoders.intake import StimulusIntake
from ..encoders.projection import Projection
from ..names import TRAIN
from .beside.served import serve
from .beside.tables import read_tables
from .demand import DataDemand, demand_of
from .digests import digest_bytes
from .facts import feature_statistics
from .features.embeddings import IMAGES
from .features.extraction import Extraction
from .features.fitted import TrainingImages, fit_encoder
from .features.reduced_rows import reduce_rows
from .features.share import ALONE, Share
from .inputs import Inputs
from .loader import Rows
from .stimulus_table import StimulusTable
from .stimulus_views import apart, each_once

SAMPLED = 32
"""Training stimuli whose responses tell a resumed run that they are those of the run that it goes on with."""

log = logging.getLogger(__name__)


class Making:
    """Makes what `inputs` says of the stimuli of a table; an encoder that learns learns from its training split here.

    Args:
        inputs: What models are given.
        table: The stimuli and their splits.
        share: How ranks part the work, and wait for each other.

    Attributes:
        fingerprint: Of the encoder, from now on the same; None where there is none.
        tables: What came beside each stimulus; None where nothing is given.

    Raises:
        InputError: What stands beside the image cannot be read, or the encoder cannot learn.
    """

    def __init__(self, inputs: Inputs, table: StimulusTable, share: Share = ALONE) -> None:
        self.inputs, self.table, self.share = inputs, table, share
        context = inputs.beside
        self.tables = None if context is None else read_tables(context, inputs.behaviour, table)
        self.fingerprint: dict[str, object] | None = None
        if inputs.encoder is not None:
            fit_encoder(inputs.encoder, self._training_images(), inputs.cache.folder, share)
            self.fingerprint = inputs.encoder.fingerprint()

    def identity(self) -> str:
        """Hash of everything that a resumed run must have in common with the one that it goes on with."""
        inputs, table = self.inputs, self.table
        reduction = None if inputs.reduction is None else inputs.reduction.identity()
        splits, rows = table.splits.tolist(), table.response_rows.tolist()
        # Subjects of one challenge share their stimuli, and hemispheres may have equally many targets.
        some = table.positions(TRAIN)[:: -(-len(table.positions(TRAIN)) // SAMPLED)]
        recording_of = table.subject[some]
        sample = [table.respond(index, some[recording_of == index]) for index in range(len(table.recordings))]
        responses = digest_bytes(b"".join(each.tobytes() for each in sample))
        served = [self.fingerprint, *inputs.cache.identity().values(), reduction, inputs.image_size, inputs.frames]
        if inputs.frame_spread:
            served.append("spread")
        if inputs.beside is not None and self.tables is not None:
            served += [inputs.beside.identity(), inputs.behaviour, self.tables.digest]
        counts = (len(some), sum(int(recording.num_targets) for recording in table.recordings))
        parts = json.dumps([table.digests(), splits, rows, counts, responses, served])
        return digest_bytes(parts.encode())

    @cached_property
    def extraction(self) -> Extraction:
        """Which features or decoded images are served, and where they lie or will lie in the cache."""
        inputs, cache = self.inputs, self.inputs.cache
        parts = [part for recording in self.table.recordings for part in apart(recording.stimuli)]
        lists, index = each_once(parts)
        if inputs.encoder is None:
            entries = [{"": {IMAGES: cache.decoded_entry(own, inputs.image_size)}} for own in lists]
        else:
            how = (inputs.encoder, inputs.average_frames, inputs.frame_spread)
            entries = [cache.entries(own, *how) for own in lists]
        return Extraction(lists, index, entries)

    def demand(self, batch_size: int) -> DataDemand:
        """What serving takes of the disk and of memory.

        Args:
            batch_size: Stimuli per batch and process.
        """
        inputs = self.inputs
        reduced = None if inputs.reduction is None else inputs.image_shapes
        return demand_of(self.table, self.extraction, batch_size, self.share.world_size, reduced, inputs.beside_shapes)

    def make(self, device: torch.device) -> tuple[dict[str, Rows], dict[str, Projection]]:
        """Inputs of all stimuli by layer, from the cache or computed now, and the reductions that were fitted.

        Args:
            device: Where the encoder computes.

        Raises:
            InputError: A stimulus cannot be read, or a reduction not be fitted.
        """
        made = self._encode(device)
        projections: dict[str, Projection] = {}
        if self.inputs.reduction is not None:
            made, projections = self._reduce(made)
        return made | self._serve_beside(made), projections

    def tell(self, facts: Facts, made: Mapping[str, Rows], projections: Mapping[str, Projection]) -> Facts:
        """The facts with what the features, or decoded images, have told.

        Args:
            facts: All that was known before.
            made: Inputs of all stimuli by layer.
            projections: Of the layers that were reduced.
        """
        inputs = self.inputs
        images = made[IMAGES].shape if inputs.encoder is None else None
        mean, scale, beside = None, None, list(inputs.beside_shapes)
        if inputs.encoder is not None:
            training, common = self.table.positions(TRAIN), not facts.standardized
            mean, scale = feature_statistics(made, training, inputs.frames, common=common)
        intake = StimulusIntake(
            inputs.encoder,
            inputs.average_frames,
            inputs.frame_spread,
            inputs.cache.dtype.name,
            projections,
            images,
            self.fingerprint,
            inputs.frames,
            self.extraction.at_once(inputs.encode_batch_size),
            inputs.cache.precision,
            {layer: mean[layer] for layer in beside} if mean is not None else None,
        )
        return replace(facts, feature_mean=mean, feature_scale=scale, intake=intake, beside=beside)

    @property
    def beside_told(self) -> str:
        """What stands beside the image, and for which stimuli it is not known, for people; empty where nothing does."""
        return "" if self.tables is None else self.tables.told(list(self.inputs.beside_shapes), self.table)

    def _training_images(self) -> TrainingImages:
        table = self.table
        own = zip(*table.locate(table.positions(TRAIN)), strict=True)
        return TrainingImages([(table.recordings[recording].stimuli, int(index)) for recording, index in own])

    def _encode(self, device: torch.device) -> dict[str, Rows]:
        """Features by layer, or decoded images."""
        inputs, cache, extraction = self.inputs, self.inputs.cache, self.extraction
        lists, index = extraction.stimuli, extraction.index
        if inputs.encoder is None:
            return {IMAGES: Rows([cache.decode(own, inputs.image_size, self.share) for own in lists], index)}
        if extraction.to_encode > 0:
            warn_of_imitated_bf16("--data.encode_precision", cache.precision, device)
        how = (device, inputs.encode_batch_size, self.share, inputs.average_frames, inputs.frame_spread)
        maps = [
            cache.embed(own, inputs.encoder, *how, entries)
            for own, entries in zip(lists, extraction.entries, strict=True)
        ]
        inputs.encoder.cpu()
        return {layer: Rows([by_layer[layer] for by_layer in maps], index) for layer in maps[0]}

    def _reduce(self, made: Mapping[str, Rows]) -> tuple[dict[str, Rows], dict[str, Projection]]:
        """Fewer features, and how they were made, by layer."""
        inputs = self.inputs
        assert inputs.reduction is not None
        training = self.table.positions(TRAIN)
        return reduce_rows(made, inputs.reduction, training, inputs.frames, self._of_features(), *self._fits())

    def _serve_beside(self, made: Mapping[str, Rows]) -> dict[str, Rows]:
        """What stands beside the image, by layer."""
        inputs = self.inputs
        if inputs.beside is None or self.tables is None:
            return {}
        log.info("beside the image: %s; of new images nothing is known but the image", self.beside_told)
        identity = self._of_features()
        if inputs.reduction is not None:
            identity["reduced"] = inputs.reduction.identity()
        return serve(inputs.beside, self.tables, self.table, made, identity, *self._fits())

    def _of_features(self) -> dict[str, object]:
        """What determines the features of all stimuli before any reduction, as plain JSON types."""
        return {"stimuli": self.table.digests(), "encoder": self.fingerprint, **self.inputs.cache.identity()}

    def _fits(self) -> tuple[Path, Share]:
        """Where fits to the features are remembered, and how ranks wait for one."""
        return self.inputs.cache.folder / "reductions", self.share
