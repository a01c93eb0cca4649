"""Clips through the data module: averaged over frames, or frame by frame, reduced or not, or as they are."""

import hashlib

import numpy as np
import pytest
import torch
from calcarine.data import PrincipalComponents, Source
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import PatchEncoder
from calcarine.errors import InputError
from calcarine.models import EncodingModule
from calcarine.recording import Recording, Responses
from PIL import Image
from planted import Identity
from sklearn.decomposition import PCA

FRAMES = 3


class Clips:
    """Clips of seeded noise in memory."""

    frames = FRAMES

    def __init__(self, count):
        self.clips = np.random.default_rng(0).integers(0, 255, (count, FRAMES, 4, 4, 3), dtype=np.uint8)
        self.names = [f"{index}.mp4" for index in range(count)]

    def __len__(self):
        return len(self.clips)

    def read(self, index):
        return self.clips[index]

    def digests(self, memo=None):
        return [hashlib.sha256(clip.tobytes()).hexdigest() for clip in self.clips]


class ClipSource(Source):
    frames = FRAMES
    num_targets = 2

    def read(self):
        responses = np.random.default_rng(1).standard_normal((60, 2)).astype(np.float32)
        return [Recording("sub01", Clips(60), Responses.of(responses), np.array([""] * 60), np.array(["", ""]))]


@pytest.fixture
def make(tmp_path):
    def data(encoder=None, **arguments):
        module = EncodingDataModule(ClipSource(), encoder or Identity(), cache_dir=tmp_path / "cache", **arguments)
        module.setup()
        return module

    return data


def served(data):
    """Stimuli of the test split and their features (n, …)."""
    (batch,) = data.test_dataloader()["test"]
    return batch.stimulus.numpy(), batch.features["pixels"].numpy()


def expected(stimuli):
    """Features of each frame, (n, FRAMES, 48)."""
    return Clips(60).clips[stimuli].transpose(0, 1, 4, 2, 3).reshape(len(stimuli), FRAMES, 48).astype(np.float32)


@pytest.mark.parametrize("encode_batch_size", [1, 7, 64])
def test_features_are_averaged_or_served_frame_by_frame(make, encode_batch_size):
    averaged = make(encode_batch_size=encode_batch_size)
    assert averaged.feature_shapes == {"pixels": (48,)}
    assert averaged.facts.frames is None
    stimuli, features = served(averaged)
    np.testing.assert_allclose(features, expected(stimuli).mean(1), rtol=1e-6)
    each = make(average_frames=False, encode_batch_size=encode_batch_size)
    assert each.feature_shapes == {"pixels": (FRAMES, 48)}
    stimuli, features = served(each)
    np.testing.assert_array_equal(features, expected(stimuli))


def test_the_spread_over_frames_stands_beside_the_mean(make):
    both = make(frame_spread=True)
    assert both.feature_shapes == {"pixels": (48,), "pixels (spread)": (48,)}
    (batch,) = both.test_dataloader()["test"]
    frames = expected(batch.stimulus.numpy())
    np.testing.assert_allclose(batch.features["pixels"], frames.mean(1), rtol=1e-6)
    np.testing.assert_allclose(batch.features["pixels (spread)"], frames.std(1), rtol=1e-5)
    clips = Clips(60).clips[batch.stimulus.numpy()]
    again, _ = both.facts.intake(clips, torch.device("cpu"))
    assert all(torch.equal(again[layer], features) for layer, features in batch.features.items())
    with pytest.raises(InputError, match="expected clips as in training"):
        both.facts.intake(clips[:, 0], torch.device("cpu"))
    assert both.identity != make().identity  # a run with it goes on with none without
    reduced = make(frame_spread=True, reduction=PrincipalComponents(5))
    assert reduced.feature_shapes == {"pixels": (5,), "pixels (spread)": (5,)}


def test_the_spread_needs_clips_that_are_averaged(make):
    with pytest.raises(InputError, match=r"--data\.frame_spread: .*found every frame served"):
        make(frame_spread=True, average_frames=False)


