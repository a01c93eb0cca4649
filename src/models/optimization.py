"""From a model's weights to its optimiser and schedule, as Lightning takes them."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer

from ..errors import InputError, one_line
from .schedules import OneCycle

log = logging.getLogger(__name__)

Made = TypeVar("Made")


def optimization(
    module: LightningModule,
    groups: list[dict[str, Any]],
    make_optimizer: OptimizerCallable,
    make_scheduler: LRSchedulerCallable | None,
    scaled: bool = False,
) -> OptimizerLRScheduler:
    """What `configure_optimizers` returns.

    Args:
        module: Whose weights they are.
        groups: Weights, each group with its share of the learning rate as "rate".
        make_optimizer: From parameters to an optimiser.
        make_scheduler: From an optimiser to a schedule.
        scaled: Multiply the rate by the batches of --data.batch_size that a step holds.

    Raises:
        InputError: The optimiser refuses its settings, or a schedule cannot know where training ends.
    """
    optimizer = _made("--model.optimizer", make_optimizer, [group for group in groups if group["params"]])
    factor = _batches_of_a_step(module.trainer, optimizer) if scaled else 1
    for group in optimizer.param_groups:
        group["lr"] *= group["rate"] * factor
    if make_scheduler is None:
        return {"optimizer": optimizer}
    schedule = _lightning_schedule(_made("--model.scheduler", make_scheduler, optimizer), module)
    return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[return-value]


def _batches_of_a_step(trainer: Trainer, optimizer: Optimizer) -> int:
    """How many batches a step holds, over all ranks and an accumulation's window; says what is made of the rate."""
    ranks, window = trainer.world_size, trainer.accumulate_grad_batches
    given = optimizer.param_groups[0]["lr"]
    if trainer.is_global_zero:
        log.info(
            "--scale_lr: learning rate %g = %g × %d ranks × %d batches accumulated",
            given * ranks * window,
            given,
            ranks,
            window,
        )
    return ranks * window


def check_settings(groups: int, make_optimizer: OptimizerCallable, make_scheduler: LRSchedulerCallable | None) -> None:
    """Whether an optimiser and a schedule take their settings, before there is a weight to train.

    Args:
        groups: Groups of weights that there will be: a schedule may have a setting for each.
        make_optimizer: From parameters to an optimiser.
        make_scheduler: From an optimiser to a schedule.

    Raises:
        InputError: One of them refuses.
    """
    optimizer = _made(
        "--model.optimizer", make_optimizer, [{"params": [nn.Parameter(torch.zeros(1, 1))]} for _ in range(groups)]
    )
    if make_scheduler is not None:
        _made("--model.scheduler", make_scheduler, optimizer)


def _made(flag: str, make: Callable[[Any], Made], of: object) -> Made:
    try:
        return make(of)
    except InputError:
        raise
    except (ValueError, TypeError) as error:  # a rate below 0, a momentum that nesterov needs
        raise InputError(f"{flag}: {one_line(error)}") from error


def check_clipping(trainer: Trainer) -> None:
    """Raises InputError where gradients are to be clipped that the optimiser takes as they are."""
    fused = any(group.get("fused") for each in trainer.optimizers for group in each.param_groups)
    if fused and trainer.gradient_clip_val and str(trainer.precision).endswith("-mixed"):
        raise InputError(
            "--trainer.gradient_clip_val: a fused optimizer under mixed precision takes its gradients as they are; "
            "set --model.optimizer.fused false, or leave one of the two out"
        )


def _lightning_schedule(schedule: Any, module: LightningModule) -> dict[str, Any]:
    """What Lightning is told of a schedule: OneCycle steps with every batch, any other once an epoch.

    Raises:
        InputError: OneCycle where training has no end.
    """
    if not isinstance(schedule, OneCycle):
        return {"scheduler": schedule, "monitor": "validation/loss"}  # which only ReduceLROnPlateau watches
    schedule.total_steps = module.trainer.estimated_stepping_batches
    if schedule.total_steps == float("inf"):
        raise InputError(
            "--trainer.max_epochs -1: OneCycle has to know where training ends; set a number of epochs, or another "
            "--model.scheduler"
        )
    return {"scheduler": schedule, "interval": "step"}
