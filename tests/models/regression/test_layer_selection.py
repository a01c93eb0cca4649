"""Layer selection: scikit-learn's choice and coefficients, the planted layer of every ROI, a linear head's artefact."""

import logging

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import ElasticNet, EncodingModule, LayerSelectionModule, Ridge
from calcarine.models.regression.gram import assign_folds
from calcarine.models.regression.layer_selection import select_layers
from lightning.pytorch import Trainer
from planted import Identity, Planted
from sklearn.linear_model import Ridge as ScikitRidge
from sklearn.preprocessing import StandardScaler

PENALTIES = [1.0, 100.0, 10000.0]
WIDTHS = {"wide": 70, "edges": 8, "objects": 12}


def planted(stimuli=120, noise=0.5, seed=0):
    """Features of three layers (N, 90), and responses (N, 9): three targets driven by each, "wide" weakly."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((stimuli, 90)) * rng.uniform(0.5, 3, 90) + rng.standard_normal(90)
    layers = np.split(StandardScaler().fit_transform(features), [70, 78], axis=1)
    signal = [layer @ rng.standard_normal((layer.shape[1], 3)) / np.sqrt(layer.shape[1]) for layer in layers]
    responses = np.concatenate(signal, 1) + noise * rng.standard_normal((stimuli, 9))
    return torch.from_numpy(features), torch.from_numpy((responses - responses.mean(0)) / responses.std(0))


def scikit_learn(features, responses, fold, groups, names):
    """Choice, coefficients, intercepts and error of a loop over layers, penalties and folds."""
    starts = dict(zip(WIDTHS, np.cumsum([0, *WIDTHS.values()]), strict=False))
    columns = {
        name: np.concatenate([starts[layer] + np.arange(WIDTHS[layer]) for layer in name.split(" + ")])
        for name in names
    }
    sets = np.arange(responses.shape[1]) if groups is None else groups
    found = []
    for name in names:
        x, errors = features[:, columns[name]], np.zeros((len(PENALTIES), responses.shape[1]))
        for row, penalty in zip(errors, PENALTIES, strict=True):
            for k in np.unique(fold):
                scaler = StandardScaler().fit(x[fold != k])
                model = ScikitRidge(alpha=penalty).fit(scaler.transform(x[fold != k]), responses[fold != k])
                held_out = responses[fold == k] - model.predict(scaler.transform(x[fold == k]))
                row += (held_out**2).mean(0) / len(np.unique(fold))
        for own in np.unique(sets):
            best = errors[:, sets == own].mean(1).argmin()
            found.append((own, name, PENALTIES[best], errors[best, sets == own]))
    layer, error = np.zeros(len(sets), dtype=int), np.zeros(len(sets))
    weight, bias = np.zeros((len(sets), features.shape[1])), np.zeros(len(sets))
    for own in np.unique(sets):
        members = sets == own
        _, name, penalty, error[members] = min((one for one in found if one[0] == own), key=lambda one: one[3].mean())
        scaler = StandardScaler().fit(features[:, columns[name]])
        model = ScikitRidge(alpha=penalty).fit(scaler.transform(features[:, columns[name]]), responses[:, members])
        layer[members] = names.index(name)
        weight[np.ix_(members, columns[name])] = model.coef_ / scaler.scale_
        bias[members] = model.intercept_ - (model.coef_ / scaler.scale_) @ scaler.mean_
    return layer, weight, bias, error


@pytest.mark.parametrize("groups", [None, [0, 0, 0, 1, 1, 1, 2, 2, 2], [0] * 9], ids=["target", "roi", "all"])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("stimuli", [81, 40], ids=["narrow and wide", "wider than stimuli"])
def test_choice_and_coefficients_are_scikit_learns(stimuli, groups, pairs):
    features, responses = planted(stimuli, noise=1.0)
    fold = assign_folds(stimuli, 3)
    shared = None if groups is None else torch.tensor(groups)
    choice = select_layers(features, WIDTHS, responses, Ridge(PENALTIES), fold, shared, pairs)
    names = [*WIDTHS, *(["wide + edges", "wide + objects", "edges + objects"] if pairs else [])]
    assert list(choice.r2) == names
    layer, weight, bias, error = scikit_learn(
        features.numpy(), responses.numpy(), fold.numpy(), None if groups is None else np.array(groups), names
    )
    np.testing.assert_array_equal(choice.layer, layer)
    np.testing.assert_allclose(choice.fit.weight, weight, atol=1e-8)
    np.testing.assert_allclose(choice.fit.bias, bias, atol=1e-8)
    np.testing.assert_allclose(choice.fit.error, error, atol=1e-8)
    chosen = torch.stack(list(choice.r2.values())).gather(0, choice.layer[None])[0]
    torch.testing.assert_close(choice.fit.cv_r2, chosen)


def test_each_target_has_its_planted_layer_and_a_shuffled_control_none():
    features, responses = planted(600)
    fold = assign_folds(600, 3)
    choice = select_layers(features, WIDTHS, responses, Ridge(), fold, None)
    assert choice.layer.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert (choice.fit.cv_r2 > 0.6).all()
    control = select_layers(features, WIDTHS, responses[torch.randperm(600)], Ridge(), fold, None)
    assert (control.fit.cv_r2 < 0.03).all(), "the maximum over three layers of nothing"
    assert torch.stack(list(control.r2.values())).mean() < 0.005


def test_a_pair_is_chosen_where_the_signal_is_in_both_and_only_there():
    features, responses = planted(600)
    both = torch.cat([responses[:, :6], responses[:, 3:6] + responses[:, 6:]], 1)
    choice = select_layers(features, WIDTHS, both, Ridge(), assign_folds(600, 3), torch.arange(9) // 3, pairs=True)
    names = list(choice.r2)
    assert [names[index] for index in choice.layer[[3, 6]]][1] == "edges + objects"
    assert choice.r2["edges + objects"][6:].min() > choice.r2["edges"][6:].max() + 0.2
    zero = choice.fit.weight == 0
    assert zero[6:, :70].all()
    assert not zero[6:, 70:].any()


@pytest.mark.parametrize("shared", [None, torch.zeros(4, dtype=torch.int64)], ids=["target", "all"])
@pytest.mark.parametrize("stimuli", [10, 81])
def test_few_stimuli_constant_targets_and_collinear_features(stimuli, shared):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((stimuli, 300))).float()
    features[:, 5], features[:, 150:160] = 3.0, features[:, :1]
    responses = torch.cat([features[:, :3], torch.zeros(stimuli, 1)], 1)  # standardising leaves a constant at 0
    choice = select_layers(features, {"a": 150, "b": 150}, responses, Ridge(), assign_folds(stimuli, 3), shared, True)
    assert choice.fit.weight.isfinite().all()
    assert not choice.fit.weight[3].any()
    assert not choice.fit.bias[3]
    assert choice.fit.cv_r2[3].isnan()
    assert not choice.fit.cv_r2[:3].isnan().any()
    single = select_layers(features, {"a": 300}, responses[:, :1], Ridge(), assign_folds(stimuli, 3), None, True)
    assert list(single.r2) == ["a"]
    assert single.layer.tolist() == [0]


def test_what_is_not_finite_is_refused():
    features, responses = planted(30)
    responses[3, 4] = torch.nan
    with pytest.raises(InputError, match="target 4"):
        select_layers(features, WIDTHS, responses, Ridge(), assign_folds(30, 3), None)


class Corners(Identity):
    """The pixels of the upper and of the lower half, twice: as they are, and as noise that says nothing of them."""

    def forward(self, images):
        pixels = images.float()
        scrambled = (pixels * 17 + 3).remainder(256) * pixels.flatten(1).sum(1)[:, None, None, None].remainder(7)
        return {"noise": scrambled, "upper": pixels[:, :, :2], "lower": pixels[:, :, 2:]}

    def feature_shapes(self):
        return {"noise": (3, 4, 4), "upper": (3, 2, 4), "lower": (3, 2, 4)}


class Halves(Planted):
    """ROI "lh.a" sees the upper half of the image, "rh.b" the lower; target 2 does not vary."""

    def _read(self, subject):
        recording = super()._read(subject)
        images = recording.stimuli.images.reshape(self.stimuli, 2, -1) / 127.5 - 1
        rng = np.random.default_rng(subject)
        for roi, half in zip(recording.rois, (0, 1), strict=True):
            signal = images[:, half] @ rng.standard_normal((24, len(roi.targets))) / 2
            recording.responses.parts[0].array[:, roi.targets] = signal + rng.standard_normal(signal.shape)
        recording.responses.parts[0].array[:, 2] = 1e4
        return recording


def fit(tmp_path, source, **model):
    data = EncodingDataModule(source, Corners(), cache_dir=tmp_path / "cache", validation=0.0)
    module = LayerSelectionModule(data.num_targets, data.feature_shapes, **model)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    run = Trainer(max_epochs=3, enable_model_summary=False, **quiet)
    run.fit(module, data, weights_only=True)
    return module, data, run


@pytest.mark.parametrize("subjects", [1, 2])
def test_each_roi_has_its_layer_and_the_checkpoint_is_a_linear_heads(tmp_path, caplog, subjects):
    with caplog.at_level(logging.INFO, logger="calcarine"):
        module, data, run = fit(tmp_path, Halves(300, subjects=subjects))
    assert caplog.text.count("best layer of 40 targets: lower for 24, upper for 16") == subjects
    assert list(module.findings.layer_r2) == ["noise", "upper", "lower"]
    assert module.findings.layer.tolist() == ([1] * 16 + [2] * 24) * subjects
    weight = module.heads[-1].weight.detach()
    assert not weight[:16, :48].any()
    assert not weight[:16, 72:].any()
    assert not weight[2].any()
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > 0.7
    run.save_checkpoint(tmp_path / "layers.ckpt")
    saved = torch.load(tmp_path / "layers.ckpt", weights_only=True)
    linear = EncodingModule(data.num_targets, data.feature_shapes)
    linear.take_facts(data.facts)
    linear.setup("test")
    linear.load_state_dict(saved["state_dict"], strict=True)
    batch = next(iter(data.test_dataloader()["test"]))
    assert torch.equal(linear.predict_batch(batch), module.predict_batch(batch))
    np.testing.assert_array_equal(saved["findings"]["layer_r2"]["lower"], module.findings.layer_r2["lower"])


def test_a_shuffled_control_is_at_zero(tmp_path):
    module, data, run = fit(tmp_path, Halves(300, shuffle=True), selection="target", pairs=True)
    assert abs(run.test(module, data, verbose=False)[0]["test/pearson"]) < 0.1
    assert np.nanmean(module.findings.cv_r2) < 0.05


def test_stacked_layers_are_a_linear_head_of_all_and_say_how_much_each_counts(tmp_path):
    module, data, run = fit(tmp_path, Halves(300), selection="roi", stacked=True)
    found = module.findings
    assert list(found.layer_weight) == ["noise", "upper", "lower"]
    assert found.layer.tolist() == [1] * 16 + [2] * 24
    np.testing.assert_allclose(np.sum(list(found.layer_weight.values()), axis=0), 1, atol=1e-6)
    assert found.layer_weight["upper"][:16].min() > 0.9
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > 0.7


def test_wrong_settings_are_refused():
    for said, settings in {
        r"--model\.pairs true": {"pairs": True},
        r"--model\.folds 2: expected 3 or more": {"folds": 2},
    }.items():
        with pytest.raises(InputError, match=said):
            LayerSelectionModule(3, {"a": (4,)}, stacked=True, **settings)
    with pytest.raises(InputError, match=r"--data\.encoder: LayerSelectionModule needs features"):
        LayerSelectionModule(3, None)
    shapes = {"a": (3,), "b": (1500,), "c": (1600,)}
    for said, settings in {
        r"--model\.folds 0: expected 2 or more": {"folds": 0},
        r"--model\.selection target: expected roi or all": {"regression": ElasticNet(multitask=True)},
        r"at most 2000 features, found 3100": {"pairs": True},
    }.items():
        with pytest.raises(InputError, match=said):
            LayerSelectionModule(3, shapes, **{"regression": ElasticNet(), "selection": "target"} | settings)
    with pytest.raises(InputError, match=r"--model\.folds 1: expected 2 or more"):
        LayerSelectionModule(3, {"a": (4,)}, folds=1)
