"""An epoch of a linear head on the whole brain: Lightning's `fit` as train.py calls it, against its products alone.

39,548 targets, 1,792 features, 700 training stimuli in 3 steps and 175 validation stimuli, fused AdamW. In turn, in one
process and with the same threads:

- bare: the products of a step's forward and backward pass, the validation's product, and the optimiser's step;
- loop: a loop over the same batches in memory, with autograd, the loss on standardised responses, and nothing else;
- fit: `trainer.fit`, with batches gathered, losses and metrics per target, early stopping of each ROI, history,
  TensorBoard and checkpoints; its start, until the first batch, is not counted, and neither is what is left of the
  last checkpoint's writing, beside which a run evaluates.

    uv run python benchmarks/epoch.py [--targets N] [--epochs 5] [--repetitions 5] [--threads 2]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from calcarine.data import Source
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import Encoder
from calcarine.models import EncodingModule, RoiEarlyStopping
from calcarine.recording import Recording, Responses, Roi
from calcarine.run.checkpoints import BackgroundCheckpointIO, LastCheckpoint
from calcarine.run.folder import EpochSeed, HistoryWriter, RunLogger
from lightning.pytorch import Callback, Trainer
from torch import Tensor

FEATURES, TRAINING, VALIDATION, STEPS = 1792, 700, 175, 3
ROIS = 36


class Pictures:
    """Images of a few pixels, in memory."""

    frames = None

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.names = [f"{index:04d}.png" for index in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def digests(self, memo: Path | None = None) -> list[str]:
        return self.names


class Brain(Source):
    """Random responses of so many targets."""

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.targets = targets

    @property
    def num_targets(self) -> int:
        return self.targets

    def read(self) -> list[Recording]:
        rng = np.random.default_rng(0)
        count = TRAINING + VALIDATION
        responses = rng.standard_normal((count, self.num_targets), dtype=np.float32)
        images = rng.integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)
        splits = np.array(["train"] * TRAINING + ["validation"] * VALIDATION)
        sides = np.repeat(["lh", "rh"], [self.targets // 2, self.targets - self.targets // 2])
        rois = [Roi(f"roi{number}", "lh", np.arange(number, self.targets // 2, ROIS)) for number in range(ROIS)]
        return [Recording("subj01", Pictures(images), Responses.of(responses), splits, sides, rois)]


class Projection(Encoder):
    """Random features of pixels."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(192, FEATURES, generator=torch.Generator().manual_seed(0))
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": images.float().flatten(1) @ self.get_buffer("weights")}

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"features": (FEATURES,)}

    def settings(self) -> dict[str, object]:
        return {}


class FirstBatch(Callback):
    """Notes when training begins."""

    start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: EncodingModule) -> None:
        self.start = self.start or time.perf_counter()


def bare(targets: int, epochs: int) -> float:
    """Seconds of the products and the optimiser."""
    weight = torch.nn.Parameter(torch.zeros(targets, FEATURES))
    optimizer = torch.optim.AdamW([weight], lr=1e-4, fused=True)
    held_out = torch.randn(VALIDATION, FEATURES)
    batches = torch.randn(TRAINING, FEATURES).tensor_split(STEPS)
    errors = [torch.randn(len(each), targets) for each in batches]
    start = time.perf_counter()
    with torch.no_grad():
        for _ in range(epochs):
            for features, error in zip(batches, errors, strict=True):
                features @ weight.T
                weight.grad = error.T @ features
                optimizer.step()
            held_out @ weight.T
    return time.perf_counter() - start


def loop(targets: int, epochs: int) -> float:
    """Seconds of a loop that trains and does nothing else."""
    head = torch.nn.Linear(FEATURES, targets)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4, fused=True)
    features, held_out = torch.randn(TRAINING, FEATURES), torch.randn(VALIDATION, FEATURES)
    responses, truth = torch.randn(TRAINING, targets), torch.randn(VALIDATION, targets)
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(TRAINING).tensor_split(STEPS):
            optimizer.zero_grad()
            (head(features[rows]) - responses[rows]).square().mean(0).sum().backward()
            optimizer.step()
        with torch.no_grad():
            (head(held_out) - truth).square().mean(0)
    return time.perf_counter() - start


def fit(targets: int, epochs: int) -> float:
    """Seconds of `trainer.fit` from its first batch on."""
    data = EncodingDataModule(Brain(targets), Projection(), batch_size=-(-TRAINING // STEPS))
    first, writer = FirstBatch(), BackgroundCheckpointIO()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=RunLogger("epoch", None, Path("runs")),
        callbacks=[EpochSeed(0), HistoryWriter(), RoiEarlyStopping(), LastCheckpoint(), first],
        plugins=[writer],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(EncodingModule(data.num_targets, data.feature_shapes), data)
    seconds = time.perf_counter() - first.start
    writer.wait()  # of the last one: a run goes on with its test meanwhile
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=39_548)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ways: list[Callable[[int, int], float]] = [bare, loop, fit]
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for _ in range(options.repetitions):
            for way in ways:
                seconds[way.__name__].append(way(options.targets, options.epochs) / options.epochs)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"{options.threads} threads, {options.targets:,} targets, seconds an epoch, medians of {options.repetitions}")
    for name, each in medians.items():
        print(f"{name:5} {each:7.2f}   {each / medians['bare']:5.2f} of bare   {each / medians['loop']:5.2f} of loop")


if __name__ == "__main__":
    main()
