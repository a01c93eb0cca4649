"""Ridge with cross-validated penalties: ours, himalaya, scikit-learn and the bare product X'Y, side by side.

The same data, penalties and folds in one run. Runs interleave, so that a busy machine slows all alike, and medians
are printed. Memory is the peak of a process of its own for each method, beyond the data and the libraries.

    uv run benchmarks/ridge.py [--targets 4000] [--whole_brain 39548] [--runs 5] [--threads 2]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calcarine.models.regression.ridge import fit_ridge
from calcarine.space import held_at_most
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

NUM_TEST = 500
PEER_BATCH = 4000  # himalaya predicts (penalties, held-out stimuli, targets): without batches 2.8 GB for the brain
SLOW = 60.0  # seconds: a method that takes longer runs once, and its memory is not measured
SCORING = "neg_mean_squared_error"  # what our penalties are chosen by


@dataclass(frozen=True)
class Data:
    """Features (N, D) and responses (N, T) to fit, others to score on, penalties (P,) and folds (N,)."""

    features: torch.Tensor
    responses: torch.Tensor
    test_features: torch.Tensor
    test_responses: torch.Tensor
    penalties: list[float]
    splits: KFold
    fold: torch.Tensor


@dataclass(frozen=True)
class Result:
    """A fit: weight (T, D), bias (T,), penalty (T,)."""

    weight: np.ndarray
    bias: np.ndarray
    penalty: np.ndarray


@dataclass
class Method:
    """One row of a table; `fit` gives None where there is nothing to score."""

    name: str
    fit: Callable[[Data], Result | None]
    seconds: list[float] = field(default_factory=list)
    result: Result | None = None


def simulate(args: argparse.Namespace, num_targets: int) -> Data:
    """Features with a decaying spectrum, and z-scored targets that they explain by 0 to 50 per cent."""
    generator = torch.Generator().manual_seed(0)
    num_stimuli = args.stimuli + NUM_TEST
    scale = torch.arange(1, args.features + 1).rsqrt()
    features = torch.randn(num_stimuli, args.features, generator=generator) * scale
    weight = torch.randn(args.features, num_targets, generator=generator) / scale.norm()
    weight *= torch.rand(num_targets, generator=generator)
    responses = torch.empty(num_stimuli, num_targets)
    for rows in torch.arange(num_stimuli).split(64):
        responses[rows] = features[rows] @ weight + torch.randn(len(rows), num_targets, generator=generator)
    training, test = slice(0, args.stimuli), slice(args.stimuli, num_stimuli)
    splits = KFold(args.folds)
    fold = torch.empty(args.stimuli, dtype=torch.int64)
    for k, (_, held_out) in enumerate(splits.split(features[training])):
        fold[torch.from_numpy(held_out)] = k
    penalties = np.logspace(0, 5, args.penalties).tolist()
    return Data(features[training], responses[training], features[test], responses[test], penalties, splits, fold)


def ours(data: Data, device: str = "cpu", **settings: Any) -> Result:
    fit = fit_ridge(data.features.to(device), data.responses.to(device), data.penalties, **settings)
    return Result(fit.weight.cpu().numpy(), fit.bias.cpu().numpy(), fit.penalty.cpu().numpy())


def himalaya(data: Data, backend: str) -> Result:
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV

    library = set_backend(backend)
    splits: Any = data.splits
    batches = {"n_targets_batch": PEER_BATCH}
    model = HimalayaRidgeCV(data.penalties, fit_intercept=True, cv=splits, solver_params=batches)
    model.fit(library.asarray(data.features), library.asarray(data.responses))
    return Result(
        library.to_numpy(model.coef_).T, library.to_numpy(model.intercept_), library.to_numpy(model.best_alphas_)
    )


def scikit_learn(data: Data, **settings: Any) -> Result:
    model: Any = RidgeCV(data.penalties, **settings).fit(data.features.numpy(), data.responses.numpy())
    return Result(model.coef_, model.intercept_, np.broadcast_to(model.alpha_, len(model.coef_)))


def product(data: Data) -> None:
    torch.mm(data.features.T, data.responses)


def transposed_product(data: Data) -> None:
    torch.mm(data.responses.T, data.features)


@dataclass(frozen=True)
class Table:
    """Methods to compare on some number of targets; the first is the one that the others are compared with."""

    title: str
    num_targets: int
    methods: list[Method]


def tables(args: argparse.Namespace) -> list[Table]:
    """All tables; `--whole_brain 0` leaves the last one out."""
    k_fold = Method("calcarine", lambda data: ours(data, fold=data.fold))
    generalized = Method("calcarine", ours)
    found = [
        Table(
            "k-fold cross-validation, a penalty per target",
            args.targets,
            [
                k_fold,
                Method("himalaya, numpy", lambda data: himalaya(data, "numpy")),
                Method("himalaya, torch", lambda data: himalaya(data, "torch")),
                Method("X'Y, torch", product),
            ],
        ),
        Table(
            "k-fold cross-validation, one penalty for all",
            args.targets,
            [
                Method("calcarine", lambda data: ours(data, fold=data.fold, groups=one_group(data))),
                Method("scikit-learn", lambda data: scikit_learn(data, cv=data.splits, scoring=SCORING)),
                Method("X'Y, torch", product),
            ],
        ),
        Table(
            "Generalised (scikit-learn: leave-one-out) cross-validation, a penalty per target",
            args.targets,
            [
                generalized,
                Method("scikit-learn", lambda data: scikit_learn(data, alpha_per_target=True)),
                Method("X'Y, torch", product),
            ],
        ),
        Table(
            "Whole brain, a penalty per target",
            args.whole_brain,
            [
                Method("calcarine, generalised", ours),
                Method("calcarine, k-fold", k_fold.fit),
                Method("X'Y, torch", product),
                Method("Y'X, torch", transposed_product),
            ],
        ),
    ]
    return [table for table in found if table.num_targets]


def one_group(data: Data) -> torch.Tensor:
    return torch.zeros(data.responses.shape[1], dtype=torch.int64)


def test_correlations(result: Result, data: Data) -> np.ndarray:
    """Pearson's correlation of predicted and measured responses over the test stimuli, (T,)."""
    predicted = data.test_features.numpy() @ result.weight.T + result.bias
    predicted -= predicted.mean(0)
    measured = data.test_responses.numpy() - data.test_responses.numpy().mean(0)
    norms = np.linalg.norm(predicted, axis=0) * np.linalg.norm(measured, axis=0)
    return (predicted * measured).sum(0) / np.maximum(norms, 1e-12)


