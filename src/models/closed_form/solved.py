"""SolvedModule: a model whose weights are computed, where others descend to theirs."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ...batch import Facts, FeatureShapes
from ...errors import InputError
from ...findings import Findings
from ..encoding import EncodingModule
from ..heads.base import Head


class SolvedModule(EncodingModule):
    """Base of the models that one epoch, whatever --trainer.max_epochs says, brings to their weights and findings.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        head: From features to responses.
    """

    def __init__(
        self,
        num_targets: int,
        feature_shapes: FeatureShapes | None,
        head: Callable[[FeatureShapes, int], Head],
    ) -> None:
        super().__init__(num_targets, feature_shapes, head)
        self.automatic_optimization = False
        self.findings: Findings | None = None  # until solved

    def check(self, facts: Facts) -> None:
        super().check(facts)
        if self.scale_lr:
            raise InputError(f"--scale_lr: {type(self).__name__} solves, and has no learning rate; leave it out")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return []

    def trained_state(self) -> dict[str, Tensor]:
        """Nothing: no epoch is better than the one that solves, and a validation before it sees an empty head."""
        return {}

    def on_train_start(self) -> None:
        if self.findings is not None:
            self.trainer.should_stop = True  # a resumed run that had been solved

    def on_train_epoch_end(self) -> None:
        self.trainer.should_stop = True

    def on_fit_end(self) -> None:
        if self.findings is None:
            raise InputError(
                f"--trainer: {type(self).__name__} solves at the end of one epoch, which was not reached; leave out "
                "--trainer.max_epochs, --trainer.max_steps, --trainer.max_time and --trainer.limit_train_batches"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.findings is not None:
            checkpoint["findings"] = self.findings.to_plain(torch.from_numpy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "findings" in checkpoint:
            self.findings = Findings.from_plain(checkpoint["findings"], lambda tensor: tensor.cpu().numpy())

    def count_as_step(self) -> None:
        """The solution is one step: Lightning writes no checkpoint of a run that has made none."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
