"""Several subjects in one run, against the sum of a run for each: time and memory of the same work.

Eight subjects of 10,000 targets who each saw 640 training and 128 validation images of their own, of 1,000 features in
batches of 64: a trunk of 512 units that all share and a linear readout of each subject's own, AdamW. `trainer.fit` is
timed from its first batch on, with early stopping, history, TensorBoard and checkpoints, but not what is left of the
last checkpoint's writing. Each fit has a process of its own, as a run has: one that follows another in its process
finds the memory there that the other has let go, and a run of one epoch spends a quarter of its time on getting memory.
Memory is what the process has held at most, less what it held before there were data. Both of one run, and summed over
the eight.

Measured on 2 cores: .89 of the time and .63 of the memory, where getting memory is most of an epoch. One after another
in one process, which has the memory already, together took 1.25 of the time for one epoch and 1.13 for five, and in the
processor's time of the program alone, the system's left out, .95.

    uv run python benchmarks/subjects.py [--head trunk|linear] [--subjects 8] [--targets N] [--epochs 1]
        [--repetitions 5] [--threads 2]

Two whole brains as configs/cross_subject.yaml trains them (39,548 targets each, 512 features, batches of 256), of which
the peak memory of the whole process and the time of an epoch are told; 1,000 images each:

    uv run python benchmarks/subjects.py --whole_brains
"""

import argparse
import multiprocessing
import os
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
from calcarine.space import held_at_most
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
    return held_at_most() / 1e9


def measured(head: str, targets: int, epochs: int, threads: int, numbers: Sequence[int]) -> tuple[float, float]:
    """Seconds of a fit, and GB that it takes beyond what was there before it; in a process of its own."""
    torch.set_num_threads(threads)
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        seconds = fit(head, targets, epochs, numbers)
        os.chdir("/")
    return seconds, peak() - before


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
    if options.whole_brains:
        torch.set_num_threads(options.threads)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            whole_brains()
        return
    everyone = range(options.subjects)
    once = partial(measured, options.head, options.targets, options.epochs, options.threads)
    memory: dict[str, list[float]] = {"together": [], "apart": []}
    # Forked, so that libraries are there; a process that has threads could not be, so nothing is computed here.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as fresh:

        def run(way: str, groups: Sequence[Sequence[int]]) -> float:
            seconds, grown = zip(*fresh.map(once, groups, chunksize=1), strict=True)
            memory[way].append(sum(grown))
            return sum(seconds)

        ways = {
            "together": lambda: run("together", [everyone]),
            "apart": lambda: run("apart", [[number] for number in everyone]),
        }
        seconds = in_turn(ways, options.repetitions)
    told(seconds, f"{options.subjects} subjects of {options.targets:,} targets, {options.head}", options.threads)
    title = f"{options.subjects} subjects in one run over a run of each"
    row(f"{title}, time", ratio(seconds, "together", "apart"), "≤ 1.10")
    print(f"  memory: {max(memory['together']):.2f} GB together, {max(memory['apart']):.2f} GB apart")
    row(f"{title}, memory", ratio(memory, "together", "apart"), "≤ 1.10")


if __name__ == "__main__":
    main()
