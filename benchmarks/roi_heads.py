"""One run of all ROIs' linear heads, against a run for each ROI, with the weights that both come to.

72 ROIs of 550 targets, 512 features, 700 training stimuli in 11 steps and 175 validation stimuli, five epochs. Every
run reads its features from the cache; `trainer.fit` is timed, with early stopping of each ROI, history, TensorBoard and
checkpoints, but not what makes the objects.

    uv run python benchmarks/roi_heads.py [--rois 72] [--epochs 5] [--repetitions 5] [--threads 2]

With one thread the weights are equal to the bit; with several, products of other widths are divided otherwise among
them, and rounding differs. Predicted: 72 runs pay Lightning's and TensorBoard's overhead 72 times, about 10 ms a step,
11 steps × 5 epochs, beside products that take 1 ms a ROI and step: 5 to 10 times.
"""

import argparse
import os
import tempfile
import time

import torch
from brain import Brain, RandomFeatures, make_trainer
from calcarine.data.datamodule import EncodingDataModule
from calcarine.models import EncodingModule
from side_by_side import in_turn, ratio, row, told
from torch import Tensor

TARGETS, FEATURES, TRAINING, VALIDATION, BATCH = 550, 512, 700, 175, 64


def fit(rois: int, epochs: int, alone: int | None = None) -> tuple[float, Tensor]:
    """Seconds of `trainer.fit`, and the weights, (targets, features)."""
    data = EncodingDataModule(
        Brain(TARGETS * rois, TRAINING, VALIDATION, rois, alone), RandomFeatures(FEATURES), batch_size=BATCH
    )
    module = EncodingModule(data.num_targets, data.feature_shapes)
    trainer, writer = make_trainer(epochs)
    start = time.perf_counter()
    trainer.fit(module, data)
    writer.wait()
    seconds = time.perf_counter() - start
    (weight,) = [each for name, each in module.state_dict().items() if name.endswith("head.weight")]
    return seconds, weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rois", type=int, default=72)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights: dict[str, Tensor] = {}

    def together() -> float:
        seconds, weights["together"] = fit(options.rois, options.epochs)
        return seconds

    def apart() -> float:
        runs = [fit(options.rois, options.epochs, roi) for roi in range(options.rois)]
        weights["apart"] = torch.cat([weight for _, weight in runs])
        return sum(seconds for seconds, _ in runs)

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        seconds = in_turn({"together": together, "apart": apart}, options.repetitions)
    told(seconds, f"{options.rois} ROIs of {TARGETS} targets, {options.epochs} epochs", options.threads)
    apart_by = float((weights["together"] - weights["apart"]).abs().max() / weights["together"].abs().max())
    print(f"  largest difference of weights, as a share of the largest: {apart_by:.0e}")
    row(f"{options.rois} runs of a ROI each over one run of all", ratio(seconds, "apart", "together"), "≥ 3.5")


if __name__ == "__main__":
    main()
