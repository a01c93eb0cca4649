"""An epoch of a linear head on the whole brain: Lightning's `fit` as train.py calls it, against its products alone.

39,548 targets, 1,792 features, 700 training stimuli in 3 steps and 175 validation stimuli, fused AdamW. In turn, in one
process and with the same threads:

- bare: the products of a step's forward and backward pass, the validation's product, and the optimiser's step;
- loop: a loop over the same batches in memory, with autograd, the loss on standardised responses, and nothing else;
- fit: `trainer.fit`, with batches gathered, losses and metrics per target, early stopping of each ROI, history,
  TensorBoard and checkpoints; its start, until the first batch, is not counted, and neither is what is left of the
  last checkpoint's writing, beside which a run evaluates.

    uv run python benchmarks/epoch.py [--targets N] [--epochs 5] [--repetitions 5] [--threads 2]

Measured on 2 cores, other work stopped: 6.8 to 7.7 s bare, 7.2 to 8.0 s loop, 9.5 to 9.8 s fit for five epochs: 1.24 to
1.38 of bare, 1.18 to 1.36 of loop (2.6 and 3.5 before checkpoints were written beside training). Of what fit takes
beyond the products, half is passes over (batch × targets) that the loop has too (responses gathered and standardised,
errors), a quarter the copy of the last checkpoint.
"""

import argparse
import os
import tempfile
import time
from functools import partial

import torch
from brain import Brain, RandomFeatures, make_trainer
from calcarine.data.datamodule import EncodingDataModule
from calcarine.models import EncodingModule
from lightning.pytorch import Callback, Trainer
from side_by_side import finished, in_turn, ratio, row, told

FEATURES, TRAINING, VALIDATION, STEPS = 1792, 700, 175, 3
ROIS = 72


class FirstBatch(Callback):
    """Notes when training begins."""

    start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: EncodingModule) -> None:
        self.start = self.start or time.perf_counter()


def bare(targets: int, epochs: int, device: str = "cpu") -> float:
    """Seconds of the products and the optimiser."""
    weight = torch.nn.Parameter(torch.zeros(targets, FEATURES, device=device))
    optimizer = torch.optim.AdamW([weight], lr=1e-4, fused=True)
    held_out = torch.randn(VALIDATION, FEATURES, device=device)
    batches = torch.randn(TRAINING, FEATURES, device=device).tensor_split(STEPS)
    errors = [torch.randn(len(each), targets, device=device) for each in batches]
    finished(device)
    start = time.perf_counter()
    with torch.no_grad():
        for _ in range(epochs):
            for features, error in zip(batches, errors, strict=True):
                features @ weight.T
                weight.grad = error.T @ features
                optimizer.step()
            held_out @ weight.T
    finished(device)
    return time.perf_counter() - start


def loop(targets: int, epochs: int, device: str = "cpu") -> float:
    """Seconds of a loop that trains and does nothing else."""
    head = torch.nn.Linear(FEATURES, targets, device=device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4, fused=True)
    features, held_out = (torch.randn(count, FEATURES, device=device) for count in (TRAINING, VALIDATION))
    responses, truth = (torch.randn(count, targets, device=device) for count in (TRAINING, VALIDATION))
    finished(device)
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(TRAINING).tensor_split(STEPS):
            optimizer.zero_grad()
            (head(features[rows]) - responses[rows]).square().mean(0).sum().backward()
            optimizer.step()
        with torch.no_grad():
            (head(held_out) - truth).square().mean(0)
    finished(device)
    return time.perf_counter() - start


def fit(targets: int, epochs: int, device: str = "cpu") -> float:
    """Seconds of `trainer.fit` from its first batch on."""
    data = EncodingDataModule(
        Brain(targets, TRAINING, VALIDATION, ROIS), RandomFeatures(FEATURES), batch_size=-(-TRAINING // STEPS)
    )
    first = FirstBatch()
    trainer, writer = make_trainer(epochs, first, accelerator=device)
    trainer.fit(EncodingModule(data.num_targets, data.feature_shapes), data)
    finished(device)
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
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        ways = {way.__name__: partial(way, options.targets, options.epochs) for way in (bare, loop, fit)}
        seconds = in_turn(ways, options.repetitions)
    told(seconds, f"{options.epochs} epochs of {options.targets:,} targets", options.threads)
    row("trainer.fit of a linear head over its products and AdamW", ratio(seconds, "fit", "bare"), "≤ 1.15")
    row("trainer.fit of a linear head over a plain loop", ratio(seconds, "fit", "loop"), "≤ 1")


if __name__ == "__main__":
    main()
