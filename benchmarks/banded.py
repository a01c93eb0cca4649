"""Banded ridge: 4 bands of 512 components, 8,857 stimuli, random shares; ours beside himalaya's torch backend.

Shares are himalaya's own draws (Dirichlet, concentrations .1 and 1) and penalties those of its gallery, 20 from 10 to
1e20; both search the same pairs over the same folds. Its gamma of a band is our share times D / D_b, its alpha our
penalty; features come with a mean variance of 1 in each band and are not standardised within folds, as himalaya's are
not. himalaya's time is the sum of its candidates' and folds', and a fold of a candidate is what is timed, the next one
in each repetition, five of which are a candidate; ours is a whole fit, weights and band R² included, over its
candidates. `solve_group_ridge_random_search` is the faster of himalaya's two here: the other decomposes kernels of
7,086², which alone takes longer than all else. Winners are compared over 100 candidates on 32 components a band and
555 stimuli, in float32.

    uv run python benchmarks/banded.py [--targets 2000] [--whole_brain 39548] [--repetitions 5] [--threads 2]

Extra memory is the peak of a process of its own that fits one candidate to a whole brain, beyond data, libraries and
the weights, which are the result.

Predicted on one thread: 12 times. Of a fold of a candidate himalaya's singular values are 4 s, and each penalty takes
1.8 s, for matrices of (features × training stimuli) that hold it. Ours is 1.6 s for eigenvalues in float64, .4 s for
the held-out scatter, and .085 s for each unit of D² T: 4 to rotate X'Y and 1.1 per penalty, of which the 12 above 1e8
share one. With ten penalties within the spectrum it would be 7 times: the eigenvalues are half of the time then.
Measured on 2 cores, other work stopped: 11.8 times (127.1 s a candidate of himalaya's, 10.5 s of ours, of five). In
processor time, on one thread: 9.1 times where one candidate bears all that is done once, 10.3 for each one more. Of a
whole brain the first candidate takes 134 s, weights included, and .46 GB beside them.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calcarine.models.regression.banded_ridge import BandedFit, fit_banded
from calcarine.space import held_at_most
from himalaya.backend import set_backend
from himalaya.kernel_ridge import generate_dirichlet_samples
from himalaya.ridge import solve_group_ridge_random_search
from side_by_side import in_turn, ratio, row, told
from sklearn.model_selection import PredefinedSplit
from threadpoolctl import threadpool_limits
from torch import Tensor

BANDS, FOLDS = 4, 5
CHECKED = {"stimuli": 555, "width": 32, "targets": 1000, "candidates": 100}


@dataclass(frozen=True)
class Data:
    """Features (N, D), responses (N, T), the band of each feature (D,) and the fold of each stimulus (N,)."""

    features: Tensor
    responses: Tensor
    band: Tensor
    fold: Tensor


def simulate(stimuli: int, width: int, targets: int) -> Data:
    """Components with decaying variances, correlated between bands, and targets that bands explain by up to half."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(stimuli, width, generator=generator)
    bands = []
    for _ in range(BANDS):
        own = torch.randn(stimuli, width, generator=generator) + common
        bands.append(own * torch.arange(1, width + 1).rsqrt())
    features = torch.cat([band / band.square().mean().sqrt() for band in bands], dim=1)
    band = torch.arange(BANDS).repeat_interleave(width)
    weight = torch.randn(len(band), targets, generator=generator)
    weight *= torch.rand(BANDS, targets, generator=generator).pow(4)[band]  # mostly one band's
    responses = torch.empty(stimuli, targets)
    for part in torch.arange(targets).split(1000):
        signal = features @ weight[:, part]
        signal *= torch.linspace(0.2, 1, len(part)) / signal.std(0)
        responses[:, part] = signal + torch.randn(signal.shape, generator=generator)
    return Data(features, responses, band, torch.arange(stimuli) * FOLDS // stimuli)


def draws(candidates: int) -> np.ndarray:
    """himalaya's, but for shares so small that it would divide by a root of 0 in float32."""
    set_backend("numpy")
    shares = generate_dirichlet_samples(candidates, BANDS, concentration=[0.1, 1.0], random_state=0)
    shares = np.maximum(shares, 1e-12)
    return shares / shares.sum(1, keepdims=True)


def ours(data: Data, shares: np.ndarray, penalties: np.ndarray) -> BandedFit:
    return fit_banded(
        data.features, data.responses, data.band, torch.from_numpy(shares), data.fold, penalties, standardize=False
    )


def himalaya(data: Data, shares: np.ndarray, penalties: np.ndarray, splits: Any) -> tuple[np.ndarray, np.ndarray]:
    """Deltas (B, T), and scores (C, T) of each candidate's best penalty."""
    library = set_backend("torch")
    search: Any = solve_group_ridge_random_search  # its annotations are narrower than what it takes
    deltas, _, scores, _ = search(
        list(data.features.split(data.features.shape[1] // BANDS, dim=1)),
        data.responses,
        n_iter=shares * BANDS,
        alphas=library.asarray(penalties.astype(np.float32)),
        fit_intercept=True,
        cv=splits,
        n_alphas_batch=1,  # the same time, and 2 GB less
        progress_bar=False,
    )
    return library.to_numpy(deltas), library.to_numpy(scores)


class OneFold:
    """One of the folds, as a splitter."""

    def __init__(self, fold: Tensor, index: int) -> None:
        self.fold, self.index = fold.numpy(), index

    def get_n_splits(self, *_: object) -> int:
        return 1

    def split(self, *_: object) -> list[tuple[np.ndarray, np.ndarray]]:
        return [((self.fold != self.index).nonzero()[0], (self.fold == self.index).nonzero()[0])]


def compare_times(options: argparse.Namespace, penalties: np.ndarray) -> None:
    data = simulate(options.stimuli, options.width, options.targets)
    shares, turns = draws(max(options.candidates, options.repetitions)), iter(range(options.repetitions))

    def theirs() -> float:
        turn = next(turns)
        start = time.perf_counter()
        himalaya(data, shares[turn : turn + 1], penalties, OneFold(data.fold, turn % FOLDS))
        return (time.perf_counter() - start) * FOLDS

    def own() -> float:
        start = time.perf_counter()
        ours(data, shares[: options.candidates], penalties)
        return (time.perf_counter() - start) / options.candidates

    seconds = in_turn({"himalaya, torch": theirs, "fit_banded": own}, options.repetitions)
    size = f"{options.stimuli:,} stimuli, {BANDS} × {options.width} components, {options.targets:,} targets"
    told(seconds, f"A candidate of {len(penalties)} penalties and {FOLDS} folds, {size}", options.threads)
    row("Banded ridge: himalaya's time over ours", ratio(seconds, "himalaya, torch", "fit_banded"), "≥ 10")


def compare_winners(penalties: np.ndarray) -> None:
    data = simulate(CHECKED["stimuli"], CHECKED["width"], CHECKED["targets"])
    shares = draws(CHECKED["candidates"])
    fit = ours(data, shares, penalties)
    deltas, scores = himalaya(data, shares, penalties, PredefinedSplit(data.fold.numpy()))
    winner = scores.argmax(0)
    penalty = np.exp((np.log(shares[winner].T * BANDS) - deltas).max(0))  # a delta is log γ / penalty
    same = np.isclose(fit.share.T.numpy(), shares[winner], rtol=1e-6, atol=0).all(1)
    same &= np.isclose(fit.penalty.numpy(), penalty, rtol=1e-3)
    apart = np.abs(fit.error.numpy() + scores.max(0)) / fit.null_error.numpy()
    print(f"winners of {len(same):,} targets: {same.mean():.2%} equal, scores within {apart.max():.1e} of the variance")
    row("Banded ridge: % of winners that are himalaya's", 100 * float(same.mean()), "≥ 99.9")


def measure_whole_brain(options: argparse.Namespace, penalties: np.ndarray) -> None:
    """Print what `whole_brain` reads: seconds, and the peak of this process beyond what is there before and after."""
    data = simulate(options.stimuli, options.width, options.whole_brain)
    ours(simulate(100, 2, 10), draws(1), penalties)  # loads the libraries
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before, start = held_at_most(), time.perf_counter()
    fit = ours(data, draws(1), penalties)
    print(time.perf_counter() - start, (held_at_most() - before - fit.weight.nbytes) / 1e9)


def whole_brain(options: argparse.Namespace) -> None:
    command = [sys.executable, __file__, *sys.argv[1:], "--measure"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    print(f"{options.whole_brain:,} targets: {float(found[0]):.0f} s for the first candidate, weights included")
    row("Banded ridge of a whole brain: extra GB", float(found[1]), "≤ 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stimuli", type=int, default=8857)
    parser.add_argument("--width", type=int, default=512, help="components of a band")
    parser.add_argument("--targets", type=int, default=2000, help="targets of the comparison of times")
    parser.add_argument("--whole_brain", type=int, default=39548, help="targets of the measurement of memory; 0: none")
    parser.add_argument("--candidates", type=int, default=5, help="of a timed fit of ours; himalaya's are timed alone")
    parser.add_argument("--penalties", type=float, nargs=3, default=(1, 20, 20), help="logarithms of two, their number")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    first, last, count = options.penalties
    penalties = np.logspace(first, last, int(count))
    with threadpool_limits(options.threads):
        if options.measure:
            measure_whole_brain(options, penalties)
            return
        print(f"float32, {options.threads} threads of {os.cpu_count()}, load before {os.getloadavg()[0]:.1f}")
        compare_winners(penalties)
        compare_times(options, penalties)
        if options.whole_brain:
            whole_brain(options)


if __name__ == "__main__":
    main()
