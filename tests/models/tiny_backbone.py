"""A small convolutional backbone with batch norm, dropout and attention, and a real Trainer around it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from planted import Planted
from torch import Tensor, nn

from src.batch import Features
from src.data.datamodule import EncodingDataModule
from src.encoders import Encoder
from src.models import EncodingModule, RoiEarlyStopping
from src.models.finetuning import Finetuning
from src.run_folder import EpochSeed


class TinyBackbone(Encoder):
    """Three convolutional stages, the last with dropout, and attention over their cells; one layer (8,)."""

    def __init__(self, batch_norm: bool = True, dropout: float = 0.2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = nn.Sequential()
            for name, channels in (("stem", 3), ("body", 8), ("top", 8)):
                norm = nn.BatchNorm2d(8) if batch_norm else nn.GroupNorm(2, 8)
                stage = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), norm, nn.ReLU(inplace=True))
                self.network.add_module(name, stage)
            self.network.top.append(nn.Dropout2d(dropout))  # type: ignore[operator]
            self.network.add_module("attention", CellAttention())

    def forward(self, images: Tensor) -> Features:
        return {"embedding": self.network(images.float() / 127.5 - 1)}

    def settings(self) -> dict[str, object]:
        return {}


class CellAttention(nn.Module):
    """Attention among the cells of maps, and the mean over them; uses the weight of a module that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, maps: Tensor) -> Tensor:
        cells = maps.flatten(2).mT  # (B, cells, 8)
        return self.attention(cells, cells, cells, need_weights=False)[0].mean(1)


class Keep(Callback):
    """Keeps the checkpoint that an epoch, counted from 0, ends with.

    Args:
        epoch: Which epoch.
        path: Where.
    """

    def __init__(self, epoch: int, path: Path) -> None:
        self.epoch, self.path = epoch, path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def fit(
    folder: Path,
    finetuning: Finetuning | None = None,
    *callbacks: Callback,
    epochs: int = 3,
    stimuli: int = 80,
    batch_size: int = 16,
    backbone: Encoder | None = None,
    model: dict[str, Any] | None = None,
    ckpt_path: Path | None = None,
    patience: int = 50,
    **trainer: Any,
) -> tuple[EncodingModule, EncodingDataModule, Trainer, RoiEarlyStopping]:
    """Train a backbone on planted responses, with early stopping beside the other callbacks."""
    torch.manual_seed(0)
    data = EncodingDataModule(Planted(stimuli), cache_dir=folder / "cache", batch_size=batch_size)
    options = {"optimizer": lambda params: torch.optim.AdamW(params, lr=1e-2, weight_decay=0.1), **(model or {})}
    module = EncodingModule(
        data.num_targets, None, backbone=backbone or TinyBackbone(), finetuning=finetuning, **options
    )
    stopping = RoiEarlyStopping(patience)
    settings = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        **trainer,
    }
    engine = Trainer(max_epochs=epochs, callbacks=[EpochSeed(0), *callbacks, stopping], **settings)
    engine.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module, data, engine, stopping
