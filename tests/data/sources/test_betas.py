"""Betas: what LAION-fMRI's tree becomes, held against a preparation written from its description."""

import csv
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data import Betas
from calcarine.data.simulation.betas import BLANKS, MISSING_SESSION, NAN_VOXELS
from calcarine.data.simulation.planted import Truth
from calcarine.data.simulation.write import simulate
from calcarine.data.test_sets import with_test_sets
from calcarine.errors import InputError
from calcarine.recording import Recording
from PIL import Image
from recovered import assert_recovered

IMAGES, TARGETS = 45, 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("betas") / "tree"
    simulate(out, format="betas", images=IMAGES, targets=TARGETS, subjects=2, seed=3)
    return out


def read(root: Path, cache: Path, **flags: Any) -> Recording:
    source = Betas(root, **{"subject": 1, "split": "tau", **flags})
    source.keep_in(cache)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def func(root: Path, session: int, subject: int = 1) -> Path:
    return root / "derivatives/glmsingle-tedana" / f"sub-{subject:02d}" / f"ses-{session:02d}" / "func"


def betas_of(root: Path, session: int, subject: int = 1) -> Path:
    (path,) = func(root, session, subject).glob("*_desc-SingletrialBetas_statmap.nii.gz")
    return path


def table_of(root: Path, session: int, subject: int = 1) -> Path:
    (path,) = func(root, session, subject).glob("*_trials.tsv")
    return path


def volume(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]


def by_hand(root: Path, subject: int, split: str) -> dict[str, Any]:
    """The tree as it is described, by loops, without the source."""
    name = f"sub-{subject:02d}"
    derivatives = root / "derivatives"
    mask = volume(derivatives / f"glmsingle-tedana/{name}/{name}_task-images_space-T1w_desc-brain_mask.nii.gz") > 0
    sessions = [number for number in range(1, 7) if number != MISSING_SESSION]
    single = {number: volume(betas_of(root, number, subject)).astype(np.float32) for number in sessions}
    for values in single.values():  # what was not measured is NaN, or has become one number
        mask &= ~np.isnan(values).any(axis=-1) & (values != values[..., :1]).any(axis=-1)
    voxels = np.argwhere(mask)  # C order
    scored: dict[int, np.ndarray] = {}
    shown: list[tuple[str, int, int]] = []
    for number, values in single.items():
        own = values[mask].astype(np.float64)
        scored[number] = ((own - own.mean(axis=1)[:, None]) / own.std(axis=1)[:, None]).astype(np.float32)
        with table_of(root, number, subject).open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        shown += [(row["label"], number, int(row["beta_index"])) for row in rows]
    variant = json.loads((root / f"splits/{name}/{split}.json").read_text())["variants"][0]
    lists = {"train": variant["train_ids"], "test": variant["test_ids"]}
    wanted = {label: word for word, labels in lists.items() for label in labels}

    def number_of(label: str) -> tuple[str, int]:
        parts = label.rsplit("_", 2)
        return parts[0], int(parts[1])

    labels = sorted({label for label, _, _ in shown} & set(wanted), key=number_of)
    responses, counts = [], []
    for label in labels:
        trials = sorted((number, index) for each, number, index in shown if each == label)
        rows = [scored[number][:, index].astype(np.float64) for number, index in trials]
        responses.append(np.mean(rows, axis=0).astype(np.float32))
        counts.append(len(rows))
    rois = {}
    for path in sorted((derivatives / "rois" / name).rglob("*res-1pt8*_mask.nii.gz")):
        rois[path.name.split("label-")[1].split("_")[0]] = np.flatnonzero(volume(path)[mask])
    (atlas,) = (derivatives / "rois" / name).rglob("*_dseg.nii.gz")
    for line in atlas.with_name(atlas.name.replace("nii.gz", "tsv")).read_text().splitlines()[2:]:
        label, roi = line.split("\t")
        rois[roi] = np.flatnonzero(volume(atlas)[mask] == int(label))
    return {
        "names": labels, "splits": [wanted[label] for label in labels], "responses": np.array(responses),
        "voxels": voxels, "rois": rois, "counts": np.array(counts),
    }  # fmt: skip


