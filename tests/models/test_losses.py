from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import (
    EncodingModule,
    FullyConnectedHead,
    MeanSquaredError,
    NoiseCeilingWeightedMse,
    OneMinusCorrelation,
    RoiEarlyStopping,
    SmoothL1,
)
from calcarine.models.calibration import Calibration
from calcarine.models.weighing import weighted_mean
from lightning.pytorch import Callback, Trainer
from plain_facts import plain_facts
from planted import Identity, Planted
from scipy.stats import linregress, pearsonr
from torch.optim import SGD, AdamW

NAN = float("nan")


def facts(ceiling):
    return plain_facts(len(ceiling), noise_ceiling=torch.tensor(ceiling), gaps=1)


def ceiling_weighted():
    loss = NoiseCeilingWeightedMse()
    loss.fill(facts([0.1, 0.2, 0.3, 0.4, 0.0]))
    return loss


LOSSES = {
    "mse": MeanSquaredError,
    "smooth_l1": lambda: SmoothL1(0.7),
    "correlation": OneMinusCorrelation,
    "ceiling": ceiling_weighted,
}


@pytest.fixture
def pairs():
    """Predictions and responses of 12 stimuli and 5 targets, seed 0, a quarter of them not measured."""
    rng = np.random.default_rng(0)
    prediction, response = rng.standard_normal((2, 12, 5))
    response[rng.random((12, 5)) < 0.25] = NAN
    return torch.from_numpy(prediction), torch.from_numpy(response)


def by_target(compare, prediction, response):
    columns = [(p[~y.isnan()], y[~y.isnan()]) for p, y in zip(prediction.T, response.T, strict=True)]
    return torch.tensor([float(compare(p, y)) for p, y in columns], dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (MeanSquaredError(), F.mse_loss),
        (SmoothL1(0.7), lambda p, y: F.smooth_l1_loss(p, y, beta=0.7)),
        (SmoothL1(0.0), F.l1_loss),
        (OneMinusCorrelation(), lambda p, y: 1 - pearsonr(p, y).statistic),
    ],
)
def test_a_loss_is_torchs_or_scipys_own_over_the_measured_stimuli(loss, reference, pairs):
    torch.testing.assert_close(loss(*pairs), by_target(reference, *pairs), rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name, pairs):
    prediction, response = pairs
    assert torch.autograd.gradcheck(lambda p: LOSSES[name]()(p, response), (prediction.requires_grad_(),))


