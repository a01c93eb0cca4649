"""ThingsFmri: what the tables of THINGS-fMRI become, held against a reading by loops."""

import csv
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from calcarine.data import ThingsFmri
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from calcarine.data.simulation.planted import Truth
from calcarine.data.simulation.write import simulate
from calcarine.errors import InputError
from calcarine.recording import Recording
from PIL import Image
from recovered import simulate_and_recover

IMAGES, TESTS, TARGETS = 60, 12, 200
BLOCK = "ResponseData/block0_values"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("things") / "tree"
    simulate(out, format="things-fmri", images=IMAGES, targets=TARGETS, subjects=2, seed=4)
    return out


def read(root: Path, cache: Path, **flags: Any) -> Recording:
    source = ThingsFmri(root, **flags)
    source.keep_in(cache)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def file(root: Path, what: str = "ResponseData.h5", subject: int = 1) -> Path:
    return root / "betas_csv" / f"sub-{subject:02d}_{what}"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as text:
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def by_hand(root: Path, subject: int) -> dict[str, Any]:
    """The tables as they lie: z-scored by session, averaged by image."""
    trials, voxels = (rows_of(file(root, f"{each}Metadata.csv", subject)) for each in ("Stimulus", "Voxel"))
    areas = [name for name in list(voxels[0])[list(voxels[0]).index("V1") :] if not name.startswith("glasser")]
    kept = [place for place, voxel in enumerate(voxels) if any(voxel[area] == "1" for area in areas)]
    with h5py.File(file(root, subject=subject)) as hdf:
        values = hdf[BLOCK][:].T  # type: ignore[index]
    scored = np.empty((len(trials), len(kept)), dtype=np.float32)
    for session in {trial["session"] for trial in trials}:
        own = [place for place, trial in enumerate(trials) if trial["session"] == session]
        single = values[own][:, kept].astype(np.float32).astype(np.float64)
        scored[own] = (single - single.mean(axis=0)) / single.std(axis=0)
    names, responses, counts = [], [], []
    for kind in ("train", "test"):
        paths = sorted({f"{trial['concept']}/{trial['stimulus']}" for trial in trials if trial["trial_type"] == kind})
        for path in paths:
            own = [
                place
                for place, trial in enumerate(trials)
                if (trial["trial_type"], f"{trial['concept']}/{trial['stimulus']}") == (kind, path)
            ]
            names.append(path)
            counts.append(len(own))
            responses.append(scored[own].astype(np.float64).mean(axis=0).astype(np.float32))
    rois = {area: [row for row, place in enumerate(kept) if voxels[place][area] == "1"] for area in areas}
    return {
        "names": names, "responses": np.array(responses), "counts": np.array(counts), "kept": kept, "rois": rois,
        "voxels": voxels,
    }  # fmt: skip


@pytest.mark.parametrize("subject", [1, 2])
def test_it_prepares_what_is_there_to_the_bit(tree, tmp_path, subject):
    expected, found = by_hand(tree, subject), read(tree, tmp_path, subject=subject)
    assert found.subject == f"sub-{subject:02d}"
    assert found.splits.tolist() == [""] * IMAGES + ["test"] * TESTS
    responses = found.responses.gather(np.arange(IMAGES + TESTS))
    # Sums of a session's trials in another order differ in the last digit of the z-scores.
    np.testing.assert_allclose(responses, expected["responses"], rtol=0, atol=2e-6)
    for index, name in enumerate(expected["names"]):
        with Image.open(tree / "object_images" / name) as image:
            assert np.array_equal(found.stimuli.read(index), np.asarray(image))
    assert {roi.name: roi.targets.tolist() for roi in found.rois} == expected["rois"]
    places = [[int(expected["voxels"][place][f"voxel_{axis}"]) for axis in "xyz"] for place in expected["kept"]]
    assert found.grid is not None
    assert found.grid.voxels.tolist() == places


