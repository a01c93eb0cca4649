"""StochasticWeightAverage: the weights at the ends of the last epochs, averaged."""

import logging
from itertools import islice
from math import floor
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_swa_multi_avg_fn

from ..batch import Batch
from ..encoders.modes import keeping_modes
from ..errors import InputError
from .early_stopping import RoiEarlyStopping
from .encoding import EncodingModule
from .weight_averaging import AveragedWeights

log = logging.getLogger(__name__)


class StochasticWeightAverage(AveragedWeights):
    """Validates, keeps and tests the mean of the weights at the ends of epochs; training itself does not see it.

    Stochastic weight averaging (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    UAI 2018): from a share of the epochs on, each epoch's last weights count alike. Steps have to stay long enough to
    leave the minimum that the weights are in: `--model.scheduler null` keeps the rate, while at the end of a schedule
    that goes to 0, as OneCycle's, all epochs have about the same weights. Before its start the weights in training are
    validated and kept; early stopping, which compares them with the averages, may end training before there are any:
    give it more --early_stopping.patience, or --trainer.min_epochs. The end of training warns of it, and counts the
    ROIs that keep weights from before the start.

    What batch norm normalises by belongs to the weights, and nothing in training has seen the activations of averaged
    ones: the mean of the epochs' statistics is not theirs. So they are estimated anew for each average, as in the
    paper (3.2), by a forward pass of the training stimuli with all else as in evaluation, which models without batch
    norm do not take. Several processes take the mean of what each finds.

    Args:
        start: Share of --trainer.max_epochs after which epochs are averaged.
    """

    def __init__(self, start: float = 0.75) -> None:
        super().__init__()
        if not 0 <= start < 1:
            raise InputError(f"--trainer.callbacks: start {start:g}: expected a share from 0 to below 1")
        self.start = start

    def check(self, trainer: Trainer) -> None:
        if (trainer.max_epochs or -1) < 0:
            raise InputError(
                "--trainer.callbacks StochasticWeightAverage: expected a number of epochs, of which a share is "
                "averaged, found no limit; set --trainer.max_epochs"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not self.parameters or not trainer.is_last_batch or trainer.current_epoch < self._first(trainer):
            return
        self.follow(get_swa_multi_avg_fn(), 1 / (self.steps + 1), self.other.keys())
        trained = [each for each in pl_module.modules() if isinstance(each, _BatchNorm) and each.training]
        norms = [each for each in trained if each.track_running_stats]
        if norms:
            self.show(True)
            estimate(norms, trainer, pl_module)
            self.show(False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_end(trainer, pl_module)
        assert isinstance(pl_module, EncodingModule)
        if not trainer.optimizers:  # weights that are solved are not averaged
            return
        first = self._first(trainer)
        mend = (
            f"give --early_stopping.patience more, set --trainer.min_epochs above {first}, or let "
            "--trainer.callbacks.start be smaller"
        )
        if not self.steps:
            log.warning(
                "StochasticWeightAverage: no average was made, because training ended before epoch %d, the first that "
                "counts; the weights in training are kept: %s",
                first,
                mend,
            )
            return
        for stopping in (each for each in trainer.callbacks if isinstance(each, RoiEarlyStopping)):  # type: ignore[attr-defined]
            epochs = stopping.best_epoch_of(pl_module)
            early = int((epochs < first).sum())
            if early:
                whose = "all targets keep" if len(epochs) == 1 else f"{early:,} of {len(epochs):,} ROIs keep"
                log.warning(
                    "StochasticWeightAverage: %s weights in training and no average, because the best epoch came "
                    "before epoch %d, the first that counts: %s",
                    whose,
                    first,
                    mend,
                )

    def _first(self, trainer: Trainer) -> int:
        """The first epoch that counts, from 0."""
        assert trainer.max_epochs is not None
        return floor(self.start * trainer.max_epochs + 1e-9)  # 0.29 of 100 is 28.999…


@torch.no_grad()
def estimate(norms: list[_BatchNorm], trainer: Trainer, model: LightningModule) -> None:
    """Give batch norm the mean statistics of an epoch's batches, by the weights that stand in the model.

    As `torch.optim.swa_utils.update_bn`, but that nothing is dropped or shifted at random: what is predicted later goes
    through neither.
    """
    momenta = [each.momentum for each in norms]
    strategy = trainer.strategy
    with keeping_modes(model), trainer.precision_plugin.forward_context():
        model.eval()
        model.training = True  # of it alone: images go through as they are, and not shifted (`test_shifts`) as well
        for each in norms:
            each.train().reset_running_stats()
            each.momentum = None  # the mean over all batches
        served: Any = trainer.train_dataloader
        for batch in islice(served, int(trainer.num_training_batches)):
            model(strategy.batch_to_device(batch))
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
        for statistic in (each.running_mean, each.running_var):
            if statistic is not None:
                statistic.copy_(strategy.reduce(statistic, reduce_op="mean"))
