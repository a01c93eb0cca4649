"""Windows through the module: planted ones are found, by either kernel, and a checkpoint holds all that predicts."""

import math

import numpy as np
import pytest
import torch
from calcarine.data import Source
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import PixelEncoder
from calcarine.errors import InputError
from calcarine.models import WindowedModule
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.ridge import fit_ridge
from calcarine.models.regression.window_ridge import WindowFit
from calcarine.recording import Recording, Responses, Roi
from lightning.pytorch import Trainer
from planted import Pictures

CENTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
SETTINGS = {"centers": 2, "widths": [0.12], "folds": 4}


class Looking(Source):
    """Targets that each look at one quarter of images of noise, in turn, and are driven by its colour there."""

    def __init__(self, stimuli=160, targets=8, subjects=1, constant=(), shuffle=False):
        super().__init__(shuffle)
        self.stimuli, self.targets, self.subjects, self.constant = stimuli, targets, subjects, list(constant)

    @property
    def num_targets(self):
        return self.targets * self.subjects

    def read(self):
        return [self._read(subject) for subject in range(self.subjects)]

    def _read(self, subject):
        rng = np.random.default_rng(subject)
        images = rng.integers(0, 255, (self.stimuli, 8, 8, 3), dtype=np.uint8)
        responses = rng.standard_normal((self.stimuli, self.targets)) * 3
        for target in range(self.targets):
            x, y = (round(8 * place) for place in CENTERS[target % 4])
            responses[:, target] += images[:, y - 1 : y + 1, x - 1 : x + 1].mean((1, 2)) @ rng.standard_normal(3) / 2
        responses[:, self.constant] = 5
        first = np.arange(self.targets // 2)
        return Recording(
            f"subj{subject + 1:02d}",
            Pictures(images),
            Responses.of(responses.astype(np.float32)),
            np.array([""] * self.stimuli),
            np.array(["lh"] * self.targets),
            [Roi("a", "lh", first), Roi("b", "lh", np.arange(self.targets // 2, self.targets))],
        )


def fit(tmp_path, source, **settings):
    data = EncodingDataModule(source, PixelEncoder(8), cache_dir=tmp_path / "cache", validation=0.0)
    module = WindowedModule(data.num_targets, data.feature_shapes, **SETTINGS | settings)
    run = Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    run.fit(module, data, weights_only=True)
    return module, data, run


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize(("best", "surround"), [(1, False), (2, True)])
def test_planted_windows_are_found_and_kept_in_the_checkpoint(tmp_path, kernel, best, surround):
    settings = {"kernel": kernel, "best": best, "surround": surround}
    module, data, run = fit(tmp_path, Looking(), **settings)
    expected = [(*CENTERS[target % 4], 0.12) for target in range(8)]
    np.testing.assert_allclose(module.findings.window, expected, rtol=1e-6)
    assert module.findings.cv_r2.mean() > 0.6
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > (
        0.8 if best == 1 else 0.7
    )  # no second window is planted
    run.save_checkpoint(tmp_path / "windows.ckpt")
    state = torch.load(tmp_path / "windows.ckpt", weights_only=True)
    again = WindowedModule(data.num_targets, data.feature_shapes, **SETTINGS | settings)
    again.standardize_responses.fill(data.facts.response_mean, data.facts.response_scale)
    again.metrics = module.metrics
    again.load_state_dict(state["state_dict"], strict=True)
    again.on_load_checkpoint(state)
    batch = next(iter(data.test_dataloader()["test"]))
    assert torch.equal(again.predict_batch(batch), module.predict_batch(batch))
    np.testing.assert_array_equal(again.findings.window, module.findings.window)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_shuffled_control_explains_nothing(tmp_path, kernel):
    module, data, run = fit(tmp_path, Looking(400, shuffle=True), kernel=kernel)
    assert abs(run.test(module, data, verbose=False)[0]["test/pearson"]) < 0.12
    assert module.findings.cv_r2.mean() < 0.05


@pytest.mark.parametrize("subjects", [1, 2])
def test_predictions_are_ridge_in_the_chosen_window_of_the_subjects_own_stimuli(tmp_path, subjects):
    module, data, _ = fit(tmp_path, Looking(subjects=subjects))
    recording_of, local = data.locate(data.positions("train"))
    batches = {batch.subject: batch for batch in data.test_dataloader()["test"]}
    for target in range(8 * subjects):
        subject = target // 8
        head, batch = module.heads[subject], batches[subject]
        shown, predicted, window = head.pool(batch.features), module(batch), int(head.window[target % 8, 0])
        own = local[recording_of == subject]
        recording = data.recordings[subject]
        images = np.stack([recording.stimuli.read(i) for i in own]).transpose(0, 3, 1, 2) / 255
        pooled = head.pool({"pixels": torch.from_numpy(images).float()})
        response = torch.from_numpy(recording.responses.gather(own)[:, target % 8, None])
        standard = module.standardize_responses
        one = fit_ridge(
            pooled[:, window],
            (response - standard.mean[target]) / standard.scale[target],
            module.penalties,
            assign_folds(len(own), 4, data.seed),
            standardize=True,
        )
        assert one.penalty == module.findings.penalty[target]
        assert float(one.cv_r2) == pytest.approx(module.findings.cv_r2[target], rel=1e-4)
        expected = shown[:, window] @ one.weight[0] + one.bias[0]
        torch.testing.assert_close(predicted[:, target % 8], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_subject_has_the_head_that_it_has_alone(tmp_path, kernel):
    both, *_ = fit(tmp_path, Looking(subjects=2), kernel=kernel, best=2)
    alone, *_ = fit(tmp_path, Looking(), kernel=kernel, best=2)
    for name, value in alone.head.state_dict().items():
        assert torch.equal(both.heads[0].state_dict()[name], value), name
    expected = [(*CENTERS[target % 4], 0.12) for target in range(16)]
    np.testing.assert_allclose(both.findings.window, expected, rtol=1e-6)


@pytest.mark.parametrize("selection", ["roi", "all"])
def test_targets_that_choose_together_share_window_and_penalty(tmp_path, selection):
    module, _, _ = fit(tmp_path, Looking(), selection=selection)
    parts = (slice(0, 4), slice(4, 8)) if selection == "roi" else (slice(0, 8),)
    for part in parts:
        assert len(np.unique(module.findings.window[part], axis=0)) == 1
        assert len(np.unique(module.findings.penalty[part])) == 1


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize(("stimuli", "targets", "constant"), [(13, 1, ()), (100, 4, (1,)), (30, 2, (0, 1))])
def test_few_stimuli_one_target_and_constant_targets_are_right(tmp_path, kernel, stimuli, targets, constant):
    module, data, _ = fit(tmp_path, Looking(stimuli, targets, constant=constant), kernel=kernel, best=2, surround=True)
    predicted = module.predict_batch(next(iter(data.test_dataloader()["test"])))
    assert predicted.isfinite().all()
    for target in constant:
        torch.testing.assert_close(predicted[:, target], torch.full((len(predicted),), 5.0))


def test_the_length_scale_is_chosen_and_without_folds_it_still_fits(tmp_path):
    module, data, run = fit(tmp_path, Looking(), kernel="rbf", length_scales=[1e-3, 2.0], folds=0)
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > 0.8, "a length of 0.001 predicts nothing"


def test_wrong_settings_are_refused():
    shapes = {"pixels": (3, 8, 8)}
    for settings, said in (
        ({"centers": 0}, r"--model\.centers 0"),
        ({"widths": [0.1, -1.0]}, r"--model\.widths: expected .* above 0"),
        ({"widths": []}, r"--model\.widths"),
        ({"length_scales": [math.inf]}, r"--model\.length_scales"),
        ({"centers": 1, "widths": [0.1], "best": 3}, r"--model\.best 3: expected 1 to 2"),
    ):
        with pytest.raises(InputError, match=said):
            WindowedModule(3, shapes, **settings)
    with pytest.raises(InputError, match="map"):
        WindowedModule(3, {"pixels": (48,)})
    with pytest.raises(InputError, match="needs features"):
        WindowedModule(3, None)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_map_beside_a_vector_is_predicted_in_mixed_precision(kernel):
    module = WindowedModule(2, {"map": (3, 4, 4), "vector": (5,)}, **SETTINGS, kernel=kernel)
    features = {"map": torch.randn(6, 3, 4, 4), "vector": torch.randn(6, 5)}
    if kernel == "rbf":
        pooled = module.head.pool(features)
        fit = WindowFit(
            torch.zeros(2, 1, dtype=torch.int64), torch.randn(2, 1, 6), torch.zeros(2, 1), *torch.ones(3, 2).double()
        )
        with torch.no_grad():
            module.head.keep(pooled, 1.0, fit)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module.head(features)
    torch.testing.assert_close(mixed.float(), module.head(features), atol=0.1, rtol=0.1)
