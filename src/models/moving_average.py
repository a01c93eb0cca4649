"""ExponentialMovingAverage: the weights, averaged over the last steps."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..batch import Batch
from ..errors import InputError
from .encoding import EncodingModule
from .weight_averaging import AveragedWeights


class ExponentialMovingAverage(AveragedWeights):
    """Validates, keeps and tests a moving average of the weights; training itself does not see it.

    After each step the average moves by 1 - d towards the weights, d = min(decay, (1 + n) / (10 + n)) after n steps,
    so that the first weights, which are random, are soon forgotten. Running statistics of batch norm are averaged
    with the weights that they belong to. What is another subject's alone than a step's stays, as its weights do.

    Early stopping keeps averages and the test sees them. A checkpoint has them as its weights; those in training are
    beside them.

    Args:
        decay: Share of the average that a step keeps, once many were made.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise InputError(f"--trainer.callbacks: decay {decay:g}: expected a share from 0 to below 1")
        self.decay = decay
        self.seen = 0  # steps of the optimiser
        self.trained: set[int | None] = set()  # whose weights the next step of the optimiser moves

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.seen = trainer.global_step

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
        self.follow(get_ema_multi_avg_fn(decay), 1 - decay, moved)
