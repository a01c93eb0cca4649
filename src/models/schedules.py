"""Schedules of the learning rate that depend on how long training is."""

from math import cos, inf, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import InputError


class OneCycle(LRScheduler):
    """One cycle over all of training, step by step: up to the optimiser's rate, and down to nothing.

    It rises and falls along half cosines, as `torch.optim.lr_scheduler.OneCycleLR` does (Smith & Topin 2018) with a
    constant momentum, but the peak is the optimiser's rate, of each group of parameters its own, and the number of
    steps is the trainer's. Where training is stopped early the cycle is cut short, and a run that is resumed with
    another --trainer.max_epochs goes on along the cycle of that length.

    Args:
        optimizer: The optimiser.
        warm_up: Share of the steps during which the rate rises.
        start: Rate of the first step, as a share of the peak.
        end: Rate of the last step, as a share of the peak.
    """

    def __init__(self, optimizer: Optimizer, warm_up: float = 0.3, start: float = 0.04, end: float = 4e-6) -> None:
        for name, value in {"warm_up": warm_up, "start": start, "end": end}.items():
            if not 0 <= value < 1:
                raise InputError(f"--model.scheduler.{name} {value:g}: expected a share from 0 to below 1")
        self.warm_up, self.start, self.end = warm_up, start, end
        self.total_steps: float = inf
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Any]:
        return [base * self._share(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """All but the number of steps, which is the present trainer's."""
        return {name: value for name, value in super().state_dict().items() if name != "total_steps"}

    def _share(self, step: int) -> float:
        """Rate of a step, counted from 0, as a share of the peak."""
        if step == 0 and self.total_steps == inf:
            return self.start  # at construction, before the number of steps is known
        last = self.total_steps - 1
        peak = self.warm_up * self.total_steps - 1
        if step < peak:
            return _half_cosine(self.start, 1.0, step / peak)
        return _half_cosine(1.0, self.end, (min(step, last) - peak) / (last - peak))


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + cos(pi * share)) / 2
