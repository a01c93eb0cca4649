"""Nwb: files that pynwb writes, held against counting by loops."""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from calcarine.data import Nwb
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from calcarine.errors import InputError
from calcarine.recording import Recording
from PIL import Image
from recovered import assert_recovered
from seen import pictures

UNITS, IMAGES, BLANK = 6, 12, -1
AREAS = ["V4", "IT", "IT", "V4", "IT", "V4"]
PERIOD, WINDOW = 0.5, (0.05, 0.2)


def write_nwb(
    path: Path, images: int = IMAGES, repetitions: int = 4, units: int = UNITS, level: float = 12.0, across: int = 2
) -> dict[str, Any]:
    """A file with images in it, a table of trials and a series of indices; spikes are as a Poisson process has them.

    Returns:
        The images, which of them each trial showed (−1 for none), and the expected count of each image and unit.
    """
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.base import ImageReferences, Images
    from pynwb.image import IndexSeries, RGBImage

    rng = np.random.default_rng(5)
    pixels, made_of = pictures(images, seed=6, across=across)
    signal = made_of @ rng.standard_normal((made_of.shape[1], units))
    rate = level * np.exp(0.4 * (signal - signal.mean(axis=0)) / signal.std(axis=0))  # spikes per window
    shown = rng.permutation(np.r_[np.repeat(np.arange(images), repetitions), np.arange(3), BLANK, BLANK])
    onsets = 1 + PERIOD * np.arange(len(shown))
    file = NWBFile("test", path.stem, datetime(2026, 1, 1, tzinfo=UTC))
    group = file.create_electrode_group("probe", "", "", file.create_device("device"))
    for area in AREAS:
        file.add_electrode(location=area, group=group)
    file.add_unit_column("sorted_area", "named by hand")
    for unit in range(units):
        times = [[onsets[0] - 1.0]]
        for onset, image in zip(onsets, shown, strict=True):
            count = rng.poisson(rate[image, unit]) if image != BLANK else 3
            times.append(onset + rng.uniform(*WINDOW, count))
            times.append(onset + rng.uniform(0.25, 0.4, 4))  # after the window
        file.add_unit(spike_times=np.sort(np.concatenate(times)), electrodes=[unit % 6], sorted_area="AB"[unit % 2])
    in_file = [RGBImage(name=f"img{place + 1}", data=image) for place, image in enumerate(pixels)]
    templates = Images(
        name="pictures", description="", images=in_file[::-1],  # what a container keeps is no order
        order_of_images=ImageReferences(name="order_of_images", data=in_file),
    )  # fmt: skip
    file.add_stimulus_template(templates)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # −1 becomes unsigned, as it does for everybody
        file.add_stimulus(
            IndexSeries(name="shown", data=shown, indexed_images=templates, unit="N/A", timestamps=onsets)
        )
        file.add_trial_column("stimulus_name", "the image's file")
        file.add_trial_column("image_index", "counted from 0")
        for onset, image in zip(onsets, shown, strict=True):
            name = "" if image == BLANK else f"img{image + 1}"
            file.add_trial(start_time=onset, stop_time=onset + 0.2, stimulus_name=name, image_index=int(image))
        with NWBHDF5IO(path, "w") as out:
            out.write(file)
    return {"pixels": pixels, "shown": shown, "onsets": onsets, "rate": rate}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("nwb") / "session1.nwb"
    return path, write_nwb(path)


def read(root: Path, **flags: Any) -> Recording:
    source = Nwb(root, **({"presentations": "shown"} | flags))
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def counted(path: Path, made: dict[str, Any], begin: float, end: float) -> np.ndarray:
    """Spikes of each unit in the window after each onset, one by one."""
    with h5py.File(path) as file:
        times, ends = file["units/spike_times"][:], file["units/spike_times_index"][:].astype(int)  # type: ignore[index]
    counts = np.zeros((len(made["onsets"]), len(ends)))
    for unit, (first, last) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        for row, onset in enumerate(made["onsets"]):
            counts[row, unit] = sum(onset + begin <= time < onset + end for time in times[first:last])
    return counts


