"""Ridge on features that outnumber the stimuli by far: a whole run of RidgeModule, and the memory that it takes.

9,000 training stimuli of 148,000 features (a convolutional layer of a ResNet, or several layers of a small network),
float16 in the cache, 500 targets, 20 penalties and 5 folds; then 500 validation stimuli are predicted. Features are
random projections of pixels, rectified, so that they are of full rank. One process, once: the figure is memory. What
a process holds for itself is told apart from pages of the cache's files, which the system takes back as it likes.

    uv run python benchmarks/wide_ridge.py [--stimuli N] [--features N] [--targets N] [--threads 2]

Predicted: 2.7 GB of features, 2.6 GB of four matrices of stimuli × stimuli in float64, .3 GB of weights and .5 GB of
libraries: 6.1 GB, were all there at once; kernels are decomposed in place, so 5.4 to 6.0 GB. Measured: 5.56 GB, and 37
minutes on two threads, of which other work had one for 17: five folds and the fit each take a kernel of 15 TFLOP in
float64, because each standardises features by its own training stimuli, and a decomposition. Give the machine to it
alone: while others took half of it, one decomposition, a minute long otherwise, took ten.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import torch
from brain import Brain, RandomFeatures, make_trainer
from calcarine.data.datamodule import EncodingDataModule
from calcarine.models import RidgeModule
from calcarine.space import held_at_most
from side_by_side import row
from torch import Tensor


class RectifiedFeatures(RandomFeatures):
    """Random projections of pixels where they are above the middle, 0 elsewhere."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        projected = (images.float().flatten(1) - 127.5) / 127.5 @ self.get_buffer("weights")
        return {"features": projected.relu_()}

    def settings(self) -> dict[str, object]:
        return {"rectified": True}


class OwnMemory(threading.Thread):
    """Looks twenty times a second at what this process holds, pages of files aside."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0

    def run(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            held = next(line for line in lines if line.startswith("RssAnon"))
            self.most = max(self.most, 1024 * int(held.split()[1]))
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stimuli", type=int, default=9000)
    parser.add_argument("--features", type=int, default=148_000)
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        source = Brain(options.targets, options.stimuli, 500, rois=2)
        encoder = RectifiedFeatures(options.features)
        data = EncodingDataModule(source, encoder, batch_size=128, cache_dtype="float16")
        model = RidgeModule(data.num_targets, data.feature_shapes)
        watch = OwnMemory()
        watch.start()
        start = time.perf_counter()
        trainer, writer = make_trainer(1)
        trainer.fit(model, data)
        writer.wait()
        print(f"{time.perf_counter() - start:.0f} s, extraction included, {options.threads} threads")
        print(f"{held_at_most() / 1e9:.2f} GB at the most with pages of the cache's files")
    size = f"{options.stimuli:,} × {options.features:,}"
    row(f"Ridge, {size} in float16, {options.targets} targets: peak memory, GB", watch.most / 1e9, "≤ 6")


if __name__ == "__main__":
    main()
