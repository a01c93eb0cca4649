"""Pearson correlations of a whole brain's targets over batches, against torchmetrics' own, and their error.

39,548 targets, 1,024 stimuli in batches of 64, one thread and more. The error is the largest difference from numpy's
in float64, of float32 responses that lie at 10,000 with a spread of 1.

    uv run python benchmarks/metrics.py [--targets N] [--repetitions 5] [--threads 2]

Predicted: 4 times, since torchmetrics updates means and covariances by Welford's way, five passes in float32 over
(batch × targets) each of which allocates; ours are sums of blocks that stay in cache. Measured on 2 cores, other work
stopped: 2.2 to 3.2 times, errors 2e-16 and 1e-4. Reading both arrays once takes half of our time; in float32 the sums
would take half, and could not tell a constant target.
"""

import argparse
from typing import Any

import numpy as np
import torch
from calcarine.models.metrics import TargetMetrics
from side_by_side import in_turn, ratio, row, told
from torch import Tensor
from torchmetrics import Metric, PearsonCorrCoef

STIMULI, BATCH, FAR = 1024, 64, 10_000


def over_batches(metric: Metric, prediction: Tensor, response: Tensor) -> Any:
    for start in range(0, len(response), BATCH):
        metric.update(prediction[start : start + BATCH], response[start : start + BATCH])
    return metric.compute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=39_548)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    response = torch.randn(STIMULI, options.targets, generator=generator)
    prediction = response + torch.randn(STIMULI, options.targets, generator=generator)
    mean = torch.zeros(options.targets)

    def ours() -> Tensor:
        return over_batches(TargetMetrics(options.targets, mean, ["pearson"]), prediction, response)["pearson"]

    def theirs() -> Tensor:
        return over_batches(PearsonCorrCoef(num_outputs=options.targets), prediction, response)

    seconds = in_turn({"TargetMetrics": ours, "torchmetrics": theirs}, options.repetitions)
    told(seconds, f"{options.targets:,} targets × {STIMULI:,} stimuli in batches of {BATCH}", options.threads)
    response, prediction, mean = response + FAR, prediction + FAR, mean + FAR
    p, y = prediction.double().numpy() - FAR, response.double().numpy() - FAR
    p, y = p - p.mean(0), y - y.mean(0)
    expected = (p * y).sum(0) / np.sqrt((p * p).sum(0) * (y * y).sum(0))
    errors = [np.abs(each().double().numpy() - expected).max() for each in (ours, theirs)]
    print(f"  largest error at an offset of {FAR:,}: {errors[0]:.1e}, torchmetrics {errors[1]:.1e}")
    row("Pearson correlations: torchmetrics' time over ours", ratio(seconds, "torchmetrics", "TargetMetrics"), "≥ 4")


if __name__ == "__main__":
    main()
