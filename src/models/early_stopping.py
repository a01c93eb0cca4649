"""Early stopping of each ROI on its own, in one run."""

from collections.abc import Mapping

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ..arguments import KeepsArguments
from ..errors import InputError
from .encoding import EncodingModule


class RoiEarlyStopping(KeepsArguments, Callback):
    """Keeps the best epoch's rows of each ROI, and ends training when every ROI has stopped.

    The targets of a linear head are independent, so one run in which each ROI's best rows are kept gives what a
    separate run per ROI, each with its own early stopping, gives. Freezing a stopped ROI by zeroing its gradient
    would not: momentum and weight decay still move it. A head that shares parameters among targets is one ROI:
    its best epoch is restored whole; and one network per hemisphere is two ROIs.

    Args:
        patience: Epochs without a better validation loss after which a ROI stops, but none before
            --trainer.min_epochs.
        min_delta: A loss is better if it is lower than the best by more than this.
        decimals: Round validation losses to so many decimals before they are compared.
        per_roi: Stop each ROI on its own; otherwise all targets by their mean loss.
    """

    def __init__(
        self, patience: int = 20, min_delta: float = 0.0, decimals: int | None = None, per_roi: bool = True
    ) -> None:
        if patience < 1:
            raise InputError(f"--early_stopping.patience {patience}: expected 1 or more")
        self.patience = patience
        if decimals is not None and decimals < 0:
            raise InputError(f"--early_stopping.decimals {decimals}: expected 0 or more")
        self.min_delta = min_delta
        self.decimals = decimals
        self.per_roi = per_roi
        self.best_loss = torch.empty(0)  # (n_groups,)
        self.best_epoch = torch.empty(0, dtype=torch.int64)  # (n_groups,)
        self.stopped = torch.empty(0, dtype=torch.bool)  # (n_groups,)
        self.best: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stopped.numel() and self.stopped.all():
            trainer.should_stop = True  # a resumed run that had come to its end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        assert isinstance(pl_module, EncodingModule)
        groups = self._groups(pl_module)
        sizes = groups.bincount()
        loss = groups.bincount(weights=pl_module.target_losses.cpu()) / sizes.clamp_min(1)  # (n_groups,)
        if self.decimals is not None:
            loss = loss.round(decimals=self.decimals)
        if not loss.isfinite().any():
            raise InputError(
                f"--model.optimizer: training diverged, no validation loss is finite in epoch {trainer.current_epoch}; "
                "lower the learning rate"
            )
        if not self.best_loss.numel():
            self.best_loss = torch.full_like(loss, torch.inf)
            self.best_epoch = torch.full_like(sizes, trainer.current_epoch)
            self.stopped = torch.zeros_like(sizes, dtype=torch.bool)
        better = (loss < self.best_loss - self.min_delta) & ~self.stopped
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_epoch[better] = trainer.current_epoch
        if better.any():
            self._keep(pl_module, better[groups])
        # What --trainer.min_epochs or min_steps still trains may be better: no ROI stops before them.
        if trainer.current_epoch + 1 >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0):
            self.stopped |= trainer.current_epoch - self.best_epoch >= self.patience
        if self.stopped.all():
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the best rows, also where a resumed run had nothing left to train."""
        if self.best:
            pl_module.load_state_dict(self.best, strict=False)

    def state_dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("best_loss", "best_epoch", "stopped", "best")}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

    def best_epoch_of(self, module: EncodingModule) -> Tensor:
        """Epoch of the weights that each ROI with targets keeps, int64 (n,); none where nothing was validated."""
        return self.best_epoch[self._groups(module).unique()] if self.best_epoch.numel() else self.best_epoch

    def _groups(self, module: EncodingModule) -> Tensor:
        """Set in which each target is stopped, on the processor, (num_targets,)."""
        groups = module.stopping_groups.cpu()
        return groups if self.per_roi else torch.zeros_like(groups)

    def _keep(self, module: EncodingModule, better: Tensor) -> None:
        """Copy the rows of targets (num_targets,) that are better now; a network's weights where targets share them."""
        networks = module.head.networks
        improved = {
            name: bool(better[own.cpu() if isinstance(own, Tensor) else own].any()) for name, own in networks.items()
        }
        for name, tensor in module.trained_state().items():
            if name in self.best and better.all():
                self.best[name].copy_(tensor)
            elif module.independent_targets and name in self.best:
                rows = better[module.targets_of(name)]
                self.best[name][rows] = tensor[rows.to(tensor.device)].cpu()
            elif name not in self.best or improved[module.head.network_of(name)]:
                self.best[name] = tensor.detach().to("cpu", copy=True)
