"""EncodingDataModule: from a source and an encoder to batches."""

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ..batch import FeatureShapes
from ..encoders import Encoder, JointEncoder
from ..errors import InputError
from ..recording import TRAIN, VALIDATION, Recording
from .facts import feature_statistics, gather_facts
from .features.embeddings import ALONE, IMAGES, EmbeddingCache, Share
from .features.feature_table import FeatureTable
from .features.fitted import TrainingImages, fit_encoder
from .features.reduction import Projection, Reduction
from .features.reduction_memo import remembered
from .loader import BatchLoader, Rows
from .sources.base import Source
from .splits import HELD_OUT, LEAKING, split_stimuli
from .stimulus_table import StimulusTable

SAMPLED = 32
"""Training stimuli whose responses tell a resumed run that they are those of the run that it goes on with."""

log = logging.getLogger(__name__)


class EncodingDataModule(LightningDataModule):
    """Serves batches of embeddings, or of raw images, with the responses to them.

    With an encoder, its features are computed once, kept in the cache and served; without one, uint8 images are,
    for a model that has its own backbone. Everything fitted is fitted on the training split alone.

    Args:
        source: The reader of the data's format.
        encoder: The frozen encoder; none serves images.
        random_control: Serve each of the encoder's layers twice: as "pretrained:LAYER", and as "random:LAYER" from
            the same architecture with random weights.
        reduction: Fewer features, fitted on the training split; only with an encoder.
        cache_dir: Folder of the embedding cache.
        cache_dtype: Precision of cached embeddings; float16 halves the space.
        batch_size: Stimuli per batch and process.
        encode_batch_size: Images per forward pass of the frozen encoder.
        average_frames: Of clips, serve the mean of each feature over the frames, which is what linear models are
            fitted to; otherwise every frame's features, (frames, *shape).
        image_size: Side in pixels to which raw images are resized where no encoder is given; none keeps their own.
            They are decoded once into the cache: 1,000 clips of 16 frames of 112 pixels take 600 MB of it.
        validation: Share of the stimuli held out for early stopping, where the format has no validation split.
        test: Share held out for the final scores, where the format has no test split with responses.
        seed: Of the split and of the order of batches; set by --seed_everything.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder | None = None,
        random_control: bool = False,
        reduction: Reduction | None = None,
        cache_dir: Path = Path("cache"),
        cache_dtype: Literal["float16", "float32"] = "float32",
        batch_size: int = 64,
        encode_batch_size: int = 64,
        average_frames: bool = True,
        image_size: int | None = None,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"batch_size": batch_size, "encode_batch_size": encode_batch_size, "image_size": image_size}
        for flag, value in sizes.items():
            if value is not None and value < 1:
                raise InputError(f"--data.{flag} {value}: expected 1 or more")
        if reduction is not None and encoder is None:
            raise InputError("--data.reduction: needs --data.encoder, because raw images are not reduced")
        if random_control:
            if encoder is None:
                raise InputError("--data.random_control: needs --data.encoder, whose weights are to be compared")
            encoder = JointEncoder({"pretrained": encoder, "random": encoder.randomised()})
        self.source = source
        self.encoder = encoder
        self.reduction = reduction
        self.cache = EmbeddingCache(Path(cache_dir), cache_dtype)
        self.batch_size = batch_size
        self.encode_batch_size = encode_batch_size
        self.average_frames = average_frames
        self.image_size = image_size
        self.shares = (validation, test)
        self.seed = seed
        self.recordings: Sequence[Recording] = ()

    @property
    def num_targets(self) -> int:
        """Targets of all recordings together, known before `setup`."""
        return self.source.num_targets

    @property
    def feature_shapes(self) -> FeatureShapes | None:
        """Shape of one stimulus's features by layer as they are served; None where images are."""
        if self.encoder is None:
            return None
        shapes = self.encoder.feature_shapes()
        if self.reduction is not None:
            shapes = self.reduction.shapes(shapes)
        return shapes if self.frames is None else {layer: (self.frames, *shape) for layer, shape in shapes.items()}

    @property
    def frames(self) -> int | None:
        """Frames of a clip whose features are served one by one; None where stimuli have one set of features."""
        return None if self.average_frames or self.encoder is None else self.source.frames

    def prepare_data(self) -> None:
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        if self.recordings:
            return
        recordings = self.recordings = self.source.read()
        for recording in recordings:
            recording.stimuli.digests(self.cache.folder / "digests.json")
        splits = split_stimuli(recordings, *self.shares, self.seed)
        self.table = StimulusTable(recordings, splits, self.seed if self.source.shuffle else None)
        leaking = int((self.table.splits == LEAKING).sum())
        if leaking:
            log.info("left out %d training stimuli that the held-out splits show too", leaking)
        self._fit_encoder(recordings)
        self.identity = self._identify(recordings)
        self._inputs = self._serve_inputs(recordings)
        self.facts = gather_facts(
            recordings,
            self.table.of_each_recording(TRAIN),
            None if self.encoder is None else self._feature_statistics(),
            self.reduction is None,
            self.table.categories,
            self.frames,
        )

    def positions(self, split: str) -> np.ndarray:
        """Positions of a split's stimuli in the table of all recordings, int64 (n,)."""
        return self.table.positions(split)

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Recording, and index in that recording's stimuli, of positions (n,)."""
        return self.table.locate(positions)

    def targets_of(self, recording: int) -> slice:
        """Columns of one recording among all targets."""
        return self.table.targets_of(recording)

    @property
    def offset(self) -> np.ndarray | None:
        """What batches lack of each target's responses, and so predictions too, float64 (num_targets,), or None."""
        return self.table.offset

    def train_dataloader(self) -> BatchLoader:
        return self._loader(TRAIN, shuffled=True)

    def val_dataloader(self) -> BatchLoader:
        return self._loader(VALIDATION)

    def test_dataloader(self) -> dict[str, BatchLoader]:
        """Every held-out split, the withheld stimuli of a challenge included."""
        return {split: self._loader(split) for split in self.evaluated}

    @property
    def evaluated(self) -> list[str]:
        """The splits of `test_dataloader`, in its order."""
        return [split for split in HELD_OUT if len(self.positions(split))]

    def state_dict(self) -> dict[str, object]:
        """What the data are, and what was fitted to them, so that a checkpoint can encode new images."""
        reductions = {layer: {"mean": fit.mean, "basis": fit.basis} for layer, fit in self._projections.items()}
        parts = {} if self.encoder is None else self.encoder.parts()
        fitted = {name: part.state_dict() for name, part in parts.items() if part.needs_fit}
        return {"identity": self.identity, "encoders": fitted, "reductions": reductions}

    def _loader(self, split: str, shuffled: bool = False) -> BatchLoader:
        share = self._share()
        return BatchLoader(
            self.positions(split),
            self._inputs,
            self.table.respond,
            self.num_targets,
            self.table.subject,
            self.table.category,
            self.batch_size,
            share.rank,
            share.world_size,
            (lambda: (self.seed, self._epoch())) if shuffled else None,
        )

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    def _share(self) -> Share:
        if self.trainer is None:
            return ALONE
        return Share(self.trainer.global_rank, self.trainer.world_size, _agree)

    def _device(self) -> torch.device:
        if self.trainer is not None:
            return self.trainer.strategy.root_device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _identify(self, recordings: Sequence[Recording]) -> str:
        """Hash of everything that a resumed run must have in common with the one that it goes on with."""
        encoder = None if self.encoder is None else self.encoder.fingerprint()
        reduction = None if self.reduction is None else self.reduction.identity()
        digests = [digest for recording in recordings for digest in recording.stimuli.digests()]
        splits, rows = self.table.splits.tolist(), self.table.response_rows.tolist()
        # Subjects of one challenge share their stimuli, and hemispheres may have equally many targets.
        some = self.positions(TRAIN)[:: -(-len(self.positions(TRAIN)) // SAMPLED)]
        sample = self.table.respond(some)
        responses = hashlib.blake2b(sample.tobytes(), digest_size=16).hexdigest()
        served = [encoder, self.cache.dtype.name, reduction, self.image_size, self.frames]
        parts = json.dumps([digests, splits, rows, sample.shape, responses, served])
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def _fit_encoder(self, recordings: Sequence[Recording]) -> None:
        if self.encoder is not None:
            own = zip(*self.locate(self.positions(TRAIN)), strict=True)
            images = TrainingImages([(recordings[recording].stimuli, int(index)) for recording, index in own])
            fit_encoder(self.encoder, images, self.cache.folder, self._share())

    def _serve_inputs(self, recordings: Sequence[Recording]) -> dict[str, Rows]:
        share = self._share()
        self._projections: dict[str, Projection] = {}
        if self.encoder is None:
            decoded = [self.cache.decode(recording.stimuli, self.image_size, share) for recording in recordings]
            return {IMAGES: Rows(decoded)}
        maps = [
            self.cache.embed(
                recording.stimuli, self.encoder, self._device(), self.encode_batch_size, share, self.average_frames
            )
            for recording in recordings
        ]
        self.encoder.cpu()
        rows = {layer: Rows([by_layer[layer] for by_layer in maps]) for layer in maps[0]}
        return rows if self.reduction is None else self._reduce(rows, self.reduction)

    def _feature_statistics(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return feature_statistics(self._inputs, self.positions(TRAIN), self.frames, common=self.reduction is not None)

    def _reduce(self, rows: dict[str, Rows], reduction: Reduction) -> dict[str, Rows]:
        assert self.encoder is not None
        training = self.positions(TRAIN)
        identity = {
            "stimuli": [digest for recording in self.recordings for digest in recording.stimuli.digests()],
            "training": training.tolist(),
            "encoder": self.encoder.fingerprint(),
            "dtype": self.cache.dtype.name,
            "frames": self.frames,
            "reduction": reduction.identity(),
        }

        def reduce(layer: str) -> tuple[Projection, Tensor]:
            projection = reduction.fit(FeatureTable(rows[layer], training, self.frames), layer)
            everything = FeatureTable(rows[layer], np.arange(len(rows[layer])), self.frames)
            reduced = torch.cat([projection(piece) for piece in everything.by_rows()])
            return projection, reduced if self.frames is None else reduced.unflatten(0, (-1, self.frames))

        reduced = {}
        for layer in rows:
            of_layer = {**identity, "layer": layer, "shape": rows[layer].shape}
            projection, features = remembered(
                self.cache.folder / "reductions", of_layer, partial(reduce, layer), self._share()
            )
            self._projections[layer], reduced[layer] = projection, Rows([features.numpy()])
        return reduced


def _agree(error: InputError | None) -> None:
    """Wait for every rank, and raise on all of them what one of them met."""
    if not torch.distributed.is_initialized():
        if error is not None:
            raise error
        return
    errors: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(errors, None if error is None else str(error))
    for message in filter(None, errors):
        raise InputError(message)