@pytest.mark.parametrize(
    "flags",
    [
        {"presentations": "shown"},
        {"presentations": "trials", "stimulus": "image_index"},
        {"presentations": "trials", "stimulus": "stimulus_name"},
    ],
)
def test_it_counts_spikes_after_each_onset_and_averages_by_image(made, flags):
    """An index of −1, which is stored as the largest unsigned number, shows nothing; img10 does not follow img1."""
    path, truth = made
    found, counts = read(path, **flags), counted(path, truth, *WINDOW)
    assert found.stimuli.names == [f"img{place + 1}" for place in range(IMAGES)]
    for image in range(IMAGES):
        assert np.array_equal(found.stimuli.read(image), truth["pixels"][image])
        own = counts[truth["shown"] == image].mean(axis=0).astype(np.float32)
        np.testing.assert_array_equal(found.responses.gather(np.array([image]))[0], own)
    assert len(set(found.stimuli.digests())) == IMAGES
    assert {roi.name: roi.targets.tolist() for roi in found.rois} == {"IT": [1, 2, 4], "V4": [0, 3, 5]}


def test_the_order_of_trials_is_that_of_their_onsets(made, tmp_path):
    """Also of rows that were written in another; what shows nothing is left out."""
    path, truth = made
    something = truth["shown"] != BLANK
    mixed = tmp_path / "mixed.nwb"
    mixed.write_bytes(path.read_bytes())
    with h5py.File(mixed, "r+") as file:
        rows = np.random.default_rng(0).permutation(len(something))
        for name in ("start_time", "stop_time", "image_index"):
            column = file[f"intervals/trials/{name}"]
            column[:] = column[:][rows]  # type: ignore[index]
    for place in (path, mixed):
        found = read(place, presentations="trials", stimulus="image_index")
        assert found.order is not None
        order = found.order()
        assert np.array_equal(order.shown, truth["shown"][something])
        assert np.array_equal(order.stimulus, order.shown)
        assert np.array_equal(order.starts(), np.zeros(something.sum()))
        assert order.run is None
        assert found.trials is not None
        assert np.array_equal(found.trials.stimulus, order.stimulus)
    assert Nwb(path, presentations="shown").trial_columns() == []


def test_the_window_is_the_users_and_half_open(made, tmp_path):
    path, truth = made
    found, counts = read(path, window=[0.25, 0.4]), counted(path, truth, 0.25, 0.4)
    assert found.trials is not None
    something = truth["shown"] != BLANK
    assert np.array_equal(np.asarray(found.trials.responses), counts[something])
    assert np.array_equal(found.trials.stimulus, truth["shown"][something])
    copy = tmp_path / "edge.nwb"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        file["units/spike_times"][:] = np.tile([2.0, 2.25], 10_000)[: len(file["units/spike_times"])]  # type: ignore[index]
    edge = read(copy, window=[0.0, 0.25]).trials
    assert edge is not None
    row = int(np.flatnonzero(truth["onsets"][something] == 2.0)[0])
    assert np.asarray(edge.responses)[row].sum() == pytest.approx(len_of(copy, 2.0))


def len_of(path: Path, time: float) -> int:
    with h5py.File(path) as file:
        return int((file["units/spike_times"][:] == time).sum())  # type: ignore[index]


def test_ceilings_are_those_of_the_planted_process(tmp_path):
    truth = write_nwb(tmp_path / "many.nwb", images=60, repetitions=10, units=40)
    found = read(tmp_path / "many.nwb")
    ceiling = found.ceilings(np.arange(60))["the repeats of these stimuli"]
    counts = np.bincount(truth["shown"][truth["shown"] >= 0])
    assert len(set(counts)) > 1
    signal, noise = truth["rate"].var(axis=0, ddof=1), truth["rate"].mean(axis=0)
    assert abs((ceiling - signal / (signal + noise * (1 / counts).mean())).mean()) < 0.01


