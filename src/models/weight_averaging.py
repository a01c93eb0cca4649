"""Exponential moving average of the weights."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..arguments import KeepsArguments
from ..batch import Batch
from ..errors import InputError
from .encoding import EncodingModule

IN_TRAINING = "weights_in_training"


class ExponentialMovingAverage(KeepsArguments, Callback):
    """Validates, keeps and tests a moving average of the weights; training itself does not see it.

    After each step the average moves by 1 - d towards the weights, d = min(decay, (1 + n) / (10 + n)) after n steps,
    so that the first weights, which are random, are soon forgotten. Running statistics of batch norm are averaged
    with the weights that they belong to. What is another subject's alone than a step's stays, as its weights do.

    The averages stand in the model from a validation's start until training goes on, and from training's end, so
    that early stopping keeps averages and the test sees them. A checkpoint has them as its weights; those in training
    are beside them.

    Lightning's WeightAveraging takes the averages out again in `on_validation_epoch_end`. Early stopping keeps a ROI's
    rows after that, in `on_validation_end`, and so would keep weights in training by the averages' losses.

    Args:
        decay: Share of the average that a step keeps, once many were made.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"--trainer.callbacks: decay {decay:g}: expected a share from 0 to below 1")
        self.decay = decay
        self.steps = 0  # averaged
        self.seen = 0  # steps of the optimiser
        self.parameters: dict[str, Tensor] = {}  # the model's own tensors
        self.buffers: dict[str, Tensor] = {}
        self.other: dict[str, Tensor] = {}  # the averages, or while they stand in the model the weights in training
        self.averages_shown = False
        self.resumed: dict[str, Tensor] = {}
        self.trained: set[int | None] = set()  # whose weights the next step of the optimiser moves

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, EncodingModule)
        trained = pl_module.trained_state()
        optimised = {id(each) for own in trainer.optimizers for group in own.param_groups for each in group["params"]}
        named = pl_module.named_parameters()  # which name shared weights once, as the state dict does not
        self.parameters = {name: each.detach() for name, each in named if name in trained and id(each) in optimised}
        self.buffers = {name: each for name, each in pl_module.named_buffers() if name in trained}
        self.other = {name: each.clone() for name, each in self._model().items()}
        self.seen = trainer.global_step
        self.averages_shown = False
        if self.resumed:  # the model was given the averages
            for name, each in self._model().items():
                each.copy_(self.resumed.get(name, each))  # the run before may have trained less
            self.resumed = {}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, EncodingModule)
        self.trained |= {None, batch.subject}
        if trainer.global_step == self.seen or not self.parameters:
            return  # gradients are still being accumulated
        self.seen = trainer.global_step
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        moved = {name for name in self.other if pl_module.subject_of(name) in self.trained}
        self.trained.clear()
        parameters = {name: each for name, each in self.parameters.items() if name in moved}
        get_ema_multi_avg_fn(decay)([self.other[name] for name in parameters], list(parameters.values()), self.steps)
        for name, buffer in self.buffers.items():
            if name not in moved:
                continue
            if buffer.is_floating_point():
                average = self.other[name].lerp(buffer, 1 - decay)
                self.other[name].copy_(torch.where(buffer.isfinite(), average, buffer))  # masks hold infinities
            else:
                self.other[name].copy_(buffer)
        self.steps += 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._show(True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._show(False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.parameters, self.buffers, self.other = {}, {}, {}  # what is in the model now is what is kept

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self.other:
            return
        in_model = {name: checkpoint["state_dict"][name] for name in self.other}
        averages, training = (in_model, self.other) if self.averages_shown else (self.other, in_model)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averages}
        checkpoint[IN_TRAINING] = training

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.resumed = checkpoint.get(IN_TRAINING, {})

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]

    def _show(self, averages: bool) -> None:
        """Bring the averages, or the weights in training, into the model."""
        if averages == self.averages_shown:
            return
        for name, each in self._model().items():
            before = each.clone()
            each.copy_(self.other[name])
            self.other[name].copy_(before)
        self.averages_shown = averages

    def _model(self) -> dict[str, Tensor]:
        return {**self.parameters, **self.buffers}
