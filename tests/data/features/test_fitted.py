"""Encoders that learn from the training images: once, from these alone, and the same on every rank."""

import hashlib

import numpy as np
import pytest
import torch
from calcarine.data.features.embeddings import EmbeddingCache, Share
from calcarine.data.features.fitted import TrainingImages, fit_encoder
from calcarine.encoders import Encoder, JointEncoder, PatchEncoder, PixelEncoder, TorchvisionEncoder, patches
from calcarine.errors import InputError

CPU = torch.device("cpu")


class Pictures:
    """Images of seeded noise in memory."""

    frames = None

    def __init__(self, count, seed=0, size=20):
        rng = np.random.default_rng(seed)
        self.images = [rng.integers(0, 255, (size, size, 3), dtype=np.uint8) for _ in range(count)]
        self.names = [f"{index}.png" for index in range(count)]

    def __len__(self):
        return len(self.images)

    def read(self, index):
        return self.images[index]

    def digests(self, memo=None):
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in self.images]


@pytest.fixture(autouse=True)
def fits(monkeypatch):
    """Seeds of the encoders that were fitted."""
    monkeypatch.setattr(patches, "FIT_PATCHES", 1000)
    fit, seeds = PatchEncoder.fit, []

    def watched(self, images):
        seeds.append(self.seed)
        fit(self, images)

    monkeypatch.setattr(PatchEncoder, "fit", watched)
    return seeds


def patch_encoder(seed=0):
    return PatchEncoder(patches=6, patch_size=4, image_size=16, grid=2, seed=seed)


def first(stimuli, count):
    return TrainingImages([(stimuli, index) for index in range(count)])


def test_a_fit_is_remembered_until_a_training_image_or_a_setting_changes(tmp_path, fits):
    stimuli = Pictures(12)
    encoder = patch_encoder()
    fit_encoder(encoder, first(stimuli, 8), tmp_path)
    again = patch_encoder()
    fit_encoder(again, first(stimuli, 8), tmp_path)
    assert fits == [0]
    assert again.fingerprint() == encoder.fingerprint()
    stimuli.images[9][0, 0, 0] ^= 1  # a held-out image
    fit_encoder(patch_encoder(), first(stimuli, 8), tmp_path)
    assert fits == [0]
    stimuli.images[7][0, 0, 0] ^= 1
    fit_encoder(patch_encoder(), first(stimuli, 8), tmp_path)
    assert fits == [0, 0]
    fit_encoder(patch_encoder(seed=1), first(stimuli, 8), tmp_path)
    assert fits == [0, 0, 1]
    assert len(list((tmp_path / "fitted").iterdir())) == 3


@pytest.mark.parametrize("damage", ["truncated", "empty", "pickle", "shape", "names"])
def test_a_damaged_memory_is_made_anew(tmp_path, fits, damage):
    stimuli, encoder = Pictures(8), patch_encoder()
    fit_encoder(encoder, first(stimuli, 8), tmp_path)
    (path,) = (tmp_path / "fitted").iterdir()
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    if damage in ("truncated", "empty"):
        path.write_bytes(path.read_bytes()[: 200 if damage == "truncated" else 0])
    elif damage == "pickle":
        np.savez(path, **{**state, "dictionary": np.array([{}], dtype=object)})
    elif damage == "shape":
        np.savez(path, **{**state, "dictionary": state["dictionary"][:3]})
    else:
        np.savez(path, other=np.zeros(3))
    again = patch_encoder()
    fit_encoder(again, first(stimuli, 8), tmp_path)
    assert fits == [0, 0]
    assert again.fingerprint() == encoder.fingerprint()
    fit_encoder(patch_encoder(), first(stimuli, 8), tmp_path)
    assert fits == [0, 0]


def test_encoders_that_learn_nothing_read_no_image(tmp_path):
    class Unread:
        def read(self, index):
            raise AssertionError

    fit_encoder(JointEncoder({"pixels": PixelEncoder()}), TrainingImages([(Unread(), 0)]), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shared_disk", [True, False])
def test_one_rank_fits_and_the_others_read_what_it_learnt(tmp_path, fits, shared_disk):
    """Rank 1 arrives at each of its barriers only when rank 0 does."""
    import threading

    barrier = threading.Barrier(2, timeout=30)
    encoders = [patch_encoder(), patch_encoder()]

    def agree(error):
        assert error is None
        barrier.wait()

    def rank(index):
        folder = tmp_path if shared_disk else tmp_path / str(index)
        fit_encoder(encoders[index], first(Pictures(8), 8), folder, Share(index, 2, agree))

    threads = [threading.Thread(target=rank, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoders[0].fingerprint() == encoders[1].fingerprint()
    assert len(fits) == (1 if shared_disk else 2)


def test_what_one_rank_cannot_read_all_hear_of(tmp_path):
    stimuli, heard = Pictures(8), []

    def broken(index):
        raise InputError(f"{index}.png: truncated")

    def agree(error):
        heard.append(str(error))
        if error is not None:
            raise error

    stimuli.read = broken
    with pytest.raises(InputError, match="truncated"):
        fit_encoder(patch_encoder(), first(stimuli, 8), tmp_path, Share(0, 2, agree))
    assert len(heard) == 1
    assert not list(tmp_path.rglob("*.npz"))


def test_each_part_is_cached_as_it_is_alone(tmp_path):
    stimuli, cache = Pictures(9), EmbeddingCache(tmp_path)
    alone = cache.embed(stimuli, PixelEncoder(4), CPU)
    joint = JointEncoder({"small": PixelEncoder(4), "large": PixelEncoder(8)})
    found = cache.embed(stimuli, joint, CPU)
    assert list(found) == ["small:pixels", "large:pixels"]
    assert found["small:pixels"].filename == alone["pixels"].filename  # type: ignore[attr-defined]
    assert len(list((tmp_path / "embeddings").iterdir())) == 2
    batch = torch.from_numpy(np.stack(stimuli.images)).permute(0, 3, 1, 2)
    for layer, features in joint(batch).items():
        np.testing.assert_array_equal(found[layer], features.numpy())


def test_several_layers_take_one_forward_pass_per_batch(tmp_path):
    encoder: Encoder = TorchvisionEncoder("resnet18", "random", ["layer1", "layer2", "layer3"], "avg", image_size=32)
    passes = []
    encoder.get_submodule("network.conv1").register_forward_hook(lambda *_: passes.append(1))
    features = EmbeddingCache(tmp_path).embed(Pictures(10), encoder, CPU, batch_size=5)
    assert [features[layer].shape for layer in ("layer1", "layer2", "layer3")] == [(10, 64), (10, 128), (10, 256)]
    assert len(passes) == 2