@pytest.mark.parametrize(("subject", "split"), [(1, "tau"), (2, "ood"), (2, "cluster_k5_3")])
def test_the_tree_is_read_to_the_bit(tree, tmp_path, subject, split):
    expected = by_hand(tree, subject, split)
    found = read(tree, tmp_path, subject=subject, split=split)
    assert found.subject == f"sub-{subject:02d}"
    assert list(found.stimuli.names) == expected["names"]
    assert found.splits.tolist() == expected["splits"]
    assert set(expected["splits"]) == {"train", "test"}
    assert found.grid is not None
    assert np.array_equal(found.grid.voxels, expected["voxels"])
    assert np.array_equal(found.responses.gather(np.arange(len(found.stimuli))), expected["responses"])
    assert {roi.name: roi.targets.tolist() for roi in found.rois} == {
        name: targets.tolist() for name, targets in expected["rois"].items()
    }
    affine: Any = nibabel.load(betas_of(tree, 1)).affine  # type: ignore[attr-defined]
    assert np.array_equal(found.grid.affine, affine)  # type: ignore[arg-type]
    places = found.grid.voxels @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(found.coordinates, places, rtol=1e-6)  # type: ignore[arg-type]


def test_images_are_those_of_the_packed_file(tree, tmp_path):
    found = read(tree, tmp_path)
    with (tree / "stimuli/task-images_metadata.csv").open(newline="") as file:
        order = [row["image_name"] for row in csv.DictReader(file)]
    assert order != sorted(order)
    with h5py.File(tree / "stimuli/task-images_stimuli.h5") as file:
        for index in (0, 7, len(found.stimuli) - 1):
            content = bytes(file["images"][order.index(found.stimuli.names[index])])  # type: ignore[index]
            assert np.array_equal(found.stimuli.read(index), np.asarray(Image.open(BytesIO(content)).convert("RGB")))
    digests = found.stimuli.digests(tmp_path / "memo")
    assert len(set(digests)) == len(digests)
    assert read(tree, tmp_path).stimuli.digests(tmp_path / "memo") == digests


def test_voxels_that_a_session_did_not_measure_are_left_out(tree, tmp_path):
    """NaN in a session of floats, and what NaN has become in one of whole numbers: almost 0, in all trials."""
    stored = volume(betas_of(tree, 5))
    assert np.abs(stored[..., 0]).min() > 0  # of the whole volume: nothing is exactly 0 in it
    assert read(tree, tmp_path).num_targets == TARGETS + BLANKS - 2 * NAN_VOXELS
    assert read(tree, tmp_path, sessions=[1, 2, 3]).num_targets == TARGETS + BLANKS - NAN_VOXELS


def test_a_scale_in_the_header_is_applied_once(tree, tmp_path):
    found = read(tree, tmp_path, zscore=False)
    header: Any = nibabel.load(betas_of(tree, 1)).header  # type: ignore[attr-defined]
    assert header.get_data_dtype() == np.int16
    values = volume(betas_of(tree, 1))  # nibabel applies it
    assert found.trials is not None
    assert found.grid is not None
    own = np.asarray(found.trials.responses)[found.trials.session == 1]
    assert np.array_equal(own, values[tuple(found.grid.voxels.T)].T.astype(np.float32))
    assert np.abs(own).mean() < 5


def test_sessions_are_standardised_apart(tree, tmp_path):
    trials = read(tree, tmp_path).trials
    assert trials is not None
    assert sorted(set(trials.session.tolist())) == [1, 2, 3, 5, 6]
    for session in np.unique(trials.session):
        own = np.asarray(trials.responses)[trials.session == session]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(own.std(axis=0), 1, atol=1e-5)
    assert trials.run is not None
    assert set(trials.run.tolist()) == {1, 2, 3, 4}


def test_ceilings_are_those_of_the_scored_images(tree, tmp_path):
    found = read(tree, tmp_path)
    test = np.flatnonzero(found.splits == "test")
    counts = by_hand(tree, 1, "tau")["counts"]
    assert len(set(counts[test])) > 1
    (repeats,) = found.ceilings(test).values()  # the file is of images that were shown four times
    trials = found.trials
    assert trials is not None
    values = np.full((len(test), counts.max(), found.num_targets), np.nan)
    for row, stimulus in enumerate(test):
        own = np.flatnonzero(trials.stimulus == stimulus)
        values[row, : len(own)] = trials.responses[own]
    there = ~np.isnan(values[:, :, 0])
    noise = np.mean([values[row, own].var(axis=0, ddof=1) for row, own in enumerate(there) if own.sum() > 1], axis=0)
    signal = np.maximum(values[there].var(axis=0, ddof=1) - noise, 0)
    expected = signal / (signal + noise * (1 / counts[test]).mean())
    np.testing.assert_allclose(repeats, expected, atol=1e-10)
    four = found.ceilings(np.flatnonzero(counts == 4))
    assert [name.split("_")[-1] for name in four] == ["the repeats of these stimuli", "statmap.nii"]
    truth = Truth.read(tree / "truth" / "sub-01.npz").noise_ceiling
    told = np.sort(list(four.values())[1])
    expected = np.sort(truth / (truth + (1 - truth) / 4))
    np.testing.assert_allclose(told[told > 0], expected[expected > 0], atol=1e-6)
    assert np.array_equal(
        next(iter(found.ceilings(np.arange(len(counts))).values())), found.noise_ceiling, equal_nan=True
    )


