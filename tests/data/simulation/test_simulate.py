"""Simulated data sets: what is written, by seed, whole or not at all."""

import csv
import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calcarine.data.simulation.planted import Truth
from calcarine.data.simulation.subject import RowWriter
from calcarine.data.simulation.write import simulate
from calcarine.data.sources.folder import Folder
from calcarine.data.sources.simulated import Simulated
from calcarine.data.unpickle import load_pickled_npy
from calcarine.errors import InputError
from PIL import Image

SMALL: dict[str, Any] = {"images": 300, "test_images": 60, "targets": 300, "image_size": 64}


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def simulated_in(cache: Path, **settings: Any) -> Simulated:
    """The source with its data sets below a cache of its own."""
    source = Simulated(**settings)
    source.keep_in(cache)
    return source


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Simulated:
    source = simulated_in(tmp_path_factory.mktemp("cache"), **SMALL, seed=1)
    source.prepare()
    return source


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "tree"
    simulate(out, images=20, targets=600, subjects=2, seed=3, test_responses=True)
    return out


def test_recording(simulated):
    (recording,) = simulated.read()
    assert simulated.num_targets == recording.num_targets == 300
    assert recording.responses.gather(np.array([0, 359])).shape == (2, 300)
    assert np.unique(recording.splits, return_counts=True)[1].tolist() == [300, 60]
    assert recording.stimuli.read(3).shape == (64, 64, 3)
    assert len(set(recording.stimuli.digests())) == len(recording.stimuli.names) == 360
    for roi in recording.rois:
        assert (recording.hemispheres[roi.targets] == roi.hemisphere).all()
        assert (np.diff(roi.targets) > 0).all()
    assert recording.vertices is not None
    assert recording.vertices.max() < 10_242  # all on fsaverage5


def test_noise_ceiling_is_the_share_of_signal(simulated):
    (recording,) = simulated.read()
    signal = np.load(simulated.folder(1) / "signal.npy")
    responses = recording.responses.gather(np.arange(360))
    assert signal.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert signal.var(axis=0) == pytest.approx(1, abs=1e-4)
    explained = np.array([np.corrcoef(signal[:, t], responses[:, t])[0, 1] ** 2 for t in range(300)])
    ceiling = recording.noise_ceiling
    error = 2 * np.sqrt(ceiling * (1 - ceiling / 2) / 360) * (1 - ceiling)  # of r squared, for a given signal
    scored = (explained - ceiling) / np.maximum(error, 1 / 360)
    assert abs((explained - ceiling).mean()) < 0.01
    assert 0.85 < scored.std() < 1.15
    shuffled = responses[np.random.default_rng(0).permutation(360)]
    assert abs(np.mean([np.corrcoef(signal[:, t], shuffled[:, t])[0, 1] for t in range(300)])) < 0.05


def test_noise_is_independent_of_signal_and_between_targets(simulated):
    (recording,) = simulated.read()
    responses = recording.responses.gather(np.arange(360))
    ceiling = recording.noise_ceiling
    noise = responses - np.sqrt(ceiling) * np.load(simulated.folder(1) / "signal.npy")
    correlation = np.corrcoef(noise.T)[np.triu_indices(300, 1)]
    assert abs(correlation.mean()) < 0.005
    assert correlation.std() == pytest.approx(1 / np.sqrt(360), rel=0.05)
    assert noise.var(axis=0) == pytest.approx(1 - ceiling, rel=0.4)


def test_hemisphere_and_subjects(simulated):
    source = simulated_in(simulated.root.parent, **SMALL, seed=1, hemisphere="rh")
    (recording,), (both,) = source.read(), simulated.read()
    right = np.flatnonzero(both.hemispheres == "rh")
    assert source.num_targets == recording.num_targets == len(right)
    some = np.arange(5)
    assert np.array_equal(recording.responses.gather(some), both.responses.gather(some)[:, right])
    assert [roi.name for roi in recording.rois] == [roi.name for roi in both.rois if roi.hemisphere == "rh"]
    pair = simulated_in(simulated.root.parent, images=10, test_images=2, targets=40, image_size=32, subject=[1, 2])
    first, second = pair.read()
    assert pair.num_targets == 80
    assert not set(first.stimuli.digests()) & set(second.stimuli.digests())