def test_odd_but_legal_files_work(made, tmp_path):
    """A folder of links that nobody may write to, images in a folder, images in a series, a rate in place of times."""
    path, truth = made
    root = tmp_path / "links"
    root.mkdir()
    for name in ("day2.nwb", "day10.nwb"):
        (root / name).symlink_to(path)
    (root / "notes.txt").write_text("read me")
    root.chmod(0o555)
    both = Nwb(root, presentations="shown", area="sorted_area").read()
    root.chmod(0o755)
    assert [each.subject for each in both] == ["day2", "day10"]
    assert {roi.name: roi.targets.tolist() for roi in both[0].rois} == {"A": [0, 2, 4], "B": [1, 3, 5]}

    other = tmp_path / "other.nwb"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        del file["stimulus/templates/pictures"]
        series = file.create_group("stimulus/templates/series")
        series.attrs["neurodata_type"] = "ImageSeries"
        series["data"] = truth["pixels"][..., 0]  # grey
        shown = file["stimulus/presentation/shown"]
        del shown["indexed_images"], shown["timestamps"]  # type: ignore[attr-defined]
        shown["indexed_timeseries"] = h5py.SoftLink("/stimulus/templates/series")  # type: ignore[index]
        shown["starting_time"] = 1.0  # type: ignore[index]
        shown["starting_time"].attrs["rate"] = 1 / PERIOD  # type: ignore[index]
        values = file["stimulus/presentation/shown/data"][:].astype(np.int64)  # type: ignore[index]
        del shown["data"]  # type: ignore[attr-defined]
        shown["data"] = values.astype(np.uint32)  # type: ignore[index]
    found, whole = read(other), read(path)
    assert np.array_equal(found.responses.gather(np.arange(IMAGES)), whole.responses.gather(np.arange(IMAGES)))
    assert np.array_equal(found.stimuli.read(3)[..., 2], truth["pixels"][3, ..., 0])

    folder = tmp_path / "pictures"
    folder.mkdir()
    for place, image in enumerate(truth["pixels"], start=1):
        Image.fromarray(image).save(folder / f"img{place}.png")
    named = tmp_path / "named.nwb"
    named.write_bytes(path.read_bytes())
    with h5py.File(named, "r+") as file:
        names = [name.decode() for name in file["intervals/trials/stimulus_name"][:]]  # type: ignore[index]
        file["intervals/trials/stimulus_name"][:] = [f"C:\\shown\\{name}.png" if name else "" for name in names]  # type: ignore[index]
    found = read(named, presentations="trials", stimulus="stimulus_name", images=folder)
    assert found.stimuli.names == [f"img{place + 1}.png" for place in range(IMAGES)]
    assert np.array_equal(found.responses.gather(np.arange(IMAGES)), whole.responses.gather(np.arange(IMAGES)))


