"""Reduced features through the data module: into models, checkpoints and the cache."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from planted import Identity, Planted
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline

from src.cli import build_cli
from src.data import PrincipalComponents, RandomProjection
from src.data.datamodule import EncodingDataModule
from src.models import RidgeModule


@pytest.fixture
def make(tmp_path):
    """Data whose features are pixels (48,), the cache its own."""

    def data(reduction=None, source=None, folder="cache", **arguments):
        source = source or Planted()
        return EncodingDataModule(source, Identity(), reduction=reduction, cache_dir=tmp_path / folder, **arguments)

    return data


def served(data, split):
    """Features (n, D) of a split, responses (n, T), in the order on disk."""
    positions = data.positions(split)
    features = torch.empty(len(positions), *data.feature_shapes["pixels"])
    data._inputs["pixels"].gather(positions, features)
    return features.numpy(), data._respond(positions, np.empty((len(positions), data.num_targets), dtype=np.float32))


def fit(data, **model):
    module = RidgeModule(data.num_targets, data.feature_shapes, **model)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    run = Trainer(max_epochs=1, enable_model_summary=False, **options)
    run.fit(module, data, weights_only=True)
    predicted = torch.cat([module.predict(batch) for batch in data.test_dataloader()["test"]])
    return predicted.detach().numpy(), run


def test_components_and_least_squares_are_scikit_learns(make):
    predicted, _ = fit(make(PrincipalComponents(20)), penalties=[0.0])
    raw = make()
    raw.setup()
    features, responses = served(raw, "train")
    reference = make_pipeline(PCA(20, svd_solver="full"), LinearRegression()).fit(features, responses)
    np.testing.assert_allclose(predicted, reference.predict(served(raw, "test")[0]), atol=1e-4)


@pytest.mark.parametrize("stimuli", [150, 40])  # 105 and 28 training stimuli: the D×D form and the N×N form
def test_ridge_on_components_keeps_their_variances(make, stimuli):
    """As scikit-learn's PCA and Ridge do; components of one variance each would all be shrunken alike."""
    data = make(PrincipalComponents(20), Planted(stimuli))
    raw = make(source=Planted(stimuli), folder="raw")
    for one in (data, raw):
        one.setup()
    features, responses = served(raw, "train")
    scale = data.facts.feature_scale["pixels"]
    assert (scale == scale[0]).all()
    assert not data.facts.standardized
    predicted, _ = fit(data, penalties=[50.0])
    standard = responses.std(0)
    reference = make_pipeline(PCA(20, svd_solver="full"), Ridge(50.0 * float(scale[0]) ** 2))
    reference.fit(features, (responses - responses.mean(0)) / standard)
    expected = reference.predict(served(raw, "test")[0]) * standard + responses.mean(0)
    np.testing.assert_allclose(predicted, expected, atol=1e-3)


@pytest.mark.parametrize("stimuli", [150, 40])  # 105 and 28 training stimuli, for 48 features
@pytest.mark.parametrize("penalties", [[0.0], [1.0, 10.0]])
def test_components_beyond_the_share_change_nothing(make, stimuli, penalties):
    data = make(PrincipalComponents(48, variance=0.4), Planted(stimuli))
    predicted, _ = fit(data, penalties=penalties)
    features, _ = served(data, "train")
    assert features.shape[1] == 48
    kept = int(features.any(0).sum())
    assert 3 < kept < 30
    expected, _ = fit(make(PrincipalComponents(kept), Planted(stimuli), folder="other"), penalties=penalties)
    assert np.isfinite(predicted).all()
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_two_recordings_share_one_basis(make):
    data = make(PrincipalComponents(6), Planted(subjects=2))
    data.setup()
    raw = make(source=Planted(subjects=2))
    raw.setup()
    features = served(raw, "train")[0]
    theirs = PCA(6, svd_solver="full").fit(features)
    np.testing.assert_allclose(np.abs(served(data, "train")[0]), np.abs(theirs.transform(features)), atol=5e-2)


@pytest.mark.parametrize("reduction", [PrincipalComponents(8), RandomProjection(8, density=0.2)])
def test_a_checkpoint_carries_the_projection(make, tmp_path, reduction):
    data = make(reduction)
    _, run = fit(data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    saved = content[EncodingDataModule.__qualname__]["reductions"]["pixels"]
    raw = make()
    raw.setup()
    again = (torch.from_numpy(served(raw, "test")[0]) - saved["mean"]) @ saved["basis"]
    np.testing.assert_array_equal(again, served(data, "test")[0])


@pytest.mark.parametrize("reduction", [PrincipalComponents, RandomProjection])
def test_a_second_run_fits_nothing(make, reduction, monkeypatch, recwarn):
    first = make(reduction(8))
    first.setup()
    fits = []
    original = reduction.fit
    monkeypatch.setattr(reduction, "fit", lambda *given: fits.append(given) or original(*given))
    second = make(reduction(8))
    second.setup()
    assert not fits
    assert not recwarn.list
    for split in ("train", "test"):
        np.testing.assert_array_equal(served(first, split)[0], served(second, split)[0])
    basis = second.state_dict()["reductions"]["pixels"]["basis"]
    assert torch.equal(basis.to_dense(), first.state_dict()["reductions"]["pixels"]["basis"].to_dense())
    changed = [
        make(reduction(9)),
        make(reduction(8), seed=1),
        make(reduction(8), cache_dtype="float16"),
        make(reduction(8), Planted(seed=1)),
    ]
    for data in changed:
        data.setup()
    assert len(fits) == len(changed)


def test_flags():
    flags = ["--data.encoder=PixelEncoder", "--data.reduction=RandomProjection", "--data.reduction.density=0.1"]
    assert build_cli([*flags, "--data.reduction.components=7"]).datamodule.reduction.density == 0.1
    flags = ["--data.encoder=PixelEncoder", "--data.reduction=PrincipalComponents", "--data.reduction.variance=0.9"]
    assert build_cli(flags).datamodule.reduction.variance == 0.9
