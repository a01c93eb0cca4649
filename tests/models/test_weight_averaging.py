"""The moving average of weights: what it is, who sees it, and that a resumed run has the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import (
    EncodingModule,
    ExponentialMovingAverage,
    Full,
    Lora,
    MlpTrunk,
    OneCycle,
    RidgeModule,
    RoiEarlyStopping,
    TrunkHead,
)
from calcarine.run.main import main
from lightning.pytorch import Callback, LightningModule, Trainer
from planted import Identity, Planted
from tiny_backbone import Keep, TinyBackbone, fit, tensors
from torch import Tensor
from trees import write_folder

DECAY = 0.8


class Reference(Callback):
    """Averages the weights in training by the formula, in double precision, and notes them at each validation."""

    def __init__(self) -> None:
        self.steps = 0
        self.average: dict[str, Tensor] = {}
        self.training: dict[str, Tensor] = {}
        self.by_epoch: list[dict[str, Tensor]] = []
        self.in_training: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []
        self.losses: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.average = {name: value.double() for name, value in tensors(pl_module).items()}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.training:  # training never saw the averages
            assert all(torch.equal(value, self.training[name]) for name, value in tensors(pl_module).items())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.training = tensors(pl_module)
        decay = min(DECAY, (1 + self.steps) / (10 + self.steps))
        for name, value in self.training.items():
            self.average[name] = decay * self.average[name] + (1 - decay) * value
        self.steps += 1

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validated.append(tensors(pl_module))
            self.by_epoch.append(dict(self.average))
            self.in_training.append(self.training)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append(float(trainer.callback_metrics.get("validation/loss", torch.nan)))


def assert_averages(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in found.items():
        if name.startswith(("head.", "backbone.")) and value.is_floating_point():
            torch.testing.assert_close(value, expected[name].float(), rtol=1e-5, atol=1e-6, msg=name)


def test_validation_the_best_epoch_and_the_test_are_of_the_averages(tmp_path: Path) -> None:
    """The reference runs before the average in each hook but the batch's start, and early stopping after it."""
    reference = Reference()
    model, data, trainer, stopping = fit(
        tmp_path, Full(), ExponentialMovingAverage(DECAY), reference, epochs=5, model={"scheduler": None}
    )
    for validated, expected in zip(reference.validated, reference.by_epoch, strict=True):
        assert_averages(validated, expected)
        assert any(not torch.allclose(expected[name].float(), reference.training[name]) for name in validated)
    best = int(stopping.best_epoch)
    assert_averages(stopping.best, reference.by_epoch[best])
    assert_averages(tensors(model), reference.by_epoch[best])
    trainer.save_checkpoint(tmp_path / "best.ckpt", weights_only=True)
    assert_averages(torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"], reference.by_epoch[best])
    again = trainer.validate(model, data, verbose=False)[0]["validation/loss"]
    assert again == pytest.approx(reference.losses[best], rel=1e-6)
    assert_averages(tensors(model), reference.by_epoch[best])


@pytest.mark.parametrize("order", ["before", "after"])
def test_early_stopping_keeps_averages_wherever_it_stands_among_the_callbacks(order: str, tmp_path: Path) -> None:
    data = EncodingDataModule(Planted(), Identity(), cache_dir=tmp_path)
    model = EncodingModule(data.num_targets, data.feature_shapes, optimizer=lambda own: torch.optim.SGD(own, lr=3e-3))
    average, stopping, reference = ExponentialMovingAverage(DECAY), RoiEarlyStopping(50), Reference()
    callbacks = [average, stopping] if order == "before" else [stopping, average]
    trainer = Trainer(
        max_epochs=3, callbacks=[*callbacks, reference], logger=False, enable_checkpointing=False, accelerator="cpu"
    )
    trainer.fit(model, data)
    for group, epoch in enumerate(stopping.best_epoch.tolist()):
        rows = data.facts.groups == group
        expected = reference.by_epoch[epoch]["head.weight"][rows].float()
        torch.testing.assert_close(tensors(model)["head.weight"][rows], expected)


def test_without_a_validation_split_the_last_average_is_kept(tmp_path: Path) -> None:
    reference = Reference()
    data = EncodingDataModule(Planted(), Identity(), cache_dir=tmp_path, validation=0.0)
    model = EncodingModule(data.num_targets, data.feature_shapes)
    trainer = Trainer(
        max_epochs=2,
        callbacks=[RoiEarlyStopping(), ExponentialMovingAverage(DECAY), reference],
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
    )
    trainer.fit(model, data)
    assert_averages(tensors(model), reference.average)


@pytest.mark.parametrize("kept", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_resumed_run_ends_like_an_undisturbed_one(kept: int, tmp_path: Path) -> None:
    """Also one that was resumed when nothing was left to do."""
    whole, half = Reference(), tmp_path / "half.ckpt"
    settings: dict[str, Any] = {"epochs": 4, "model": {"scheduler": OneCycle}}
    undisturbed, _, _, stopping = fit(
        tmp_path, Full(), ExponentialMovingAverage(DECAY), whole, Keep(kept, half), **settings
    )
    content = torch.load(half, weights_only=True)
    assert_averages(content["state_dict"], whole.by_epoch[kept])
    resumed, _, _, again = fit(tmp_path, Full(), ExponentialMovingAverage(DECAY), ckpt_path=half, **settings)
    assert all(torch.equal(value, tensors(resumed)[name]) for name, value in tensors(undisturbed).items())
    assert torch.equal(stopping.best_loss, again.best_loss)


@pytest.mark.slow
def test_by_flag_a_run_in_halves_has_the_scores_of_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=40, n_targets=20)
    flags = [
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=PixelEncoder",
        "--model.head=MlpHead",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ]
    average = ["--trainer.callbacks=ExponentialMovingAverage", "--trainer.callbacks.decay=0.9"]
    assert main([*flags, *average, "--trainer.max_epochs=6", "--name=whole"]) == 0
    assert main([*flags, *average, "--trainer.max_epochs=2", "--name=halves"]) == 0
    assert main([*flags, *average, "--trainer.max_epochs=6", "--name=halves", "--ckpt_path=last"]) == 0
    assert main([*flags, "--trainer.max_epochs=6", "--name=without"]) == 0
    whole, halves, without = (Path(f"runs/{name}/version_0") for name in ("whole", "halves", "without"))
    for file in ("scores.csv", "history.csv", "targets.csv"):
        assert (whole / file).read_bytes() == (halves / file).read_bytes()
        assert (whole / file).read_bytes() != (without / file).read_bytes()
    for file in ("last", "best"):
        assert torch.load(whole / f"checkpoints/{file}.ckpt", weights_only=True)["state_dict"]


def test_a_checkpoint_written_while_the_averages_stand_in_the_model_has_both(tmp_path: Path) -> None:
    """And a validation inside an epoch swaps them in and out between two batches."""

    class InValidation(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.global_step:
                trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    reference = Reference()
    fit(tmp_path, Full(), ExponentialMovingAverage(DECAY), reference, InValidation(), epochs=2, val_check_interval=2)
    for validation, step in enumerate((2, 4, 6, 8)):  # of 4 batches an epoch
        content = torch.load(tmp_path / f"{step}.ckpt", weights_only=True)
        assert_averages(content["state_dict"], reference.by_epoch[validation])
        assert_averages(content["weights_in_training"], reference.in_training[validation])


def test_accumulated_gradients_are_one_step_and_infinite_buffers_stay(tmp_path: Path) -> None:
    average, backbone = ExponentialMovingAverage(DECAY), TinyBackbone()
    backbone.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    model, *_ = fit(tmp_path, Full(), average, epochs=1, backbone=backbone, accumulate_grad_batches=3)
    assert average.steps == 2  # of 4 batches
    assert torch.equal(tensors(model)["backbone.mask"], torch.tensor([0.0, -torch.inf]))


def test_only_what_is_trained_is_copied(tmp_path: Path) -> None:
    class Names(ExponentialMovingAverage):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.names = set(self.parameters)
            super().on_train_end(trainer, pl_module)

    average = Names()
    model, *_ = fit(tmp_path, Lora(rank=2), average, epochs=1)
    assert average.names == {name for name, each in model.named_parameters() if each.requires_grad}


def test_readouts_that_are_made_in_setup_are_averaged(tmp_path: Path) -> None:
    reference = Reference()
    head = {"head": lambda shapes, targets: TrunkHead(shapes, targets, MlpTrunk)}
    model, *_ = fit(tmp_path, Full(), ExponentialMovingAverage(DECAY), reference, epochs=2, model=head)
    assert any(".readouts." in name for name in tensors(model))
    assert_averages(reference.validated[-1], reference.by_epoch[-1])


def test_a_model_that_solves_has_nothing_to_average(tmp_path: Path) -> None:
    scores = []
    choices: list[list[Callback]] = [[], [ExponentialMovingAverage()]]
    for callbacks in choices:
        data = EncodingDataModule(Planted(), Identity(), cache_dir=tmp_path)
        model = RidgeModule(data.num_targets, data.feature_shapes)
        trainer = Trainer(callbacks=callbacks, logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.fit(model, data)
        scores.append(trainer.test(model, data, verbose=False)[0]["test/pearson"])
    assert scores[0] == scores[1] > 0.5


def test_two_averages_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a config has one already."""
    monkeypatch.chdir(tmp_path)
    assert main(["--trainer.callbacks+=ExponentialMovingAverage"] * 2) == 2
    message = capsys.readouterr().err.strip()
    assert "--trainer: Found more than one stateful callback of type `ExponentialMovingAverage`" in message
    assert "\n" not in message


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_one_line(decay: float) -> None:
    with pytest.raises(InputError, match=f"decay {decay:g}: expected a share"):
        ExponentialMovingAverage(decay)