@pytest.mark.parametrize("name", LOSSES)
def test_a_target_that_was_not_measured_has_no_loss_and_no_gradient(name, pairs):
    prediction, response = pairs
    response[:, 2] = NAN
    prediction.requires_grad_()
    loss = LOSSES[name]()(prediction, response)
    loss.sum().backward()
    assert loss[2] == 0
    assert prediction.grad[:, 2].eq(0).all()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_target_has_the_loss_that_it_has_alone(name, pairs):
    prediction, response = pairs
    loss = LOSSES[name]()
    together = loss(prediction, response)
    response[:, 1:] = NAN
    assert torch.equal(loss(prediction, response)[0], together[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("constant", ["prediction", "response"])
def test_the_correlation_of_a_constant_is_none_and_its_gradient_finite(constant, dtype):
    varying = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    prediction = (torch.full((20, 3), 3.3) if constant == "prediction" else varying).to(dtype).requires_grad_()
    response = torch.full((20, 3), 3.3) if constant == "response" else varying
    loss = OneMinusCorrelation()(prediction, response)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.ones(3), rtol=0, atol=1e-3)
    assert prediction.grad.isfinite().all()


def test_a_constant_prediction_is_led_towards_the_response():
    """Heads that start at zero would otherwise stay there."""
    response = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    prediction = torch.zeros(20, 1, requires_grad=True)
    OneMinusCorrelation()(prediction, response).sum().backward()
    assert pearsonr(-prediction.grad[:, 0], response[:, 0]).statistic > 0.999


def test_noise_ceilings_weigh_the_squared_errors():
    loss = NoiseCeilingWeightedMse()
    loss.fill(facts([0.1, 0.3, NAN, 0.0, 0.4]))
    errors = loss(torch.ones(4, 5), torch.zeros(4, 5))
    torch.testing.assert_close(errors, torch.tensor([0.5, 1.5, 1.0, 0.0, 2.0]))
    assert errors.mean() == 1


@pytest.mark.parametrize("ceiling", [[NAN, NAN], [0.0, NAN], [0.0, -0.1]])
def test_without_noise_ceilings_nothing_can_be_weighted(ceiling):
    with pytest.raises(InputError, match=r"found none above 0; set --data\.source\.noise_ceiling"):
        NoiseCeilingWeightedMse().fill(facts(ceiling))


@pytest.mark.parametrize("name", ["mse", "smooth_l1", "ceiling"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_is_complete_has_the_loss_and_the_gradient_of_what_is_looked_through(name, dtype):
    generator = torch.Generator().manual_seed(0)
    prediction, response = (torch.randn(12, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    response = response if dtype == torch.float64 else response.float()
    found = {}
    for gaps in (0, 1):
        loss = LOSSES[name]()
        loss.fill(replace(facts([0.1, 0.2, 0.3, 0.4, 0.0]), gaps=gaps))
        given = prediction.to(dtype).requires_grad_()
        losses = loss(given, response)
        losses.sum().backward()
        found[gaps] = losses, given.grad, loss.measured(response)
    assert found[0][1].dtype == dtype
    for one, other in zip(found[0], found[1], strict=True):
        torch.testing.assert_close(one, other)


def test_a_negative_beta_is_refused():
    with pytest.raises(InputError, match=r"--model\.loss\.beta -1: expected 0 or more"):
        SmoothL1(-1)


@pytest.mark.parametrize("batch", [4, 50])
def test_calibration_is_the_least_squares_line_whatever_the_batches(batch):
    rng = np.random.default_rng(0)
    prediction = rng.standard_normal((50, 4)) * [1, 10, 0.1, 0] + 5
    response = prediction * [0.5, 0.2, 3, 1] + rng.standard_normal((50, 4))
    response[:5, 0] = NAN
    response[:, 3] = rng.standard_normal(50)
    calibration = Calibration(4)
    pairs = zip(torch.from_numpy(prediction).split(batch), torch.from_numpy(response).split(batch), strict=True)
    calibration.fit((*each, slice(None)) for each in pairs)
    lines = [linregress(prediction[5:, 0], response[5:, 0])]
    lines += [linregress(prediction[:, target], response[:, target]) for target in (1, 2)]
    slopes, offsets = [*(line.slope for line in lines), 0], [*(line.intercept for line in lines), response[:, 3].mean()]
    np.testing.assert_allclose(calibration.slope, slopes, rtol=1e-5)
    np.testing.assert_allclose(calibration.offset, offsets, rtol=1e-4, atol=1e-5)


def test_calibration_turns_no_target_round():
    rising = torch.arange(10.0)[:, None]
    calibration = Calibration(1)
    calibration.fit([(rising, -2 * rising, slice(None))])
    assert calibration.slope == 2


def fit(tmp_path, source, epochs=30, **options):
    data = EncodingDataModule(
        source, Identity(), cache_dir=tmp_path / "cache", batch_size=options.pop("batch_size", 60)
    )
    trial = {name: options.pop(name) for name in ("fast_dev_run",) if name in options}
    callbacks = options.pop("callbacks", [])
    options = {"optimizer": lambda params: AdamW(params, lr=3e-3), **options}
    model = EncodingModule(data.num_targets, data.feature_shapes, **options)
    stopping = RoiEarlyStopping(5)
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[stopping, *callbacks], accelerator="cpu", **trial,
    )  # fmt: skip
    trainer.fit(model, data)
    return model, data, trainer, stopping


def test_a_model_of_correlation_predicts_in_the_recordings_units(tmp_path):
    """It starts from a head of zeros, and its predictions come to the responses' scale and offset (seed 0)."""
    model, data, _, stopping = fit(tmp_path, Planted(400, noise=1.0), epochs=60, loss=OneMinusCorrelation())
    model.eval()

    def predict(loader):
        with torch.no_grad():
            batches = [(model(batch), model.predict_batch(batch), batch.response.clone()) for batch in loader]
        return [torch.cat(each).numpy() for each in zip(*batches, strict=True)]

    raw, predicted, response = predict(data.val_dataloader())
    # Validation took the correlation over the split, not the mean of its batches' correlations.
    correlation = np.array([pearsonr(raw[:, target], response[:, target]).statistic for target in range(40)])
    groups = data.facts.groups.numpy()
    expected = [1 - correlation[groups == group].mean() for group in range(2)]
    np.testing.assert_allclose(stopping.best_loss, expected, atol=1e-5)
    np.testing.assert_allclose(predicted.mean(0), response.mean(0), atol=1e-3)
    lines = [linregress(raw[:, target], response[:, target]) for target in range(40)]
    np.testing.assert_allclose(
        predicted[0], [line.slope * x + line.intercept for line, x in zip(lines, raw[0], strict=True)], rtol=1e-3
    )

    _, predicted, response = predict(data.test_dataloader()["test"])
    explained = 1 - np.square(response - predicted).mean(0) / response.var(0)
    assert explained.mean() > 0.3  # half of the variance is noise


class Fitted:
    """Notes on which device, and of how many batches, lines are to be fitted."""

    def __init__(self, monkeypatch):
        self.seen = []
        monkeypatch.setattr(Calibration, "fit", lambda _, batches: self.seen.extend(each[0].device for each in batches))


def test_lines_are_fitted_on_the_device_that_trained(tmp_path, monkeypatch):
    """Lightning has taken the model from it when training has ended, and batches still go there."""

    class Elsewhere(Callback):
        def on_fit_end(self, trainer, pl_module):
            trainer.strategy._root_device = torch.device("meta")

    fitted = Fitted(monkeypatch)
    monkeypatch.setattr(EncodingModule, "cpu", lambda self: self)  # from meta nothing comes back
    fit(tmp_path, Planted(60), epochs=1, loss=OneMinusCorrelation(), callbacks=[Elsewhere()])
    assert {device.type for device in fitted.seen} == {"meta"}


def test_a_trial_by_fast_dev_run_fits_lines_to_one_batch(tmp_path, monkeypatch):
    fitted = Fitted(monkeypatch)
    fit(tmp_path, Planted(100), batch_size=4, loss=OneMinusCorrelation(), fast_dev_run=True)
    assert len(fitted.seen) == 1


def test_a_diverged_correlation_is_one_line(tmp_path):
    """A prediction that is no number correlates with nothing, which is not a loss of 1."""
    with pytest.raises(InputError, match="training diverged, no validation loss is finite in epoch 0"):
        fit(
            tmp_path, Planted(60), loss=OneMinusCorrelation(), optimizer=lambda params: SGD(params, lr=1e38),
            head=lambda shapes, targets: FullyConnectedHead(shapes, targets, [5]),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_mean_over_many_targets_is_exact_in_mixed_precision(dtype):
    losses = torch.rand(40_000, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype):
        mean = weighted_mean(losses, torch.full((40_000,), 64.0))
    torch.testing.assert_close(mean, losses.mean())


def test_l1_leaves_independent_targets_independent_and_weights_small(tmp_path):
    together, *_ = fit(tmp_path, Planted(), l1=0.1)
    free, *_ = fit(tmp_path, Planted())
    for targets in (range(16), range(16, 40)):
        alone, *_ = fit(tmp_path, Planted(targets=targets), l1=0.1)
        assert torch.equal(alone.head.weight, together.head.weight[torch.tensor(list(targets))])
    assert together.head.weight.abs().sum() < 0.8 * free.head.weight.abs().sum()


def test_the_l1_gradient_is_the_sign_of_the_weights_and_spares_biases(tmp_path):
    """One step of plain descent from the same weights, with and without the penalty."""
    heads = {}
    for l1 in (0.0, 0.25):
        torch.manual_seed(0)
        model, *_ = fit(
            tmp_path, Planted(30), epochs=1, l1=l1, batch_size=300,
            head=lambda shapes, targets: FullyConnectedHead(shapes, targets, [5]),
            optimizer=lambda params: SGD(params, lr=0.1),
        )  # fmt: skip
        heads[l1] = model.head.state_dict()
    torch.manual_seed(0)
    start = FullyConnectedHead({"pixels": (48,)}, 40, [5]).state_dict()
    for name, value in heads[0.25].items():
        expected = heads[0.0][name] - (0.1 * 0.25 * start[name].sign() if value.ndim > 1 else 0.0)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


def test_a_weighted_loss_leaves_targets_independent(tmp_path, monkeypatch):
    read = Planted._read
    monkeypatch.setattr(
        Planted,
        "_read",
        lambda self, subject: replace(read(self, subject), noise_ceiling=np.linspace(0, 0.9, 40)[self.targets]),
    )
    # Weights are relative to the mean ceiling, which another company changes: Adam does not see the difference.
    together, *_ = fit(tmp_path, Planted(), epochs=3, loss=NoiseCeilingWeightedMse())
    alone, *_ = fit(tmp_path, Planted(targets=range(16, 40)), epochs=3, loss=NoiseCeilingWeightedMse())
    torch.testing.assert_close(alone.head.weight, together.head.weight[16:], rtol=0, atol=1e-5)
    assert together.head.weight[0].eq(0).all()
    assert together.head.weight[1].ne(0).any()
