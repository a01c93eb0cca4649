import hashlib
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from calcarine.data.features import cache_entry
from calcarine.data.features.embeddings import EmbeddingCache, Share
from calcarine.data.features.extraction import Extraction
from calcarine.data.filled_array import FilledArray
from calcarine.encoders import Encoder, TorchvisionEncoder
from calcarine.encoders.intake import encode_stimuli
from calcarine.errors import InputError

CPU = torch.device("cpu")


class Means(Encoder):
    """Mean colour and a 2×2 thumbnail: cheap features whose truth a test can compute itself."""

    def __init__(self, gain: float = 1.0, wait: float = 0.0):
        super().__init__()
        self.gain = gain
        self.wait = wait
        self.forwards = 0

    def forward(self, images):
        self.forwards += len(images)
        time.sleep(self.wait)
        images = images.float() * self.gain
        return {"mean": images.mean((2, 3)), "thumbnail": images[:, :, ::4, ::4]}

    def feature_shapes(self):
        return {"mean": (3,), "thumbnail": (3, 2, 2)}

    def settings(self):
        return {"gain": self.gain}


class Noise:
    """Images of seeded noise in memory."""

    frames = None

    def __init__(self, count, seed=0, sizes=(8,)):
        rng = np.random.default_rng(seed)
        self.images = [rng.integers(0, 255, (sizes[i % len(sizes)], 8, 3), dtype=np.uint8) for i in range(count)]
        self.names = [f"{index}.png" for index in range(count)]
        self.reads = 0

    def __len__(self):
        return len(self.images)

    def read(self, index):
        self.reads += 1
        return self.images[index]

    def digests(self, memo=None):
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in self.images]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(cache_entry, "CHUNK", 10)


def expected(stimuli, gain=1.0):
    return np.stack([image.astype(np.float32).mean((0, 1)) * gain for image in stimuli.images])


def test_features_are_the_encoders_in_the_stimuli_s_order(tmp_path):
    stimuli = Noise(33)
    features = EmbeddingCache(tmp_path).embed(stimuli, Means(), CPU, batch_size=4)
    np.testing.assert_allclose(features["mean"], expected(stimuli), rtol=1e-5)
    assert features["thumbnail"].shape == (33, 3, 2, 2)
    assert isinstance(features["mean"], np.memmap)


def test_images_of_several_sizes(tmp_path):
    stimuli = Noise(25, sizes=(8, 8, 12))
    encoder = Means()
    encoder.feature_shapes = lambda: {"mean": (3,)}
    forward = encoder.forward
    encoder.forward = lambda images: {"mean": forward(images)["mean"]}
    features = EmbeddingCache(tmp_path).embed(stimuli, encoder, CPU)
    np.testing.assert_allclose(features["mean"], expected(stimuli), rtol=1e-5)


def test_a_second_run_extracts_nothing_and_says_so(tmp_path, caplog):
    stimuli, encoder = Noise(33), Means()
    EmbeddingCache(tmp_path).embed(stimuli, encoder, CPU)
    again, forwards = Noise(33), encoder.forwards
    with caplog.at_level("INFO"):
        EmbeddingCache(tmp_path).embed(again, encoder, CPU)
    assert encoder.forwards == forwards
    assert again.reads == 0
    assert "nothing to extract" in caplog.text


@pytest.mark.parametrize("change", ["image", "setting", "dtype", "order", "precision"])
def test_what_changes_the_numbers_makes_a_new_entry(tmp_path, change):
    stimuli, encoder, dtype, precision = Noise(12), Means(), "float32", "32-true"
    EmbeddingCache(tmp_path, dtype).embed(stimuli, encoder, CPU)
    if change == "image":
        stimuli.images[3][0, 0, 0] ^= 1
    elif change == "setting":
        encoder = Means(gain=2.0)
    elif change == "dtype":
        dtype = "float16"
    elif change == "precision":
        precision = "bf16-mixed"
    else:
        stimuli.images.reverse()
    features = EmbeddingCache(tmp_path, dtype, precision=precision).embed(stimuli, encoder, CPU)
    np.testing.assert_allclose(features["mean"], expected(stimuli, encoder.gain), rtol=1e-3)
    assert len(list((tmp_path / "embeddings").iterdir())) == 4  # two layers each


def test_bf16_is_what_torch_s_autocast_gives(tmp_path):
    stimuli, encoder = Noise(6), TorchvisionEncoder("resnet18", "random", ["layer1"], pool="avg", image_size=32).eval()
    rounded = EmbeddingCache(tmp_path, precision="bf16-mixed").embed(stimuli, encoder, CPU, 6)["layer1"]
    full = EmbeddingCache(tmp_path).embed(stimuli, encoder, CPU, 6)["layer1"]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = encode_stimuli(encoder, stimuli.images, CPU, 6, True)["layer1"]  # of a model in lower precision
        images = torch.from_numpy(np.stack(stimuli.images)).movedim(-1, -3)
        expected = encoder(images)["layer1"].float().numpy()
    np.testing.assert_array_equal(rounded, expected)
    assert 1e-5 < np.abs(rounded / full - 1).max() < 0.05
    np.testing.assert_array_equal(inside, full)


def test_float16_overflow_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"--data\.cache_dtype float32"):
        EmbeddingCache(tmp_path, "float16").embed(Noise(5), Means(gain=1e4), CPU)


