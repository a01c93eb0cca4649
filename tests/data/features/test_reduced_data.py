"""Reduced features through the data module: into models, checkpoints and the cache."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from calcarine.data import PrincipalComponents, RandomProjection
from calcarine.data.datamodule import EncodingDataModule
from calcarine.data.features.embeddings import Share
from calcarine.data.features.reduction_memo import remembered
from calcarine.encoders.projection import Projection
from calcarine.errors import InputError
from calcarine.models import RidgeModule
from calcarine.recording import Responses
from calcarine.run.cli import build_cli
from lightning.pytorch import Trainer
from planted import Identity, Planted
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline


@pytest.fixture
def make(tmp_path):
    """Data whose features are pixels (48,), the cache its own."""

    def data(reduction=None, source=None, folder="cache", **arguments):
        source = source or Planted()
        return EncodingDataModule(source, Identity(), reduction=reduction, cache_dir=tmp_path / folder, **arguments)

    return data


def features_of(data, split):
    """Features (n, D) of a split, in the order on disk."""
    positions = data.positions(split)
    features = torch.empty(len(positions), *data.feature_shapes["pixels"])
    data._served["pixels"].gather(positions, features)
    return features.numpy()


def served(data, split):
    """The same, and one subject's responses (n, T)."""
    return features_of(data, split), data.table.respond(0, data.positions(split))


def fit(data, **model):
    module = RidgeModule(data.num_targets, data.feature_shapes, **model)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    run = Trainer(max_epochs=1, enable_model_summary=False, **options)
    run.fit(module, data, weights_only=True)
    predicted = torch.cat([module.predict_batch(batch) for batch in data.test_dataloader()["test"]])
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
    features = features_of(raw, "train")
    theirs = PCA(6, svd_solver="full").fit(features)
    np.testing.assert_allclose(np.abs(features_of(data, "train")), np.abs(theirs.transform(features)), atol=5e-2)


@pytest.mark.parametrize("reduction", [PrincipalComponents(8), RandomProjection(8, density=0.2)])
def test_a_checkpoint_carries_the_projection(make, tmp_path, reduction):
    data = make(reduction)
    _, run = fit(data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    saved = content["calcarine"]["intake"]["projections"]["pixels"]
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
    bases = [data.facts.intake.projections["pixels"].basis.to_dense() for data in (first, second)]
    assert torch.equal(*bases)
    changed = [
        make(reduction(9)),
        make(reduction(8), seed=1),
        make(reduction(8), cache_dtype="float16"),
        make(reduction(8), Planted(seed=1)),
    ]
    for data in changed:
        data.setup()
    assert len(fits) == len(changed)


def test_a_damaged_memory_is_made_anew(make, tmp_path):
    first = make(PrincipalComponents(8))
    first.setup()
    (path,) = (tmp_path / "cache/reductions").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    second = make(PrincipalComponents(8))
    second.setup()
    assert len(path.read_bytes()) == len(whole)
    np.testing.assert_array_equal(served(first, "test")[0], served(second, "test")[0])


@pytest.mark.parametrize("shared_disk", [True, False])
def test_one_rank_reduces_and_the_others_read_it(tmp_path, shared_disk):
    """Rank 1 arrives at each of its barriers only when rank 0 does."""
    barrier = threading.Barrier(2, timeout=30)
    made = []

    def reduce():
        made.append(1)
        return Projection(torch.zeros(3), torch.full((3, 2), float(len(made)))), torch.full((5, 2), float(len(made)))

    def rank(index):
        folder = tmp_path if shared_disk else tmp_path / str(index)
        return remembered(folder, {"layer": "a"}, reduce, Share(index, 2, lambda _: void(barrier.wait())))

    with ThreadPoolExecutor(2) as pool:
        (ours, first), (theirs, second) = pool.map(rank, range(2))
    assert len(made) == (1 if shared_disk else 2)
    assert torch.equal(ours.basis, theirs.basis) == torch.equal(first, second) == shared_disk


def test_what_one_rank_cannot_reduce_all_hear_of(tmp_path):
    heard = []

    def reduce():
        raise InputError("ask for fewer")

    def agree(error):
        heard.append(str(error))
        if error is not None:
            raise error

    with pytest.raises(InputError, match="ask for fewer"):
        remembered(tmp_path, {"layer": "a"}, reduce, Share(0, 2, agree))
    assert heard == ["ask for fewer"]


def void(_):
    return None


class OtherResponses(Planted):
    """The same images and as many targets: another subject's, or another hemisphere's."""

    def read(self):
        (recording,) = super().read()
        responses = recording.responses.gather(np.arange(self.stimuli))[:, ::-1].copy()
        return [replace(recording, responses=Responses.of(responses))]


def test_a_run_goes_on_with_the_same_data_alone(make):
    same = [{}, {"folder": "other"}, {"batch_size": 7}]
    others = [{"source": OtherResponses()}, {"source": Planted(shuffle=True)}, {"cache_dtype": "float16"}, {"seed": 1}]
    others += [{"reduction": PrincipalComponents(8)}, {"reduction": PrincipalComponents(9)}]
    identities = []
    for arguments in same + others:
        data = make(**arguments)
        data.setup()
        identities.append(data.identity)
    assert len(set(identities[: len(same)])) == 1
    assert len(set(identities)) == 1 + len(others)


def test_flags():
    flags = ["--data.encoder=PixelEncoder", "--data.reduction=RandomProjection", "--data.reduction.density=0.1"]
    assert build_cli([*flags, "--data.reduction.components=7"]).datamodule.inputs.reduction.density == 0.1
    flags = ["--data.encoder=PixelEncoder", "--data.reduction=PrincipalComponents", "--data.reduction.variance=0.9"]
    assert build_cli(flags).datamodule.inputs.reduction.variance == 0.9