def edit(action: Callable[[Any], object]) -> Callable[[Path], None]:
    def plant(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            action(file)

    return plant


def delete(name: str) -> Callable[[Path], None]:
    return edit(lambda file: file.__delitem__(name))


def put(name: str, index: Any, value: object) -> Callable[[Path], None]:
    return edit(lambda file: file[name].__setitem__(index, value))


def link_out(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"]
        file["units/spike_times"] = h5py.ExternalLink("/etc/other.nwb", "/units/spike_times")


def numbered(file: Any) -> None:
    del file["stimulus/templates/pictures/order_of_images"]
    file["stimulus/templates/pictures/order_of_images"] = np.arange(IMAGES)


def deep_images(file: Any) -> None:
    del file["stimulus/templates/pictures/img4"]
    file["stimulus/templates/pictures/img4"] = np.zeros((4, 4, 3))
    file["stimulus/templates/pictures/order_of_images"][3] = file["stimulus/templates/pictures/img4"].ref


BY_NAME = {"presentations": "trials", "stimulus": "stimulus_name"}
FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no file": (lambda path: path.unlink(), {}, r"expected a \.nwb file or a folder of them, found none"),
    "a truncated file": (lambda path: path.write_bytes(path.read_bytes()[:9000]), {}, "expected a complete HDF5 file"),
    "no units": (delete("units"), {}, "expected a dataset units/spike_times_index in the file itself"),
    "several that tell": (None, {"presentations": None}, r"found shown, trials \(image_index, stimulus_name\); choose"),
    "several columns": (
        None, {"presentations": "trials"},
        "choose with --data.source.presentations and --data.source.stim",
    ),
    "no such table": (None, {"presentations": "epochs"}, r"found shown, trials \(image"),
    "no such column": (
        None, {"presentations": "trials", "stimulus": "picture"},
        "expected a dataset intervals/trials/picture",
    ),
    "no such area": (None, {"area": "layer"}, "expected a dataset units/layer"),
    "a window that ends before it begins": (
        None, {"window": [0.2, 0.1]},
        r"--data.source.window \[0.2, 0.1\]: expected",
    ),
    "an index too large": (
        put("stimulus/presentation/shown/data", 0, 12), {},
        "expected indices from 0 to 11 in shown.*found 12",
    ),
    "no order of images": (
        delete("stimulus/templates/pictures/order_of_images"), {},
        "order_of_images.*alphabetical order",
    ),
    "an order of another kind": (edit(numbered), {}, "order_of_images.*alphabetical order"),
    "electrodes that are not there": (put("units/electrodes", 1, 9), {}, "to name rows of the 6 electrodes"),
    "times that are one number": (
        edit(lambda file: (file.__delitem__("units/spike_times"), file.__setitem__("units/spike_times", 1.0))), {},
        "expected a complete HDF5 file|expected finite units/spike_times",
    ),
    "no images": (delete("stimulus/templates/pictures"), {}, "in the file itself|to tell the order_of_images"),
    "an image that is not there": (
        delete("stimulus/templates/pictures/img4"), BY_NAME,
        "none called 'img4' in the file",
    ),
    "no folder of images": (
        None, {**BY_NAME, "images": "nowhere"},
        "nowhere/img1: expected an image that session1.nwb names",
    ),
    "spikes in another file": (link_out, {}, "expected a dataset units/spike_times in the file itself"),
    "times that end early": (put("units/spike_times_index", -1, 3), {}, "expected finite units/spike_times, and in"),
    "a time that is none": (put("units/spike_times", 5, np.nan), {}, "expected finite units/spike_times"),
    "nothing shown": (
        put("stimulus/presentation/shown/data", slice(None), 2**64 - 1), {},
        "expected presentations of images",
    ),
    "an image of another depth": (
        edit(deep_images), {},
        r"img4 \(height, width\), .* of uint8, found float64 \(4, 4, 3\)",
    ),
}  # fmt: skip


def look_at_all(path: Path, **flags: Any) -> None:
    recording = read(path, **flags)
    for index in range(len(recording.stimuli)):
        recording.stimuli.read(index)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(made, tmp_path, fault):
    spoil, flags, message = FAULTS[fault]
    path = tmp_path / "session1.nwb"
    path.write_bytes(made[0].read_bytes())
    if spoil is not None:
        spoil(path)
    with pytest.raises(InputError, match=message) as raised:
        look_at_all(path, **flags)
    assert "\n" not in str(raised.value)


def test_check_is_silent_on_a_sound_file_and_names_faults(made, tmp_path):
    def said(severities: tuple[str, ...] = ("error", "warning")) -> list[str]:
        (found,) = examine(tmp_path, asked=Asked())
        assert found.format == "Nwb"
        return [symptom.line(tmp_path) for symptom in found.chart.symptoms if symptom.severity in severities]

    path = tmp_path / "session1.nwb"
    path.write_bytes(made[0].read_bytes())
    delete("intervals/trials")(path)
    assert said() == []
    assert any("12 images" in line and "2 ROIs" in line for line in said(("note",)))
    put("stimulus/presentation/shown/data", 0, 12)(path)
    assert any(line.startswith("error: session1.nwb: expected indices from 0 to 11") for line in said())
    path.write_bytes(made[0].read_bytes())
    assert any("choose with --data.source.presentations" in line for line in said())
    delete("units/spike_times")(path)
    delete("intervals/trials")(path)
    assert any(line.startswith("error: session1.nwb: expected a dataset units/spike_times") for line in said())


@pytest.mark.slow
def test_a_run_recovers_what_is_planted_and_its_control_does_not(tmp_path, monkeypatch):
    """By the command line, as a user would: the source is found by what the folder holds."""
    (tmp_path / "sessions").mkdir()
    write_nwb(tmp_path / "sessions" / "day1.nwb", images=600, repetitions=3, units=30, across=6)
    delete("intervals/trials")(tmp_path / "sessions" / "day1.nwb")
    flags = ["--data.source.root=sessions", "--data.encoder=PixelEncoder", "--data.encoder.size=12", "--data.test=0.4"]
    assert_recovered(tmp_path, monkeypatch, flags, roi="IT", least=0.7)
