"""What the benchmarks share: ways of doing one thing, timed in turn in one process, and the rows that they print."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch

Way = Callable[[], object]
"""Does the thing. Returns its seconds, a float, where it times itself, as one that has something to prepare does."""


def in_turn(ways: Mapping[str, Way], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each way, by repetition. They take turns, so that a busy machine slows them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            gc.collect()
            start = time.perf_counter()
            own = way()
            seconds[name].append(own if isinstance(own, float) else time.perf_counter() - start)
    return seconds


def finished(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def ratio(seconds: Mapping[str, list[float]], one: str, other: str) -> float:
    """Median over repetitions of one way's seconds over another's."""
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def told(seconds: Mapping[str, list[float]], what: str, threads: int | None) -> None:
    """Print each way's median, and under what conditions it was measured."""
    repetitions = len(next(iter(seconds.values())))
    given = "" if threads is None else f"{threads} of "
    print(f"{what}: medians of {repetitions} in turn, {given}{os.cpu_count()} threads")
    width = max(map(len, seconds))
    for name, each in seconds.items():
        print(f"  {name:{width}} {statistics.median(each):9.3f} s")


def row(figure: str, value: float, demanded: str) -> None:
    """Print a row of the table that `make bench` writes."""
    print(f"| {figure} | {value:.2f} | {demanded} |", flush=True)
