"""Every measurement weighs the same over an epoch of steps of one subject each, in each network."""

from typing import Any

import pytest
import torch
from calcarine.models.weighing import Weighing
from plain_facts import plain_facts
from torch import Tensor

SUBJECTS = {"one": slice(0, 3), "two": slice(3, 8), "three": slice(8, 10)}
STIMULI, STEPS = (12, 30, 4), [3, 5, 2]  # each subject's, dealt evenly
SIDES = torch.tensor([0, 0, 1, 0, 1, 1, 1, 1, 0, 0])  # the last subject has no right hemisphere


def facts_of(**known: Any) -> Any:
    counts = torch.tensor(STIMULI).repeat_interleave(torch.tensor([3, 5, 2]))
    return plain_facts(10, subjects=SUBJECTS, steps=STEPS, **{"measured": counts, **known})


@pytest.mark.parametrize("sides", [False, True])
def test_the_steps_of_an_epoch_make_the_mean_over_all_measurements(sides: bool) -> None:
    networks: dict[str, Tensor | slice] = {"all": slice(None)}
    if sides:
        networks = {side: (index == SIDES).nonzero().squeeze(1) for index, side in enumerate(("lh", "rh"))}
    weighing, errors = Weighing(networks, facts_of()), []
    total, steps_of = torch.zeros(()), dict.fromkeys(networks, 0)
    numbers = torch.Generator().manual_seed(0)
    for subject, (part, stimuli, steps) in enumerate(zip(SUBJECTS.values(), STIMULI, STEPS, strict=True)):
        own = torch.rand(stimuli, part.stop - part.start, generator=numbers)
        errors.append((own, part))
        for step in own.split(stimuli // steps):
            total += weighing(step.mean(0), torch.full((own.shape[1],), float(len(step))), subject)
        for name, members in networks.items():
            steps_of[name] += steps * bool(torch.zeros(10).index_fill(0, torch.arange(10)[members], 1)[part].any())
    expected = 0.0
    for name, members in networks.items():
        inside = torch.zeros(10, dtype=torch.bool)
        inside[members] = True
        every = torch.cat([own[:, inside[part]].flatten() for own, part in errors])
        expected += float(every.mean()) * steps_of[name]
    assert float(total) == pytest.approx(expected, rel=1e-5)


def test_a_subject_weighs_by_what_was_measured_of_it() -> None:
    measured = torch.tensor([12, 6, 0, *[30] * 5, 4, 4])
    weighing = Weighing({"all": slice(None)}, facts_of(measured=measured))
    weights = [part[0][1] for part in weighing.parts]
    per_step = [18 / 3, 150 / 5, 8 / 2]
    mean = 176 / 10
    assert weights == pytest.approx([each / mean for each in per_step])


@pytest.mark.parametrize(("steps", "measured"), [([3], torch.tensor([7, 5, 1])), ([], None)])
def test_of_one_subject_it_is_the_mean_to_the_bit(steps: list[int], measured: Tensor | None) -> None:
    weighing = Weighing({"all": slice(None)}, plain_facts(3, steps=steps, measured=measured))
    assert weighing.parts == [[(slice(None), 1.0)]]
    losses, counts = torch.tensor([0.1, 0.7, 0.3]), torch.tensor([3.0, 2.0, 0.0])
    assert torch.equal(weighing(losses, counts, 0), (losses * counts).sum() / counts.sum())


def test_a_subject_of_whom_nothing_was_measured_trains_nothing() -> None:
    weighing = Weighing({"all": slice(None)}, facts_of(measured=torch.tensor([0, 0, 0, *[30] * 5, 4, 4])))
    losses = torch.ones(3, requires_grad=True)
    loss = weighing(losses, torch.zeros(3), 0)
    loss.backward()
    assert loss == 0
    assert losses.grad is not None
    assert not losses.grad.any()
