"""Algonauts 2023 trees: read exactly, and every fault is one line that names the file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.sources.algonauts2023 import Algonauts2023
from calcarine.errors import InputError
from calcarine.fsaverage import load_fsaverage5
from trees import FSAVERAGE_VERTICES, VERTICES, write_algonauts, write_array, write_images

N_TRAIN, N_TEST = 6, 3
TRAIN_FMRI, TEST_FMRI = "training_split/training_fmri", "test_split/test_fmri"
TRAIN_IMAGES, TEST_IMAGES = "training_split/training_images", "test_split/test_images"


@pytest.fixture
def subject(tmp_path: Path) -> Path:
    return write_algonauts(tmp_path / "algonauts", N_TRAIN, N_TEST)


def load(subject: Path, path: str) -> np.ndarray:
    return np.load(subject / path)


def test_reads_both_hemispheres_side_by_side(subject: Path) -> None:
    source = Algonauts2023(subject.parent)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets == 16
    assert recording.subject == "subj01"
    assert recording.hemispheres.tolist() == ["lh"] * 7 + ["rh"] * 9
    assert recording.stimuli.names[0] == "train-0001_nsd-01000.png"
    assert recording.stimuli.names[N_TRAIN:] == [f"test-000{i + 1}_nsd-{1000 - 7 * i:05d}.png" for i in range(N_TEST)]
    assert recording.splits.tolist() == [""] * N_TRAIN + ["withheld"] * N_TEST
    assert recording.submission == "algonauts2023"
    expected = np.hstack([load(subject, f"{TRAIN_FMRI}/{hemisphere}_training_fmri.npy") for hemisphere in VERTICES])
    responses = recording.responses.gather(np.arange(N_TRAIN + N_TEST))
    np.testing.assert_array_equal(responses[:N_TRAIN], expected)
    assert np.isnan(responses[N_TRAIN:]).all()
    for part in recording.responses.parts:
        assert isinstance(part.array, np.memmap)


def test_vertices_are_where_the_mask_is_1(subject: Path) -> None:
    (recording,) = Algonauts2023(subject.parent).read()
    masks = [load(subject, f"roi_masks/{hemisphere}.all-vertices_fsaverage_space.npy") for hemisphere in VERTICES]
    np.testing.assert_array_equal(recording.vertices, np.r_[np.flatnonzero(masks[0]), np.flatnonzero(masks[1])])  # type: ignore[arg-type]


def test_places_are_those_of_the_interpolated_pial_surface(subject: Path) -> None:
    (recording,) = Algonauts2023(subject.parent).read()
    assert recording.coordinates is not None
    assert recording.vertices is not None
    assert recording.coordinates.dtype == np.float32
    for hemisphere, own in (("lh", slice(0, 7)), ("rh", slice(7, None))):
        shipped = load_fsaverage5("pial", hemisphere)[0]  # the vertices of this tree are all among the first
        np.testing.assert_allclose(recording.coordinates[own], shipped[recording.vertices[own]], atol=1e-4)


@pytest.fixture
def surfaces(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """FreeSurfer's surf folder, and the places that it holds."""
    from nibabel.freesurfer.io import write_geometry

    (tmp_path / "surf").mkdir()
    places = {}
    for seed, hemisphere in enumerate(VERTICES):
        points = np.random.default_rng(seed).uniform(-90, 90, (FSAVERAGE_VERTICES, 3)).astype(np.float32)
        places[hemisphere] = points
        write_geometry(tmp_path / "surf" / f"{hemisphere}.pial", points, np.array([[0, 1, 2]]), create_stamp="a test")
    return tmp_path / "surf", places


