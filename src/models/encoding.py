"""EncodingModule: the one step of every encoding model."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import StepLR

from ..batch import Batch, Facts, Features, FeatureShapes
from ..encoders import Encoder
from ..errors import InputError
from ..findings import Attention
from ..names import IMAGE_ALONE, VALIDATION
from .calibration import Calibration
from .categories import CategoryObjective
from .demand import STEP, ModelDemand, size_of, sketched, state_share
from .finetuning import Finetuning, Full, check_batch_norm, drop_gradients
from .heads.base import Head
from .heads.linear import LinearHead
from .heads.partitioned import PartitionedHead
from .heads.subjects import SubjectHeads
from .hemispheres import HemisphereEncoder, HemisphereFinetuning, HemisphereHead
from .image_shifts import check_shifts, shifted_batches
from .losses import Loss, LossMeter, MeanSquaredError
from .metrics import Figure, SplitMetrics
from .optimization import check_clipping, check_settings, optimization
from .predicting import PredictingModule
from .standardize import FeatureStandardizer, ResponseStandardizer
from .weighing import Weighing, weighted_mean


@dataclass(frozen=True)
class Step:
    """What one step makes of a batch.

    Args:
        standardised: Predictions of standardised responses of the subject's n targets, (batch, n).
        losses: Loss of each target on standardised responses, (n,).
        measured: Stimuli for which each target was measured, (n,).
        features: What the head was given, by layer.
    """

    standardised: Tensor
    losses: Tensor
    measured: Tensor
    features: Features


class EncodingModule(PredictingModule):
    """Predicts responses from features, or from images through a trainable backbone.

    The head works on standardised features and standardised responses; predictions and metrics are in the
    recording's units. Of clips, a backbone sees each frame alone, and the predictions are averaged over frames.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer, None for images; linked from the data.
        head: From features to responses.
        backbone: A trainable encoder, for data that serve images.
        finetuning: What of the backbone is trained; by default all of it.
        loss: One loss per target, on standardised responses; mean squared error by default.
        l1: Weight of the L1 norm of the head's weights, biases left out, which is added to the loss.
        hemisphere_networks: Train one network, backbone and head, for each hemisphere's targets, as two runs of a
            hemisphere each would but for the random numbers of dropout and the common norm of clipped gradients.
        categories: Name the objects that stimuli show as well, from the same features.
        test_shifts: Pixels: whatever is predicted outside of training is the mean of the predictions of the image and
            of the image shifted by each of these up, down, left and right, [2, 4] of nine; where the frame is left
            empty the image's edge goes on. Only with a backbone, which sees images as the data serve them, so many
            times.
        metrics: Figures logged of the validation and the test split, over all targets and by ROI; the correlation
            always is.
        optimizer: From parameters to an optimiser; AdamW by default.
        scheduler: From an optimiser to a schedule that steps once an epoch, or with every batch (OneCycle); by default
            the rate is multiplied by 0.75 every 10 epochs, as in the CLIP-linear system of the Algonauts 2023
            challenge.

    Attributes:
        scale_lr: Whether the learning rate is multiplied by the batches of a step; set by --scale_lr.

    Raises:
        InputError: The data serve images and there is no backbone, or features and there is one; or parts that do not
            go together.
    """

    scale_lr: bool = False

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        head: Callable[[FeatureShapes, int], Head] = LinearHead,
        backbone: Encoder | None = None,
        finetuning: Finetuning | None = None,
        loss: Loss | None = None,
        l1: float = 0.0,
        hemisphere_networks: bool = False,
        categories: CategoryObjective | None = None,
        test_shifts: Sequence[int] = (),
        metrics: Sequence[Figure] = ("pearson",),
        optimizer: OptimizerCallable = lambda params: AdamW(params, lr=1e-4, fused=True),
        scheduler: LRSchedulerCallable | None = lambda optimizer: StepLR(optimizer, step_size=10, gamma=0.75),
    ) -> None:
        super().__init__()
        if l1 < 0:
            raise InputError(f"--model.l1 {l1:g}: expected 0 or more")
        if finetuning is not None and backbone is None:
            raise InputError(
                f"--model.finetuning {type(finetuning).__name__}: expected a --model.backbone to train, found none; "
                "add one, or leave it out"
            )
        check_shifts(test_shifts, backbone is not None)
        self.test_shifts = list(test_shifts)
        finetuning = finetuning or Full()
        if hemisphere_networks:
            if categories is not None:
                raise InputError("--model.categories: needs one network; leave out --model.hemisphere_networks")
            head = partial(HemisphereHead, head=head, shared=backbone is None)
            finetuning = HemisphereFinetuning(finetuning)
            backbone = None if backbone is None else HemisphereEncoder(backbone)
        self.backbone = backbone
        self.finetuning = finetuning
        self.l1 = l1
        self.standardize_features: FeatureStandardizer | None = None
        if backbone is not None:
            if feature_shapes is not None:
                raise InputError("--model.backbone: --data.encoder serves features already; leave one of the two out")
            shapes = backbone.feature_shapes()
            self.finetuning.prepare(backbone)
        elif feature_shapes is not None:
            shapes = feature_shapes
            self.standardize_features = FeatureStandardizer(shapes)
        else:
            raise InputError("--model.backbone: needed where the data serve images; or set --data.encoder")
        self.standardize_responses = ResponseStandardizer(num_targets)
        self.make_head, self.shapes, self.random_state = head, shapes, torch.get_rng_state()
        self.head = head(shapes, num_targets)
        if categories is not None and backbone is None and isinstance(self.head, PartitionedHead):
            raise InputError(f"--model.categories: needs one network; leave out {type(self.head).__name__}")
        self.loss = loss or MeanSquaredError()
        self.categories = categories
        self.calibration = Calibration(num_targets) if self.loss.scale_free else None
        self.logged: list[Figure] = list(metrics)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.loss_meter = LossMeter(num_targets)
        self.attention: Attention | None = None  # of heads that look, once they have been tested

    @classmethod
    def for_saved_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in arguments.items() if name not in ("optimizer", "scheduler", "metrics")}

    def check(self, facts: Facts) -> None:
        """Called by the data module, before the first image is read; see `TakesFacts`."""
        backbone = [] if self.backbone is None else self.finetuning.parameter_groups(self.backbone)
        groups = 1 + sum(bool(group["params"]) for group in backbone)  # the first is the head's
        check_settings(groups, self.make_optimizer, self.make_scheduler)
        self.head.check(facts)
        self.loss.check(facts)
        if self.categories is not None:
            self.categories.check(facts)
        if self.backbone is not None:
            self.finetuning.check(self.backbone, facts.smallest_batch)

    def demand(self, facts: Facts) -> ModelDemand:
        """What training will take of memory and of the disk; asked after `check`, before the first image is read."""
        unmade = self._unmade(facts)
        made = size_of([*self.parameters(), *self.buffers()])
        trained = size_of(each for each in self.parameters() if each.requires_grad) + unmade
        return ModelDemand(
            weights=made + unmade,
            made=made,
            gradients=trained,
            optimizer=round(state_share(self.make_optimizer) * trained),
            kept=trained if VALIDATION in facts.evaluated else 0,
            step=STEP * 4 * facts.smallest_batch * self.head.num_targets,
        )

    def _unmade(self, facts: Facts) -> int:
        """Bytes of what `setup` will make, less those of what it takes the place of."""
        if len(facts.subjects) == 1 or self.head.of_subjects:
            return self.head.unmade(facts)
        own = 0
        for targets in facts.subjects.values():
            if width := targets.stop - targets.start:
                head = sketched(partial(self.make_head, self.shapes, width))
                own += head.size(facts.of(targets))
        return own - size_of([*self.head.parameters(), *self.head.buffers()])

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self._make_for_subjects()
        self.standardize_responses.fill(self.facts.response_mean, self.facts.response_scale)
        statistics = self.head.feature_statistics(self.facts)
        if self.standardize_features is not None:
            assert statistics is not None
            self.standardize_features.fill(*statistics)
        self.head.fill(self.facts)
        self.loss.fill(self.facts)
        if self.categories is not None:
            self.categories.fill(self.facts, self.head.num_features)
        self.weighing = Weighing(self.head.networks, self.facts).to(self.device)
        self.metrics = SplitMetrics(self.facts.response_mean, self.facts.rois, self.logged)

    def _make_for_subjects(self) -> None:
        """Give each of several subjects a head of its own, unless the head is made for several."""
        if len(self.facts.subjects) == 1:
            return
        if not self.head.of_subjects:
            apart = self.backbone is None and self.categories is None
            del self.head  # before the others are made: of a whole brain it has gigabytes
            self.head = SubjectHeads(self.shapes, self.facts, self.make_head, self.random_state, apart)
        with suppress(RuntimeError):  # set up by hand, without a trainer
            if isinstance(self.trainer.strategy, DDPStrategy):
                # What is another subject's has no gradient in a step, for which DDP would wait.
                self.trainer.strategy._ddp_kwargs["find_unused_parameters"] = True

    @property
    def independent_targets(self) -> bool:
        """Whether no target's fit depends on another's; categories belong to no target, and make all one network."""
        return self.head.independent_targets and self.backbone is None and self.categories is None

    @property
    def stopping_groups(self) -> Tensor:
        """Set in which each target is stopped, (num_targets,): one set where targets share weights."""
        if self.independent_targets:
            return self.facts.groups
        groups = torch.zeros_like(self.facts.groups)
        for index, own in enumerate(self.head.networks.values()):
            groups[own.cpu() if isinstance(own, Tensor) else own] = index
        return groups

    @property
    def stopping_names(self) -> list[str]:
        """What is stopped together, by the numbers of `stopping_groups`."""
        return self.facts.group_names if self.independent_targets else list(self.head.networks)

    def targets_of(self, weight: str) -> slice:
        """Targets that the first axis of a weight runs over, where targets are independent, by its name."""
        subject = self.subject_of(weight)
        return slice(None) if subject is None else list(self.facts.subjects.values())[subject]

    def subject_of(self, weight: str) -> int | None:
        """Whose a weight is alone, by its name in the state dict; None where all subjects share it."""
        return self.head.subject_of(weight) if weight.startswith("head.") else None

    def trained_state(self) -> dict[str, Tensor]:
        """Weights and buffers that training changes, by their names in the state dict."""
        parts = ("head.", "backbone.", "categories.")
        return {name: value for name, value in self.state_dict().items() if name.startswith(parts)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return optimization(self, self._parameter_groups(), self.make_optimizer, self.make_scheduler, self.scale_lr)

    def on_fit_start(self) -> None:
        check_clipping(self.trainer)

    def on_train_epoch_start(self) -> None:
        if self.backbone is not None:
            self.finetuning.train(self.backbone, self.current_epoch)
            loader: Any = self.trainer.train_dataloader
            check_batch_norm(self.backbone, min(each.smallest for each in loader.sizes if each.stimuli))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.backbone is not None:
            drop_gradients(self.backbone)

    def forward(self, batch: Batch) -> Tensor:
        """Standardised predictions of the subject's own targets, (batch, targets of the subject)."""
        return self._predicted(batch)[1]

    def predict_batch(self, batch: Batch) -> Tensor:
        """Predictions of every target in the recording's units, (batch, num_targets), whoever saw the stimulus."""
        return self.standardize_responses.invert(self.standardised(batch, every_target=True), slice(None))

    def standardised(self, batch: Batch, every_target: bool = False) -> Tensor:
        """Predictions of standardised responses, calibrated where the loss is blind to scale.

        Returns:
            (batch, n), of the n targets of the batch's subject, or of every target.
        """
        targets = slice(None) if every_target else batch.targets
        return self._calibrated(self._predicted(batch, every_target)[1], targets)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        step = self._step(batch)
        losses, measured = self.loss.over_ranks(step.losses, step.measured)
        mean = weighted_mean(losses, measured)
        # A whole number would be averaged over ranks to a whole number, and the mean over steps be wrong. Over an epoch
        # each subject weighs by its stimuli and its targets.
        size: Any = float(len(batch)) * len(losses) * len(self.facts.subjects) / len(self.facts.groups)
        self.log("train/loss", mean, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        # Independent targets are summed, so that a target's gradient, and Adam's epsilon beside it, is the same
        # whether it is trained with ten others or with forty thousand.
        loss = losses.sum() if self.independent_targets else self.weighing(losses, measured, batch.subject)
        if self.l1:
            loss = loss + self.l1 * sum(each.abs().sum() for each in self._weights_of(batch.subject) if each.ndim > 1)
        if self.categories is not None:
            loss = loss + self.categories.loss(step.features, batch)
        return loss * self._share_of_window(batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        step = self._step(batch)
        self.loss_meter.update(step.losses, step.measured, batch.targets)
        self.metrics.update(VALIDATION, self._in_units(step.standardised, batch.targets), batch.response, batch.targets)
        if self.categories is not None:
            self.categories.update(VALIDATION, step.features, batch)

    def on_validation_epoch_end(self) -> None:
        mean = self.loss_meter.compute().reshape(-1)  # (num_targets,); torchmetrics makes one a scalar
        self.loss_meter.reset()
        self.target_losses = self.loss.over_split(mean, self.metrics.pearson(VALIDATION))
        self.log("validation/loss", self.target_losses.mean())
        self.log_dict(self.metrics.take(VALIDATION))
        self._log_categories()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        features, standardised = self._predicted(full := batch.padded(self.facts.batch_size))
        prediction = self._in_units(standardised, batch.targets)[: len(batch)]
        split = self.facts.evaluated[dataloader_idx]
        if split == self._watched:
            frames = max(1, len(next(iter(features.values()))) // max(1, len(full)))  # of clips each is looked at
            shown = {layer: each[: frames * len(batch)] for layer, each in features.items()}
            self.head.watch(shown, batch.subject)
        self.metrics.update(split, prediction, batch.response, batch.targets)
        if self.categories is not None:
            per_stimulus = {layer: each.unflatten(0, (len(full), -1)) for layer, each in features.items()}
            self.categories.update(
                split, {layer: each[: len(batch)].flatten(0, 1) for layer, each in per_stimulus.items()}, batch
            )
        if not self.facts.beside:
            return {"prediction": prediction}
        without = self._read(self._features(alone := self._image_alone(full)), alone)
        return {"prediction": prediction, IMAGE_ALONE: self._in_units(without, batch.targets)[: len(batch)]}

    def _image_alone(self, batch: Batch) -> Batch:
        """The batch with the training mean in place of what stands beside the image."""
        assert batch.features is not None
        assert self.facts.feature_mean is not None
        means = {layer: self.facts.feature_mean[layer].to(self.device) for layer in self.facts.beside}
        beside = {layer: mean.expand(len(batch), *mean.shape) for layer, mean in means.items()}
        return replace(batch, features=batch.features | beside)

    @property
    def _watched(self) -> str:
        """The held-out split in which the head is watched."""
        evaluated = self.facts.evaluated
        return VALIDATION if VALIDATION in evaluated else evaluated[0]

    def on_test_epoch_end(self) -> None:
        for split in self.facts.evaluated:
            self.log_dict(self.metrics.take(split))
        self._log_categories()
        found = self.head.attention()
        self.attention = None if found is None else replace(found, split=self._watched)

    def on_fit_end(self) -> None:
        """Bring predictions to the responses' scale where the loss is blind to it, by held-out stimuli if any."""
        if self.calibration is None:
            return
        self.trainer.fit_loop.epoch_loop.val_loop.setup_data()  # which a run resumed at its end has not done
        loader: Any = self.trainer.val_dataloaders
        if loader is None or VALIDATION not in self.facts.evaluated:
            loader = self.trainer.train_dataloader
        served = islice(loader, int(getattr(self.trainer, "fast_dev_run", False)) or None)
        strategy = self.trainer.strategy
        self.to(strategy.root_device).eval()  # Lightning has brought the model back from there
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            batches = (strategy.batch_to_device(batch) for batch in served)
            self.calibration.fit(
                (self(batch), self.standardize_responses(batch.response, batch.targets), batch.targets)
                for batch in batches
            )
        self.cpu()

    def _share_of_window(self, batch_idx: int) -> float:
        """What makes the gradient of an accumulation window the mean over the batches that it holds.

        Lightning divides each batch's loss by --trainer.accumulate_grad_batches, but the window at an epoch's end may
        hold fewer.
        """
        window = self.trainer.accumulate_grad_batches
        first = batch_idx - batch_idx % window
        return window / min(window, self.trainer.num_training_batches - first)

    def _step(self, batch: Batch) -> Step:
        features, standardised = self._predicted(batch)
        response = self.standardize_responses(batch.response, batch.targets)
        losses = self.loss.of_targets(standardised, response, batch.targets)
        return Step(standardised, losses, self.loss.measured(batch.response), features)

    def _weights_of(self, subject: int) -> list[nn.Parameter]:
        """The head's weights that a step of a subject trains."""
        named = self.head.named_parameters(prefix="head")
        return [each for name, each in named if self.subject_of(name) in (None, subject)]

    def _in_units(self, standardised: Tensor, targets: slice) -> Tensor:
        """Predictions of some targets in the recording's units, (batch, targets)."""
        return self.standardize_responses.invert(self._calibrated(standardised, targets), targets)

    def _calibrated(self, standardised: Tensor, targets: slice) -> Tensor:
        return standardised if self.calibration is None else self.calibration(standardised, targets)

    def _predicted(self, batch: Batch, every_target: bool = False) -> tuple[Features, Tensor]:
        """What the head is given of a batch, and standardised predictions (batch, n), outside of training over shifts.

        All that a model predicts is predicted here.
        """
        features = self._features(batch)
        standardised = self._read(features, batch, every_target)
        if self.training or not self.test_shifts:
            return features, standardised
        for shifted in shifted_batches(batch, self.test_shifts):
            standardised = standardised + self._read(self._features(shifted), shifted, every_target)
        return features, standardised / (1 + 4 * len(self.test_shifts))

    def _read(self, features: Features, batch: Batch, every_target: bool = False) -> Tensor:
        """Standardised predictions, (batch, n): of the subject's n targets, or of every target."""
        frames = 1 if batch.images is None or batch.images.ndim == 4 else batch.images.shape[1]
        prediction = self.head(features) if every_target else self.head.read(features, batch.subject)  # (B·F, n)
        return prediction if frames == 1 else prediction.unflatten(0, (-1, frames)).mean(1)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with its share of the learning rate as "rate"."""
        others = [each for name, each in self.named_parameters() if not name.startswith("backbone.")]
        groups = [{"params": others, "rate": 1.0}]
        if self.backbone is not None:
            groups += self.finetuning.parameter_groups(self.backbone)
        return groups

    def _features(self, batch: Batch) -> Features:
        """What the head is given, by layer, each (batch, *shape); of a backbone on clips (batch · frames, *shape)."""
        if self.backbone is not None:
            assert batch.images is not None
            images = batch.images  # (B, 3, H, W), or (B, F, 3, H, W)
            return self.backbone(images.flatten(0, -4))
        assert batch.features is not None
        if self.standardize_features is None:
            return {layer: features.float() for layer, features in batch.features.items()}
        return self.standardize_features(batch.features)

    def _log_categories(self) -> None:
        if self.categories is not None:
            self.log_dict(self.categories.accuracies())