def peak_memory(table: int, method: int) -> float:
    """Megabytes that a method takes beyond data and libraries, in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak_of", str(table), str(method)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure_peak(args: argparse.Namespace) -> None:
    """Print what `peak_memory` reads: the peak of this process less what it held before the fit."""
    table = tables(args)[args.peak_of[0]]
    fit = table.methods[args.peak_of[1]].fit
    fit(simulate(argparse.Namespace(**{**vars(args), "stimuli": 100, "features": 8}), 10))  # loads the libraries
    data = simulate(args, table.num_targets)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = held_at_most()
    fit(data)
    print((held_at_most() - before) / 1e6)


def run(args: argparse.Namespace, index: int, table: Table) -> None:
    """Time the methods in turn and print their table; a slow one runs once."""
    data = simulate(args, table.num_targets)
    for _ in range(args.runs):
        for method in table.methods:
            if method.seconds and method.seconds[0] > SLOW:
                continue
            start = time.perf_counter()
            method.result = method.fit(data)
            method.seconds.append(time.perf_counter() - start)
    first = table.methods[0]
    print(f"\n{table.title}: {table.num_targets} targets")
    print(f"{'':24}{'median s':>9}{'range':>14}{'x first':>9}{'extra MB':>10}{'test r':>8}{'max dr':>9}{'same':>8}")
    for position, method in enumerate(table.methods):
        median = statistics.median(method.seconds)
        spread = f"{min(method.seconds):.2f}-{max(method.seconds):.2f}"
        line = f"{method.name:24}{median:9.2f}{spread:>14}{median / statistics.median(first.seconds):9.2f}"
        line += f"{peak_memory(index, position):10.0f}" if median < SLOW else f"{'':10}"
        if method.result is not None and first.result is not None:
            found, reference = test_correlations(method.result, data), test_correlations(first.result, data)
            same = np.isclose(method.result.penalty, first.result.penalty, rtol=1e-5).mean()
            line += f"{found.mean():8.4f}{np.abs(found - reference).max():9.1e}{same:8.2%}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stimuli", type=int, default=8857)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--targets", type=int, default=4000, help="targets of the comparison with peers")
    parser.add_argument("--whole_brain", type=int, default=39548, help="targets of the comparison with X'Y; 0: none")
    parser.add_argument("--penalties", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak_of", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with threadpool_limits(args.threads):
        if args.peak_of:
            measure_peak(args)
            return
        print(f"{args.stimuli} stimuli, {args.features} features, {args.penalties} penalties, {args.folds} folds")
        print(f"float32, {args.threads} threads of {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
        for index, table in enumerate(tables(args)):
            run(args, index, table)


if __name__ == "__main__":
    main()
