import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import PixelEncoder
from calcarine.errors import InputError
from calcarine.models import EncodingModule, RoiEarlyStopping
from lightning.pytorch import Callback, Trainer
from planted import Identity, Planted
from scipy.stats import pearsonr
from torch.optim import SGD, AdamW


def adamw(parameters):
    return AdamW(parameters, lr=3e-3, fused=True)


def fit(
    tmp_path,
    source,
    epochs=30,
    patience=5,
    ckpt_path=None,
    batch_size=32,
    stopping=None,
    optimizer=adamw,
    **trainer,
):
    data = EncodingDataModule(source, Identity(), cache_dir=tmp_path / "cache", batch_size=batch_size)
    model = EncodingModule(data.num_targets, data.feature_shapes, optimizer=optimizer)
    stopping = stopping or RoiEarlyStopping(patience)
    options = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [stopping],
        "accelerator": "cpu",
    }
    trainer = Trainer(max_epochs=epochs, **options | trainer)
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return model, data, trainer, stopping


@pytest.mark.slow
def test_a_planted_signal_is_recovered_and_its_shuffled_control_is_not(tmp_path):
    scores = {}
    for shuffle in (False, True):
        model, data, trainer, _ = fit(tmp_path, Planted(400, shuffle=shuffle), epochs=60)
        scores[shuffle] = trainer.test(model, data, verbose=False)[0]["test/pearson"]
    assert scores[False] > 0.8
    assert abs(scores[True]) < 0.15


def test_a_roi_alone_gets_the_weights_it_gets_among_all(tmp_path):
    noise = np.repeat([1.0, 4.0], [16, 24])
    together, _, _, stopping = fit(tmp_path, Planted(noise=noise), epochs=60, patience=3)
    assert stopping.best_epoch[0] != stopping.best_epoch[1], "the ROIs must stop apart for this test to mean anything"
    for targets in (range(16), range(16, 40)):
        alone, *_ = fit(tmp_path, Planted(targets=targets, noise=noise), epochs=60, patience=3)
        rows = torch.tensor(list(targets))
        assert torch.equal(alone.head.weight, together.head.weight[rows])
        assert torch.equal(alone.head.bias, together.head.bias[rows])


def test_best_rows_are_those_of_each_rois_best_epoch(tmp_path):
    model, data, _, stopping = fit(tmp_path, Planted(noise=2.0), epochs=40, patience=4)
    for group, epoch in enumerate(stopping.best_epoch.tolist()):
        upto, *_ = fit(tmp_path, Planted(noise=2.0), epochs=epoch + 1, patience=100)
        rows = data.facts.groups == group
        assert torch.equal(model.head.weight[rows], upto.head.weight[rows])


class Losses(Callback):
    """Validation losses of all targets, epoch by epoch."""

    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.seen.append(float(pl_module.target_losses.mean()))


@pytest.mark.parametrize("decimals", [None, 2])
def test_all_targets_stop_together_by_their_rounded_loss(tmp_path, decimals):
    """As published: patience 3 on the validation loss rounded to two decimals, here of all ROIs at once."""
    stopping, losses = RoiEarlyStopping(3, decimals=decimals, per_roi=False), Losses()
    model, data, *_ = fit(tmp_path, Planted(noise=1.0), epochs=200, stopping=stopping, callbacks=[losses, stopping])
    best, expected = float("inf"), -1
    for epoch, loss in enumerate(losses.seen):
        loss = loss if decimals is None else round(loss, decimals)
        best, expected = (loss, epoch) if loss < best else (best, expected)
        if epoch - expected == 3:
            break
    assert len(losses.seen) == epoch + 1 < 200
    assert stopping.best_epoch.tolist() == [expected]
    if decimals is not None:
        assert expected < int(np.argmin(losses.seen)), "rounding must matter for this test to mean anything"
    upto, *_ = fit(tmp_path, Planted(noise=1.0), epochs=expected + 1, callbacks=[])
    last = torch.cat([upto(batch).detach() for batch in data.val_dataloader()])
    assert torch.equal(torch.cat([model(batch).detach() for batch in data.val_dataloader()]), last)


class Swayed(EncodingModule):
    """An EncodingModule whose validation losses are given, epoch by epoch, for each group of targets."""

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        self.target_losses = torch.tensor(LOSSES[self.current_epoch])[self.facts.groups]


LOSSES = [[5.0, 5.0], [4.0, 4.0], [6.0, 6.0], [6.0, 3.0], [6.0, 6.0], [2.0, 6.0], [6.0, 6.0], [6.0, 6.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("flags", "best", "ran"),
    [({}, [1, 3], 6), ({"min_epochs": 6}, [5, 3], 8), ({"min_steps": 6 * 4}, [5, 3], 8)],
)
def test_no_roi_stops_before_the_epochs_that_are_asked_for(tmp_path, flags, best, ran):
    data = EncodingDataModule(Planted(120), Identity(), cache_dir=tmp_path, batch_size=21)
    model, stopping = Swayed(data.num_targets, data.feature_shapes), RoiEarlyStopping(2)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=9, callbacks=[stopping], accelerator="cpu", num_sanity_val_steps=0, **quiet, **flags)
    trainer.fit(model, data)
    assert stopping.best_epoch.tolist() == best
    assert trainer.current_epoch == ran


