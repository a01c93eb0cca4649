"""Several subjects in one run, against the sum of a run for each: time and memory of the same work.

Eight subjects of 10,000 targets who each saw 640 training and 128 validation images of their own, of 1,000 features in
batches of 64: a trunk of 512 units that all share and a linear readout of each subject's own, AdamW. `trainer.fit` is
timed from its first batch on, with early stopping, history, TensorBoard and checkpoints, but not what is left of the
last checkpoint's writing. Memory is what a process of its own has held at most, less what it held before there were
data: of one run, and summed over the eight.

    uv run python benchmarks/subjects.py [--head trunk|linear] [--subjects 8] [--targets N] [--epochs 1]
        [--repetitions 5] [--threads 2]

Two whole brains as configs/cross_subject.yaml trains them (39,548 targets each, 512 features, batches of 256), of which
the peak memory of the whole process and the time of an epoch are told; 1,000 images each:

    uv run python benchmarks/subjects.py --whole_brains
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial

import torch
from brain import Brain, RandomFeatures, make_trainer
from calcarine.data import Source
from calcarine.data.datamodule import EncodingDataModule
from calcarine.models import EncodingModule, LinearHead, MlpTrunk, TrunkHead
from calcarine.recording import Recording
from lightning.pytorch import Callback, Trainer
from side_by_side import in_turn, ratio, row, told

TRAINING, VALIDATION, FEATURES, BATCH, ROIS = 640, 128, 1000, 64, 20
HEADS = {"trunk": partial(TrunkHead, trunk=partial(MlpTrunk, dims=[512])), "linear": LinearHead}


class Brains(Source):
    """Subjects of as many targets each, who saw images of their own.

    Args:
        targets: Of each.
        training: Stimuli of each.
        validation: Likewise.
        numbers: Which subjects are read.
    """

    def __init__(self, targets: int, training: int, validation: int, numbers: Sequence[int]) -> None:
        super().__init__()
        self.brains = {number: Brain(targets, training, validation, ROIS, seed=number) for number in numbers}

    @property
    def num_targets(self) -> int:
        return sum(brain.num_targets for brain in self.brains.values())

    def read(self) -> list[Recording]:
        return [recording for brain in self.brains.values() for recording in brain.read()]


class Epochs(Callback):
    """Notes when training begins, and how long each epoch takes."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: EncodingModule) -> None:
        self.starts.append(time.perf_counter())


def fit(head: str, targets: int, epochs: int, numbers: Sequence[int]) -> float:
    """Seconds of `trainer.fit` on these subjects, from its first batch on."""
    data = EncodingDataModule(
        Brains(targets, TRAINING, VALIDATION, numbers), RandomFeatures(FEATURES), batch_size=BATCH
    )
    begun = Epochs()
    trainer, writer = make_trainer(epochs, begun)
    trainer.fit(EncodingModule(data.num_targets, data.feature_shapes, HEADS[head]), data)
    seconds = time.perf_counter() - begun.starts[0]
    writer.wait()
    return seconds


def whole_brains() -> None:
    """Fit and predict as configs/cross_subject.yaml does, and tell of it."""
    data = EncodingDataModule(Brains(39_548, 900, 100, [0, 1]), RandomFeatures(512), batch_size=256)
    head = partial(TrunkHead, trunk=partial(MlpTrunk, dims=[512, 512], dropout=0.1))
    model = EncodingModule(
        data.num_targets, data.feature_shapes, head, optimizer=lambda own: torch.optim.AdamW(own, lr=1e-3)
    )
    epochs = Epochs()
    trainer, writer = make_trainer(4, epochs)
    trainer.fit(model, data)
    ended = time.perf_counter()
    writer.wait()
    trainer.test(model, data, verbose=False)
    seconds, steps = (ended - epochs.starts[0]) / len(epochs.starts), len(data.train_dataloader())
    print(f"two subjects of 39,548 targets: {seconds:.1f} s an epoch of {steps} steps")
    row("Two whole brains in one run of a shared trunk: peak memory, GB", peak(), "≤ 6")


def peak() -> float:
    """Most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def grown(head: str, targets: int, epochs: int, numbers: Sequence[int], threads: int) -> float:
    """GB that a run takes beyond what was there before it; in a process of its own."""
    torch.set_num_threads(threads)
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        fit(head, targets, epochs, numbers)
        os.chdir("/")
    return peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", choices=HEADS, default="trunk")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole_brains", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    everyone = range(options.subjects)
    run = partial(fit, options.head, options.targets, options.epochs)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if options.whole_brains:
            whole_brains()
            return
        ways = {"together": lambda: run(everyone), "apart": lambda: sum(run([number]) for number in everyone)}
        seconds = in_turn(ways, options.repetitions)
        told(seconds, f"{options.subjects} subjects of {options.targets:,} targets, {options.head}", options.threads)
        title = f"{options.subjects} subjects in one run over a run of each"
        row(f"{title}, time", ratio(seconds, "together", "apart"), "≤ 1.10")
        measured = partial(grown, options.head, options.targets, options.epochs, threads=options.threads)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
            together, *apart = fresh.map(measured, [everyone, *([number] for number in everyone)], chunksize=1)
    print(f"  memory: {together:.2f} GB together, {min(apart):.2f} to {max(apart):.2f} GB apart")
    row(f"{title}, memory", together / sum(apart), "≤ 1.10")


if __name__ == "__main__":
    main()
