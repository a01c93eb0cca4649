"""The IT spikes' file in its exact layout: read lazily, safe across processes, every fault one line."""

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from calcarine.data import ItSpikes
from calcarine.errors import InputError
from calcarine.recording import Stimuli
from trees import write_it_spikes

COUNTS = {"train": 12, "val": 4, "test": 3}
SIDE, N_TARGETS = 16, 5
PIXELS = np.random.default_rng(0).integers(0, 256, (19, SIDE, SIDE, 3), dtype=np.uint8)
PIXELS[0].flat[:256] = np.arange(256)
PIXELS[-1] = PIXELS[0]  # a test image that is a training image too


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_it_spikes(tmp_path, PIXELS, COUNTS, N_TARGETS)


def test_reads_images_spikes_and_objects(path: Path) -> None:
    for root in (path, path.parent):
        source = ItSpikes(root)
        assert source.num_targets == N_TARGETS
    (recording,) = source.read()
    assert recording.subject == "IT_data"
    assert recording.splits.tolist() == ["train"] * 12 + ["validation"] * 4 + ["withheld"] * 3
    responses = recording.responses.gather(np.arange(19))
    with h5py.File(path) as file:
        for name, rows in (("spikes_train", slice(0, 12)), ("spikes_val", slice(12, 16))):
            np.testing.assert_array_equal(responses[rows], np.asarray(file[name]).astype(np.float32))
    assert np.isnan(responses[16:]).all()
    assert recording.categories is not None
    assert recording.categories[[0, 1, 13, 18]].tolist() == ["café", "elephant", "elephant", "café"]
    images = [recording.stimuli.read(index) for index in range(19)]
    assert images[0].dtype == np.uint8
    np.testing.assert_array_equal(images, PIXELS)
    assert recording.stimuli.names[12] == "stimulus_val[0]"


