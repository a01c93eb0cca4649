"""OneCycle against torch's own, alone and inside training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from calcarine.errors import InputError
from calcarine.models import Full, OneCycle
from lightning.pytorch import Callback, LightningModule, Trainer
from tiny_backbone import Keep, fit, tensors
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

PEAKS = (1e-2, 1e-3)


class Rates(Callback):
    """Notes the rate of each group of parameters in each batch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def optimizer(peaks: tuple[float, ...] = PEAKS) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(2))], "lr": peak} for peak in peaks], lr=1.0)


def rates(schedule: Any, steps: int) -> list[list[float]]:
    """Rate of each group at each step."""
    own = schedule.optimizer
    found = [[group["lr"] for group in own.param_groups]]
    for _ in range(steps - 1):
        own.step()
        schedule.step()
        found.append([group["lr"] for group in own.param_groups])
    return found


@pytest.mark.parametrize("steps", [15, 100])
@pytest.mark.parametrize(("warm_up", "start", "end"), [(0.3, 0.04, 4e-6), (0.1, 0.2, 0.01), (0.9, 0.5, 0.1)])
def test_one_cycle_is_torchs(steps: int, warm_up: float, start: float, end: float) -> None:
    ours = OneCycle(optimizer(), warm_up, start, end)
    ours.total_steps = steps
    theirs = OneCycleLR(
        optimizer(),
        list(PEAKS),
        steps,
        pct_start=warm_up,
        div_factor=1 / start,
        final_div_factor=start / end,
        cycle_momentum=False,
    )
    torch.testing.assert_close(
        torch.tensor(rates(ours, steps)), torch.tensor(rates(theirs, steps)), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(("steps", "warm_up"), [(1, 0.3), (10, 0.0), (10, 0.1)])
def test_after_its_first_step_a_cycle_too_short_to_rise_only_falls_and_then_stays_low(
    steps: int, warm_up: float
) -> None:
    """Where torch's divides by zero or ends with an error."""
    schedule = OneCycle(optimizer(), warm_up)
    schedule.total_steps = steps
    found = torch.tensor(rates(schedule, steps + 5))[1:, 0]
    assert found.isfinite().all()
    assert (found.diff() <= 0).all()
    torch.testing.assert_close(found[-1], torch.tensor(4e-6 * PEAKS[0]))


@pytest.mark.parametrize("argument", ["warm_up", "start", "end"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_share_out_of_range_is_one_line(argument: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"--model\.scheduler\.{argument} {value:g}: expected a share"):
        OneCycle(optimizer(), **{argument: value})


@pytest.mark.parametrize("accumulated", [1, 2])
def test_training_runs_through_one_cycle_and_keeps_the_backbones_share(accumulated: int, tmp_path: Path) -> None:
    noted = Rates()
    model = {"scheduler": OneCycle}
    fit(tmp_path, Full(rate=0.1), noted, epochs=4, model=model, accumulate_grad_batches=accumulated)
    batches = len(noted.seen)
    assert batches == 4 * 4  # epochs × batches of 56 stimuli
    steps = batches // accumulated
    theirs = OneCycleLR(
        optimizer((1e-2, 1e-3)), [1e-2, 1e-3], steps, div_factor=25, final_div_factor=1e4, cycle_momentum=False
    )
    expected = torch.tensor(rates(theirs, steps)).repeat_interleave(accumulated, 0)
    torch.testing.assert_close(torch.tensor(noted.seen), expected, rtol=1e-6, atol=1e-9)


def test_torchs_schedules_step_once_an_epoch(tmp_path: Path) -> None:
    noted = Rates()
    fit(tmp_path, Full(), noted, epochs=3, model={"scheduler": lambda own: StepLR(own, 2, 0.5)})
    assert [rate for rate, _ in noted.seen[::4]] == [1e-2, 1e-2, 5e-3]


def test_a_schedule_that_watches_a_plateau_watches_the_validation_loss(tmp_path: Path) -> None:
    noted = Rates()
    never_better = {"scheduler": lambda own: ReduceLROnPlateau(own, factor=0.1, patience=0, threshold=10.0)}
    fit(tmp_path, Full(), noted, epochs=4, model=never_better)
    assert noted.seen[0][0] == 1e-2
    assert noted.seen[-1][0] < 1e-3


def test_a_cycle_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    noted, again = Rates(), Rates()
    whole, *_ = fit(tmp_path, Full(), noted, Keep(1, tmp_path / "half.ckpt"), epochs=4, model={"scheduler": OneCycle})
    resumed, *_ = fit(
        tmp_path, Full(), again, epochs=4, model={"scheduler": OneCycle}, ckpt_path=tmp_path / "half.ckpt"
    )
    assert noted.seen[8:] == again.seen
    assert all(torch.equal(value, tensors(resumed)[name]) for name, value in tensors(whole).items())


def test_a_cycle_needs_an_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--trainer\.max_epochs -1: OneCycle has to know"):
        fit(tmp_path, Full(), epochs=-1, model={"scheduler": OneCycle})
