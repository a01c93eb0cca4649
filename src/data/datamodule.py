"""EncodingDataModule: from a source and an encoder to batches."""

import json
import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer

from ..batch import Facts, FeatureShapes, TakesFacts
from ..encoders import Encoder
from ..encoders.intake import Precision, StimulusIntake, with_spread
from ..encoders.joint import RandomControl
from ..encoders.projection import Projection
from ..errors import InputError
from ..names import LEAKING, TRAIN, VALIDATION
from ..recording import Recording
from ..seen_before import SeenBefore
from .beside.context import FLAG, TrialContext
from .beside.served import check_previous, serve
from .beside.tables import BesideTables, read_tables
from .demand import DataDemand, check_cache, demand_of
from .digests import digest_bytes
from .facts import feature_statistics, gather_facts, held_out_seen
from .features.embeddings import IMAGES, EmbeddingCache
from .features.extraction import Extraction
from .features.fitted import TrainingImages, fit_encoder
from .features.reduced_rows import reduce_rows
from .features.reduction import Reduction
from .features.share import ALONE, Share, agree_among_ranks
from .loader import BatchLoader, Rows, Sizes
from .read_ahead import expecting, read_ahead
from .response_components import check_components, component_bytes, with_response_components
from .sources.base import Source
from .splits import Fold, check_shares, limit_training, split_stimuli
from .stimulus_table import StimulusTable
from .stimulus_views import apart, each_once
from .test_sets import check_names, with_test_sets

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
        beside: What a model is given beside the image, as the stimuli before it and the subject's behaviour, where the
            source tells the order of trials; only with an encoder.
        cache_dir: Folder of the embedding cache.
        cache_dtype: Precision of cached embeddings; float16 halves the space.
        batch_size: Stimuli per batch and process.
        encode_batch_size: Images per forward pass of the frozen encoder; none takes 64, and fewer from where a GPU's
            memory does not hold so many.
        encode_precision: Of the frozen encoder's products; bf16-mixed is several times faster on a GPU that has it, and
            makes features of their own, which differ by some thousandths.
        average_frames: Of clips, serve the mean of each feature over the frames, which is what linear models are
            fitted to; otherwise every frame's features, (frames, *shape).
        frame_spread: Of clips, serve beside the mean of each feature its standard deviation over the frames, as a layer
            "LAYER (spread)": what moves, or differs between the photographs of one category.
        image_size: Side in pixels to which raw images are resized where no encoder is given; none keeps their own.
            They are decoded once into the cache: 1,000 clips of 16 frames of 112 pixels take 600 MB of it.
        validation: Share of the stimuli held out for early stopping, where the format has no validation split.
        test: Share held out for the final scores, where the format has no test split with responses.
        test_sets: More sources to be scored on, by names that they have in scores.csv: --data.test_sets.NAME SOURCE.
            They are of the same subjects; what stands in their test split is scored, or all where they have none.
        response_components: Find so many principal components of each recording's standardised training responses, for
            a ComponentHead to predict in place of the targets, or a closed form.
        split_seed: Of the split, so that models of several seeds share one; none takes --seed_everything.
        fold: Hold out one of so many parts, "1/9" to "9/9", in place of the share --data.test: over nine runs each
            stimulus is tested once. Where the test split is the format's own it is the validation split instead.
        training_stimuli: Train on so many stimuli of each subject, drawn from the training split; those of a smaller
            number are among those of a larger one. Validation and test stay as they are; none trains on all.
        seed: Of the order of batches, and of the split where it has none of its own; set by --seed_everything.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder | None = None,
        random_control: bool = False,
        reduction: Reduction | None = None,
        beside: TrialContext | None = None,
        cache_dir: Path = Path("cache"),
        cache_dtype: Literal["float16", "float32"] = "float32",
        batch_size: int = 64,
        encode_batch_size: int | None = None,
        encode_precision: Precision = "32-true",
        average_frames: bool = True,
        frame_spread: bool = False,
        image_size: int | None = None,
        validation: float = 0.1,
        test: float = 0.2,
        test_sets: dict[str, Source] | None = None,
        response_components: int | None = None,
        split_seed: int | None = None,
        fold: str | None = None,
        training_stimuli: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {
            "batch_size": batch_size,
            "encode_batch_size": encode_batch_size,
            "image_size": image_size,
            "response_components": response_components,
            "training_stimuli": training_stimuli,
        }
        for flag, value in sizes.items():
            if value is not None and value < 1:
                raise InputError(f"--data.{flag} {value}: expected 1 or more")
        check_shares(validation, test)
        if split_seed is not None and split_seed < 0:
            raise InputError(f"--data.split_seed {split_seed}: expected 0 or more")
        if reduction is not None and encoder is None:
            raise InputError("--data.reduction: needs --data.encoder, because raw images are not reduced")
        if random_control:
            if encoder is None:
                raise InputError("--data.random_control: needs --data.encoder, whose weights are to be compared")
            encoder = RandomControl(encoder)
        self.source = source
        self.test_sets = test_sets or {}
        check_names(list(self.test_sets))
        for each in (source, *self.test_sets.values()):
            each.keep_in(Path(cache_dir))
        self.encoder = encoder
        self.reduction = reduction
        self.cache = EmbeddingCache(Path(cache_dir), cache_dtype, precision=encode_precision)
        self.batch_size = batch_size
        self.encode_batch_size = encode_batch_size
        self.average_frames = average_frames
        if frame_spread and (encoder is None or source.frames is None or not average_frames):
            raise InputError(
                "--data.frame_spread: expected clips, --data.encoder and --data.average_frames true, found "
                + ("no encoder" if encoder is None else "images" if source.frames is None else "every frame served")
            )
        self.frame_spread = frame_spread
        if beside is not None and (encoder is None or self.frames is not None):
            found = "no encoder" if encoder is None else "every frame served"
            raise InputError(f"{FLAG}: expected --data.encoder and --data.average_frames true, found {found}")
        self.beside = beside
        self.behaviour = [] if beside is None else beside.columns(source)
        self.beside_told = ""
        """What stands beside the image, and for which stimuli it is not known, for people."""
        self.image_size = image_size
        self.shares = (validation, test)
        self.response_components = int(response_components or 0)
        self.seed = int(seed)  # the parser's own kind of whole number would make checkpoints unreadable
        self.split_seed = self.seed if split_seed is None else int(split_seed)
        self.fold = None if fold is None else Fold.read(fold)
        self.training_stimuli = training_stimuli
        self.recordings: Sequence[Recording] = ()
        self._told: set[SeenBefore] = set()
        self.announce: Callable[[DataDemand, Facts], object] | None = None
        """Told, before the first image is read, what the data take and what is known of them."""

    @property
    def num_targets(self) -> int:
        """Targets of all recordings together, known before `setup`."""
        return self.source.num_targets

    @property
    def feature_shapes(self) -> FeatureShapes | None:
        """Shape of one stimulus's features by layer as they are served; None where images are."""
        if self.encoder is None:
            return None
        shapes = self._image_shapes()
        if self.frames is not None:
            return {layer: (self.frames, *shape) for layer, shape in shapes.items()}
        return shapes | self._beside_shapes()

    @property
    def frames(self) -> int | None:
        """Frames of a clip whose features are served one by one; None where stimuli have one set of features."""
        return None if self.average_frames or self.encoder is None else self.source.frames

    def prepare_data(self) -> None:
        for source in (self.source, *self.test_sets.values()):
            source.prepare()

    def setup(self, stage: str | None = None) -> None:
        if self.recordings:
            self.announce = None  # it holds a run's model and trainer
            self._check(self.facts, self.table)  # a study's next trial has another model
        else:
            self._read()
        # The model's own setup, which comes next, makes the parts whose size the facts decide.
        if self.trainer is not None and isinstance(self.trainer.lightning_module, TakesFacts):
            self.trainer.lightning_module.take_facts(self.facts)

    @classmethod
    def of(cls, trainer: Trainer) -> "EncodingDataModule":
        """The data module that a trainer runs with, for callbacks, which Lightning does not tell it."""
        data = getattr(trainer, "datamodule", None)
        assert isinstance(data, cls)
        return data

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
        return self.table.evaluated

    def part(self, layers: Sequence[str], fold: np.ndarray, seed: int) -> "EncodingDataModule":
        """The same data, read already, for a model of some layers that is trained on a part of the training split.

        Every statistic is that part's alone; what the encoder and the reduction have learnt stays.

        Args:
            layers: Of those that are served.
            fold: Positions of training stimuli that are held out as the split FOLD, int64 (n,).
            seed: Of the order of batches.
        """
        part = copy(self)
        part.trainer = None
        part.reduction = None  # it has been fitted
        part.beside = None  # it is served as any layer
        part.seed = seed
        part.table = self.table.of_fold(fold)
        part._inputs = {layer: self._inputs[layer] for layer in layers}
        if self._ahead is not None:
            part._ahead = expecting(part.table, part._inputs)
        training = part.table.positions(TRAIN)
        facts = with_response_components(part._gather_facts(part.table), part.table)
        facts = replace(facts, standardized=self.facts.standardized)
        mean, scale = feature_statistics(part._inputs, training, self.frames, common=not facts.standardized)
        part.facts = replace(facts, seed=self.seed, feature_mean=mean, feature_scale=scale)
        return part

    def state_dict(self) -> dict[str, object]:
        """What tells whether a run that is resumed has the same data."""
        return {"identity": self.identity}

    def _read(self) -> None:
        """From files to facts, once. Each step is given what it needs of those before it."""
        recordings = with_test_sets(self.source.read(), self.test_sets)
        self.table = self._split(recordings)
        facts = self._gather_facts(self.table)
        self._check(facts, self.table)
        beside = None if self.beside is None else read_tables(self.beside, self.behaviour, self.table)
        fingerprint = self._fit_encoder(self.table)
        self.identity = self._identify(self.table, fingerprint, beside)
        extraction = self._extraction(facts, self.table)
        facts = with_response_components(facts, self.table)
        self._inputs = self._serve_inputs(extraction)
        projections: dict[str, Projection] = {}
        if self.reduction is not None:
            self._inputs, projections = self._reduce(self._inputs, self.reduction, self.table, fingerprint)
        at_once = extraction.at_once(self.encode_batch_size)
        if beside is not None:
            self.beside_told = beside.told(list(self._beside_shapes()), self.table)
            log.info("beside the image: %s; of new images nothing is known but the image", self.beside_told)
            self._inputs |= self._serve_beside(beside, self._inputs, self.table, fingerprint)
        self.facts = self._with_features(facts, self.table, self._inputs, projections, fingerprint, at_once)
        self._ahead = read_ahead(self.table, self._inputs)
        self.recordings = recordings

    def _split(self, recordings: Sequence[Recording]) -> StimulusTable:
        """Which stimuli are for what, told by their content."""
        for recording in recordings:
            recording.stimuli.digests(self.cache.folder / "digests.json")
        splits = split_stimuli(recordings, *self.shares, self.split_seed, self.fold)
        if self.training_stimuli is not None:
            splits = limit_training(recordings, splits, self.training_stimuli, self.split_seed)
        table = StimulusTable(recordings, splits, self.seed if self.source.shuffle else None)
        leaking = int((table.splits == LEAKING).sum())
        if leaking:
            log.info("left out %d training stimuli that the held-out splits show too", leaking)
        return table

    def _gather_facts(self, table: StimulusTable) -> Facts:
        """All that is known before the first image is read."""

        def dealt(split: str) -> list[Sizes]:
            counts = [len(own) for own in table.of_each_recording(split)]
            return [Sizes(count, self.batch_size, self._share().world_size) for count in counts]

        training = dealt(TRAIN)
        facts = gather_facts(
            table,
            standardized=self.reduction is None,
            frames=self.frames,
            seed=self.seed,
            steps=[each.steps for each in training],
            smallest_batch=min(each.smallest for each in training),
            batch_size=max((each.largest for split in table.evaluated for each in dealt(split)), default=0),
        )
        return replace(facts, response_components=self.response_components)

    def _check(self, facts: Facts, table: StimulusTable) -> None:
        """Refuse what cannot work before the first image is read: embedding may take hours."""
        if self.encoder is not None and self.reduction is not None:
            self.reduction.check(len(table.positions(TRAIN)) * (self.frames or 1), self._encoded_shapes())
        if self.beside is not None:
            shapes = self._image_shapes()
            check_previous(self.beside, len(table.positions(TRAIN)), prod(shapes[self.beside.source_layer(shapes)]))
        check_components(table, self.response_components)
        model = None if self.trainer is None else self.trainer.lightning_module
        if isinstance(model, TakesFacts):
            model.check(facts)
            for each in held_out_seen(table, model.seen_before):
                if each not in self._told:  # the test asks again
                    log.warning("%s", each.sentence())
                self._told.add(each)

    def _fit_encoder(self, table: StimulusTable) -> dict[str, object] | None:
        """Have an encoder that learns learn from the training images; from then on it stays, and so its fingerprint."""
        if self.encoder is None:
            return None
        own = zip(*table.locate(table.positions(TRAIN)), strict=True)
        images = TrainingImages([(table.recordings[recording].stimuli, int(index)) for recording, index in own])
        fit_encoder(self.encoder, images, self.cache.folder, self._share())
        return self.encoder.fingerprint()

    def _identify(self, table: StimulusTable, encoder: dict[str, object] | None, beside: BesideTables | None) -> str:
        """Hash of everything that a resumed run must have in common with the one that it goes on with."""
        reduction = None if self.reduction is None else self.reduction.identity()
        splits, rows = table.splits.tolist(), table.response_rows.tolist()
        # Subjects of one challenge share their stimuli, and hemispheres may have equally many targets.
        some = table.positions(TRAIN)[:: -(-len(table.positions(TRAIN)) // SAMPLED)]
        recording_of = table.subject[some]
        sample = [table.respond(index, some[recording_of == index]) for index in range(len(table.recordings))]
        responses = digest_bytes(b"".join(each.tobytes() for each in sample))
        served = [encoder, *self.cache.identity().values(), reduction, self.image_size, self.frames]
        if self.frame_spread:
            served.append("spread")
        if self.beside is not None and beside is not None:
            served += [self.beside.identity(), self.behaviour, beside.digest]
        parts = json.dumps([table.digests(), splits, rows, (len(some), self.num_targets), responses, served])
        return digest_bytes(parts.encode())

    def _extraction(self, facts: Facts, table: StimulusTable) -> Extraction:
        """What is to be served; refused where the disk has no space for it."""
        parts = [part for recording in table.recordings for part in apart(recording.stimuli)]
        lists, index = each_once(parts)
        if self.encoder is None:
            entries = [{"": {IMAGES: self.cache.decoded_entry(own, self.image_size)}} for own in lists]
        else:
            entries = [self.cache.entries(own, self.encoder, self.average_frames, self.frame_spread) for own in lists]
        extraction = Extraction(lists, index, entries)
        share, reduced = self._share(), None if self.reduction is None else self._image_shapes()
        demand = demand_of(table, extraction, self.batch_size, share.world_size, reduced, self._beside_shapes())
        if self.response_components:
            demand = replace(demand, components=component_bytes(table))
        check_cache(self.cache.folder, demand.cache, images=self.encoder is None)
        if self.announce is not None:
            self.announce(demand, facts)
            self.announce = None  # it holds a run's model and trainer
        return extraction

    def _serve_inputs(self, extraction: Extraction) -> dict[str, Rows]:
        """Features of all stimuli by layer, or decoded images, from the cache or computed now."""
        share, lists, index = self._share(), extraction.stimuli, extraction.index
        if self.encoder is None:
            return {IMAGES: Rows([self.cache.decode(own, self.image_size, share) for own in lists], index)}
        device, size = self._device(), self.encode_batch_size
        in_bf16 = self.cache.precision == "bf16-mixed" and device.type == "cuda" and extraction.to_encode > 0
        if in_bf16 and not torch.cuda.is_bf16_supported(False):
            raise InputError(
                f"--data.encode_precision bf16-mixed: expected a GPU that computes in bf16, found "
                f"{torch.cuda.get_device_name(device)}; leave it out"
            )
        how = (device, size, share, self.average_frames, self.frame_spread)
        maps = [
            self.cache.embed(own, self.encoder, *how, entries)
            for own, entries in zip(lists, extraction.entries, strict=True)
        ]
        self.encoder.cpu()
        return {layer: Rows([by_layer[layer] for by_layer in maps], index) for layer in maps[0]}

    def _reduce(
        self,
        inputs: dict[str, Rows],
        reduction: Reduction,
        table: StimulusTable,
        encoder: dict[str, object] | None,
    ) -> tuple[dict[str, Rows], dict[str, Projection]]:
        """Fewer features, and how they were made, by layer."""
        identity = self._of_features(table, encoder)
        return reduce_rows(inputs, reduction, table.positions(TRAIN), self.frames, identity, *self._fits())

    def _serve_beside(
        self,
        tables: BesideTables,
        inputs: dict[str, Rows],
        table: StimulusTable,
        encoder: dict[str, object] | None,
    ) -> dict[str, Rows]:
        """What stands beside the image, by layer."""
        assert self.beside is not None
        identity = self._of_features(table, encoder)
        if self.reduction is not None:
            identity["reduced"] = self.reduction.identity()
        return serve(self.beside, tables, table, inputs, identity, *self._fits())

    def _of_features(self, table: StimulusTable, encoder: dict[str, object] | None) -> dict[str, object]:
        """What determines the features of all stimuli before any reduction, as plain JSON types."""
        return {"stimuli": table.digests(), "encoder": encoder, **self.cache.identity()}

    def _fits(self) -> tuple[Path, Share]:
        """Where fits to the features are remembered, and how ranks wait for one."""
        return self.cache.folder / "reductions", self._share()

    def _with_features(
        self,
        facts: Facts,
        table: StimulusTable,
        inputs: dict[str, Rows],
        projections: dict[str, Projection],
        encoder: dict[str, object] | None,
        at_once: int,
    ) -> Facts:
        """The facts with what the features, or decoded images, have told."""
        images = inputs[IMAGES].shape if self.encoder is None else None
        mean, scale, beside = None, None, list(self._beside_shapes())
        if self.encoder is not None:
            training, common = table.positions(TRAIN), not facts.standardized
            mean, scale = feature_statistics(inputs, training, self.frames, common=common)
        intake = StimulusIntake(
            self.encoder,
            self.average_frames,
            self.frame_spread,
            self.cache.dtype.name,
            projections,
            images,
            encoder,
            self.frames,
            at_once,
            self.cache.precision,
            {layer: mean[layer] for layer in beside} if mean is not None else None,
        )
        return replace(facts, feature_mean=mean, feature_scale=scale, intake=intake, beside=beside)

    def _image_shapes(self) -> FeatureShapes:
        """Shapes by layer of what is served of an image, without frames."""
        shapes = self._encoded_shapes()
        return shapes if self.reduction is None else self.reduction.shapes(shapes)

    def _beside_shapes(self) -> FeatureShapes:
        """Shapes by layer of what is served beside it."""
        return {} if self.beside is None else self.beside.shapes(self._image_shapes(), self.behaviour)

    def _encoded_shapes(self) -> FeatureShapes:
        """Shapes by layer of what the encoder makes of a stimulus, before any reduction, without frames."""
        assert self.encoder is not None
        shapes = self.encoder.feature_shapes()
        return with_spread(shapes, shapes) if self.frame_spread else shapes

    def _loader(self, split: str, shuffled: bool = False) -> BatchLoader:
        share = self._share()
        return BatchLoader(
            self.positions(split),
            self._inputs,
            self.table.respond,
            [self.targets_of(index) for index in range(len(self.table.recordings))],
            self.table.subject,
            self.table.category,
            self.batch_size,
            share.rank,
            share.world_size,
            (lambda: (self.seed, self._epoch())) if shuffled else None,
            self._ahead,
        )

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    def _share(self) -> Share:
        if self.trainer is None:
            return ALONE
        return Share(self.trainer.global_rank, self.trainer.world_size, agree_among_ranks)

    def _device(self) -> torch.device:
        if self.trainer is not None:
            return self.trainer.strategy.root_device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
