import numpy as np
import pytest
import torch
from calcarine.data import loader
from calcarine.data.loader import BatchLoader, Rows


def make_loader(stimuli, features, responses, batch_size, rank=0, world_size=1, order=None):
    def respond(positions, out):
        out[...] = responses[positions]

    inputs = {"layer.a": Rows([features])}
    subject = np.arange(len(features)) % 2
    category = np.arange(len(features)) % 3 - 1
    targets = responses.shape[1]
    return BatchLoader(stimuli, inputs, respond, targets, subject, category, batch_size, rank, world_size, order)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return rng.standard_normal((103, 5)).astype(np.float16), rng.standard_normal((103, 3)).astype(np.float32)


def test_rows_gathers_across_stacked_arrays(arrays):
    features, _ = arrays
    rows = Rows([features[:40], features[40:41], features[41:]])
    index = np.random.default_rng(1).permutation(103)[:50]
    out = torch.empty((50, 5), dtype=torch.float16)
    rows.gather(index, out)
    assert len(rows) == 103
    assert np.array_equal(out.numpy(), features[index])


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 200])
@pytest.mark.parametrize("count", [0, 1, 5, 65, 101])
def test_every_stimulus_once_and_equal_steps(arrays, world_size, batch_size, count):
    features, responses = arrays
    stimuli = np.random.default_rng(2).permutation(103)[:count]
    served, steps = [], set()
    for rank in range(world_size):
        loader = make_loader(stimuli, features, responses, batch_size, rank, world_size, lambda: (3, 4))
        batches = 0
        for batch in loader:
            batches += 1
            index = batch.stimulus.numpy()
            assert len(batch) <= batch_size
            assert np.array_equal(batch.features["layer.a"].numpy(), features[index])
            assert np.array_equal(batch.response.numpy(), responses[index])
            assert np.array_equal(batch.subject.numpy(), index % 2)
            assert np.array_equal(batch.category.numpy(), index % 3 - 1)
            served += index.tolist()
        assert batches == len(loader)
        steps.add(batches)
    assert sorted(served) == sorted(stimuli.tolist())
    assert len(steps) == 1


def test_batches_are_nearly_equal(arrays):
    features, responses = arrays
    sizes = [len(batch) for batch in make_loader(np.arange(65), features, responses, 64)]
    assert sizes == [33, 32]


def test_order_follows_the_epoch_alone(arrays):
    features, responses = arrays
    epoch = 0
    loader = make_loader(np.arange(100), features, responses, 32, order=lambda: (7, epoch))
    orders = []
    for epoch in (0, 1, 0):  # noqa: B007 the loader reads it
        orders += [np.concatenate([batch.stimulus.numpy() for batch in loader])]
    assert np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])


def test_a_batch_outlives_the_next_one(arrays):
    features, responses = arrays
    loader = iter(make_loader(np.arange(90), features, responses, 30))
    first = next(loader)
    kept = first.features["layer.a"].clone()
    next(loader)
    assert torch.equal(first.features["layer.a"], kept)


def test_images_are_served_apart_from_features():
    images = np.random.default_rng(0).integers(0, 255, (103, 3, 8, 8), dtype=np.uint8)
    loader = BatchLoader(np.arange(10), {"images": Rows([images])}, lambda p, out: None, 3, np.zeros(10, int), None, 4)
    batch = next(iter(loader))
    assert batch.features is None
    assert batch.images.dtype == torch.uint8
    assert np.array_equal(batch.images.numpy(), images[:4])


def test_large_maps_do_not_stay_in_memory(tmp_path, monkeypatch):
    """A model that keeps what it is given would hold wide features twice."""
    monkeypatch.setattr(loader, "LARGE", 2**20)
    monkeypatch.setattr(loader, "LEFT", 2**19)
    np.save(tmp_path / "features.npy", np.arange(2**20, dtype=np.float32).reshape(1024, 1024))  # 4 MB
    array = np.lib.format.open_memmap(tmp_path / "features.npy", mode="c")[:1000]
    rows, out = Rows([array]), torch.empty(64, 1024)
    resident = []
    for part in np.random.default_rng(0).permutation(1000).reshape(-1, 50).tolist():
        rows.gather(np.array(part), out[:50])
        np.testing.assert_array_equal(out[:50], array[part])
        resident.append(rows.unreleased)
    assert max(resident) <= 2**19
    assert len(rows.large) == 1
    assert not Rows([np.zeros((1024, 1024), dtype=np.float32)]).large