def test_a_ceiling_of_all_images_is_of_all_of_them_alone(tree, tmp_path):
    """LAION-fMRI has it beside those of 4 and of 12 repeats; nothing of it is true of some images or sessions."""
    root = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("sub-02*", "truth"))

    def told(stimuli: slice = slice(None), **flags: Any) -> list[str]:
        found = read(root, tmp_path / "cache", **{"split": None, **flags})
        names = found.ceilings(np.arange(len(found.stimuli))[stimuli])
        return [name.removeprefix("the file task-images_space-T1w_desc-Noiseceiling") for name in names]

    (repeats,) = told()  # one session's betas are not there
    shutil.rmtree(func(root, MISSING_SESSION))
    assert told() == [repeats, "Allrep_statmap.nii"]
    for some in (told(slice(5, None)), told(sessions=[1, 2]), told(split="tau")):
        assert some == [repeats]
    (ceiling,) = root.glob("derivatives/glmsingle-tedana/sub-01/*Allrep*")
    assert told(slice(5, 9), noise_ceiling=ceiling)[-1] == "Allrep_statmap.nii"  # the user says so
    other = np.full((3, 3, 3), 50.0, dtype=np.float32)
    nibabel.Nifti1Image(other, np.eye(4)).to_filename(ceiling)  # type: ignore[attr-defined]
    assert told() == [repeats]
    with pytest.raises(InputError, match="expected the grid of"):
        told(noise_ceiling=ceiling)


def test_targets_and_rois_are_chosen_by_name(tree, tmp_path):
    truth = Truth.read(tree / "truth" / "sub-01.npz")
    area = read(tree, tmp_path, targets=["V1", "V2", "V3", "hV4"], rois=["V1"])
    assert area.num_targets == (truth.model == "gabor").sum()
    assert [roi.name for roi in area.rois] == ["V1"]
    without = read(tree, tmp_path, roi_folder=tree / "derivatives/rois/sub-01/words")
    assert {roi.name for roi in without.rois} == {"OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"}


def test_without_a_mask_targets_are_those_of_the_rois(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "tree", symlinks=True)
    (mask,) = root.glob("derivatives/glmsingle-tedana/sub-01/*mask.nii.gz")
    mask.unlink()
    found = read(root, tmp_path / "cache")
    inside = set(np.concatenate([roi.targets for roi in found.rois]).tolist())
    assert inside == set(range(found.num_targets))
    everywhere = read(root, tmp_path / "cache", targets="all")  # where the fit of the model is above 0
    assert everywhere.num_targets == TARGETS + BLANKS - 2 * NAN_VOXELS


def test_single_trials_train_and_repeats_lie_on_one_side(tree, tmp_path):
    found = read(tree, tmp_path, average_repeats=False)
    expected = by_hand(tree, 1, "tau")
    train = found.splits == "train"
    digests = np.array(found.stimuli.digests())
    assert not set(digests[train]) & set(digests[~train])
    own = np.array(expected["splits"]) == "train"
    assert train.sum() == expected["counts"][own].sum()
    assert len(set(found.stimuli.names)) == len(found.stimuli)
    tests = found.responses.gather(np.flatnonzero(~train))
    assert np.array_equal(tests, expected["responses"][~own])
    with pytest.raises(InputError, match=r"average_repeats false: expected a split"):
        read(tree, tmp_path, average_repeats=False, split=None)


def test_the_tables_tell_the_order_and_what_else_is_a_number(tree, tmp_path):
    """Images that the split leaves out are no stimuli, and stand before others all the same, as nothing."""
    root = shutil.copytree(tree, tmp_path / "tree", symlinks=True)
    labels = []
    for session in (number for number in range(1, 7) if number != MISSING_SESSION):
        path = table_of(root, session)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for place, row in enumerate(rows):
            row |= {"speed": "n/a" if place % 4 == 0 else str(place / 8), "hand": "left"}
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t")
            table.writeheader()
            table.writerows(rows)
        rows = sorted(rows, key=lambda row: int(row["beta_index"]))
        labels += [(session, row["label"], row["speed"]) for row in rows if row["label"] not in ("", "n/a")]
    found = read(root, tmp_path / "cache")
    assert found.order is not None
    order, names = found.order(), list(found.stimuli.names)
    assert "speed" in order.behaviour
    assert "hand" not in order.behaviour
    np.testing.assert_array_equal(order.session, [session for session, *_ in labels])
    np.testing.assert_array_equal(order.shown, [names.index(n) if n in names else -1 for _, n, _ in labels])
    expected = [np.nan if speed == "n/a" else float(speed) for *_, speed in labels]
    np.testing.assert_array_equal(order.behaviour["speed"], expected)
    single = read(root, tmp_path / "cache", average_repeats=False).order
    assert single is not None
    assert len(set(single().stimulus[single().stimulus >= 0].tolist())) > len(names)


