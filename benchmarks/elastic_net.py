"""Lasso and elastic nets with cross-validated penalties: ours for all targets at once, scikit-learn's in a loop.

The same data, folds and penalties in one run. Runs interleave, so that a busy machine slows all alike, and medians are
printed. Each fold's features are standardised by themselves, so that every training part is: scikit-learn's own
cross-validation, which does not standardise, then has the task that ours has. scikit-learn stops at its usual gap of
1e-4 in the timing, ours at 1e-7; choices and coefficients are compared with scikit-learn at 1e-8, on some targets.

    uv run benchmarks/elastic_net.py [--targets 500] [--loop 25] [--runs 3] [--threads 1]

scikit-learn's loop is timed on `--loop` targets, evenly drawn, and its time for all is that times their ratio: its
time per target does not depend on their number. `n_jobs` are threads of its own over folds, whatever --threads.

Predicted for one thread: 20 times scikit-learn's speed on components, less on correlated features, where both need more
iterations. Measured on a busy machine of 4 cores, one thread against n_jobs=1 (in brackets: at our gap): lasso 14 (15)
and elastic net 14 (16) times as fast on components, 6 (15) and 5 (11) times on correlated features; multi-task in
groups of 100 8 and 13 times. A second thread was predicted to give little and gave nothing: the matrices are small. At
its usual gap scikit-learn chose another α for 1 in 10 lasso targets with correlated features.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from calcarine.models.regression.elastic_net import ElasticNet
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNetCV, MultiTaskElasticNetCV
from sklearn.model_selection import PredefinedSplit
from threadpoolctl import threadpool_limits

PEERS = {"n_jobs=1": {"n_jobs": 1}, "n_jobs=2": {"n_jobs": 2}, "our gap": {"tol": 1e-7, "max_iter": 1_000_000}}
TIGHT = {"tol": 1e-8, "max_iter": 1_000_000}
GROUP = 100  # targets of a multi-task problem, as many as a small ROI has


@dataclass(frozen=True)
class Data:
    """Features (N, D), responses (N, T), the fold of each stimulus (N,), and targets that scikit-learn fits."""

    features: torch.Tensor
    responses: torch.Tensor
    fold: torch.Tensor
    sample: np.ndarray


@dataclass(frozen=True)
class Result:
    """A fit of some targets: weight (t, D), penalty (t,)."""

    weight: np.ndarray
    penalty: np.ndarray


@dataclass
class Method:
    """One row of a table; `share` is that of the targets that it fits."""

    name: str
    fit: Callable[[Data], Result]
    share: float = 1.0
    seconds: list[float] = field(default_factory=list)


def simulate(args: argparse.Namespace, correlated: bool) -> Data:
    """Components or correlated features, and z-scored targets that a fifth of them explain by 6 to 80 per cent."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(args.stimuli, args.features, generator=generator)
    if correlated:
        rotation, _ = torch.linalg.qr(torch.randn(args.features, args.features, generator=generator))
        features = features / torch.arange(1, args.features + 1).sqrt() @ rotation
    fold = torch.arange(args.stimuli) % args.folds
    for k in range(args.folds):
        features[fold == k] = standardized(features[fold == k])
    planted = torch.rand(args.features, args.targets, generator=generator) < 0.2
    signal = standardized(features @ (torch.randn(args.features, args.targets, generator=generator) * planted))
    noise = torch.randn(args.stimuli, args.targets, generator=generator) * torch.linspace(0.5, 4, args.targets)
    sample = np.linspace(0, args.targets - 1, args.loop).astype(int)
    return Data(features, standardized(signal + noise), fold, sample)


def standardized(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean(0)) / values.std(0, correction=0)


def ours(data: Data, settings: dict[str, Any], groups: torch.Tensor | None = None) -> Result:
    fit = ElasticNet(**settings).fit(data.features, data.responses, data.fold, groups, standardize=True)
    return Result(fit.weight[data.sample].numpy(), fit.penalty[data.sample].numpy())