class Windows(Callback):
    """Gradients of each optimiser step, and the mean gradient over the batches that were served since the last."""

    def __init__(self):
        self.expected, self.found, self.batches = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        features = {layer: each.clone() for layer, each in batch.features.items()}
        self.batches.append((features, batch.response.clone()))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        weight = pl_module.head.weight
        self.found.append(weight.grad.clone())
        gradients = []
        for features, response in self.batches:
            prediction = pl_module.head(pl_module.standardize_features(features))
            loss = (prediction - pl_module.standardize_responses(response)).square().mean(0).sum()
            gradients.append(torch.autograd.grad(loss, weight)[0])
        self.expected.append(torch.stack(gradients).mean(0))
        self.batches = []


@pytest.mark.parametrize(("window", "steps"), [(1, 4), (2, 2), (3, 2), (4, 1), (8, 1)])
@pytest.mark.parametrize("checks", [1.0, 0.25])
def test_each_accumulation_window_is_the_mean_over_the_batches_that_it_holds(tmp_path, window, steps, checks):
    windows = Windows()
    flags = {"accumulate_grad_batches": window, "val_check_interval": checks, "callbacks": [windows]}
    fit(tmp_path, Planted(120), epochs=3, batch_size=21, **flags)
    assert len(windows.found) == 3 * steps
    for found, expected in zip(windows.found, windows.expected, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_window_of_the_whole_epoch_trains_as_one_large_batch_does(tmp_path):
    flags = {"epochs": 10, "patience": 100, "optimizer": lambda parameters: SGD(parameters, lr=0.01)}
    accumulated, *_ = fit(tmp_path, Planted(120), batch_size=21, accumulate_grad_batches=8, **flags)
    whole, *_ = fit(tmp_path, Planted(120), batch_size=84, **flags)
    torch.testing.assert_close(accumulated.head.weight, whole.head.weight, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_ends_like_an_undisturbed_one(tmp_path):
    whole, *_ = fit(tmp_path, Planted(), epochs=40, patience=3)
    _, _, trainer, _ = fit(tmp_path, Planted(), epochs=4, patience=3)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, *_ = fit(tmp_path, Planted(), epochs=40, patience=3, ckpt_path=tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_finished_run_resumes_to_its_best_rows(tmp_path):
    finished, _, trainer, _ = fit(tmp_path, Planted(), epochs=40, patience=3, enable_checkpointing=False)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again, *_ = fit(tmp_path, Planted(), epochs=40, patience=3, ckpt_path=tmp_path / "end.ckpt")
    assert torch.equal(again.head.weight, finished.head.weight)


def test_streamed_metrics_equal_scipy_on_the_predictions(tmp_path):
    model, data, trainer, _ = fit(tmp_path, Planted(), epochs=5, batch_size=7)
    logged = trainer.test(model, data, verbose=False)[0]
    batches = list(data.test_dataloader()["test"])
    positions = data.positions("test")
    features = torch.from_numpy(np.stack([data.recordings[0].stimuli.read(i) for i in positions]))
    predicted = model.standardize_responses.invert(
        model.head(model.standardize_features(Identity()(features.permute(0, 3, 1, 2))))
    ).detach()
    measured = data.recordings[0].responses.gather(positions)
    expected = np.mean([pearsonr(predicted[:, t], measured[:, t]).statistic for t in range(40)])
    assert sum(len(batch) for batch in batches) == len(positions)
    assert logged["test/pearson"] == pytest.approx(expected, abs=1e-6)


def test_a_batch_is_of_one_subject_and_all_are_learnt(tmp_path):
    """A batch is of one subject: its stimuli, and its targets' responses."""
    source = Planted(stimuli=100, subjects=2)
    data = EncodingDataModule(source, Identity(), cache_dir=tmp_path, batch_size=300)
    data.setup()
    for batch in data.train_dataloader():
        subject, stimuli = data.locate(batch.stimulus.numpy())
        assert (subject == batch.subject).all()
        assert batch.targets == data.targets_of(batch.subject)
        np.testing.assert_array_equal(batch.response, data.recordings[batch.subject].responses.gather(stimuli))
    model, data, trainer, _ = fit(tmp_path, source, epochs=60, batch_size=20)
    assert trainer.test(model, data, verbose=False)[0]["test/pearson"] > 0.5
    assert data.facts.group_names == ["subj01.lh.a", "subj01.rh.b", "subj02.lh.a", "subj02.rh.b"]


def test_a_constant_target_and_a_constant_feature_do_no_harm(tmp_path, monkeypatch):
    read = Planted._read

    def with_constants(self, subject):
        recording = read(self, subject)
        recording.responses.parts[0].array[:, 2] = 1e4
        for image in recording.stimuli.images:
            image[0, 0] = 7
        return recording

    monkeypatch.setattr(Planted, "_read", with_constants)
    model, data, trainer, _ = fit(tmp_path, Planted(300), epochs=40)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert trainer.test(model, data, verbose=False)[0]["test/pearson"] > 0.7


def test_divergence_is_said(tmp_path):
    data = EncodingDataModule(Planted(), Identity(), cache_dir=tmp_path)
    model = EncodingModule(data.num_targets, data.feature_shapes, optimizer=lambda p: torch.optim.SGD(p, lr=1e30))
    trainer = Trainer(
        max_epochs=5, logger=False, enable_checkpointing=False, callbacks=[RoiEarlyStopping()], accelerator="cpu"
    )
    with pytest.raises(InputError, match="training diverged"):
        trainer.fit(model, data)


def test_data_and_model_must_fit_together():
    with pytest.raises(InputError, match="leave one of the two out"):
        EncodingModule(3, {"a": (2,)}, backbone=PixelEncoder())
    with pytest.raises(InputError, match=r"or set --data\.encoder"):
        EncodingModule(3, None)
