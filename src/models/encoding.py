"""EncodingModule: the one step of every encoding model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import StepLR

from ..batch import Batch, Facts, Features, FeatureShapes
from ..encoders import Encoder
from ..errors import InputError, one_line
from .finetuning import Finetuning, Full
from .heads.base import Head
from .heads.linear import LinearHead
from .losses import Loss, LossMeter, MeanSquaredError
from .metrics import TargetMetrics
from .standardize import FeatureStandardizer, ResponseStandardizer


@dataclass(frozen=True)
class Outcome:
    """What one step makes of a batch.

    Args:
        prediction: In the recording's units, (batch, num_targets).
        losses: Loss of each target on standardised responses, (num_targets,).
        features: What the head was given, by layer.
    """

    prediction: Tensor
    losses: Tensor
    features: Features


class EncodingModule(LightningModule):
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
        optimizer: From parameters to an optimiser; AdamW by default.
        scheduler: From an optimiser to a schedule that steps once an epoch; by default the rate is multiplied by
            0.75 every 10 epochs, as in the CLIP-linear system of the Algonauts 2023 challenge.

    Raises:
        InputError: The data serve images and there is no backbone, or features and there is one.
    """

    facts: Facts

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        head: Callable[[FeatureShapes, int], Head] = LinearHead,
        backbone: Encoder | None = None,
        finetuning: Finetuning | None = None,
        loss: Loss | None = None,
        l1: float = 0.0,
        optimizer: OptimizerCallable = lambda params: AdamW(params, lr=1e-4, fused=True),
        scheduler: LRSchedulerCallable | None = lambda optimizer: StepLR(optimizer, step_size=10, gamma=0.75),
    ) -> None:
        super().__init__()
        if l1 < 0:
            raise InputError(f"--model.l1 {l1:g}: expected 0 or more")
        self.backbone = backbone
        self.finetuning = finetuning or Full()
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
        self.head = head(shapes, num_targets)
        self.loss = loss or MeanSquaredError()
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.loss_meter = LossMeter(num_targets)

    def setup(self, stage: str) -> None:
        self.facts = self.trainer.datamodule.facts  # type: ignore[attr-defined]
        self.standardize_responses.fill(self.facts.response_mean, self.facts.response_scale)
        if self.standardize_features is not None:
            assert self.facts.feature_mean is not None
            assert self.facts.feature_scale is not None
            self.standardize_features.fill(self.facts.feature_mean, self.facts.feature_scale)
        self.head.fill(self.facts)
        self.loss.fill(self.facts)
        mean = self.facts.response_mean
        self.metrics = torch.nn.ModuleDict({split: TargetMetrics(len(mean), mean) for split in ("validation", "test")})

    @property
    def independent_targets(self) -> bool:
        """Whether no target's fit depends on another's."""
        return self.head.independent_targets and self.backbone is None

    @property
    def stopping_groups(self) -> Tensor:
        """Set in which each target is stopped, (num_targets,): one set where targets share weights."""
        return self.facts.groups if self.independent_targets else torch.zeros_like(self.facts.groups)

    def trained_state(self) -> dict[str, Tensor]:
        """Weights and buffers that training changes, by their names in the state dict."""
        return {name: value for name, value in self.state_dict().items() if name.startswith(("head.", "backbone."))}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        try:
            optimizer = self.make_optimizer(self._parameter_groups())
        except ValueError as error:  # a rate below 0, a momentum that nesterov needs
            raise InputError(f"--model.optimizer: {one_line(error)}") from error
        for group in optimizer.param_groups:
            group["lr"] *= group["rate"]
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make_scheduler(optimizer)}}

    def on_train_epoch_start(self) -> None:
        if self.backbone is not None:
            self.finetuning.train(self.backbone, self.current_epoch)

    def forward(self, batch: Batch) -> Tensor:
        """Standardised predictions, (batch, num_targets)."""
        return self._read(self._features(batch), batch)

    def predict(self, batch: Batch) -> Tensor:
        """Predictions in the recording's units, (batch, num_targets)."""
        return self.standardize_responses.invert(self(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        losses = self._step(batch).losses
        self.log("train/loss", losses.mean(), on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        # Independent targets are summed, so that a target's gradient, and Adam's epsilon beside it, is the same
        # whether it is trained with ten others or with forty thousand.
        loss = losses.sum() if self.independent_targets else losses.mean()
        if self.l1:
            loss = loss + self.l1 * sum(each.abs().sum() for each in self.head.parameters() if each.ndim > 1)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        outcome = self._step(batch)
        self.loss_meter.update(outcome.losses, batch.response)
        self._metrics("validation").update(outcome.prediction, batch.response)

    def on_validation_epoch_end(self) -> None:
        self.target_losses = self.loss_meter.compute().reshape(-1)  # (num_targets,); torchmetrics makes one a scalar
        self.loss_meter.reset()
        self.log("validation/loss", self.target_losses.mean())
        self._log_metrics("validation")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        prediction = self._step(batch).prediction
        split = self.trainer.datamodule.evaluated[dataloader_idx]  # type: ignore[attr-defined]
        if split in self.metrics:  # a challenge's withheld stimuli have no metrics
            self._metrics(split).update(prediction, batch.response)
        return {"prediction": prediction}

    def on_test_epoch_end(self) -> None:
        for split in self.trainer.datamodule.evaluated:  # type: ignore[attr-defined]
            if split in self.metrics:
                self._log_metrics(split)

    def _step(self, batch: Batch) -> Outcome:
        features = self._features(batch)
        standardised = self._read(features, batch)
        losses = self.loss(standardised, self.standardize_responses(batch.response))
        return Outcome(self.standardize_responses.invert(standardised), losses, features)

    def _read(self, features: Features, batch: Batch) -> Tensor:
        """Standardised predictions, (batch, num_targets)."""
        if batch.images is None or batch.images.ndim == 4:
            return self.head.read(features, batch.subject)
        frames = batch.images.shape[1]
        prediction = self.head.read(features, batch.subject.repeat_interleave(frames))  # (B·F, T)
        return prediction.unflatten(0, (-1, frames)).mean(1)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with its share of the learning rate as "rate"."""
        others = [each for name, each in self.named_parameters() if not name.startswith("backbone.")]
        groups = [{"params": others, "rate": 1.0}]
        if self.backbone is not None:
            groups += self.finetuning.parameter_groups(self.backbone)
        return [group for group in groups if group["params"]]

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

    def _metrics(self, split: str) -> TargetMetrics:
        metrics = self.metrics[split]
        assert isinstance(metrics, TargetMetrics)
        return metrics

    def _log_metrics(self, split: str) -> None:
        """Log the split's mean correlation, over all targets and by ROI; targets without variance have none."""
        metrics = self._metrics(split)
        pearson = metrics.compute()["pearson"].reshape(-1)  # (num_targets,); torchmetrics makes one a scalar
        metrics.reset()
        self.log(f"{split}/pearson", pearson.nanmean())
        by_roi = {roi: pearson[targets.to(pearson.device)] for roi, targets in self.facts.rois.items()}
        self.log_dict({f"{split}_pearson/{roi}": values.nanmean() for roi, values in by_roi.items() if len(values)})