def test_values_beyond_the_range_are_clipped(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["stimulus_train"][2, :, 0, :2] = [[-9.0, 9.0]] * 3  # type: ignore[index]
    image = ItSpikes(path).read()[0].stimuli.read(2)
    assert image[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_digests_tell_equal_rows_and_are_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = path.parent / "cache" / "digests.json"
    stimuli = ItSpikes(path).read()[0].stimuli
    monkeypatch.setattr("calcarine.data.sources.it_spikes._ROWS_PER_READ", 5)
    digests = stimuli.digests(memo)
    assert len(digests) == 19
    assert digests[0] == digests[18]
    assert len(set(digests)) == 18
    fresh = ItSpikes(path).read()[0].stimuli
    monkeypatch.setattr(type(fresh), "_digest_rows", None)  # it need not read again
    assert fresh.digests(memo) == digests
    monkeypatch.undo()
    with h5py.File(path, "r+") as file:
        file["stimulus_val"][0] = 0  # type: ignore[index]
    changed = ItSpikes(path).read()[0].stimuli.digests(memo)
    assert [a == b for a, b in zip(changed, digests, strict=True)] == [index != 12 for index in range(19)]


def checksum(stimuli: Stimuli) -> list[int]:
    with ThreadPoolExecutor(4) as pool:
        return [int(image.sum()) for image in pool.map(stimuli.read, list(range(19)) * 5)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_and_forked_processes_read_the_same(path: Path) -> None:
    stimuli = ItSpikes(path).read()[0].stimuli
    expected = [int(image.sum()) for image in PIXELS] * 5
    context = multiprocessing.get_context("fork")
    with ThreadPoolExecutor(1) as reader:
        busy = reader.submit(lambda: [checksum(stimuli) for _ in range(4)])  # the library is at work while it forks
        with context.Pool(2) as processes:
            found = processes.map_async(checksum, [stimuli] * 4).get(timeout=60)
        assert found == busy.result() == [expected] * 4
    assert checksum(pickle.loads(pickle.dumps(stimuli))) == expected


def void(_: object) -> None:
    return None


def change(name: str, value: Any) -> Callable[[Path], None]:
    """Replaces a dataset, or removes it."""

    def write(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if value is not None:
                file[name] = value

    return write


def a_group(path: Path) -> None:
    change("object_val", None)(path)
    with h5py.File(path, "r+") as file:
        file.create_group("object_val")


def elsewhere(path: Path) -> None:
    """Spikes that lie in another file."""
    layout = h5py.VirtualLayout((12, N_TARGETS), "f4")
    layout[:] = h5py.VirtualSource(str(path), "spikes_val", (12, N_TARGETS))
    with h5py.File(path, "r+") as file:
        del file["spikes_train"]
        file.create_virtual_dataset("spikes_train", layout)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no stimuli": (change("stimulus_val", None), "a dataset stimulus_val in the file itself, found object_test, "),
    "no objects": (change("object_test", None), "a dataset object_test"),
    "no spikes": (change("spikes_train", None), "a dataset spikes_train"),
    "a group": (a_group, "found a group or a link"),
    "grey": (change("stimulus_train", np.zeros((12, 1, 16, 16))), "stimulus_train (images, 3, height, width) of numb"),
    "flat": (change("stimulus_train", np.zeros((12, 3))), "found float64 (12, 3)"),
    "another size": (change("stimulus_val", np.zeros((4, 3, 8, 8))), "datasets (4, 3, 16, 16), found float64 (4, 3, 8"),
    "fewer spikes": (change("spikes_val", np.zeros((3, 5))), "datasets (4, 5), found float64 (3, 5)"),
    "other targets": (change("spikes_val", np.zeros((4, 6))), "datasets (4, 5), found float64 (4, 6)"),
    "fewer objects": (change("object_train", np.array([b"a"] * 11)), "datasets (12,), found |S1 (11,)"),
    "numbered objects": (change("object_train", np.zeros(12)), "of text, as the other datasets (12,), found float64"),
    "spikes of text": (change("spikes_train", np.full((12, 5), b"a")), "of numbers, as the other"),
    "scalars": (change("spikes_train", 1.0), "spikes_train (images, targets) of numbers"),
    "nothing": (change("stimulus_train", h5py.Empty("f4")), "found float32 None"),
    "no rows": (change("stimulus_test", np.zeros((0, 3, 16, 16))), "found float64 (0, 3, 16, 16)"),
    "nan": (
        change("spikes_val", np.where(np.arange(20).reshape(4, 5) == 7, np.nan, 1)),
        "spikes_val at row 1, column 2",
    ),
    "large": (change("spikes_val", np.full((4, 5), 1e300)), "found inf in spikes_val at row 0, column 0 (counted from"),
    "a link": (change("spikes_train", h5py.ExternalLink("/etc/hostname", "x")), "found a group or a link"),
    "virtual": (elsewhere, "found a group or a link"),
    "truncated": (lambda path: void(path.write_bytes(path.read_bytes()[:-3000])), "a complete HDF5 file"),
    "empty": (lambda path: void(path.write_bytes(b"")), "a complete HDF5 file"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("error")
def test_every_fault_is_one_line(path: Path, fault: str) -> None:
    write, found = FAULTS[fault]
    write(path)
    with pytest.raises(InputError) as refusal:
        ItSpikes(path).read()
    message = str(refusal.value)
    assert message.startswith(f"{path}: expected ")
    assert found in message
    assert "\n" not in message


def test_a_faulty_image_is_named_when_it_is_read(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["stimulus_val"][1, 2, 3, 4] = np.nan  # type: ignore[index]
    stimuli = ItSpikes(path).read()[0].stimuli
    with pytest.raises(InputError, match=r"expected finite images, found nan in stimulus_val\[1\]; copy"):
        stimuli.read(13)
    path.unlink()
    with pytest.raises(InputError, match=r"IT_data\.h5: expected a complete HDF5 file"):
        stimuli.read(0)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--data\.source\.root .*: expected IT_data\.h5 or a folder that holds it"):
        ItSpikes(tmp_path)
