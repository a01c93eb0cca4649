"""Representational similarity encoding against a loop over stimuli, and through the module and its checkpoint."""

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import SimilarityHead, SimilarityModule
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.similarity import similarity_errors, similarity_weights, unit_patterns
from lightning.pytorch import Trainer
from planted import Identity, Planted

WIDTHS = [30, 7]


def predict(features, responses, new):
    """Σ w_i response_i / Σ |w_i|, stimulus by stimulus; w the mean over layers of Pearson correlations."""
    predicted = []
    for stimulus in new:
        weights = [
            np.mean([np.corrcoef(stimulus[part], known[part])[0, 1] for part in (slice(0, 30), slice(30, 37))])
            for known in features
        ]
        predicted.append(np.sum([w * r for w, r in zip(weights, responses, strict=True)], 0) / np.abs(weights).sum())
    return np.array(predicted)


def planted(stimuli=60, targets=5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((stimuli, 37)) * rng.uniform(0.5, 3, 37) + rng.standard_normal(37)
    responses = features @ rng.standard_normal((37, targets)) / 5 + rng.standard_normal((stimuli, targets))
    return features, (responses - responses.mean(0)) / responses.std(0)


def test_the_head_predicts_what_a_loop_over_stimuli_does():
    features, responses = planted()
    head = SimilarityHead({"a": (5, 6), "b": (7,)}, 5)
    assert not head({"a": torch.zeros(2, 5, 6), "b": torch.zeros(2, 7)}).any(), "before it is solved"
    with torch.no_grad():
        head.write(torch.from_numpy(features[:40]).float(), torch.from_numpy(responses[:40]).float() + 2)
    new = torch.from_numpy(features[40:]).float()
    found = head({"a": new[:, :30].reshape(-1, 5, 6), "b": new[:, 30:]}).detach()
    mean = responses[:40].mean(0)
    expected = predict(features[:40], responses[:40] - mean, features[40:]) + mean + 2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cross_validated_errors_are_those_of_the_loop():
    features, responses = planted()
    fold = assign_folds(60, 4).numpy()
    errors, null_errors = np.zeros(5), np.zeros(5)
    for k in range(4):
        training, held_out = fold != k, fold == k
        scaled = (features - features[training].mean(0)) / features[training].std(0)
        mean = responses[training].mean(0)
        predicted = predict(scaled[training], responses[training] - mean, scaled[held_out]) + mean
        errors += ((responses[held_out] - predicted) ** 2).mean(0) / 4
        null_errors += ((responses[held_out] - mean) ** 2).mean(0) / 4
    found = similarity_errors(torch.from_numpy(features), WIDTHS, torch.from_numpy(responses), torch.from_numpy(fold))
    np.testing.assert_allclose(found[0], errors, rtol=1e-5)
    np.testing.assert_allclose(found[1], null_errors, rtol=1e-12)


def test_a_stimulus_without_any_variation_is_like_none():
    features = torch.randn(6, 37, generator=torch.Generator().manual_seed(0))
    features[0, :30], features[0, 30:], features[1, 30:] = 0.1, 1e4, 1 / 3
    patterns = unit_patterns(features, WIDTHS)
    assert not patterns[0].any()
    assert not patterns[1, 30:].any()
    torch.testing.assert_close(patterns.square().sum(1), torch.tensor([0.0, 1, 2, 2, 2, 2]))
    weights = similarity_weights(patterns, patterns[1:])
    assert not weights[0].any()
    torch.testing.assert_close(weights.abs().sum(1), torch.tensor([0.0, 1, 1, 1, 1, 1]))


@pytest.mark.parametrize("stimuli", [10, 81])
def test_few_stimuli_constant_targets_and_collinear_features(stimuli):
    features = torch.randn(stimuli, 300, generator=torch.Generator().manual_seed(0))
    features[:, 5], features[:, 150:160] = 3.0, features[:, :1]
    responses = torch.cat([features[:, :3], torch.zeros(stimuli, 1)], 1)
    error, null_error = similarity_errors(features, [300], responses, assign_folds(stimuli, 5))
    assert error.isfinite().all()
    assert stimuli == 10 or error[0] < null_error[0], "eleven features say the same of target 0"
    assert error[3] == null_error[3] == 0
    head = SimilarityHead({"a": (300,)}, 4)
    with torch.no_grad():
        head.write(features, responses)
        predicted = head({"a": features})
    assert predicted.isfinite().all()
    assert not predicted[:, 3].any()


def test_what_is_not_finite_is_refused():
    features, responses = (torch.from_numpy(part) for part in planted())
    responses[3, 4] = torch.nan
    with pytest.raises(InputError, match="target 4"):
        similarity_errors(features, WIDTHS, responses, assign_folds(60, 3))
    features[7, 2] = torch.inf
    with pytest.raises(InputError, match="NaN or infinity; check the encoder"):
        similarity_errors(features, WIDTHS, responses.nan_to_num(), assign_folds(60, 3))


def fit(tmp_path, source):
    data = EncodingDataModule(source, Identity(), cache_dir=tmp_path / "cache")
    module = SimilarityModule(data.num_targets, data.feature_shapes)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    run = Trainer(max_epochs=3, enable_model_summary=False, **quiet)
    run.fit(module, data, weights_only=True)
    return module, data, run


def test_a_planted_signal_is_recovered_and_its_shuffled_control_is_not(tmp_path):
    scores, explained = {}, {}
    for shuffle in (False, True):
        module, data, run = fit(tmp_path, Planted(400, shuffle=shuffle))
        scores[shuffle] = run.test(module, data, verbose=False)[0]["test/pearson"]
        explained[shuffle] = module.findings.cv_r2.mean()
    assert scores[False] > 0.7
    assert abs(scores[True]) < 0.1
    assert explained[False] > explained[True] + 0.05
    assert abs(explained[True]) < 0.02


@pytest.mark.parametrize("subjects", [1, 2])
def test_its_checkpoint_restores_it(tmp_path, subjects):
    module, data, run = fit(tmp_path, Planted(100, subjects=subjects))
    run.save_checkpoint(tmp_path / "similarity.ckpt")
    state = torch.load(tmp_path / "similarity.ckpt", weights_only=True)["state_dict"]
    for own in ("head",) if subjects == 1 else ("head.heads.0", "head.heads.1"):
        assert state[f"{own}.patterns"].shape == (70, 48)
    again = SimilarityModule.load_from_checkpoint(tmp_path / "similarity.ckpt")
    batch = next(iter(data.test_dataloader()["test"]))
    assert torch.equal(again.predict_batch(batch), module.predict_batch(batch))
    other = SimilarityModule(data.num_targets, {"pixels": (47,)})
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(state)


def test_several_subjects_are_several_fits(tmp_path):
    module, data, _ = fit(tmp_path, Planted(100, subjects=2))
    tests = {test.subject: test for test in data.test_dataloader()["test"]}
    for subject, own in enumerate((slice(0, 40), slice(40, 80))):
        positions = torch.from_numpy(data.table.positions_of(subject, "train"))
        features, responses = torch.zeros(len(positions), 48), torch.zeros(len(positions), 40)
        for batch in data.train_dataloader():
            if batch.subject == subject:
                row = torch.searchsorted(positions, batch.stimulus)
                features[row] = module.standardize_features(batch.features)["pixels"]
                responses[row] = module.standardize_responses(batch.response, batch.targets)
        error, null_error = similarity_errors(features, [48], responses, assign_folds(len(positions), 5, seed=0))
        np.testing.assert_allclose(module.findings.cv_r2[own], 1 - error / null_error, atol=1e-6)
        test = tests[subject]
        with torch.no_grad():
            predicted = module(test)
        shown = module.standardize_features(test.features)["pixels"]
        weights = similarity_weights(unit_patterns(shown, [48]), unit_patterns(features, [48]))
        torch.testing.assert_close(predicted, weights @ responses, rtol=0, atol=1e-5)


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match=r"--data\.encoder: SimilarityModule needs features"):
        SimilarityModule(3, None)
    with pytest.raises(InputError, match=r"--model\.folds 0: expected 2 or more"):
        SimilarityModule(3, {"a": (4,)}, folds=0)
    with pytest.raises(InputError, match="layer b has one feature"):
        SimilarityModule(3, {"a": (4,), "b": (1,)})
