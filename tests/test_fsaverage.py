"""fsaverage: the order of its vertices, and surfaces that users bring."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from calcarine.errors import InputError
from calcarine.fsaverage import MESH_VERTICES, load_fsaverage5, mesh_at_level, pial_file, read_surface, refine_faces


def coarsen(faces: np.ndarray) -> np.ndarray:
    count = len(faces) // 4
    rest = faces[count:].reshape(count, 3, 3)
    return np.stack([faces[:count, 0], rest[:, 2, 1], rest[:, 0, 2]], axis=1)


@pytest.mark.parametrize("hemisphere", ["lh", "rh"])
def test_refining_the_icosahedron_gives_fsaverage5(hemisphere: str) -> None:
    """The rule that is taken to lead from fsaverage5 to fsaverage makes fsaverage5 from the icosahedron, exactly."""
    sphere, faces = load_fsaverage5("sphere", hemisphere)
    coarse = faces
    for _ in range(5):
        coarse = coarsen(coarse)
    assert coarse.shape == (20, 3)
    for level in range(5):
        coarse, edges = refine_faces(coarse)
        new = np.arange(10 * 4**level + 2, 10 * 4 ** (level + 1) + 2)
        middle = sphere[edges].mean(axis=1)
        middle *= 100 / np.linalg.norm(middle, axis=1, keepdims=True)
        np.testing.assert_allclose(sphere[new], middle, atol=0.03)  # mm; neighbours are 3 mm apart at the finest
    assert np.array_equal(coarse, faces)


def test_fine_meshes_extend_coarse_ones() -> None:
    sphere5, pial5 = mesh_at_level("rh", 5)
    sphere7, pial7 = mesh_at_level("rh", 7)
    assert len(sphere7) == len(pial7) == MESH_VERTICES[7]
    assert sphere7[: MESH_VERTICES[5]] == pytest.approx(sphere5)
    assert pial7[: MESH_VERTICES[5]] == pytest.approx(pial5)


def test_interpolated_places_cut_folds_by_as_much_as_is_said() -> None:
    """fsaverage5 from the meshes one and two levels below it, as fsaverage is made from fsaverage5."""
    pial, faces = load_fsaverage5("pial", "lh")
    errors = []
    for levels in (1, 2):
        coarse = faces
        for _ in range(levels):
            coarse = coarsen(coarse)
        places = pial[: coarse.max() + 1]
        known = len(places)
        for _ in range(levels):
            coarse, edges = refine_faces(coarse)
            places = np.concatenate([places, places[edges].mean(axis=1)])
        errors.append(np.linalg.norm(places - pial, axis=1)[known:].mean())
    assert errors == pytest.approx([0.68, 1.81], abs=0.01)  # mm


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return np.random.default_rng(0).uniform(-90, 90, (MESH_VERTICES[7], 3)).astype(np.float32)


def write_gifti(path: Path, points: np.ndarray, intent: str = "NIFTI_INTENT_POINTSET") -> Path:
    from nibabel.gifti.gifti import GiftiDataArray, GiftiImage

    faces = np.array([[0, 1, 2]], dtype=np.int32)
    arrays = [GiftiDataArray(points, intent), GiftiDataArray(faces, "NIFTI_INTENT_TRIANGLE")]
    GiftiImage(darrays=arrays).to_filename(path)
    return path


def write_freesurfer(path: Path, points: np.ndarray) -> Path:
    from nibabel.freesurfer.io import write_geometry

    write_geometry(path, points, np.array([[0, 1, 2]]), create_stamp="made by a test")
    return path


@pytest.mark.parametrize(("name", "write"), [("pial_left.gii.gz", write_gifti), ("lh.pial", write_freesurfer)])
def test_surfaces_of_freesurfer_and_nilearn(tmp_path: Path, places: np.ndarray, name: str, write) -> None:
    write(tmp_path / name, places)
    np.testing.assert_array_equal(read_surface(pial_file(tmp_path, "lh")), places)


FAULTS = {
    "absent": (lambda path, places: None, "lh.white", "No such file"),
    "a folder": (lambda path, places: path.mkdir(), "lh.white", "cannot be read"),
    "empty": (lambda path, places: path.touch(), "lh.white", "cannot be read"),
    "empty GIFTI": (lambda path, places: path.touch(), "a.gii", "cannot be read"),
    "text": (lambda path, places: path.write_text("not a surface\n" * 9), "lh.white", "cannot be read"),
    "not zipped": (lambda path, places: path.write_text("<GIFTI>"), "a.gii.gz", "cannot be read"),
    "not GIFTI": (lambda path, places: path.write_bytes(gzip.compress(b"<html/>")), "a.gii.gz", "cannot be read|found"),
    "cut off": (
        lambda path, places: path.write_bytes(write_freesurfer(path, places).read_bytes()[:999_999]),
        "lh.white",
        "cannot be read",
    ),
    "a count beyond the file": (
        lambda path, places: path.write_bytes(b"\xff\xff\xfea\n\n\x7f\xff\xff\xff\x00\x00\x00\x01"),
        "lh.white",
        "cannot be read",
    ),
    "fsaverage5": (
        lambda path, places: write_freesurfer(path, places[:10_242]),
        "lh.white",
        "found \\(10242, 3\\); give",
    ),
    "a map in place of points": (
        lambda path, places: write_gifti(path, places[:, 0], "NIFTI_INTENT_SHAPE"),
        "a.gii.gz",
        "cannot be read|found \\(0",
    ),
    "not finite": (
        lambda path, places: write_gifti(path, np.where(places == places[7], np.nan, places)),
        "a.gii.gz",
        "not finite",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_surface_that_is_none_is_one_line(tmp_path: Path, places: np.ndarray, fault: str) -> None:
    spoil, name, found = FAULTS[fault]
    path = tmp_path / name
    spoil(path, places)
    warnings.simplefilter("error")
    with pytest.raises(
        InputError, match=rf"{name}: expected a surface of fsaverage, \(163842, 3\) in mm.*({found})"
    ) as no:
        read_surface(path)
    assert "\n" not in str(no.value)


def test_a_folder_without_surfaces_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder with fsaverage's rh.pial or pial_right.gii.gz or .*found"):
        pial_file(tmp_path, "rh")


def test_numbers_of_another_file_are_not_read_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "lh.pial.gii").write_text(
        '<?xml version="1.0"?><GIFTI Version="1.0" NumberOfDataArrays="1"><DataArray Intent="NIFTI_INTENT_POINTSET" '
        'DataType="NIFTI_TYPE_FLOAT32" Dimensionality="2" Dim0="4" Dim1="3" Encoding="External&#70;ileBinary" '
        'ExternalFileName="other"><Data/></DataArray></GIFTI>'
    )
    with pytest.raises(InputError, match="names another file for its numbers"):
        read_surface(tmp_path / "lh.pial.gii")
