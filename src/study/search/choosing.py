"""How a study chooses: the sampler of the next values, and the pruner of trials that fall behind."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import InputError
from .space import SearchSpace, Value

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SamplerName = Literal["tpe", "random", "grid", "gp"]
PrunerName = Literal["hyperband", "median", "none"]
SAMPLERS: tuple[SamplerName, ...] = ("tpe", "random", "grid", "gp")
PRUNERS: tuple[PrunerName, ...] = ("hyperband", "median", "none")

RUNGS = 27  # Hyperband compares from 1/27 of the epochs on, in steps of three


def make_sampler(name: SamplerName, seed: int, place: int) -> BaseSampler:
    """The sampler of one trial.

    Each trial has its own seed: what it draws depends on its place and on what is known by then, so a study that
    was interrupted goes on as if it had not been, and no two workers draw alike.

    Args:
        name: Its name; a grid's values are set before sampling.
        seed: The study's.
        place: The trial's among those that were asked for; one that was lost has it again.
    """
    import optuna

    own = int(np.random.SeedSequence((seed, place)).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=own)  # counts running trials as bad ones, so workers spread out
    if name == "gp":
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            return optuna.samplers.GPSampler(seed=own)
    return optuna.samplers.RandomSampler(seed=own)


def make_pruner(name: PrunerName, max_epochs: int) -> BasePruner:
    """The pruner of a study.

    Args:
        name: Its name.
        max_epochs: Most epochs of a trial; below 1 where there is no limit.

    Raises:
        InputError: Hyperband is asked for and there is no limit. It would take that of the first trial to finish, and
            after one that stopped early it would compare nothing.
    """
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3)
    if name == "none":
        return optuna.pruners.NopPruner()
    if max_epochs < 1:
        raise InputError(
            f"--trainer.max_epochs {max_epochs}: --pruner hyperband compares trials at shares of their most epochs, "
            "and there is no limit; give one, or --pruner median"
        )
    return optuna.pruners.HyperbandPruner(max(max_epochs // RUNGS, 1), max_epochs, reduction_factor=3)


def make_plan(name: SamplerName, space: SearchSpace, default: dict[str, Value] | None) -> list[dict[str, Value]]:
    """The values that are set beforehand, of the first trials: the configuration's own, or the whole grid.

    Args:
        name: Of the sampler.
        space: What is searched.
        default: The configuration's own values; None where the space does not hold them.

    Raises:
        InputError: A grid is asked for and a parameter has none.
    """
    if name != "grid":
        return [] if default is None else [default]
    grid = space.grid()
    if len(grid) > 10_000:
        raise InputError(f"--sampler grid: expected at most 10000 combinations, found {len(grid)}; give fewer choices")
    return sorted(grid, key=lambda values: values != default)  # the configuration's own first