def test_an_interrupted_extraction_goes_on_where_it_stopped(tmp_path):
    stimuli, encoder = Noise(40), Means()
    read = stimuli.read

    def broken(index):
        if index == 30:
            raise InputError("30.png: truncated")
        return read(index)

    stimuli.read = broken
    with pytest.raises(InputError, match="truncated"):
        EmbeddingCache(tmp_path).embed(stimuli, encoder, CPU)
    assert encoder.forwards == 30
    stimuli.read = read
    features = EmbeddingCache(tmp_path).embed(stimuli, encoder, CPU)
    assert encoder.forwards == 40
    np.testing.assert_allclose(features["mean"], expected(stimuli), rtol=1e-5)


def test_ranks_share_the_chunks(tmp_path):
    stimuli, encoders = Noise(45), [Means() for _ in range(3)]
    finished = []

    def agree_of(rank):
        calls = iter(range(4))

        def agree(error):
            assert error is None
            if next(calls) == 1 and rank < 2:  # this rank's share is done: the next rank starts
                finished.append(EmbeddingCache(tmp_path).embed(stimuli, encoders[rank + 1], CPU, 8, share(rank + 1)))

        return agree

    def share(rank):
        return Share(rank, 3, agree_of(rank))

    finished.append(EmbeddingCache(tmp_path).embed(stimuli, encoders[0], CPU, 8, share(0)))
    assert [encoder.forwards for encoder in encoders] == [20, 15, 10]
    for features in finished:
        np.testing.assert_allclose(features["mean"], expected(stimuli), rtol=1e-5)


def _extract(folder, count, wait):
    cache_entry.CHUNK = 10
    EmbeddingCache(folder).embed(Noise(count), Means(wait=wait), CPU, batch_size=5)


def test_two_processes_filling_one_entry_and_a_kill(tmp_path):
    """Killed at several moments while a second process fills the same entry, what is served is right."""
    context = multiprocessing.get_context("fork")
    for wait in (0.0, 0.02, 0.05):
        folder = tmp_path / str(wait)
        victim = context.Process(target=_extract, args=(folder, 60, 0.01))
        other = context.Process(target=_extract, args=(folder, 60, 0.012))
        victim.start()
        other.start()
        time.sleep(wait)
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        other.join()
        assert other.exitcode == 0
        features = EmbeddingCache(folder).embed(Noise(60), Means(), CPU)
        np.testing.assert_allclose(features["mean"], expected(Noise(60)), rtol=1e-5)
        assert not list((folder / "embeddings").glob("*.partial"))


def test_who_begins_an_entry_as_another_finishes_it_leaves_no_rest(tmp_path):
    first, second = (FilledArray(tmp_path, "numbers", {"of": "both"}, (4, 2), np.dtype(np.float32)) for _ in range(2))
    first.begin()
    first.write(0, range(4), np.ones((4, 2)))
    first.finish()
    second.begin()  # it had asked whether the entry was complete a moment before
    second.write(0, range(4), np.ones((4, 2)))
    second.finish()
    assert [each.name for each in tmp_path.iterdir()] == [first.folder.name]
    assert np.array_equal(second.load(), np.ones((4, 2)))


def test_decoded_images_keep_every_pixel(tmp_path):
    stimuli = Noise(23)
    images = EmbeddingCache(tmp_path).decode(stimuli, None)
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.stack(stimuli.images).transpose(0, 3, 1, 2))


def test_decoded_images_are_resized_on_request(tmp_path):
    images = EmbeddingCache(tmp_path).decode(Noise(5, sizes=(8, 12)), 16)
    assert images.shape == (5, 3, 16, 16)


def test_images_of_several_sizes_need_a_size(tmp_path):
    with pytest.raises(InputError, match=r"1\.png: expected 8×8 pixels .* found 12×8; set --data\.image_size"):
        EmbeddingCache(tmp_path).decode(Noise(5, sizes=(8, 12)), None)


class Hungry(Means):
    """An encoder for which a GPU's memory has space for so many images."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.seen = []

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(images))
        return super().forward(images)


def test_a_batch_that_does_not_fit_is_halved_and_stays_so(tmp_path, caplog):
    stimuli, encoder, cache = Noise(60), Hungry(7), EmbeddingCache(tmp_path)
    features = cache.embed(stimuli, encoder, CPU)
    plain = EmbeddingCache(tmp_path / "plain").embed(stimuli, Means(), CPU)
    np.testing.assert_allclose(features["thumbnail"], plain["thumbnail"])
    assert set(encoder.seen) == {5}
    assert caplog.text.count("5 images at a time from here on") == 1
    lists = [stimuli]
    again = Extraction(lists, None, [cache.entries(stimuli, encoder)])
    assert (again.at_once(None), again.at_once(4)) == (5, 4)  # remembered, unless somebody says
    assert again.missing == {}
    new = Extraction(lists, None, [EmbeddingCache(tmp_path / "new").entries(stimuli, encoder)])
    assert (new.at_once(None), new.to_encode) == (10, 60)
    assert new.missing == {"mean": 60 * 3 * 4, "thumbnail": 60 * 12 * 4}


@pytest.mark.parametrize(("asked", "most"), [(32, 9), (None, 0)])
def test_what_was_asked_for_is_not_changed(tmp_path, asked, most):
    with pytest.raises(InputError, match=f"--data.encode_batch_size {asked or 1}: expected images that fit"):
        EmbeddingCache(tmp_path).embed(Noise(40), Hungry(most), CPU, asked)