def test_ceilings_are_the_planted_ones_and_the_files_are_in_per_cent(tree, tmp_path):
    expected, found = by_hand(tree, 1), read(tree, tmp_path)
    test = np.flatnonzero(found.splits == "test")
    ceilings, counts = found.ceilings(test), expected["counts"][test]
    assert list(ceilings) == ["the repeats of these stimuli", "nc_testset of the file"]
    assert len(set(counts)) > 1
    single = Truth.read(tree / "truth" / "sub-01.npz").noise_ceiling[expected["kept"]]
    planted = single / (single + (1 - single) * (1 / counts).mean())
    assert abs((ceilings["the repeats of these stimuli"] - planted).mean()) < 0.01
    stored = [float(expected["voxels"][place]["nc_testset"]) for place in expected["kept"]]
    assert max(stored) > 50
    np.testing.assert_allclose(ceilings["nc_testset of the file"], np.array(stored) / 100)
    once = found.ceilings(np.arange(20))
    assert list(once) == ["nc_singletrial of the file"]
    np.testing.assert_allclose(once["nc_singletrial of the file"], single)
    assert list(found.ceilings(np.array([0, int(test[0])]))) == ["the repeats of these stimuli"]
    assert found.noise_ceiling is not None  # over all images, of which most were shown once
    over_all = single / (single + (1 - single) * (1 / expected["counts"]).mean())
    assert abs((found.noise_ceiling - over_all).mean()) < 0.03


def test_sessions_are_standardised_apart(tree, tmp_path):
    trials = read(tree, tmp_path).trials
    assert trials is not None
    for session in np.unique(trials.session):
        own = np.asarray(trials.responses)[trials.session == session]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(own.std(axis=0), 1, atol=1e-5)
    raw = read(tree, tmp_path, zscore=False).trials
    assert raw is not None
    assert np.asarray(raw.responses)[raw.session == 1].mean(axis=0).std() > 0.3


def test_targets_are_chosen_by_name(tree, tmp_path):
    expected = by_hand(tree, 1)
    area = read(tree, tmp_path, targets="V1")
    assert area.num_targets == len(expected["rois"]["V1"])
    assert [len(roi.targets) for roi in area.rois if roi.name == "V1"] == [area.num_targets]
    everywhere = read(tree, tmp_path, targets="all", rois=["V1", "glasser-V1"])
    assert everywhere.num_targets == len(expected["voxels"]) - 1  # one is NaN in a session
    assert [roi.name for roi in everywhere.rois] == ["V1", "glasser-V1"]
    assert np.array_equal(everywhere.rois[0].targets, everywhere.rois[1].targets)


def shuffled(path: Path, seed: int) -> None:
    rows = rows_of(path)
    write_rows(path, [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))])


def pickled_names(root: Path, names: object = None) -> None:
    """Columns named by numbers, which pandas writes as one pickle."""
    with h5py.File(file(root), "r+") as hdf:
        count = hdf[BLOCK].shape[1]  # type: ignore[union-attr]
        labels = np.array(list(range(count)), dtype=object) if names is None else names
        del hdf["ResponseData/block0_items"]
        rows = hdf.create_dataset("ResponseData/block0_items", (1,), dtype=h5py.vlen_dtype(np.uint8))
        rows[0] = np.frombuffer(pickle.dumps(labels), dtype=np.uint8)


def test_tables_are_joined_by_ids_and_not_by_order(tree, tmp_path):
    """Also: names that are a pickle, links, images elsewhere, a root that nobody may write to."""
    root = tmp_path / "links"
    (root / "betas_csv").mkdir(parents=True)
    for what in ("ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv"):
        shutil.copy(file(tree, what), file(root, what))
    shuffled(file(root, "StimulusMetadata.csv"), 1)
    shuffled(file(root, "VoxelMetadata.csv"), 2)
    pickled_names(root)
    (tmp_path / "pictures").symlink_to(tree / "object_images")
    root.chmod(0o555)
    one, other = read(tree, tmp_path / "a"), read(root, tmp_path / "b", images=tmp_path / "pictures")
    root.chmod(0o755)
    assert one.grid is not None
    assert other.grid is not None
    place = {tuple(voxel): row for row, voxel in enumerate(other.grid.voxels.tolist())}
    order = np.array([place[tuple(voxel)] for voxel in one.grid.voxels.tolist()])
    rows = np.arange(IMAGES + TESTS)
    assert one.stimuli.names == other.stimuli.names
    assert np.array_equal(one.responses.gather(rows), other.responses.gather(rows)[:, order])


