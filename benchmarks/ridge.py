"""Ridge with cross-validated penalties: ours, himalaya, scikit-learn and the bare product X'Y, side by side.

The same data, penalties and folds in one run. Runs interleave, so that a busy machine slows all alike, and medians
are printed. Memory is the peak of a process of its own for each method, beyond the data and the libraries.

    uv run benchmarks/ridge.py [--targets 4000] [--whole_brain 39548] [--runs 5] [--threads 2]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from src.models.ridge import fit_ridge

NUM_TEST = 500


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
    for rows in torch.arange(num_stimuli).split(512):
        responses[rows] = features[rows] @ weight + torch.randn(len(rows), num_targets, generator=generator)
    training, test = slice(0, args.stimuli), slice(args.stimuli, num_stimuli)
    splits = KFold(args.folds)
    fold = torch.empty(args.stimuli, dtype=torch.int64)
    for k, (_, held_out) in enumerate(splits.split(features[training])):
        fold[torch.from_numpy(held_out)] = k
    penalties = np.logspace(0, 5, args.penalties).tolist()
    return Data(features[training], responses[training], features[test], responses[test], penalties, splits, fold)


def ours(data: Data, **settings: Any) -> Result:
    fit = fit_ridge(data.features, data.responses, data.penalties, **settings)
    return Result(fit.weight.numpy(), fit.bias.numpy(), fit.penalty.numpy())


def himalaya(data: Data, backend: str) -> Result:
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV

    library = set_backend(backend)
    model = HimalayaRidgeCV(data.penalties, fit_intercept=True, cv=data.splits)
    model.fit(library.asarray(data.features), library.asarray(data.responses))
    return Result(
        library.to_numpy(model.coef_).T, library.to_numpy(model.intercept_), library.to_numpy(model.best_alphas_)
    )


def scikit_learn(data: Data, **settings: Any) -> Result:
    model = RidgeCV(data.penalties, **settings).fit(data.features.numpy(), data.responses.numpy())
    return Result(model.coef_, model.intercept_, np.broadcast_to(model.alpha_, len(model.coef_)))


def product(data: Data) -> None:
    data.features.T @ data.responses


def transposed_product(data: Data) -> None:
    data.responses.T @ data.features


def methods(table: str) -> list[Method]:
    """The rows of a table; the first is what the others are compared with."""
    one_for_all = {"cv": KFold(5), "scoring": "neg_mean_squared_error"}
    bare = [Method("X'Y, torch", product), Method("Y'X, torch", transposed_product)]
    rows = {
        "k-fold, a penalty per target": [
            Method("calcarine", lambda data: ours(data, fold=data.fold)),
            Method("himalaya, numpy", lambda data: himalaya(data, "numpy")),
            Method("himalaya, torch", lambda data: himalaya(data, "torch")),
        ],
        "k-fold, one penalty for all": [
            Method("calcarine", lambda data: ours(data, fold=data.fold, groups=data.fold.new_zeros(data.responses.shape[1]))),
            Method("scikit-learn", lambda data: scikit_learn(data, **one_for_all)),
        ],
        ...
    }
    return rows[table] + bare
