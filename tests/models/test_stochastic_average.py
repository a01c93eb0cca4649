"""Stochastic weight averaging: torch's numbers, batch norm estimated anew, and resumed runs that end alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import EncodingModule, Full, RidgeModule, RoiEarlyStopping, StochasticWeightAverage
from calcarine.run.main import main
from lightning.pytorch import Callback, LightningModule, Trainer
from planted import Identity, Planted
from tiny_backbone import Keep, TinyBackbone, fit, tensors
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

EPOCHS = 6
HALF: dict[str, Any] = {"epochs": EPOCHS, "model": {"scheduler": None}}


class Seen(Callback):
    """Notes the weights in training at each epoch's end, and those that are validated after it."""

    def __init__(self) -> None:
        self.trained: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and self.trained:  # training never saw an average
            for name, value in tensors(pl_module).items():
                assert torch.equal(value, self.trained[-1][name]), name

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch:
            self.trained.append(tensors(pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validated.append(tensors(pl_module))


def by_torch(snapshots: list[dict[str, Tensor]], names: list[str]) -> dict[str, Tensor]:
    """What torch's AveragedModel makes of parameters that are trained from one snapshot to the next."""
    model = nn.ParameterList(snapshots[0][name].clone() for name in names)
    averaged = AveragedModel(model)
    for snapshot in snapshots:
        for parameter, name in zip(model, names, strict=True):
            parameter.data.copy_(snapshot[name])
        averaged.update_parameters(model)
    return dict(zip(names, (each.detach() for each in averaged.module.parameters()), strict=True))


def test_averages_are_torchs_and_batch_norm_is_estimated_for_them(tmp_path: Path) -> None:
    """The second half of six epochs counts; before it the weights in training are validated."""
    seen = Seen()
    backbone = TinyBackbone(dropout=0.0)  # torch's estimate drops, ours does not
    model, data, *_ = fit(tmp_path, Full(), seen, StochasticWeightAverage(0.5), backbone=backbone, **HALF)
    names = [name for name, _ in model.named_parameters()]
    for epoch in range(EPOCHS):
        validated = seen.validated[epoch]
        if epoch < 3:
            assert all(torch.equal(value, seen.trained[epoch][name]) for name, value in validated.items())
            continue
        expected = by_torch(seen.trained[3 : epoch + 1], names)
        for name in names:
            torch.testing.assert_close(validated[name], expected[name], rtol=1e-6, atol=1e-7, msg=name)

    reference = TinyBackbone(dropout=0.0)
    prefix = "backbone."
    last = {name.removeprefix(prefix): each for name, each in seen.validated[-1].items() if name.startswith(prefix)}
    reference.load_state_dict(last)
    loader = data.train_dataloader()
    loader.order = lambda: (data.seed, EPOCHS - 1)
    update_bn((batch.images for batch in loader), reference)
    for name, each in reference.state_dict().items():
        torch.testing.assert_close(each, last[name], rtol=1e-5, atol=1e-6, msg=name)
    norm = "network.stem.1.running_var"
    mean = torch.stack([each[prefix + norm] for each in seen.trained[3:]]).mean(0)
    assert not torch.allclose(mean, last[norm], rtol=1e-3)  # which averaged statistics are not


def test_one_average_alone_is_the_weights_themselves(tmp_path: Path) -> None:
    seen = Seen()
    fit(tmp_path, Full(), seen, StochasticWeightAverage(0.9), backbone=TinyBackbone(False), **HALF)
    assert all(torch.equal(value, seen.trained[-1][name]) for name, value in seen.validated[-1].items())


@pytest.mark.parametrize("kept", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_resumed_run_ends_like_an_undisturbed_one(kept: int, tmp_path: Path) -> None:
    """From before the first average, and between two."""
    seen, half = Seen(), tmp_path / "half.ckpt"
    whole, _, _, stopping = fit(tmp_path, Full(), seen, StochasticWeightAverage(0.5), Keep(kept, half), **HALF)
    content = torch.load(half, weights_only=True)
    for name, value in seen.validated[kept].items():
        assert torch.equal(content["state_dict"][name], value), name
    assert ("weights_in_training" in content) == (kept >= 3)
    resumed, _, _, again = fit(tmp_path, Full(), StochasticWeightAverage(0.5), ckpt_path=half, **HALF)
    assert all(torch.equal(value, tensors(resumed)[name]) for name, value in tensors(whole).items())
    assert torch.equal(stopping.best_loss, again.best_loss)


def test_without_a_validation_split_the_last_average_is_kept_and_solved_weights_stay(tmp_path: Path) -> None:
    for kind in (EncodingModule, RidgeModule):
        seen = Seen()
        data = EncodingDataModule(Planted(), Identity(), cache_dir=tmp_path, validation=0.0)
        model = kind(data.num_targets, data.feature_shapes)
        callbacks = [RoiEarlyStopping(), seen, StochasticWeightAverage(0.0)]
        trainer = Trainer(
            max_epochs=2, callbacks=callbacks, logger=False, enable_checkpointing=False, accelerator="cpu"
        )
        trainer.fit(model, data)
        if kind is EncodingModule:
            mean = (seen.trained[0]["head.weight"] + seen.trained[1]["head.weight"]) / 2
            torch.testing.assert_close(tensors(model)["head.weight"], mean)
        else:
            assert trainer.test(model, data, verbose=False)[0]["test/pearson"] > 0.5


def test_what_cannot_be_averaged_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="start 1: expected a share"):
        StochasticWeightAverage(1.0)
    for flags, line in (
        (["StochasticWeightAverage", "--trainer.max_epochs=-1"], "expected a number of epochs"),
        (["StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.1"], "use StochasticWeightAverage"),
    ):
        assert main([f"--trainer.callbacks={flags[0]}", flags[1]]) == 2
        message = capsys.readouterr().err.strip()
        assert line in message
        assert "\n" not in message


class Rising(Callback):
    """Makes the validation losses of some targets rise from an epoch on.

    Args:
        targets: Which.
        epoch: From 0.
    """

    def __init__(self, targets: slice, epoch: int) -> None:
        self.targets, self.epoch = targets, epoch

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.target_losses[self.targets] += 1000 * max(trainer.current_epoch - self.epoch, 0)


@pytest.mark.parametrize(
    ("rising", "patience", "told"),
    [
        (slice(None), 2, "no average was made, because training ended before epoch 4, the first that counts; the"),
        (slice(None), 5, "2 of 2 ROIs keep weights in training and no average, because the best epoch came before"),
        (slice(0, 16), 2, "1 of 2 ROIs keep weights in training and no average, because the best epoch came before"),
        (slice(0, 0), 2, ""),
    ],
)
def test_weights_that_are_no_average_are_told_at_the_end(
    rising: slice, patience: int, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 8 epochs the second half counts; ROIs whose loss rises from epoch 1 on keep its weights."""
    data = EncodingDataModule(Planted(), Identity(), cache_dir=tmp_path)
    model = EncodingModule(data.num_targets, data.feature_shapes, scheduler=None)
    stopping = RoiEarlyStopping(patience)
    callbacks = [Rising(rising, 1), StochasticWeightAverage(0.5), stopping]
    trainer = Trainer(max_epochs=8, callbacks=callbacks, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(model, data)
    warned = [each for each in caplog.messages if each.startswith("StochasticWeightAverage: ")]
    assert len(warned) == bool(told)
    assert all(told in each and "--trainer.min_epochs above 4" in each for each in warned)
    assert (stopping.best_epoch < 4).sum() == {"": 0, "1 of": 1}.get(told[:4], 2)