def test_places_of_a_surface(subject: Path, surfaces: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, places = surfaces
    both = [folder / "lh.pial", folder / "rh.pial"]
    for surface in (folder, both):
        (recording,) = Algonauts2023(subject.parent, surface=surface).read()
        vertices = recording.vertices
        assert vertices is not None
        expected = np.concatenate([places["lh"][vertices[:7]], places["rh"][vertices[7:]]])
        np.testing.assert_array_equal(recording.coordinates, expected)  # type: ignore[arg-type]
    (right,) = Algonauts2023(subject.parent, hemisphere="rh", surface=both[1]).read()
    np.testing.assert_array_equal(right.coordinates, places["rh"][right.vertices])  # type: ignore[arg-type]


def test_a_wrong_surface_is_one_line(subject: Path, surfaces: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, _ = surfaces
    with pytest.raises(InputError, match=r"one file for each of lh, rh, found 1; give as many"):
        Algonauts2023(subject.parent, surface=folder / "lh.pial")
    with pytest.raises(InputError, match=r"absent: expected a folder with fsaverage's lh\.pial or .*, found none"):
        Algonauts2023(subject.parent, surface=folder / "absent")
    os.truncate(folder / "rh.pial", 1_000_000)
    with pytest.raises(InputError, match=r"rh\.pial: expected a surface of fsaverage, .* cannot be read"):
        Algonauts2023(subject.parent, surface=folder).read()


def test_rois_of_all_classes_overlap_and_may_be_empty(subject: Path) -> None:
    (recording,) = Algonauts2023(subject.parent).read()
    rois = {(roi.hemisphere, roi.name): roi.targets.tolist() for roi in recording.rois}
    left = {"early": [1, 2], "midventral": [3], "ventral": [4, 5], "EBA": [2, 3, 4], "FBA-1": []}
    assert rois == {("lh", name): targets for name, targets in left.items()} | {
        ("rh", name): [7 + target for target in targets] for name, targets in left.items()
    }


@pytest.mark.parametrize(("hemisphere", "columns"), [("lh", slice(0, 7)), ("rh", slice(7, 16))])
def test_one_hemisphere(subject: Path, hemisphere: str, columns: slice) -> None:
    (both,) = Algonauts2023(subject.parent).read()
    source = Algonauts2023(subject.parent, hemisphere=hemisphere)  # type: ignore[arg-type]
    (one,) = source.read()
    every = np.arange(N_TRAIN)
    np.testing.assert_array_equal(one.responses.gather(every), both.responses.gather(every)[:, columns])
    np.testing.assert_array_equal(one.vertices, both.vertices[columns])  # type: ignore[index,arg-type]
    assert source.num_targets == VERTICES[hemisphere]
    assert {roi.hemisphere for roi in one.rois} == {hemisphere}
    assert next(roi for roi in one.rois if roi.name == "EBA").targets.tolist() == [2, 3, 4]


def test_responses_of_the_test_images_are_the_test_split(tmp_path: Path) -> None:
    subject = write_algonauts(tmp_path, test_responses=True)
    (recording,) = Algonauts2023(tmp_path).read()
    assert recording.splits.tolist() == [""] * N_TRAIN + ["test"] * N_TEST
    expected = np.hstack([load(subject, f"{TEST_FMRI}/{hemisphere}_test_fmri.npy") for hemisphere in VERTICES])
    np.testing.assert_array_equal(recording.responses.gather(np.arange(N_TRAIN, N_TRAIN + N_TEST)), expected)


def test_several_subjects(subject: Path) -> None:
    shutil.copytree(subject, subject.parent / "subj05")
    source = Algonauts2023(subject.parent, subject=[5, 1])
    assert source.num_targets == 32
    assert [recording.subject for recording in source.read()] == ["subj05", "subj01"]


@pytest.mark.parametrize("scale", [1, 100])
def test_noise_ceilings_in_either_unit(subject: Path, tmp_path: Path, scale: int) -> None:
    for hemisphere, count in VERTICES.items():
        write_array(tmp_path / "nc" / "subj01" / f"{hemisphere}.npy", scale * np.linspace(0, 0.8, count))
    (recording,) = Algonauts2023(subject.parent, noise_ceiling=tmp_path / "nc").read()
    np.testing.assert_allclose(recording.noise_ceiling, np.r_[np.linspace(0, 0.8, 7), np.linspace(0, 0.8, 9)])  # type: ignore[arg-type]


def test_what_desktops_and_downloads_leave_is_no_fault(subject: Path) -> None:
    before = Algonauts2023(subject.parent).read()[0]
    for path in (f"{TRAIN_IMAGES}/.DS_Store", f"{TRAIN_IMAGES}/._train-0001_nsd-00013.png", f"{TEST_IMAGES}/Thumbs.db"):
        (subject / path).touch()
    for path in ("._lh.streams_challenge_space.npy", "._mapping_streams.npy", "README.txt"):
        (subject / "roi_masks" / path).touch()
    after = Algonauts2023(subject.parent).read()[0]
    assert after.stimuli.names == before.stimuli.names
    assert len(after.rois) == len(before.rois)


def test_a_tree_without_test_images_or_rois(subject: Path) -> None:
    shutil.rmtree(subject / "test_split")
    for path in (subject / "roi_masks").glob("*"):
        if "all-vertices" not in path.name:
            path.unlink()
    (recording,) = Algonauts2023(subject.parent).read()
    assert recording.splits.tolist() == [""] * N_TRAIN
    assert recording.submission is None
    assert list(recording.rois) == []


def test_construction_reads_headers_only(subject: Path) -> None:
    shutil.rmtree(subject / "roi_masks")
    shutil.rmtree(subject / TRAIN_IMAGES)
    assert Algonauts2023(subject.parent, shuffle=True).num_targets == 16


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4", "i2"])
def test_responses_of_any_real_dtype_in_any_order(subject: Path, dtype: str) -> None:
    responses = np.random.default_rng(0).integers(-99, 99, (N_TRAIN, 9)).astype(dtype)
    write_array(subject / TRAIN_FMRI / "rh_training_fmri.npy", np.asfortranarray(responses))
    gathered = Algonauts2023(subject.parent).read()[0].responses.gather(np.array([5, 0]))
    np.testing.assert_array_equal(gathered[:, 7:], responses[[5, 0]].astype(np.float32))


def changed(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Writes a file's array again, changed."""
    return lambda subject: write_array(subject / path, change(np.load(subject / path)))


def at(index: tuple[int | slice, ...] | int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


def removed(path: str) -> Callable[[Path], None]:
    return lambda subject: shutil.rmtree(subject / path) if (subject / path).is_dir() else (subject / path).unlink()


def renamed(path: str, name: str) -> Callable[[Path], None]:
    return lambda subject: (subject / path).rename((subject / path).with_name(name)) and None


def image(folder: str, name: str) -> Callable[[Path], None]:
    return lambda subject: write_images(subject / folder, [name])


def mapping(value: object) -> Callable[[Path], None]:
    return lambda subject: write_array(subject / "roi_masks/mapping_streams.npy", np.array(value, dtype=object))


def truncated(path: str) -> Callable[[Path], None]:
    return lambda subject: os.truncate(subject / path, (subject / path).stat().st_size - 1)


class Payload:
    """Unpickles by running a command."""

    def __reduce__(self) -> tuple:
        return os.system, ("exit 1",)


LH, RH = f"{TRAIN_FMRI}/lh_training_fmri.npy", f"{TRAIN_FMRI}/rh_training_fmri.npy"
LH_TEST, RH_TEST = f"{TEST_FMRI}/lh_test_fmri.npy", f"{TEST_FMRI}/rh_test_fmri.npy"
MASK, STREAMS = "roi_masks/lh.all-vertices_fsaverage_space.npy", "roi_masks/rh.streams_challenge_space.npy"
MAPPING = "roi_masks/mapping_streams.npy"
FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "fmri missing": (removed(RH), RH, "found no such file"),
    "fmri truncated": (truncated(LH), LH, "damaged"),
    "fmri of one axis": (changed(LH, np.ravel), LH, "found shape (42,)"),
    "fmri complex": (changed(LH, lambda a: a.astype(complex)), LH, "complex128"),
    "fmri objects": (changed(LH, lambda a: a.astype(object)), LH, "damaged"),
    "fmri short": (changed(RH, lambda a: a[:-1]), RH, "expected 6 rows"),
    "fmri NaN": (changed(RH, at((2, 8), np.nan)), RH, "found nan at row 2, column 8 (counted from 0) and 1 such"),
    "fmri infinite": (changed(LH, at((0, slice(3, 5)), -np.inf)), LH, "-inf at row 0, column 3 (counted from 0) and 2"),
    "images missing": (removed(TRAIN_IMAGES), TRAIN_IMAGES, "expected a folder"),
    "last image missing": (removed(f"{TRAIN_IMAGES}/train-0006_nsd-00965.png"), LH, "expected 5 rows"),
    "first image missing": (
        removed(f"{TRAIN_IMAGES}/train-0001_nsd-01000.png"),
        f"{TRAIN_IMAGES}/train-0002_nsd-00993.png",
        "expected image number 1, found 2",
    ),
    "image twice": (
        image(TRAIN_IMAGES, "train-0003_nsd-99999.png"),
        f"{TRAIN_IMAGES}/train-0003_nsd-99999.png",
        "expected image number 4, found 3",
    ),
    "image extra": (image(TRAIN_IMAGES, "train-0007_nsd-00001.png"), LH, "expected 7 rows"),
    "image of another split": (
        image(TRAIN_IMAGES, "test-0001_nsd-00001.png"),
        f"{TRAIN_IMAGES}/test-0001_nsd-00001.png",
        "names such as train-",
    ),
    "image copied": (
        image(TEST_IMAGES, "test-0001_nsd-00001 (1).png"),
        f"{TEST_IMAGES}/test-0001_nsd-00001 (1).png",
        "names such as test-",
    ),
    "foreign file": (
        lambda subject: (subject / TRAIN_IMAGES / "x.zip").touch(),
        f"{TRAIN_IMAGES}/x.zip",
        "nothing but images",
    ),
    "test images missing": (removed(TEST_IMAGES), TEST_IMAGES, "expected a folder"),
    "test image missing": (removed(f"{TEST_IMAGES}/test-0003_nsd-00986.png"), LH_TEST, "expected 2 rows"),
    "one test fmri missing": (removed(LH_TEST), LH_TEST, "found no such file"),
    "test fmri short": (changed(RH_TEST, lambda a: a[1:]), RH_TEST, "expected 3 rows"),
    "test fmri narrow": (changed(RH_TEST, lambda a: a[:, 1:]), RH_TEST, "expected 9 vertices"),
    "test fmri NaN": (changed(LH_TEST, at((1, 1), np.nan)), LH_TEST, "found nan at row 1, column 1"),
    "masks missing": (removed("roi_masks"), MASK, "found no such file"),
    "mask short": (changed(MASK, lambda a: a[:-1]), MASK, f"expected {FSAVERAGE_VERTICES} labels"),
    "mask of two axes": (changed(MASK, lambda a: a[None]), MASK, "found shape (1, 163842)"),
    "mask of another subject": (changed(MASK, at(0, 1)), MASK, "expected 7 vertices"),
    "mask not 0 and 1": (changed(MASK, at(10, 2)), MASK, "only 0 and 1, found 0 to 2"),
    "labels short": (changed(STREAMS, lambda a: a[:-1]), STREAMS, "expected 9 labels"),
    "labels fractional": (changed(STREAMS, lambda a: a + 0.5), STREAMS, "expected whole numbers, found 0.5"),
    "labels NaN": (changed(STREAMS, lambda a: a * np.nan), STREAMS, "found nan at index 0"),
    "label without a name": (changed(STREAMS, at(8, 7)), STREAMS, "(1, 2, 5), found 7"),
    "labels missing": (removed(STREAMS), STREAMS, "found no such file"),
    "mapping missing": (removed(MAPPING), MAPPING, "No such file"),
    "mapping truncated": (truncated(MAPPING), MAPPING, "cannot be read"),
    "mapping a list": (mapping(None), MAPPING, "expected a dict"),
    "mapping the wrong way": (mapping({"early": 1}), MAPPING, "expected a dict"),
    "mapping malicious": (mapping({1: Payload()}), MAPPING, "found posix.system; it was not run"),
    "ceilings missing": (removed("nc/rh.npy"), "nc/rh.npy", "found no such file"),
    "ceilings of another subject": (changed("nc/rh.npy", lambda a: a[1:]), "nc/rh.npy", "expected 9 noise ceilings"),
    "ceilings negative": (changed("nc/lh.npy", at(3, -1)), "nc/lh.npy", "found -1.0 at index 3"),
}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with test responses and noise ceilings, for each test to copy and spoil."""
    subject = write_algonauts(tmp_path_factory.mktemp("complete"), N_TRAIN, N_TEST, test_responses=True)
    for hemisphere, count in VERTICES.items():
        write_array(subject / "nc" / f"{hemisphere}.npy", np.linspace(0, 80, count))
    return subject


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_one_line(complete: Path, tmp_path: Path, fault: str) -> None:
    subject = tmp_path / "subj01"
    shutil.copytree(complete, subject)
    (tmp_path / "ceilings").mkdir()
    (tmp_path / "ceilings" / "subj01").symlink_to(subject / "nc")
    Algonauts2023(tmp_path, noise_ceiling=tmp_path / "ceilings").read()
    spoil, place, found = FAULTS[fault]
    spoil(subject)
    with pytest.raises(InputError) as refusal:
        Algonauts2023(tmp_path, noise_ceiling=tmp_path / "ceilings").read()
    message = str(refusal.value)
    expected = tmp_path / place.replace("nc/", "ceilings/subj01/") if place.startswith("nc/") else subject / place
    assert message.startswith(f"{expected}: expected")
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("root", "number", "message"),
    [
        ("absent", 1, r"--data\.source\.root .*absent: expected a folder with subjNN/"),
        (".", 3, r"subj03: expected the folder of subject 3 .*, found subj01 in .*; correct --data\.source\.root or"),
        ("subj01", 1, r"subj01/subj01: expected the folder of subject 1 .*, found none in"),
        (".", [1, 1], r"--data\.source\.subject \[1, 1\]: expected each subject once"),
        (".", [], r"--data\.source\.subject \[\]: expected"),
    ],
)
def test_a_wrong_root_or_subject(subject: Path, root: str, number: int | list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Algonauts2023(subject.parent / root, subject=number)