def test_frames_share_their_statistics_and_one_basis(make):
    raw = make(average_frames=False)
    training = raw.positions("train")
    frames = expected(training).reshape(-1, 48)
    assert raw.facts.frames == FRAMES
    assert raw.facts.feature_mean["pixels"].shape == (FRAMES, 48)
    np.testing.assert_allclose(raw.facts.feature_mean["pixels"], np.tile(frames.mean(0), (FRAMES, 1)), rtol=1e-5)
    np.testing.assert_allclose(raw.facts.feature_scale["pixels"][0], frames.std(0), rtol=1e-5)
    reduced = make(average_frames=False, reduction=PrincipalComponents(5))
    assert reduced.feature_shapes == {"pixels": (FRAMES, 5)}
    stimuli, features = served(reduced)
    theirs = PCA(5, svd_solver="full").fit(frames).transform(expected(stimuli).reshape(-1, 48))
    np.testing.assert_allclose(np.abs(features), np.abs(theirs).reshape(-1, FRAMES, 5), rtol=1e-3, atol=0.5)


def test_an_encoder_is_fitted_to_the_middle_frames(make, monkeypatch):
    seen = []
    monkeypatch.setattr(PatchEncoder, "fit", lambda self, images: seen.extend(images[i] for i in range(len(images))))
    monkeypatch.setattr(PatchEncoder, "forward", lambda self, images: {"patches": images.float().mean((2, 3))})
    monkeypatch.setattr(PatchEncoder, "feature_shapes", lambda self: {"patches": (3,)})
    data = make(PatchEncoder())
    middle = Clips(60).clips[data.positions("train"), FRAMES // 2].transpose(0, 3, 1, 2)
    assert torch.equal(torch.stack(seen), torch.from_numpy(middle))


def images(tmp_path, **arguments):
    """Stimuli of the test split and their frames, served without an encoder."""
    data = EncodingDataModule(ClipSource(), cache_dir=tmp_path / "cache", **arguments)
    assert data.feature_shapes is None
    data.setup()
    assert data.facts.feature_mean is None
    assert data.facts.frames is None
    (batch,) = data.test_dataloader()["test"]
    assert batch.features is None
    assert batch.images.dtype == torch.uint8
    return batch.stimulus.numpy(), batch.images.numpy()


@pytest.mark.parametrize("average_frames", [True, False])
def test_without_an_encoder_clips_are_served_as_frames(tmp_path, average_frames):
    stimuli, served = images(tmp_path, average_frames=average_frames)
    np.testing.assert_array_equal(served, Clips(60).clips[stimuli].transpose(0, 1, 4, 2, 3))


def test_each_frame_is_resized_alone(tmp_path):
    stimuli, served = images(tmp_path, image_size=7)
    assert served.shape == (len(stimuli), FRAMES, 3, 7, 7)
    for row, clip in zip(served, Clips(60).clips[stimuli], strict=True):
        for found, frame in zip(row, clip, strict=True):
            expected = Image.fromarray(frame).resize((7, 7), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(found, np.asarray(expected).transpose(2, 0, 1))


def test_clips_of_several_sizes_are_named_and_can_be_resized(tmp_path, monkeypatch):
    def read(self, index):
        return self.clips[index][:, :3] if index == 17 else self.clips[index]

    monkeypatch.setattr(Clips, "read", read)
    with pytest.raises(InputError, match=r"^17\.mp4: expected 4×4 pixels like the first, found 3×4; set --data"):
        images(tmp_path)
    assert images(tmp_path, image_size=4)[1].shape[1:] == (FRAMES, 3, 4, 4)


def test_a_backbone_sees_each_frame_alone_and_predictions_are_averaged(tmp_path):
    data = EncodingDataModule(ClipSource(), cache_dir=tmp_path / "cache", image_size=4)
    data.setup()
    model = EncodingModule(2, None, backbone=Identity())
    model.standardize_responses.fill(data.facts.response_mean, data.facts.response_scale)
    torch.nn.init.normal_(model.head.weight)
    (batch,) = data.test_dataloader()["test"]
    flat = expected(batch.stimulus.numpy())  # (n, FRAMES, 48)
    weight = model.head.weight.detach().numpy()
    standardised = (flat @ weight.T).mean(1)
    with torch.no_grad():
        predicted = model.predict_batch(batch).numpy()
    response_scale, response_mean = data.facts.response_scale.numpy(), data.facts.response_mean.numpy()
    np.testing.assert_allclose(predicted, standardised * response_scale + response_mean, rtol=1e-3)