def test_seed_determines_every_byte(tmp_path):
    settings: dict[str, Any] = {"images": 12, "test_images": 3, "targets": 60, "image_size": 32}
    folders = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        source = simulated_in(tmp_path / name, **settings, seed=seed)
        source.prepare()
        folders.append(source.folder(1))
    assert contents(folders[0]) == contents(folders[1])
    assert contents(folders[0]).keys() == contents(folders[2]).keys()
    assert contents(folders[0])["images.npy"] != contents(folders[2])["images.npy"]


def test_prepared_once(simulated):
    before = (simulated.folder(1) / "responses.npy").stat().st_mtime_ns
    simulated.prepare()
    assert (simulated.folder(1) / "responses.npy").stat().st_mtime_ns == before


def test_sizes_are_known_without_generating(tmp_path):
    assert simulated_in(tmp_path, targets=500).num_targets == 500
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_no_data_set(tmp_path):
    code = (
        "from pathlib import Path; from calcarine.data.sources.simulated import Simulated\n"
        f"source = Simulated(images=2000, targets=40); source.keep_in(Path({str(tmp_path)!r})); source.prepare()"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not list((tmp_path / "simulated").glob(".*.partial/*.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    left = list((tmp_path / "simulated").iterdir())
    assert left  # it was killed at work
    assert all(path.name.endswith(".partial") for path in left)


def test_damage_is_told_in_one_line(tmp_path):
    source = simulated_in(tmp_path, images=10, test_images=2, targets=40, image_size=32)
    source.prepare()
    file = source.folder(1) / "responses.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"responses.npy: expected an array \(12, 40\).*delete .*anew"):
        source.read()


def test_row_writer_writes_what_numpy_reads(tmp_path):
    rows = np.random.default_rng(0).random((7, 3)).astype(np.float32)
    with RowWriter(tmp_path / "rows.npy", (7, 3)) as writer:
        writer.append(rows[:4])
        writer.append(rows[4:])
    assert np.array_equal(np.load(tmp_path / "rows.npy", allow_pickle=False), rows)


def test_tree_is_the_challenges(tree):
    """Names, shapes and types as FORMATS.md has them."""
    folder = tree / "subj01"
    training = sorted((folder / "training_split" / "training_images").iterdir())
    tests = sorted((folder / "test_split" / "test_images").iterdir())
    assert [path.name[:10] for path in training] == [f"train-{index:04d}" for index in range(1, 21)]
    assert [path.name[:9] for path in tests] == [f"test-{index:04d}" for index in range(1, 5)]
    numbers = [int(path.stem.split("nsd-")[1]) for path in training]
    assert numbers == sorted(set(numbers))
    assert all(len(path.stem.split("nsd-")[1]) == 5 for path in (*training, *tests))
    with Image.open(training[0]) as image:
        assert (image.size, image.mode, image.format) == ((425, 425), "RGB", "PNG")

    masks = folder / "roi_masks"
    for side, size in (("lh", 288), ("rh", 312)):
        for split, count in (("training", 20), ("test", 4)):
            fmri = np.load(folder / f"{split}_split" / f"{split}_fmri" / f"{side}_{split}_fmri.npy", allow_pickle=False)
            assert fmri.dtype == np.float32
            assert fmri.shape == (count, size)
        everywhere = np.load(masks / f"{side}.all-vertices_fsaverage_space.npy")
        assert everywhere.shape == (163_842,)
        assert everywhere.sum() == size
        for roi_class in ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams"):
            full = np.load(masks / f"{side}.{roi_class}_fsaverage_space.npy")
            challenge = np.load(masks / f"{side}.{roi_class}_challenge_space.npy")
            assert full.dtype == challenge.dtype == np.int64
            assert np.array_equal(full[everywhere == 1], challenge)
            assert (full[everywhere == 0] == 0).all()
            mapping = np.load(masks / f"mapping_{roi_class}.npy", allow_pickle=True).item()
            assert mapping[0] == "Unknown"
            assert set(np.unique(challenge)) <= set(mapping)
        ceiling = np.load(tree / "noise_ceiling" / "subj01" / f"{side}.npy")
        assert ceiling.shape == (size,)
        assert 1 < ceiling.max() <= 100
    assert {path.name for path in folder.iterdir()} == {"training_split", "test_split", "roi_masks"}


def test_mapping_pickles_hold_plain_types_only(tree):
    path = tree / "subj01" / "roi_masks" / "mapping_streams.npy"
    assert load_pickled_npy(path)[1] == "early"
    assert path.stat().st_size < 1000


def test_subjects_have_their_own_images_and_truth(tree):
    images = [{path.name.split("nsd-")[1] for path in (tree / name).rglob("*.png")} for name in ("subj01", "subj02")]
    assert len(images[0]) == len(images[1]) == 24
    assert not images[0] & images[1]
    first, second = (Truth.read(tree / "truth" / f"{name}.npz") for name in ("subj01", "subj02"))
    assert np.array_equal(first.vertex, second.vertex)
    assert not np.array_equal(first.noise_ceiling, second.noise_ceiling)


def test_test_responses_are_withheld_by_default(tmp_path):
    simulate(tmp_path / "tree", images=10, targets=40)
    assert not (tmp_path / "tree" / "subj01" / "test_split" / "test_fmri").exists()


def test_folder_format(tmp_path):
    simulate(tmp_path / "mine", format="folder", images=20, targets=600)
    folder = tmp_path / "mine"
    names = sorted(path.name for path in (folder / "images").iterdir())
    responses = np.load(folder / "responses.npy", allow_pickle=False)
    assert responses.shape == (24, 600)
    assert responses.dtype == np.float32
    assert np.load(folder / "coordinates.npy").shape == (600, 3)
    with (folder / "split.csv").open() as file:
        splits = list(csv.DictReader(file))
    assert [row["stimulus"] for row in splits] == names
    assert [row["split"] for row in splits] == ["train"] * 20 + ["test"] * 4
    with (folder / "rois.csv").open() as file:
        rois = list(csv.DictReader(file))
    truth = Truth.read(folder / "truth" / "subj01.npz")
    (recording,) = Folder(folder, noise_ceiling=folder).read()
    np.testing.assert_allclose(recording.noise_ceiling, truth.noise_ceiling)  # type: ignore[arg-type]
    assert {row["hemisphere"] for row in rois} == {"lh", "rh"}
    assert all(truth.hemisphere[int(row["target"])] == row["hemisphere"] for row in rois)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"format": "bids"},
            "--format: expected algonauts2023, folder, nsd, nsd-synthetic, betas, tvsd, things-fmri, found 'bids'",
        ),
        ({"images": 3}, "--images: expected 10 to 9999"),
        ({"targets": 5}, "--targets: expected 20 to 65536"),
        ({"subjects": 0}, "--subjects: expected 1 to"),
        ({"seed": -1}, "--seed: expected 0 or more, found -1"),
    ],
)
def test_wrong_numbers(tmp_path, flags, message):
    with pytest.raises(InputError) as error:
        simulate(tmp_path / "out", **flags)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_source_names_its_own_flags():
    with pytest.raises(InputError, match=r"^--data\.source\.targets: expected 20 to 65536"):
        Simulated(targets=65_537)
    with pytest.raises(InputError, match=r"^--data\.source\.seed: expected 0 or more"):
        Simulated(seed=-1)


def test_the_working_directory_and_a_link_are_filled(tmp_path, monkeypatch):
    here, linked = tmp_path / "here", tmp_path / "linked"
    for folder in (here, linked):
        folder.mkdir()
    (tmp_path / "link").symlink_to(linked)
    monkeypatch.chdir(here)
    simulate(Path(), format="folder", images=10, targets=40)
    simulate(tmp_path / "link", format="folder", images=10, targets=40)
    names = ["coordinates.npy", "images", "noise_ceiling.npy", "responses.npy", "rois.csv", "split.csv", "truth"]
    assert sorted(path.name for path in Path().iterdir()) == names  # also for the process that stands in it
    assert contents(linked) == contents(here)
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "link", "linked"]


def test_a_folder_with_content_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        simulate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