def test_another_split_is_a_second_test_set(tree, tmp_path):
    """LAION-fMRI's unusual images, which the split tau leaves out."""
    sources = {split: Betas(tree, subject=1, split=split) for split in ("tau", "ood")}
    for source in sources.values():
        source.keep_in(tmp_path)
    (both,) = with_test_sets(sources["tau"].read(), {"ood": sources["ood"]})
    own = np.flatnonzero(both.splits == "ood")
    unusual = read(tree, tmp_path, split="ood")
    test = np.flatnonzero(unusual.splits == "test")
    assert len(test) > 3
    assert all("_OOD_" in unusual.stimuli.names[index] for index in test)
    assert np.array_equal(both.responses.gather(own), unusual.responses.gather(test))
    ceilings = [next(iter(each.values())) for each in (both.ceilings(own), unusual.ceilings(test))]
    assert np.array_equal(*ceilings, equal_nan=True)


def test_without_a_split_the_images_are_left_to_the_seed(tree, tmp_path):
    found = read(tree, tmp_path, split=None)
    assert set(found.splits.tolist()) == {""}
    shown = set()
    for session in (1, 2, 3, 5, 6):
        with table_of(tree, session).open(newline="") as file:
            shown |= {row["label"] for row in csv.DictReader(file, delimiter="\t")}
    assert set(found.stimuli.names) == shown
    assert len(shown) > 0.8 * IMAGES


def test_an_odd_but_legal_tree_works(tree, tmp_path):
    """Folders that are links, a root that nobody may write to, unpacked images elsewhere, a split by its path."""
    root, pictures = tmp_path / "links", tmp_path / "pictures"
    (root / "derivatives").mkdir(parents=True)
    pictures.mkdir()
    for name in ("glmsingle-tedana", "rois"):
        (root / "derivatives" / name).symlink_to(tree / "derivatives" / name)
    with (tree / "stimuli/task-images_metadata.csv").open(newline="") as file:
        order = [row["image_name"] for row in csv.DictReader(file)]
    with h5py.File(tree / "stimuli/task-images_stimuli.h5") as file:
        for row, name in enumerate(order):
            (pictures / name).write_bytes(bytes(file["images"][row]))  # type: ignore[index]
    before = sorted(path.stat().st_mtime_ns for path in tree.rglob("*"))
    root.chmod(0o555)
    split = tree / "splits/sub-01/tau.json"
    found = read(root, tmp_path / "cache", subject="sub-01", sessions=["ses-01", 3], images=pictures, split=str(split))
    root.chmod(0o755)
    same = read(tree, tmp_path / "other", sessions=[1, 3])
    rows = np.arange(len(same.stimuli))
    assert np.array_equal(found.responses.gather(rows), same.responses.gather(rows))
    assert np.array_equal(found.stimuli.read(3), same.stimuli.read(3))
    assert sorted(path.stat().st_mtime_ns for path in tree.rglob("*")) == before


def test_a_preparation_that_ended_in_the_middle_goes_on(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("sub-02*", "truth"))
    good = betas_of(root, 6).read_bytes()
    betas_of(root, 6).write_bytes(good[:-500])
    with pytest.raises(InputError, match=r"ses-06.*broken download"):
        read(root, tmp_path / "cache")
    (partial,) = (tmp_path / "cache" / "trials").glob("*.partial")
    assert len(list(partial.glob("done.*"))) == 4
    betas_of(root, 6).write_bytes(good)
    found, expected = read(root, tmp_path / "cache"), read(tree, tmp_path / "other")
    rows = np.arange(len(expected.stimuli))
    assert np.array_equal(found.responses.gather(rows), expected.responses.gather(rows))


def test_the_doctor_is_silent_on_it(tree, capsys):
    assert calcarine(["check", str(tree)]) == 0
    said = capsys.readouterr().out
    assert "0 errors, 0 warnings" in said
    assert "Betas, sub-01, session 1" in said
    assert "Betas, sub-02, session 1" in said


@pytest.mark.slow
def test_a_run_recovers_what_is_planted_and_its_control_does_not(tmp_path, monkeypatch):
    """By the command line, as a user would: the source is found by what the folder holds."""
    assert calcarine(["simulate", str(tmp_path / "tree"), "--format", "betas", "--images", "600"]) == 0
    flags = ["--data.source.root=tree", "--data.source.targets=[V1,V2,V3,hV4]", "--data.encoder=GaborEncoder"]
    assert_recovered(tmp_path, monkeypatch, flags, "V1", 0.5)
