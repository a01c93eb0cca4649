"""The elastic net through the module: scikit-learn's weights in a linear head's artefact, and in layer selection."""

from pathlib import Path

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import ElasticNet, ElasticNetModule, EncodingModule, LayerSelectionModule
from calcarine.run.main import main
from lightning.pytorch import Trainer
from planted import Identity, Planted
from sklearn.linear_model import ElasticNet as ScikitElasticNet
from sklearn.preprocessing import StandardScaler
from trees import write_folder

SHAPES = {"pixels": (48,)}


def fit(tmp_path, source, make):
    data = EncodingDataModule(source, Identity(), cache_dir=tmp_path / "cache", batch_size=32)
    module = make(data.num_targets, data.feature_shapes)
    run = Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    run.fit(module, data, weights_only=True)
    return module, data, run


def net(**settings):
    return lambda targets, shapes: ElasticNetModule(targets, shapes, **{"path_length": 20} | settings)


def training_data(data):
    """Pixels and responses of the training stimuli as the module sees them, float64, in the order on disk."""
    source, positions = data.recordings[0], data.positions("train")
    images = np.stack([source.stimuli.read(i) for i in positions]).transpose(0, 3, 1, 2).reshape(len(positions), -1)
    responses = source.responses.gather(positions).astype(np.float64)
    scaled = (responses - data.facts.response_mean.numpy()) / data.facts.response_scale.numpy()
    return StandardScaler().fit_transform(images.astype(np.float64)), scaled


@pytest.mark.parametrize("settings", [{}, {"l1_ratio": 0.4, "selection": "roi"}], ids=["lasso", "elastic net"])
def test_weights_are_scikit_learns_at_the_chosen_penalties(tmp_path, settings):
    module, data, _ = fit(tmp_path, Planted(200, noise=np.geomspace(0.1, 10, 40)), net(**settings))
    x, y = training_data(data)
    for target, penalty in enumerate(module.findings.penalty.tolist()):
        model = ScikitElasticNet(alpha=penalty, l1_ratio=settings.get("l1_ratio", 1), tol=1e-9, max_iter=10**6)
        expected = model.fit(x, y[:, target]).coef_
        np.testing.assert_allclose(module.head.weight[target].detach(), expected, atol=1e-4 * np.abs(y).max())
    assert module.findings.cv_r2[0] > 0.9
    assert module.findings.cv_r2[-1] < 0.3


def test_multi_task_targets_of_a_roi_share_features_and_penalty(tmp_path):
    module, data, _ = fit(tmp_path, Planted(120, noise=20.0), net(multitask=True, selection="roi"))
    for group in data.facts.groups.unique():
        own = data.facts.groups == group
        used = module.head.weight[own] != 0
        assert torch.equal(used.any(0), used.all(0))
        assert len(np.unique(module.findings.penalty[own.numpy()])) == 1


def test_a_planted_signal_is_recovered_and_its_shuffled_control_is_not(tmp_path):
    scores = {}
    for shuffle in (False, True):
        module, data, run = fit(tmp_path, Planted(400, shuffle=shuffle), net())
        scores[shuffle] = run.test(module, data, verbose=False)[0]["test/pearson"]
        scores[shuffle, "r2"] = module.findings.cv_r2.mean()
    assert scores[False] > 0.85
    assert abs(scores[True]) < 0.1
    assert abs(scores[True, "r2"]) < 0.03


def test_its_checkpoint_is_a_linear_heads(tmp_path):
    module, data, run = fit(tmp_path, Planted(), net())
    run.save_checkpoint(tmp_path / "net.ckpt")
    checkpoint = torch.load(tmp_path / "net.ckpt", weights_only=True)
    linear = EncodingModule(data.num_targets, data.feature_shapes)
    linear.load_state_dict(checkpoint["state_dict"], strict=True)
    batch = next(iter(data.test_dataloader()["test"]))
    assert torch.equal(linear.predict_batch(batch), module.predict_batch(batch))
    again = ElasticNetModule(data.num_targets, data.feature_shapes)
    again.on_load_checkpoint(checkpoint)
    np.testing.assert_array_equal(again.findings.penalty, module.findings.penalty)


@pytest.mark.parametrize(("stimuli", "targets"), [(20, [3]), (81, None)])
def test_few_stimuli_one_target_and_a_constant_one(tmp_path, monkeypatch, stimuli, targets):
    read = Planted._read

    def with_constants(self, subject):
        recording = read(self, subject)
        if targets is None:
            recording.responses.parts[0].array[:, 2] = 1e4
        for image in recording.stimuli.images:
            image[0, 0] = 7
        return recording

    monkeypatch.setattr(Planted, "_read", with_constants)
    module, data, run = fit(tmp_path, Planted(stimuli, targets), net(path_end=0.05))
    assert module.head.weight.isfinite().all()
    assert not module.head.weight[:, 0].any()
    if targets is None:
        assert not module.head.weight[2].any()
        batch = next(iter(data.test_dataloader()["test"]))
        torch.testing.assert_close(module.predict_batch(batch)[:, 2], torch.full((len(batch),), 1e4))
    assert np.isfinite(run.test(module, data, verbose=False)[0]["test/pearson"])


def test_layer_selection_takes_it(tmp_path):
    def select(targets, shapes):
        return LayerSelectionModule(targets, shapes, ElasticNet(path_length=20))

    module, *_ = fit(tmp_path, Planted(), select)
    alone, *_ = fit(tmp_path, Planted(), net(selection="roi", folds=3))
    assert torch.equal(module.head.weight, alone.head.weight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"folds": 0}, r"--model\.folds 0: expected 2 or more"),
        ({"folds": 1}, r"--model\.folds 1: expected 2 or more"),
        ({"multitask": True}, r"--model\.selection target: .*expected roi or all"),
        ({"l1_ratio": 0.0}, "l1_ratio: expected above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        ElasticNetModule(3, SHAPES, **settings)
    with pytest.raises(InputError, match=r"--data\.encoder: ElasticNetModule needs features"):
        ElasticNetModule(3, None)


def test_the_command_line_runs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=40, n_targets=6)
    flags = [
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=PixelEncoder",
        "--data.encoder.size=4",
        "--model=ElasticNetModule",
        "--name=net",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    assert main([*flags, "--model.path_length=10", "--model.path_end=0.05"]) == 0
    assert list(Path("runs/net").glob("*/scores.csv"))
    assert main([*flags, "--model.folds=0"]) == 2
    assert "--model.folds 0: expected 2 or more" in capsys.readouterr().err