def scikit_learn(data: Data, alphas: int, l1_ratio: float, **settings: Any) -> Result:
    """One target after the other."""
    features, responses = data.features.double().numpy(), data.responses.double().numpy()
    splits: Any = PredefinedSplit(data.fold.numpy())
    models = [ElasticNetCV(l1_ratio=l1_ratio, alphas=alphas, cv=splits, **settings) for _ in data.sample]
    for model, target in zip(models, data.sample, strict=True):
        model.fit(features, responses[:, target])
    return Result(np.stack([model.coef_ for model in models]), np.array([model.alpha_ for model in models]))


def scikit_learn_multitask(data: Data, alphas: int, l1_ratio: float, **settings: Any) -> Result:
    """The first group of targets."""
    splits: Any = PredefinedSplit(data.fold.numpy())
    model: Any = MultiTaskElasticNetCV(l1_ratio=l1_ratio, alphas=alphas, cv=splits, **settings)
    model.fit(data.features.double().numpy(), data.responses[:, :GROUP].double().numpy())
    return Result(model.coef_, np.full(GROUP, model.alpha_))


def compare(title: str, data: Data, methods: list[Method], reference: Result, runs: int) -> None:
    """Time the methods in turn, and print their table; the first is ours."""
    results = {}
    for _ in range(runs):
        for method in methods:
            start = time.perf_counter()
            results[method.name] = method.fit(data)
            method.seconds.append((time.perf_counter() - start) / method.share)
    print(f"\n{title}")
    print(f"{'':28}{'median s':>10}{'range':>16}{'x first':>9}{'same α':>9}{'max dw':>10}")
    for method in methods:
        median, found = statistics.median(method.seconds), results[method.name]
        same = np.isclose(found.penalty, reference.penalty, rtol=1e-6)
        largest = np.abs(reference.weight).max(1)
        difference = (np.abs(found.weight - reference.weight).max(1) / np.maximum(largest, 1e-12))[same]
        spread = f"{min(method.seconds):.2f}-{max(method.seconds):.2f}"
        ratio = median / statistics.median(methods[0].seconds)
        worst = difference.max() if len(difference) else float("nan")
        print(f"{method.name:28}{median:10.2f}{spread:>16}{ratio:9.1f}{same.mean():9.1%}{worst:10.1e}", flush=True)


def run(args: argparse.Namespace, name: str, data: Data) -> None:
    share = args.loop / args.targets
    for kind, l1_ratio in (("Lasso", 1.0), ("Elastic net, l1_ratio 0.5", 0.5)):
        settings = {"l1_ratio": l1_ratio, "path_length": args.alphas}
        methods = [Method("calcarine", partial(ours, settings=settings))]
        for name_of_peer, peer in PEERS.items():
            fit = partial(scikit_learn, alphas=args.alphas, l1_ratio=l1_ratio, **peer)
            methods.append(Method(f"scikit-learn, {name_of_peer}", fit, share))
        reference = scikit_learn(data, args.alphas, l1_ratio, **TIGHT)
        compare(f"{kind}, {name}: {args.targets} targets, a penalty each", data, methods, reference, args.runs)
    groups = torch.arange(args.targets) // GROUP
    first = Data(data.features, data.responses, data.fold, np.arange(GROUP))
    settings = {"l1_ratio": 0.5, "path_length": args.alphas, "multitask": True}
    methods = [
        Method("calcarine", partial(ours, settings=settings, groups=groups)),
        Method("scikit-learn", partial(scikit_learn_multitask, alphas=args.alphas, l1_ratio=0.5), GROUP / args.targets),
    ]
    reference = scikit_learn_multitask(first, args.alphas, 0.5, **TIGHT)
    compare(f"Multi-task elastic net, {name}: groups of {GROUP} targets", first, methods, reference, args.runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stimuli", type=int, default=1000)
    parser.add_argument("--features", type=int, default=100, help="the video system's components")
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--loop", type=int, default=25, help="targets that scikit-learn is timed on")
    parser.add_argument("--alphas", type=int, default=100)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)  # the timed scikit-learn stops after 1,000 sweeps
    with threadpool_limits(args.threads):
        print(f"{args.stimuli} stimuli, {args.features} features, {args.alphas} penalties, {args.folds} folds")
        print(f"{args.threads} threads of {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
        run(args, "components", simulate(args, correlated=False))
        run(args, "correlated features", simulate(args, correlated=True))


if __name__ == "__main__":
    main()
