"""AveragedWeights: an average of the weights that stands in the model wherever the model is not trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ..arguments import KeepsArguments
from ..batch import Batch
from .encoding import EncodingModule

IN_TRAINING = "weights_in_training"

Averaging = Callable[[list[Tensor], list[Tensor], int], None]
"""Moves averages towards weights, after so many moves: one of torch.optim.swa_utils."""


class AveragedWeights(KeepsArguments, Callback, ABC):
    """Validates, keeps and tests an average of the weights; training itself does not see it.

    Averages stand in the model from a validation's start until training goes on, and from training's end, so that
    early stopping keeps averages and the test sees them. A checkpoint has them as its weights; those in training are
    beside them. As long as nothing was averaged the weights in training are the average.

    Lightning's own averages are taken out of the model in `on_validation_epoch_end`, or stand there in the end alone.
    Early stopping keeps a ROI's rows in `on_validation_end`, and so would keep weights in training.
    """

    def __init__(self) -> None:
        self.steps = 0  # averaged
        self.parameters: dict[str, Tensor] = {}  # the model's own tensors
        self.buffers: dict[str, Tensor] = {}
        self.other: dict[str, Tensor] = {}  # the averages, or while they stand in the model the weights in training
        self.averages_shown = False
        self.resumed: dict[str, Tensor] = {}

    def check(self, trainer: Trainer) -> None:
        """Raise InputError where a trainer cannot be averaged over; called before any data are read."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.check(trainer)  # that of a stack's member is made when the data are read

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, EncodingModule)
        trained = pl_module.trained_state()
        optimised = {id(each) for own in trainer.optimizers for group in own.param_groups for each in group["params"]}
        named = pl_module.named_parameters()  # which name shared weights once, as the state dict does not
        self.parameters = {name: each.detach() for name, each in named if name in trained and id(each) in optimised}
        self.buffers = {name: each for name, each in pl_module.named_buffers() if name in trained}
        self.other = {name: each.clone() for name, each in self._model().items()}
        self.averages_shown = False
        if self.resumed:  # the model was given the averages
            for name, each in self._model().items():
                each.copy_(self.resumed.get(name, each))  # the run before may have trained less
            self.resumed = {}

    @abstractmethod
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Have the averages follow the weights, where it is time."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.show(True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.show(False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.show(False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.show(True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.parameters, self.buffers, self.other = {}, {}, {}  # what is in the model now is what is kept

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self.other or not self.steps:
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

    @torch.no_grad()
    def follow(self, averaging: Averaging, share: float, moved: Collection[str]) -> None:
        """Move some averages towards the weights in training.

        Args:
            averaging: That of parameters.
            share: How far those of buffers move.
            moved: Names of the tensors that move.
        """
        parameters = {name: each for name, each in self.parameters.items() if name in moved}
        averaging([self.other[name] for name in parameters], list(parameters.values()), self.steps)
        for name, buffer in self.buffers.items():
            if name not in moved:
                continue
            if buffer.is_floating_point():
                average = self.other[name].lerp(buffer, share)
                self.other[name].copy_(torch.where(buffer.isfinite(), average, buffer))  # masks hold infinities
            else:
                self.other[name].copy_(buffer)
        self.steps += 1

    def show(self, averages: bool) -> None:
        """Bring the averages, or the weights in training, into the model."""
        if averages == self.averages_shown or not self.steps:
            return
        for name, each in self._model().items():
            before = each.clone()
            each.copy_(self.other[name])
            self.other[name].copy_(before)
        self.averages_shown = averages

    def _model(self) -> dict[str, Tensor]:
        return {**self.parameters, **self.buffers}
