"""EncodingDataModule: from a source and an encoder to batches."""

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer

from ..batch import Facts, FeatureShapes, TakesFacts
from ..encoders import Encoder
from ..encoders.intake import Precision
from ..encoders.joint import RandomControl
from ..errors import InputError
from ..names import LEAKING, TRAIN, VALIDATION
from ..recording import Recording
from ..seen_before import SeenBefore
from .beside.context import TrialContext
from .demand import DataDemand, check_cache
from .facts import feature_statistics, gather_facts, held_out_seen
from .features.embeddings import EmbeddingCache
from .features.reduction import Reduction
from .features.share import ALONE, Share, agree_among_ranks
from .inputs import Inputs
from .loader import BatchLoader, Sizes
from .making import Making
from .read_ahead import expecting, read_ahead
from .response_components import check_components, component_bytes, with_response_components
from .sources.base import Source
from .splits import Fold, check_shares, limit_training, split_stimuli
from .stimulus_table import StimulusTable
from .test_sets import check_names, with_test_sets

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
        if random_control:
            if encoder is None:
                raise InputError("--data.random_control: needs --data.encoder, whose weights are to be compared")
            encoder = RandomControl(encoder)
        self.source = source
        self.test_sets = test_sets or {}
        check_names(list(self.test_sets))
        for each in (source, *self.test_sets.values()):
            each.keep_in(Path(cache_dir))
        self.inputs = Inputs(
            source,
            EmbeddingCache(Path(cache_dir), cache_dtype, precision=encode_precision),
            encoder,
            reduction,
            beside,
            average_frames,
            frame_spread,
            encode_batch_size,
            image_size,
        )
        self.beside_told = ""
        """What stands beside the image, and for which stimuli it is not known, for people."""
        self.batch_size = batch_size
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
        return self.inputs.shapes

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
        part.seed = seed
        part.table = self.table.of_fold(fold)
        part._served = {layer: self._served[layer] for layer in layers}
        if self._ahead is not None:
            part._ahead = expecting(part.table, part._served)
        training = part.table.positions(TRAIN)
        facts = with_response_components(part._gather_facts(part.table), part.table)
        mean, scale = feature_statistics(part._served, training, self.inputs.frames, common=not facts.standardized)
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
        self.inputs.check(len(self.table.positions(TRAIN)))
        self._check(facts, self.table)
        making = Making(self.inputs, self.table, self._share())
        self.identity = making.identity()
        self._announce(making, facts)
        facts = with_response_components(facts, self.table)
        self._served, projections = making.make(self._device())
        self.beside_told = making.beside_told
        self.facts = making.tell(facts, self._served, projections)
        self._ahead = read_ahead(self.table, self._served)
        self.recordings = recordings

    def _split(self, recordings: Sequence[Recording]) -> StimulusTable:
        """Which stimuli are for what, told by their content."""
        for recording in recordings:
            recording.stimuli.digests(self.inputs.cache.folder / "digests.json")
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
            standardized=self.inputs.reduction is None,
            frames=self.inputs.frames,
            seed=self.seed,
            steps=[each.steps for each in training],
            smallest_batch=min(each.smallest for each in training),
            batch_size=max((each.largest for split in table.evaluated for each in dealt(split)), default=0),
        )
        return replace(facts, response_components=self.response_components)

    def _check(self, facts: Facts, table: StimulusTable) -> None:
        """Refuse what cannot work before the first image is read: embedding may take hours."""
        check_components(table, self.response_components)
        model = None if self.trainer is None else self.trainer.lightning_module
        if isinstance(model, TakesFacts):
            model.check(facts)
            for each in held_out_seen(table, model.seen_before):
                if each not in self._told:  # the test asks again
                    log.warning("%s", each.sentence())
                self._told.add(each)

    def _announce(self, making: Making, facts: Facts) -> None:
        """Tell what is to be served; refused where the disk has no space for it."""
        demand = making.demand(self.batch_size)
        if self.response_components:
            demand = replace(demand, components=component_bytes(self.table))
        check_cache(self.inputs.cache.folder, demand.cache, images=self.inputs.encoder is None)
        if self.announce is not None:
            self.announce(demand, facts)
            self.announce = None  # it holds a run's model and trainer

    def _loader(self, split: str, shuffled: bool = False) -> BatchLoader:
        share = self._share()
        return BatchLoader(
            self.positions(split),
            self._served,
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
