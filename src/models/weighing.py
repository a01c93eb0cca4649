"""Weighing: what a step of one subject weighs, so that over an epoch every measurement weighs the same."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..batch import Facts


class Weighing(nn.Module):
    """From a subject's losses to that of a step.

    The loss of a network is the mean over its targets of the subject, each as often as it was measured, times how many
    measurements such a step has on average, over how many an average step of that network has. So a subject weighs by
    its stimuli, which make its steps, and by its targets; and of one subject it is the mean.

    Args:
        networks: Targets of each network, as `Head.networks` has them.
        facts: Of the data.
    """

    def __init__(self, networks: Mapping[str, Tensor | slice], facts: Facts) -> None:
        super().__init__()
        numbers, subjects = torch.arange(len(facts.groups)), list(facts.subjects.values())
        measured = torch.ones_like(numbers) if facts.measured is None else facts.measured
        steps = facts.steps or [1] * len(subjects)
        # Of each subject: where its networks' targets are among its own, and what their losses weigh.
        self.parts: list[list[tuple[slice | str, float]]] = [[] for _ in subjects]
        for own in networks.values():
            inside = torch.zeros(len(numbers), dtype=torch.bool)
            inside[own.cpu() if isinstance(own, Tensor) else own] = True
            counts = [int(measured[part][inside[part]].sum()) for part in subjects]
            taking_part = sum(own_steps for own_steps, count in zip(steps, counts, strict=True) if count)
            for index, (part, count) in enumerate(zip(subjects, counts, strict=True)):
                if not count:
                    continue
                where: slice | str = slice(None)
                if not inside[part].all():
                    where = f"subject_{index}_network_{len(self.parts[index])}"
                    self.register_buffer(where, inside[part].nonzero().squeeze(1), persistent=False)
                # Whole numbers, so that of one subject it is 1 to the bit.
                self.parts[index].append((where, count * taking_part / (steps[index] * sum(counts))))

    def forward(self, losses: Tensor, measured: Tensor, subject: int) -> Tensor:
        """Loss of a step, summed over networks.

        Args:
            losses: Of each of the subject's targets, (n,).
            measured: Stimuli of the step for which each was measured, (n,).
            subject: As in `Batch`.
        """
        parts = []
        for where, weight in self.parts[subject]:
            own = self.get_buffer(where) if isinstance(where, str) else where
            parts.append(weighted_mean(losses[own], measured[own]) * weight)
        return torch.stack(parts).sum() if parts else losses.sum() * 0  # nothing was ever measured


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Mean of some targets' losses (n,), each weighted by its measurements (n,)."""
    # No matrix product, which mixed precision takes in half: 40,000 targets of 64 stimuli each are beyond it.
    return (losses * weights).sum() / weights.sum().clamp_min(1)
