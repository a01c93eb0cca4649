import numpy as np
import pytest
import torch
from calcarine.data import loader
from calcarine.data.loader import BatchLoader, Rows

STARTS, TARGETS = (0, 30, 95), [slice(0, 1), slice(1, 1), slice(1, 3)]
"""Of three subjects' stimuli among the 103, and their targets among the three; the second has none."""


def make_loader(stimuli, features, responses, batch_size, rank=0, world_size=1, order=None, subjects=1):
    category = np.arange(len(features)) % 3 - 1

    def respond(recording, positions, out):
        out[...] = responses[positions, targets[recording]]

    inputs = {"layer.a": Rows([features])}
    subject = np.searchsorted(STARTS, np.arange(len(features)), side="right") - 1 if subjects > 1 else 0 * category
    targets = TARGETS if subjects > 1 else [slice(0, 3)]
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
@pytest.mark.parametrize("subjects", [1, 3])
def test_every_stimulus_once_and_equal_steps(arrays, world_size, batch_size, count, subjects):
    features, responses = arrays
    stimuli = np.random.default_rng(2).permutation(103)[:count]
    served, steps, turns = [], set(), set()
    for rank in range(world_size):
        loader = make_loader(stimuli, features, responses, batch_size, rank, world_size, lambda: (3, 4), subjects)
        batches, turn = 0, []
        for batch in loader:
            batches += 1
            index = batch.stimulus.numpy()
            assert len(batch) <= batch_size
            assert np.array_equal(batch.features["layer.a"].numpy(), features[index])
            assert batch.targets == loader.targets[batch.subject]
            assert np.array_equal(batch.response.numpy(), responses[index, batch.targets])
            assert subjects == 1 or (np.searchsorted(STARTS, index, side="right") - 1 == batch.subject).all()
            turn.append(batch.subject)
            assert np.array_equal(batch.category.numpy(), index % 3 - 1)
            served += index.tolist()
        assert batches == len(loader)
        steps.add(batches)
        turns.add(tuple(turn))
    assert sorted(served) == sorted(stimuli.tolist())
    assert len(steps) == 1
    assert len(turns) == 1, "all ranks' batches of a step are of one subject"


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_subjects_steps_are_those_that_it_has_alone_and_are_spread_over_the_epoch(arrays, epoch):
    features, responses = arrays
    order = lambda: (7, epoch)  # noqa: E731
    together = list(make_loader(np.arange(103), features, responses, 5, order=order, subjects=3))
    steps = [(batch.subject, batch.stimulus.tolist()) for batch in together]
    for subject, (first, stop) in enumerate(zip(STARTS, (*STARTS[1:], 103), strict=True)):
        alone = make_loader(np.arange(first, stop), features, responses, 5, order=order)
        own = [stimuli for whose, stimuli in steps if whose == subject]
        assert own == [batch.stimulus.tolist() for batch in alone]
        places = np.array([index for index, (whose, _) in enumerate(steps) if whose == subject]) / len(steps)
        assert np.abs(places - (np.arange(len(places)) + 0.5) / len(places)).max() < 1 / len(places) + 0.1
    again = make_loader(np.arange(103), features, responses, 5, order=order, subjects=3)
    assert [batch.stimulus.tolist() for batch in again] == [stimuli for _, stimuli in steps]
    other = make_loader(np.arange(103), features, responses, 5, order=lambda: (8, epoch), subjects=3)
    assert [batch.subject for batch in other] != [whose for whose, _ in steps]


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
    inputs, subject = {"images": Rows([images])}, np.zeros(10, int)
    loader = BatchLoader(np.arange(10), inputs, lambda *_: None, [slice(0, 3)], subject, None, 4)
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