def test_the_order_of_trials_is_that_of_their_ids_in_sessions_and_runs(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("sub-02*"))
    told = rows_of(file(tree, "StimulusMetadata.csv"))
    trials = sorted(told, key=lambda row: (int(row["session"]), int(row["trial_id"])))
    shuffled(file(root, "StimulusMetadata.csv"), 1)
    found = read(root, tmp_path / "cache")
    assert found.order is not None
    order = found.order()
    assert [found.stimuli.names[row] for row in order.stimulus] == [trial["stimulus"] for trial in trials]
    assert np.array_equal(order.shown, order.stimulus)  # no image trains and tests
    assert order.session.tolist() == [int(trial["session"]) for trial in trials]
    assert order.run is not None
    assert order.run.tolist() == [int(trial["run"]) for trial in trials]
    runs = {(trial["session"], trial["run"]) for trial in trials}
    assert len(np.unique(order.starts())) == len(runs) > 12
    assert ThingsFmri(root).trial_columns() == []


def test_what_is_prepared_is_not_read_again(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("sub-02*"))
    rows, before = np.arange(IMAGES + TESTS), file(root).stat()
    first = read(root, tmp_path / "cache").responses.gather(rows)
    with h5py.File(file(root), "r+") as hdf:
        values = hdf[BLOCK][()]  # type: ignore[index]
        hdf[BLOCK][:] = np.where(np.isnan(values), np.nan, 7.0)  # type: ignore[index]
    os.utime(file(root), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert np.array_equal(read(root, tmp_path / "cache").responses.gather(rows), first)
    assert not np.array_equal(read(root, tmp_path / "other").responses.gather(rows), first)


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def change(what: str, column: str, to: Callable[[str], str], rows: slice = slice(None)) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        table = rows_of(file(root, what))
        for row in table[rows]:
            row[column] = to(row[column])
        write_rows(file(root, what), table)

    return plant


def edit(action: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        with h5py.File(file(root), "r+") as hdf:
            action(hdf)

    return plant


def as_table(hdf: h5py.File) -> None:
    hdf["ResponseData"].attrs["pandas_type"] = np.bytes_(b"frame_table")


def elsewhere(root: Path) -> None:
    with h5py.File(file(root), "r+") as hdf:
        del hdf[BLOCK]
        hdf[BLOCK] = h5py.ExternalLink(str(file(root, subject=2)), f"/{BLOCK}")


def other_block(hdf: h5py.File) -> None:
    values = hdf[BLOCK][:]  # type: ignore[index]
    del hdf[BLOCK]
    hdf[BLOCK] = values.T


def truncate(root: Path) -> None:
    with file(root).open("r+b") as raw:
        raw.truncate(file(root).stat().st_size // 2)


VOXELS, STIMULI = "VoxelMetadata.csv", "StimulusMetadata.csv"
FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no such subject": (None, {"subject": 7}, "expected the responses of subject 7, found 01, 02"),
    "the same subject twice": (None, {"subject": [1, 1]}, "expected each subject once"),
    "no table of voxels": (lambda root: file(root, VOXELS).unlink(), {}, r"VoxelMetadata\.csv: .* no such file"),
    "no images": (lambda root: shutil.rmtree(root / "object_images"), {}, "expected the folder of the THINGS images"),
    "a missing image": (
        lambda root: next((root / "object_images").rglob("*_01s.jpg")).unlink(), {},
        "expected 72 images that sub-01_StimulusMetadata.csv names, found no file for 1 of them",
    ),
    "a truncated file": (truncate, {}, r"ResponseData\.h5: expected a complete HDF5 file"),
    "no such ROI": (None, {"targets": "V9"}, "--data.source.targets V9: expected a ROI of sub-01_VoxelMetadata.csv"),
    "no such ROI to score": (None, {"rois": ["V9"]}, "--data.source.rois V9: expected a ROI"),
    "ceilings as shares": (
        change(VOXELS, "nc_testset", lambda each: str(float(each) / 100)), {},
        "expected nc_testset in per cent, 0 to 100, found a maximum of 0.9.*: shares of 1",
    ),
    "a ceiling that is none": (
        change(VOXELS, "nc_testset", lambda _: "120", slice(0, 1)), {}, "expected nc_testset in per cent, 0 to 100",
    ),
    "trial ids from 1": (
        change(STIMULI, "trial_id", lambda each: str(int(each) + 1)), {}, "found none for trial_id 2",
    ),
    "a trial twice": (
        change(STIMULI, "trial_id", lambda _: "5", slice(0, 1)), {}, "expected each trial_id once, found 5 again",
    ),
    "another type of trial": (
        change(STIMULI, "trial_type", lambda _: "catch", slice(0, 1)), {}, "trial_type train and of test, found catch",
    ),
    "no session": (change(STIMULI, "session", lambda _: "one"), {}, "expected session to be whole numbers"),
    "voxels of another subject": (
        change(VOXELS, "voxel_id", lambda each: str(int(each) + 1)), {},
        "expected the 220 voxels of sub-01_VoxelMetadata",
    ),
    "a voxel twice": (change(VOXELS, "voxel_id", lambda _: "0"), {}, "expected each voxel_id once"),
    "a concept that leads elsewhere": (
        change(STIMULI, "concept", lambda _: "..", slice(0, 1)), {}, r"expected the names of images as CONCEPT/FILE",
    ),
    "a harmful pickle": (lambda root: pickled_names(root, Harmful()), {}, "builtins.print; it was not run"),
    "a table that can be searched": (edit(as_table), {}, r"to_hdf in format .fixed., found ResponseData \(frame_table"),
    "a block in another file": (elsewhere, {}, "expected a dataset ResponseData/block0_values in the file itself"),
    "a block on its side": (edit(other_block), {}, r"expected ResponseData/block0_values \(220, "),
    "a gap": (
        edit(lambda hdf: hdf[BLOCK].__setitem__((slice(None), 5), np.nan)), {},  # type: ignore[union-attr]
        "measured in all trials of a session or in none, found nan in session 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(tree, tmp_path, fault, capsys):
    spoil, flags, message = FAULTS[fault]
    root = tree
    if spoil is not None:
        root = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("truth"))
        spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        read(root, tmp_path / "cache", **flags)
    assert "\n" not in str(raised.value)
    assert "run\n" not in capsys.readouterr().out


def said(root: Path, severities: tuple[str, ...] = ("error", "warning"), **asked: Any) -> list[str]:
    (found,) = examine(root, asked=Asked(**asked))
    assert found.format == "ThingsFmri"
    return [symptom.line(root) for symptom in found.chart.symptoms if symptom.severity in severities]


def test_check_is_silent_on_a_sound_tree(tree):
    assert said(tree) == []
    assert any("sub-02: 60 images" in line for line in said(tree, ("note",)))


@pytest.mark.parametrize(
    ("plant", "begins", "words"),
    [
        (truncate, "error: betas_csv/sub-01_ResponseData.h5", "copy it again"),
        (FAULTS["ceilings as shares"][0], f"error: betas_csv/sub-01_{VOXELS}", "shares of 1"),
        (change(VOXELS, "nc_testset", lambda _: "40"), f"warning: betas_csv/sub-01_{VOXELS}", "all are 40"),
        (change(STIMULI, "concept", lambda _: "cat", slice(0, 1)), "error: object_images", "found no file"),
    ],
)  # fmt: skip
def test_check_names_a_fault(tree, tmp_path, plant, begins, words):
    root = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("sub-02*"))
    plant(root)
    lines = said(root)
    assert any(line.startswith(begins) and words in line for line in lines), lines
    assert not any("could not be checked" in line for line in lines), lines


@pytest.mark.slow
def test_a_run_recovers_what_is_planted_and_its_control_does_not(tmp_path, monkeypatch):
    """By the command line, as a user would: the source is found by what the folder holds."""
    simulate_and_recover(tmp_path, monkeypatch, "things-fmri", roi="V1", least=0.5)
