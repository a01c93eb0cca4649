"""Rows that are asked for a batch ahead are the same rows."""

import mmap

import numpy as np
import pytest
import torch
from calcarine.data import read_ahead
from calcarine.data.datamodule import EncodingDataModule
from calcarine.data.loader import BatchLoader, Rows
from calcarine.mapped import ask_for, read_at_random
from calcarine.recording import Part, Responses
from calcarine.space import Memory
from planted import Identity, Planted


def mapped(path, shape, dtype=np.float32, seed=0):
    np.save(path, np.random.default_rng(seed).standard_normal(shape).astype(dtype))
    return np.lib.format.open_memmap(path, mode="c")


@pytest.fixture
def asked(monkeypatch):
    """Pages that a map is asked for, as sets by their place."""
    found = []

    class Told(mmap.mmap):
        def madvise(self, option, start=0, length=None):
            if option == mmap.MADV_WILLNEED:
                found.append((start, length))
            return super().madvise(option, *(() if length is None else (start, length)))

    monkeypatch.setattr(mmap, "mmap", Told)
    return found


@pytest.mark.parametrize("width", [3, 1024, 5000])
def test_what_is_asked_for_covers_the_rows_and_little_more(tmp_path, asked, width):
    array = mapped(tmp_path / "a.npy", (300, width))
    rows = np.array([299, 7, 8, 7, 150])
    ask_for(array, rows)
    assert len(asked) <= 3  # rows side by side are one run
    pages = {page for start, length in asked for page in range(start // 4096, -(-(start + length) // 4096))}
    header = (tmp_path / "a.npy").stat().st_size - array.nbytes
    needed = {(header + (row * width + column) * 4) // 4096 for row in rows for column in range(width)}
    assert pages == needed


def test_a_part_of_an_array_is_asked_for_at_its_place(tmp_path, asked):
    array = mapped(tmp_path / "a.npy", (300, 1024))[100:]
    ask_for(array, np.array([0]))
    header = (tmp_path / "a.npy").stat().st_size - 300 * 4096
    assert asked == [((header + 100 * 4096) // 4096 * 4096, 4096 + header % 4096)]


def test_some_columns_are_asked_for_where_they_lie(tmp_path, asked):
    array = mapped(tmp_path / "a.npy", (300, 4096))
    part = array[:, 1024:2048]
    assert read_at_random(part)
    ask_for(part, np.array([9]))
    first = (tmp_path / "a.npy").stat().st_size - array.nbytes + 9 * 16384 + 4096
    assert asked == [(first // 4096 * 4096, 4096 + first % 4096)]
    assert not read_at_random(np.asfortranarray(array))
    assert not read_at_random(array.T)


def test_what_is_in_memory_is_not_asked_for():
    array = np.zeros((4, 3))
    assert not read_at_random(array)
    ask_for(array, np.arange(4))


def test_rows_are_the_same_whoever_reads_them(tmp_path):
    arrays = [mapped(tmp_path / f"{n}.npy", (n, 700), np.float16, n) for n in (40, 1, 60)]
    index = np.random.default_rng(1).permutation(101)
    rows, plain = Rows(arrays, index), Rows([np.array(array) for array in arrays], index)
    rows.read_at_random()
    assert rows.at_random
    chosen = np.random.default_rng(2).permutation(101)[:70]
    out, expected = (torch.empty((70, 700), dtype=torch.float16) for _ in range(2))
    rows.expect(chosen)
    rows.gather(chosen, out)
    plain.gather(chosen, expected)
    assert torch.equal(out, expected)


def test_responses_are_the_same_whoever_reads_them(tmp_path):
    left, right = mapped(tmp_path / "lh.npy", (30, 5)), mapped(tmp_path / "rh.npy", (90, 7), seed=1)
    rows = np.random.default_rng(3).permutation(90)[:30]
    parts = [Part(10, 0, left), Part(10, 5, right, rows)]
    chosen = np.array([39, 3, 12, 10])
    plain, at_random = Responses((50, 12), parts), Responses((50, 12), parts)
    at_random.read_at_random()
    assert at_random.at_random
    at_random.expect(chosen)
    np.testing.assert_array_equal(at_random.gather(chosen), plain.gather(chosen))


@pytest.mark.parametrize("count", [0, 1, 30, 101])
def test_each_batch_is_told_before_the_one_ahead_of_it_is_gathered(count):
    said = []
    features = {"a": Rows([np.zeros((101, 2), dtype=np.float32)])}
    loader = BatchLoader(
        np.arange(count),
        features,
        lambda *_: said.append("gathered"),
        [slice(0, 1)],
        np.zeros(101, dtype=np.int64),
        None,
        30,
        expect=lambda rows: said.append(rows.tolist()),
    )
    served = [batch.stimulus.tolist() for batch in loader]
    assert [each for each in said if each != "gathered"] == served
    for number, batch in enumerate(served):
        assert said.index(batch) < [place for place, each in enumerate(said) if each == "gathered"][max(number - 1, 0)]


@pytest.mark.parametrize("free", [None, 10**4, 10**12])
def test_data_that_are_more_than_memory_are_read_ahead(tmp_path, monkeypatch, caplog, free):
    monkeypatch.setattr(read_ahead, "memory", lambda: None if free is None else Memory(free, free))
    data = EncodingDataModule(Planted(stimuli=90), Identity(), cache_dir=tmp_path / "cache", batch_size=16)
    with caplog.at_level("INFO", logger="calcarine"):
        data.setup()
    assert data._served["pixels"].at_random == (free == 10**4)
    assert ("more than the memory that is free" in caplog.text) == (free == 10**4)
    plain = EncodingDataModule(Planted(stimuli=90), Identity(), cache_dir=tmp_path / "cache", batch_size=16)
    monkeypatch.undo()
    plain.setup()
    for one, other in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(one.features["pixels"], other.features["pixels"])
        assert torch.equal(one.response, other.response)
