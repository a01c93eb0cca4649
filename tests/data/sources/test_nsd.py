"""NSD: what a tree of the Natural Scenes Dataset becomes, held against a preparation written from its description."""

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data import NSD
from calcarine.data.simulation.nsd import KIND, NAN_VERTICES
from calcarine.data.simulation.planted import Truth
from calcarine.data.simulation.write import simulate
from calcarine.errors import InputError
from calcarine.recording import Recording
from calcarine.trial_order import times_before
from scipy.io import loadmat, savemat

IMAGES, SESSIONS, TARGETS = 40, 8, 120
PER_SESSION = IMAGES * 3 // SESSIONS


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("nsd") / "tree"
    simulate(out, format="nsd", images=IMAGES, targets=TARGETS, subjects=2, seed=2)
    return out


def read(root: Path, cache: Path, **flags: Any) -> Recording:
    source = NSD(root, **flags)
    source.keep_in(cache)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def betas(root: Path, space: str = "fsaverage", subject: int = 1) -> Path:
    return root / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / space / KIND


def by_hand(root: Path, subject: int) -> dict[str, Any]:
    """The Algonauts 2023 rule on a tree, by loops, without the source."""
    name, sessions = f"subj{subject:02d}", 8 if subject == 1 else 7
    there = [session for session in range(1, sessions + 1) if subject == 1 or session != 2]
    design = loadmat(root / "nsddata/experiments/nsd/nsd_expdesign.mat")
    order, own = design["masterordering"].astype(int)[0], design["subjectim"].astype(int)[subject - 1]
    shared = set((design["sharedix"].astype(int)[0] - 1).tolist())
    shown = {
        session: [int(own[order[trial] - 1]) - 1 for trial in range((session - 1) * PER_SESSION, session * PER_SESSION)]
        for session in range(1, sessions + 1)
    }
    earlier = {image for session in range(1, sessions - 2) for image in shown[session]}
    late = {image for session in range(sessions - 2, sessions + 1) for image in shown[session]} - earlier
    if subject != 1:
        late -= shared

    chosen, maps, rois, folder = {}, {}, {}, betas(root, subject=subject)
    freesurfer = root / "nsddata/freesurfer"
    for side in ("lh", "rh"):

        def surface(path: Path) -> np.ndarray:
            return np.asarray(nibabel.load(path).dataobj)[:, 0, 0]  # type: ignore[attr-defined]

        label = freesurfer / "fsaverage/label"
        general = surface(label / f"{side}.nsdgeneral.mgz") > 0
        general |= surface(label / f"{side}.nsdgeneralRSC.mgz") > 0
        for session in there:
            file = folder / f"{side}.betas_session{session:02d}.{'mgz' if session == 1 else 'mgh'}"
            maps[side, session] = np.asarray(nibabel.load(file).dataobj)[:, 0, 0].astype(np.float32)  # type: ignore[attr-defined]
            general &= ~np.isnan(maps[side, session]).any(axis=1)
        chosen[side] = np.flatnonzero(general)
        to_native = surface(root / f"nsddata/ppdata/{name}/transforms/{side}.white-to-fsaverage.mgz").astype(int)
        for path in sorted((freesurfer / name / "label").glob(f"{side}.*.mgz")):
            atlas = path.name[3:-4]
            table = (path.parent / f"{atlas}.mgz.ctab").read_text().splitlines()
            on_average = surface(path)[to_native - 1]
            for number, roi in (line.split() for line in table):
                if number != "0":
                    rois[side, roi] = np.flatnonzero(on_average[chosen[side]] == int(number))

    standardised = {
        side: {session: np.array(maps[side, session][chosen[side]].T, dtype=np.float64) for session in there}
        for side in chosen
    }
    for by_session in standardised.values():
        for session, values in by_session.items():
            deviation = values.std(axis=0)
            scaled = (values - values.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
            by_session[session] = scaled.astype(np.float32)

    def mean(images: list[int], of: list[int]) -> np.ndarray:
        rows = []
        for image in images:
            trials = [(s, t) for s in of if s in there for t in range(PER_SESSION) if shown[s][t] == image]
            both = [np.concatenate([standardised[side][s][t] for side in ("lh", "rh")]) for s, t in trials]
            rows.append(np.mean(np.array(both, dtype=np.float64), axis=0).astype(np.float32))
        return np.array(rows)

    before, after = list(range(1, sessions - 2)), list(range(sessions - 2, sessions + 1))
    train = sorted({image for s in before if s in there for image in shown[s]})
    test = sorted(late)
    with h5py.File(root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        images = [file["imgBrick"][image] for image in train + test]  # type: ignore[index]
    return {
        "images": images,
        "responses": np.concatenate([mean(train, before), *([mean(test, after)] if test else [])]),
        "train": train,
        "test": test,
        "vertices": np.concatenate([chosen["lh"], chosen["rh"]]),
        "left": len(chosen["lh"]),
        "rois": rois,
    }


@pytest.mark.parametrize("subject", [1, 2])
def test_it_makes_the_challenges_data_to_the_bit(tree, tmp_path, subject):
    expected = by_hand(tree, subject)
    assert expected["test"], "a tree without test images proves nothing"
    found = read(tree, tmp_path, subject=subject, split="algonauts2023")
    assert list(found.stimuli.names) == [f"nsd-{image:05d}" for image in expected["train"] + expected["test"]]
    assert found.splits.tolist() == [""] * len(expected["train"]) + ["test"] * len(expected["test"])
    for index, image in enumerate(expected["images"]):
        assert np.array_equal(found.stimuli.read(index), image)
    assert found.vertices is not None
    assert np.array_equal(found.vertices, expected["vertices"])
    assert found.hemispheres.tolist() == ["lh"] * expected["left"] + ["rh"] * (found.num_targets - expected["left"])
    assert np.array_equal(found.responses.gather(np.arange(len(found.stimuli))), expected["responses"])
    named = {(roi.hemisphere, roi.name): roi.targets - (expected["left"] if roi.hemisphere == "rh" else 0)
             for roi in found.rois}  # fmt: skip
    assert named.keys() == expected["rois"].keys()
    for key, targets in expected["rois"].items():
        assert np.array_equal(named[key], targets), key


def test_the_rois_are_the_planted_ones(tree, tmp_path):
    """What was carried from the native surface of the other hemisphere, or from a vertex beside, is elsewhere."""
    truth = Truth.read(tree / "truth" / "subj01.npz")
    found = read(tree, tmp_path, split="algonauts2023")
    place = {(side, vertex): row for row, (side, vertex) in enumerate(zip(truth.hemisphere, truth.vertex, strict=True))}
    rows = np.array([place[side, vertex] for side, vertex in zip(found.hemispheres, found.vertices, strict=True)])  # type: ignore[arg-type]
    models = {"V1v": "gabor", "V3d": "gabor", "FFA-1": "category", "PPA": "category"}
    for roi in found.rois:
        if roi.name in models and len(roi.targets):
            assert set(truth.model[rows[roi.targets]]) == {models[roi.name]}


@pytest.mark.slow
def test_volumes_of_both_formats_agree_to_the_bit(tree, tmp_path):
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    for path in betas(copy, "func1pt8mm").glob("*.hdf5"):
        path.unlink()
    one = read(tree, tmp_path / "a", space="func1pt8mm", zscore=False)
    other = read(copy, tmp_path / "b", space="func1pt8mm", zscore=False)
    index = np.arange(len(one.stimuli))
    assert np.array_equal(one.responses.gather(index), other.responses.gather(index))
    assert one.grid is not None
    assert other.grid is not None
    assert np.array_equal(one.grid.voxels, other.grid.voxels)
    places = np.ravel_multi_index(tuple(one.grid.voxels.T), one.grid.shape)
    assert (np.diff(places) > 0).all()  # NIfTI's C order
    assert np.array_equal(one.grid.affine, other.grid.affine)  # type: ignore[arg-type]


@pytest.mark.slow
def test_volumes_are_in_per_cent_signal_change_once(tree, tmp_path):
    found = read(tree, tmp_path, space="func1pt8mm", zscore=False)
    trials = np.asarray(found.trials.responses)  # type: ignore[union-attr]
    image: Any = nibabel.load(betas(tree, "func1pt8mm") / "betas_session01.nii.gz")
    voxel = tuple(found.grid.voxels[7])  # type: ignore[union-attr]
    stored = np.asarray(image.dataobj)[voxel]
    np.testing.assert_allclose(trials[:PER_SESSION, 7], stored / 300, rtol=1e-6)
    assert 0.2 < np.abs(trials).mean() < 5  # neither forgotten nor divided twice


def test_an_atlas_in_a_volume_is_not_all_of_cortex(tree, tmp_path):
    """Labels are −1 outside cortex and 0 in cortex without a label: both are outside an atlas."""
    found = read(tree, tmp_path, space="func1pt8mm", targets="prf-visualrois")
    truth = Truth.read(tree / "truth" / "subj01.npz")
    assert found.num_targets == (truth.model == "gabor").sum() < TARGETS
    assert {roi.hemisphere for roi in found.rois} == {"lh", "rh"}


def test_repeats_lie_on_one_side_of_the_split(tree, tmp_path):
    found = read(tree, tmp_path, average_repeats=False)
    trials = found.splits == ""
    digests = np.array(found.stimuli.digests())
    assert not set(digests[trials]) & set(digests[~trials])
    assert trials.sum() == 3 * len(set(digests[trials]))
    assert len(set(found.stimuli.names)) == len(found.stimuli)


def test_subjects_keep_responses_of_their_own_in_one_cache(tree, tmp_path):
    """Files of all subjects have the same names and sizes, and an archive may give them the same times."""
    for path in tree.glob("nsddata_betas/ppdata/subj*/fsaverage/*/*session*"):
        os.utime(path, ns=(10**18, 10**18))
    one, other = (read(tree, tmp_path, subject=subject, sessions=[4, 5, 6]) for subject in (1, 2))
    assert one.trials is not None
    assert other.trials is not None
    assert one.num_targets == other.num_targets
    assert not np.array_equal(one.trials.responses, other.trials.responses)


def test_the_shared_images_of_all_subjects_are_the_same_in_each(tree, tmp_path):
    tested = []
    for subject in (1, 2):
        found = read(tree, tmp_path, subject=subject, split="shared515")
        tested.append({name for name, own in zip(found.stimuli.names, found.splits, strict=True) if own == "test"})
    assert tested[1] <= tested[0]  # subject 2 has a session that is not there
    assert tested[0] != set(read(tree, tmp_path).stimuli.names)


def test_the_challenges_split_of_volumes(tree, tmp_path):
    assert read(tree, tmp_path, space="func1pt8mm", split="algonauts2023").num_targets == TARGETS


def test_sessions_are_standardised_apart(tree, tmp_path):
    trials = read(tree, tmp_path).trials
    assert trials is not None
    for session in np.unique(trials.session):
        own = np.asarray(trials.responses)[trials.session == session]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(own.std(axis=0), 1, atol=1e-5)
    assert np.bincount(trials.repetition[trials.stimulus >= 0]).tolist() == [IMAGES] * 3


@pytest.mark.parametrize("split", ["shared1000", "algonauts2023"])
def test_the_order_of_trials_is_the_designs_and_behaviour_the_records(tree, tmp_path, split):
    """By loops over the record, some of whose images are in no split."""
    root = shutil.copytree(tree, tmp_path / "tree", symlinks=True)
    path = root / "nsddata/ppdata/subj01/behav/responses.tsv"
    head, *rows = path.read_text().splitlines()
    rt = [f"{trial}.5" if trial % 5 else "nan" for trial in range(len(rows))]
    told = [f"{row}\t{value}\tleft" for row, value in zip(rows, rt, strict=True)]
    path.write_text("\n".join([f"{head}\tRT\tHAND", *told]) + "\n")
    assert NSD(root, split=split).trial_columns() == ["RT"]
    found = read(root, tmp_path / "cache", split=split)
    assert found.order is not None
    order, names = found.order(), [name.partition(" ")[0] for name in found.stimuli.names]
    shown = [f"nsd-{int(row.split()[4]) - 1:05d}" for row in rows]
    expected = [names.index(name) if name in names else -1 for name in shown]
    np.testing.assert_array_equal(order.shown, expected)
    assert (np.array(expected) >= 0).mean() > 0.8
    np.testing.assert_array_equal(order.session, [int(row.split()[1]) for row in rows])
    np.testing.assert_array_equal(order.run, [int(row.split()[2]) for row in rows])
    np.testing.assert_array_equal(order.behaviour["RT"], [float(value) for value in rt])
    own = order.stimulus >= 0
    np.testing.assert_array_equal(order.shown[own], order.stimulus[own])


def test_without_a_record_of_behaviour_or_a_session_the_order_is_known_all_the_same(tree, tmp_path):
    found = read(tree, tmp_path, subject=2, sessions=[1, 4])
    assert found.order is not None
    assert found.order().behaviour == {}
    assert np.unique(found.order().session).tolist() == [1, 4]
    assert len(np.unique(found.order().starts())) == 2
    every = read(tree, tmp_path / "whole", subject=2)
    assert every.order is not None
    whole = every.order()
    chosen = np.isin(whole.session, [1, 4])
    repetition, among_all = found.order().time()[:, 3], whole.time()[chosen, 3]
    np.testing.assert_array_equal(repetition, among_all)  # sessions between count, though they are not read
    assert (repetition > times_before(found.order().shown)).any()


@pytest.mark.slow
def test_a_split_is_the_designs_whatever_is_on_disk(tree, tmp_path):
    whole = read(tree, tmp_path)
    for split in ("shared1000", "shared515"):
        part = read(tree, tmp_path, sessions=[1, 3, 4], split=split)
        test = {name for name, own in zip(part.stimuli.names, part.splits, strict=True) if own == "test"}
        known = {name for name, own in zip(whole.stimuli.names, whole.splits, strict=True) if own == "test"}
        assert test <= known


def test_ceilings_are_those_of_the_scored_images(tree, tmp_path):
    found = read(tree, tmp_path, subject=2)
    test = np.flatnonzero(found.splits == "test")
    ceilings = found.ceilings(test)
    assert list(ceilings) == ["the repeats of these stimuli", "the files of ncsnr"]
    trials = found.trials
    assert trials is not None
    counts = np.array([(trials.stimulus == stimulus).sum() for stimulus in test])
    assert len(set(counts)) > 1  # subject 2 missed sessions
    truth = Truth.read(tree / "truth" / "subj02.npz")
    place = {(side, vertex): row for row, (side, vertex) in enumerate(zip(truth.hemisphere, truth.vertex, strict=True))}
    known = np.array([(side, vertex) in place for side, vertex in zip(found.hemispheres, found.vertices, strict=True)])  # type: ignore[arg-type]
    rows = [place[key] for key in zip(found.hemispheres, found.vertices, strict=True) if key in place]  # type: ignore[arg-type]
    single = truth.noise_ceiling[rows]
    expected = single / (single + (1 - single) * (1 / counts).mean())
    np.testing.assert_allclose(ceilings["the files of ncsnr"][known], expected, atol=1e-6)
    values = np.full((len(test), counts.max(), found.num_targets), np.nan)
    for row, stimulus in enumerate(test):
        own = np.flatnonzero(trials.stimulus == stimulus)
        values[row, : len(own)] = trials.responses[own]
    there = ~np.isnan(values[:, :, 0])
    flat = values[there]
    noise = np.mean(
        [values[row, there[row]].var(axis=0, ddof=1) for row in range(len(test)) if there[row].sum() > 1], 0
    )
    signal = np.maximum(flat.var(axis=0, ddof=1) - noise, 0)
    by_loops = signal / (signal + noise * (1 / counts).mean())
    np.testing.assert_allclose(ceilings["the repeats of these stimuli"], by_loops, atol=1e-10)


@pytest.mark.slow
def test_vertices_that_are_nan_in_a_session_are_left_out(tree, tmp_path):
    whole = read(tree, tmp_path)
    without = read(tree, tmp_path, sessions=[1, 2, 4])
    assert without.num_targets == whole.num_targets + 2 * NAN_VERTICES


@pytest.mark.slow
def test_what_is_prepared_is_not_read_again(tree, tmp_path):
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    first = read(copy, tmp_path / "cache")
    rows = np.arange(len(first.stimuli))
    responses = first.responses.gather(rows)
    for path in betas(copy).glob("*h.betas_session0[2-8].mgh"):
        size, times = path.stat().st_size, path.stat()
        with path.open("r+b") as file:  # all but the first trial, which tells where NaN is
            file.seek(284 + 4 * 163842)
            file.write(bytes(size - 284 - 4 * 163842))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert np.array_equal(read(copy, tmp_path / "cache").responses.gather(rows), responses)
    assert not np.array_equal(read(copy, tmp_path / "other").responses.gather(rows), responses)


@pytest.mark.slow
def test_a_preparation_that_ended_in_the_middle_goes_on(tree, tmp_path):
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    broken = betas(copy) / "rh.betas_session05.mgh"
    good = broken.read_bytes()
    packed = broken.with_suffix(".mgz")
    broken.unlink()
    packed.write_bytes(gzip.compress(good, 1)[:-200_000])
    with pytest.raises(InputError, match=r"rh\.betas_session05\.mgz: expected .* broken download"):
        read(copy, tmp_path / "cache")
    (partial,) = (tmp_path / "cache" / "trials").glob("*.partial")
    assert len(list(partial.glob("done.*"))) == 4
    packed.unlink()
    broken.write_bytes(good)
    found, expected = read(copy, tmp_path / "cache"), read(tree, tmp_path / "other")
    rows = np.arange(len(expected.stimuli))
    assert np.array_equal(found.responses.gather(rows), expected.responses.gather(rows))


def test_an_odd_but_legal_tree_works(tree, tmp_path):
    """Folders that are links, a root that nobody may write to, sessions of both suffixes."""
    root = tmp_path / "links"
    root.mkdir()
    for name in ("nsddata", "nsddata_betas", "nsddata_stimuli"):
        (root / name).symlink_to(tree / name)
    before = sorted(path.stat().st_mtime_ns for path in tree.rglob("*"))
    root.chmod(0o555)
    found = read(root, tmp_path / "cache", subject=2, sessions=[1, 4, 5])
    assert sorted(np.unique(found.trials.session)) == [1, 4, 5]  # type: ignore[union-attr]
    assert sorted(path.stat().st_mtime_ns for path in tree.rglob("*")) == before


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)


def _shift_ids(root: Path) -> None:
    path = root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    design["subjectim"] = design["subjectim"] + 1
    design["sharedix"] = design["sharedix"] + 1
    savemat(path, design)


def _zero_based(root: Path) -> None:
    path = root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    design["masterordering"] = design["masterordering"] - 1
    savemat(path, design)


def _other_hemisphere(root: Path) -> None:
    folder = root / "nsddata/ppdata/subj01/transforms"
    (folder / "lh.white-to-fsaverage.mgz").write_bytes((folder / "rh.white-to-fsaverage.mgz").read_bytes())


def _few_images(root: Path) -> None:
    path = root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    with h5py.File(path) as file:
        few = file["imgBrick"][:5]  # type: ignore[index]
    with h5py.File(path, "w") as file:
        file["imgBrick"] = few


FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no tree": (lambda root: shutil.rmtree(root / "nsddata"), {}, "expected a folder with nsddata/"),
    "no such subject": (None, {"subject": 5}, "expected the betas, found no such folder"),
    "no such betas": (None, {"betas": "betas_assumehrf"}, f"expected the betas, found {KIND}"),
    "no such session": (None, {"sessions": [1, 9]}, "expected the betas of session 9, found sessions 1, 2"),
    "a truncated session": (
        lambda root: _truncate(betas(root) / "lh.betas_session04.mgh"), {},
        r"lh\.betas_session04\.mgh: expected [0-9,]+ bytes by its header",
    ),
    "one hemisphere only": (
        lambda root: (betas(root) / "rh.betas_session04.mgh").unlink(), {}, "rh.betas_session04.mgh: expected a series",
    ),
    "no sessions": (None, {"sessions": []}, r"--data.source.sessions \[\]: expected some sessions"),
    "no design": (
        lambda root: (root / "nsddata/experiments/nsd/nsd_expdesign.mat").unlink(), {}, "nsd_expdesign.mat: expected",
    ),
    "ids off by one": (_shift_ids, {}, r"responses\.tsv: expected the images of nsd_expdesign\.mat, found 73KID"),
    "a design that counts from 0": (_zero_based, {}, "expected masterordering to count from 1 to 40, found 0 to 39"),
    "labels of the other hemisphere": (_other_hemisphere, {}, "use the files of one subject and hemisphere"),
    "no such atlas": (None, {"targets": "Kastner2015"}, "the atlas Kastner2015, found no such file; there are"),
    "no such ROI": (None, {"targets": "streams:early,V9"}, "targets streams:V9: expected a ROI of streams"),
    "no such atlas to score": (None, {"rois": ["HCP_MMP1"]}, "expected the atlas HCP_MMP1"),
    "too few images": (_few_images, {}, r"expected image [0-9]+ \(counted from 0\), found 5 images"),
    "no test session": (
        None, {"sessions": [1, 2], "split": "algonauts2023"},
        "expected session 6 to 8, whose images are the test split, found none",
    ),
    "no images": (
        lambda root: (root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5").unlink(), {}, "expected a complete HDF5",
    ),
    "a label without a name": (
        lambda root: (root / "nsddata/freesurfer/subj01/label/streams.mgz.ctab").write_text("0 Unknown\n1 early\n"), {},
        r"streams\.mgz\.ctab: expected names of the labels",
    ),
    "the same subject twice": (None, {"subject": [1, 1]}, "expected each subject once"),
}  # fmt: skip


@pytest.fixture(scope="module")
def spoilt(tree, tmp_path_factory):
    """Copies of the tree that share its large files until one is spoilt."""

    def copy(name: str) -> Path:
        root = tmp_path_factory.mktemp("spoilt") / name.replace(" ", "-")
        shutil.copytree(tree, root, ignore=shutil.ignore_patterns("*session0[5-8]*", "subj02"))
        for path in betas(tree).glob("*session0[5-8]*"):
            (betas(root) / path.name).symlink_to(path)
        return root

    return copy


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(tree, spoilt, tmp_path, fault):
    spoil, flags, message = FAULTS[fault]
    root = tree
    if spoil is not None:
        root = spoilt(fault)
        spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        read(root, tmp_path / "cache", **flags)
    assert "\n" not in str(raised.value)


def test_the_doctor_is_silent_on_it(tree, capsys):
    assert calcarine(["check", str(tree)]) == 0
    said = capsys.readouterr().out
    assert "0 errors, 0 warnings" in said
    assert "NSD, subj01, session 1" in said
    assert "NSD, subj02, session 1" in said
