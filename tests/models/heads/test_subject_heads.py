"""A model of several subjects: each one's steps train its own part and what is shared, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calcarine.batch import Batch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.models import (
    EncodingModule,
    ExponentialMovingAverage,
    FullyConnectedHead,
    LinearHead,
    MlpHead,
    MlpTrunk,
    NoiseCeilingWeightedMse,
    OneMinusCorrelation,
    RidgeModule,
    RoiEarlyStopping,
    TrunkHead,
)
from calcarine.models.heads.subjects import SubjectHeads
from lightning.pytorch import Callback, Trainer, seed_everything
from planted import Identity
from several import DISJOINT, SHARED, One, Several
from tiny_backbone import Keep
from torch import nn

ALIKE = (One(70, 5, 4, 0), One(70, 3, 8, 0))
"""Both saw the same images, so that features have one mean and scale alone and in company."""
Mlp = partial(MlpHead, width=6, blocks=1)
Trunk = partial(TrunkHead, trunk=partial(MlpTrunk, dims=[8]))
Layered = partial(Trunk, subject_layers=True, subject_dropout=0.5)


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)


def data_of(folder: Path, source: Several, batch_size: int = 16) -> EncodingDataModule:
    return EncodingDataModule(source, Identity(), cache_dir=folder / "cache", batch_size=batch_size)


def fit(
    folder: Path,
    source: Several,
    epochs: int = 6,
    callbacks: tuple[Callback, ...] = (),
    kind: Callable[..., EncodingModule] = EncodingModule,
    trainer: dict[str, Any] | None = None,
    ckpt_path: Path | None = None,
    **model: Any,
) -> tuple[EncodingModule, EncodingDataModule, Trainer]:
    data = data_of(folder, source)
    seed_everything(0, verbose=False)
    if kind is EncodingModule:
        model = {"optimizer": adamw, "scheduler": None, **model}
    module = kind(data.num_targets, data.feature_shapes, **model)
    run = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=list(callbacks),
        **(trainer or {}),
    )
    run.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module, data, run


class Only(Several):
    """One of several subjects, as it is among them."""

    def __init__(self, subjects: tuple[One, ...], index: int) -> None:
        super().__init__(subjects)
        self.index = index

    @property
    def num_targets(self) -> int:
        return self.subjects[self.index].targets

    def read(self) -> list[Any]:
        return [super().read()[self.index]]


@pytest.mark.parametrize("head", [LinearHead, Mlp], ids=["independent targets", "shared weights"])
def test_each_subject_gets_the_weights_that_it_gets_alone(tmp_path: Path, head: Any) -> None:
    """Given one mean and scale of features: the steps of each, their order and the moments of AdamW are its own."""
    stopping = RoiEarlyStopping(2)
    averaging = ExponentialMovingAverage(0.0)  # the average is the last step's weights, whoever's that was
    both, *_ = fit(tmp_path, Several(ALIKE), 12, (stopping, averaging), head=head, l1=1e-3)
    assert isinstance(both.head, SubjectHeads)
    for index, own in both.head.own.items():
        alone, data, _ = fit(
            tmp_path, Only(ALIKE, index), 12, (RoiEarlyStopping(2), ExponentialMovingAverage(0.0)), head=head, l1=1e-3
        )
        assert len(data.table.positions("train")) > 32, "several steps"
        for name, value in alone.head.state_dict().items():
            assert torch.equal(own.state_dict()[name], value), (index, name)


def test_subjects_who_saw_other_images_are_a_plain_loop_over_their_steps(tmp_path: Path) -> None:
    """One trunk and three readouts in bare torch: the same steps in the same order, each of its subject alone."""
    seed_everything(0, verbose=False)
    module, data, _ = fit(tmp_path, Several(DISJOINT), 2, head=Trunk)
    seed_everything(0, verbose=False)
    loop = EncodingModule(data.num_targets, data.feature_shapes, head=Trunk, optimizer=adamw)
    loop.take_facts(data.facts)
    loop.setup("fit")
    head = loop.head
    assert isinstance(head, TrunkHead)
    optimizer, facts = adamw(head.parameters()), data.facts
    mean, scale = facts.response_mean, facts.response_scale
    positions = [data.table.positions_of(index, "train") for index in range(3)]
    counts = [len(own) * one.targets for own, one in zip(positions, DISJOINT, strict=True)]
    steps = [-(-len(own) // 16) for own in positions]
    for epoch in range(2):
        dealt = []
        for index, own in enumerate(positions):
            shuffled = np.random.default_rng((0, epoch)).permutation(own)
            dealt.append(iter(np.array_split(shuffled, steps[index])))
        data.trainer = None
        loader = data.train_dataloader()
        loader.order = lambda epoch=epoch: (0, epoch)
        for batch in loader:
            assert np.array_equal(batch.stimulus.numpy(), next(dealt[batch.subject]))
            own = batch.targets
            features = loop.standardize_features(batch.features) if loop.standardize_features else {}
            predicted = head.readouts[batch.subject](head.trunk(features))
            error = predicted - (batch.response - mean[own]) / scale[own]
            weight = counts[batch.subject] * sum(steps) / (steps[batch.subject] * sum(counts))
            optimizer.zero_grad()
            (error.square().mean() * weight).backward()
            optimizer.step()
    for name, value in head.state_dict().items():
        torch.testing.assert_close(module.head.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


class Moved(Callback):
    """Which weights each step moves, by the step's subject."""

    def __init__(self) -> None:
        self.by_subject: dict[int, set[str]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        self.before = {name: each.detach().clone() for name, each in pl_module.head.named_parameters()}

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        moved = {name for name, each in pl_module.head.named_parameters() if not torch.equal(each, self.before[name])}
        self.by_subject.setdefault(batch.subject, set()).update(moved)


@pytest.mark.parametrize("l1", [0.0, 1e-3])
@pytest.mark.parametrize("head", [LinearHead, Mlp, Trunk, Layered])
def test_a_step_moves_its_own_subject_and_what_is_shared(tmp_path: Path, head: Any, l1: float) -> None:
    """Momentum and weight decay of the others' would move them too, if they had a gradient of zeros."""
    sgd = partial(torch.optim.SGD, lr=1e-2, momentum=0.9, weight_decay=0.1)
    moved = Moved()
    module, *_ = fit(tmp_path, Several(DISJOINT), 3, (moved,), head=head, l1=l1, optimizer=sgd)
    names = [name for name, _ in module.head.named_parameters()]
    assert set(moved.by_subject) == {0, 1, 2}
    for subject, own in moved.by_subject.items():
        theirs = {name for name in names if module.head.subject_of(f"head.{name}") in (None, subject)}
        assert own == theirs
        assert len(own) < len(names)


@pytest.mark.parametrize("source", [DISJOINT, SHARED], ids=["other images", "shared images"])
@pytest.mark.parametrize(
    "head", [LinearHead, partial(TrunkHead, trunk=partial(MlpTrunk, dims=[48]))], ids=["linear", "trunk"]
)
def test_a_planted_signal_is_found_in_every_subject_and_its_shuffled_control_is_not(
    tmp_path: Path, head: Any, source: tuple[One, ...]
) -> None:
    many = [replace(each, stimuli=each.stimuli * 5, first=each.first) for each in source]
    for shuffle in (False, True):
        module, data, run = fit(tmp_path, Several(many, 0.2, shuffle), 30, (RoiEarlyStopping(3),), head=head)
        scores = run.test(module, data, verbose=False)[0]
        logged = {name: value for name, value in scores.items() if name.startswith("test_pearson")}
        assert len(logged) >= 5
        for roi, pearson in logged.items():
            assert (abs(pearson) < 0.25) if shuffle else (pearson > 0.5), (roi, shuffle)


@pytest.mark.parametrize("head", [Trunk, Mlp], ids=["a trunk of each side", "heads of their own"])
def test_one_network_per_hemisphere_of_subjects_one_of_whom_has_one_side(tmp_path: Path, head: Any) -> None:
    stopping = RoiEarlyStopping(2)
    module, data, run = fit(tmp_path, Several(DISJOINT), 4, (stopping,), head=head, hemisphere_networks=True)
    expected = ["lh", "rh"] if head is Trunk else ["subj01.lh", "subj02.lh", "subj03.lh", "subj01.rh", "subj02.rh"]
    assert module.stopping_names == expected
    assert len(stopping.best_epoch) == len(expected)
    run.test(module, data, verbose=False)
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    with torch.no_grad():
        whole = module.eval().predict_batch(batch := next(iter(data.val_dataloader())))
        own = module._in_units(module(batch), batch.targets)
    assert torch.equal(own, whole[:, batch.targets])


@pytest.mark.parametrize("loss", [NoiseCeilingWeightedMse, OneMinusCorrelation])
def test_a_loss_that_keeps_something_of_each_target_is_of_the_batchs_own(
    tmp_path: Path, loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Several._read

    def with_ceilings(self: Several, index: int, one: One) -> Any:
        ceiling = np.linspace(0, 0.8, one.targets) + 0.1 * index
        return replace(read(self, index, one), noise_ceiling=ceiling)

    monkeypatch.setattr(Several, "_read", with_ceilings)
    module, data, run = fit(tmp_path, Several(ALIKE, 0.2), 20, loss=loss(), head=LinearHead)
    ceilings = data.facts.noise_ceiling
    for batch in data.val_dataloader():
        step = module._step(batch)
        if loss is NoiseCeilingWeightedMse:
            error = step.standardised - module.standardize_responses(batch.response, batch.targets)
            expected = error.square().mean(0) * ceilings[batch.targets] / ceilings.mean()
            torch.testing.assert_close(step.losses, expected)
        predicted = module._in_units(step.standardised, batch.targets)
        assert (predicted - batch.response).square().mean() < batch.response.var()
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > 0.4


@pytest.mark.parametrize("head", [LinearHead, Trunk])
@pytest.mark.parametrize("averaged", [False, True])
def test_a_resumed_run_ends_like_an_undisturbed_one(tmp_path: Path, head: Any, averaged: bool) -> None:
    def callbacks() -> tuple[Callback, ...]:
        return (RoiEarlyStopping(9), *((ExponentialMovingAverage(0.9),) if averaged else ()))

    half = tmp_path / "half.ckpt"
    whole, *_ = fit(tmp_path, Several(SHARED), 7, (*callbacks(), Keep(2, half)), head=head)
    resumed, *_ = fit(tmp_path, Several(SHARED), 7, callbacks(), head=head, ckpt_path=half)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_gaps_of_one_subject_and_withheld_stimuli_are_left_out(tmp_path: Path) -> None:
    source = Several((replace(DISJOINT[0], gaps=0.4), replace(DISJOINT[1], withheld=9), DISJOINT[2]))
    module, data, run = fit(tmp_path, source, 4, (RoiEarlyStopping(2),), head=Trunk)
    assert data.facts.measured is not None
    assert data.facts.gaps == sum(
        int(np.isnan(data.recordings[0].responses.gather(data.table.of_each_recording(split)[0])).sum())
        for split in ("train", "validation")
    )
    assert "withheld" in data.evaluated
    run.test(module, data, verbose=False)
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_accumulated_steps_of_several_subjects_move_each_of_them(tmp_path: Path) -> None:
    averaging = ExponentialMovingAverage(0.5)
    module, *_ = fit(
        tmp_path, Several(DISJOINT), 3, (averaging,), head=LinearHead, trainer={"accumulate_grad_batches": 5}
    )
    assert isinstance(module.head, SubjectHeads)
    assert all(own.weight.any() for own in module.head.own.values() if isinstance(own, LinearHead))


@pytest.mark.parametrize("kind", [EncodingModule, RidgeModule])
def test_a_checkpoint_of_one_wide_linear_head_is_read(tmp_path: Path, kind: Any) -> None:
    """Earlier versions had one head of all subjects' targets."""
    _, data, run = fit(tmp_path, Several(DISJOINT), 2, kind=kind)
    run.save_checkpoint(tmp_path / "new.ckpt", weights_only=True)
    saved = torch.load(tmp_path / "new.ckpt", weights_only=True)
    state = saved["state_dict"]
    for part in ("weight", "bias"):
        state[f"head.{part}"] = torch.cat([state.pop(f"head.heads.{index}.{part}") for index in range(3)])
    torch.save(saved, tmp_path / "old.ckpt")
    old, new = (EncodingModule.load_from_checkpoint(tmp_path / f"{each}.ckpt") for each in ("old", "new"))
    batch = next(iter(data.val_dataloader()))
    with torch.no_grad():
        assert torch.equal(old.predict_batch(batch), new.predict_batch(batch))
    state["head.bias"] = torch.zeros(())
    torch.save(saved, tmp_path / "old.ckpt")
    with pytest.raises(Exception, match="Missing key") as error:
        EncodingModule.load_from_checkpoint(tmp_path / "old.ckpt")
    assert "\n" not in str(error.value)


def test_a_closed_form_model_whose_epoch_is_cut_short_knows_nothing_of_the_others(tmp_path: Path) -> None:
    module, *_ = fit(tmp_path, Several(DISJOINT), kind=RidgeModule, trainer={"fast_dev_run": True})
    assert isinstance(module, RidgeModule)
    assert module.findings is not None
    assert module.findings.penalty is not None
    solved = [bool(np.isfinite(module.findings.penalty[own]).all()) for own in module.facts.subjects.values()]
    assert sum(solved) == 1
    assert len(module.findings.penalty) == module.head.num_targets


def test_heads_start_as_they_do_alone_and_differ_where_their_targets_do(tmp_path: Path) -> None:
    head = partial(FullyConnectedHead, hidden_dims=[7])
    data = data_of(tmp_path, Several(ALIKE))
    data.setup()
    torch.manual_seed(4)
    module = EncodingModule(data.num_targets, data.feature_shapes, head=head)
    torch.manual_seed(4)
    alone = head(data.feature_shapes or {}, 9)
    module.take_facts(data.facts)
    module.setup("fit")
    assert isinstance(module.head, SubjectHeads)
    for name, value in alone.state_dict().items():
        assert torch.equal(module.head.own[0].state_dict()[name], value)
    assert [own.num_targets for own in module.head.own.values()] == [9, 11]
    before = module.head
    module.setup("test")
    assert module.head is before, "what was trained stays"
    firsts = [next(each for each in own.modules() if isinstance(each, nn.Linear)) for own in before.own.values()]
    assert all(torch.equal(one.weight, other.weight) for one, other in pairwise(firsts))
