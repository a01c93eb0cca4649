"""A user's folder whose responses are in another format than NumPy's: the same numbers, and one line for each fault."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data import Folder
from calcarine.errors import InputError
from calcarine.recording import Recording
from labs import AFFINE, PLACES, SHAPE, SIDES, image, save_betas, save_map
from nibabel.nifti1 import Nifti1Image
from scipy.io import savemat
from trees import write_folder

STIMULI = 12
VALUES = np.random.default_rng(0).standard_normal((STIMULI, PLACES)).astype(np.float32)
INSIDE = np.arange(PLACES) % 3 > 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_folder(tmp_path / "mine", STIMULI, 5)
    (root / "responses.npy").unlink()
    return root


def read(root: Path, **flags: Any) -> Recording:
    source = Folder(root, **flags)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def responses(recording: Recording) -> np.ndarray:
    gathered = recording.responses.gather(np.arange(STIMULI))
    return gathered if recording.responses.offset is None else gathered + recording.responses.offset


def save_v73(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As MATLAB writes it: axes in reverse, behind a block of its own, texts beside numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_(b"char" if array.dtype == np.uint16 else b"double")
        file.create_group("#refs#")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("name", ["responses", "betas"])
def test_matlabs_matrices_have_their_own_axes(root, version, name):
    doubles = VALUES.astype(np.float64) + 1e6  # which float32 could not hold
    note = np.array([[109, 101]], dtype=np.uint16)
    if version == "5":
        savemat(root / "responses.mat", {name: doubles, "note": "me", "names": np.array([["a"]], dtype=object)})
    else:
        save_v73(root / "responses.mat", {name: doubles, "note": note})
    np.testing.assert_allclose(responses(read(root)), doubles, atol=1e-6)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_volume_per_stimulus_within_a_mask(root, ending):
    save_betas(root / f"responses.{ending}", VALUES)
    save_map(root / "mask.nii.gz", INSIDE)
    found = read(root)
    assert np.array_equal(responses(found), VALUES[:, INSIDE])
    assert found.grid is not None
    assert np.array_equal(found.grid.voxels, np.argwhere(INSIDE.reshape(SHAPE)))
    assert np.array_equal(found.grid.affine, AFFINE)  # type: ignore[arg-type]
    assert found.coordinates is not None


@pytest.mark.parametrize("ending", ["func.gii", "mgh", "mgz"])
def test_surfaces_of_both_hemispheres(root, ending):
    save_betas(root / f"responses.{ending}", VALUES)
    (root / "rois.csv").write_text("target,hemisphere,roi\n3,,V1\n60,,V1\n61,rh,V2\n")
    found = read(root)
    assert np.array_equal(responses(found), VALUES)
    assert found.hemispheres.tolist() == ["lh"] * 50 + ["rh"] * 70
    rois = [(roi.name, roi.hemisphere, roi.targets.tolist()) for roi in found.rois]
    assert rois == [("V1", "lh", [3]), ("V1", "rh", [60]), ("V2", "rh", [61])]
    (root / f"lh.responses.{ending}").unlink()
    (root / "rois.csv").unlink()
    save_map(root / f"mask.{ending}", INSIDE)
    assert np.array_equal(responses(read(root)), VALUES[:, SIDES["rh"]][:, INSIDE[SIDES["rh"]]])


@pytest.mark.parametrize("ending", ["dscalar.nii", "dtseries.nii"])
def test_grayordinates(root, ending):
    save_betas(root / f"responses.{ending}", VALUES)
    found = read(root)
    assert np.array_equal(responses(found), VALUES)
    assert found.hemispheres.tolist() == ["lh"] * 48 + ["rh"] * 70 + ["lh"] * 2


def test_nan_is_refused_or_not_measured(root):
    own = VALUES.copy()
    own[4, 7] = np.nan
    save_betas(root / "responses.dscalar.nii", own)
    with pytest.raises(InputError, match=r"found nan of stimulus 4, target 7 .*missing allow"):
        read(root)
    found = read(root, missing="allow")
    assert np.array_equal(responses(found), own, equal_nan=True)


def both(root: Path) -> None:
    save_betas(root / "responses.dscalar.nii", VALUES)
    np.save(root / "responses.npy", VALUES)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "two formats": (both, r"expected responses in one format, found responses\.npy, responses\.dscalar\.nii; keep one"),
    "no mask": (
        lambda root: save_betas(root / "responses.nii.gz", VALUES),
        r"mask\.nii\.gz: expected one mask of responses\.nii\.gz, found none",
    ),
    "a mask of one hemisphere": (
        lambda root: (
            save_betas(root / "responses.mgh", VALUES),
            save_map(root / "mask.mgh", INSIDE),
            (root / "rh.mask.mgh").unlink(),
        ),
        r"rh\.mask\.mgh: expected one mask of lh\.responses\.mgh and of rh\.responses\.mgh, found lh\.mask\.mgh; write",
    ),
    "a mask without a hemisphere": (
        lambda root: (save_betas(root / "responses.mgh", VALUES), save_map(root / "mask.nii.gz", INSIDE)),
        r"lh\.mask\.mgh: expected one mask .* found mask\.nii\.gz; write a map for each",
    ),
    "a mask of a hemisphere beside a file of both": (
        lambda root: (
            save_betas(root / "responses.dscalar.nii", VALUES), save_map(root / "lh.mask.dscalar.nii", INSIDE),
        ),
        r"mask\.dscalar\.nii: expected one mask of responses\.dscalar\.nii, found lh\.mask\.dscalar\.nii",
    ),
    "a mask with its axes turned": (
        lambda root: (
            save_betas(root / "responses.nii.gz", VALUES),
            Nifti1Image(np.ones(SHAPE[::-1], dtype=np.uint8), AFFINE).to_filename(root / "mask.nii.gz"),
        ),
        r"mask\.nii\.gz: expected the grid of responses\.nii\.gz, \(4, 5, 6\), found \(6, 5, 4\)",
    ),
    "a mask in a volume of grayordinates": (
        lambda root: (save_betas(root / "responses.dscalar.nii", VALUES), save_map(root / "mask.nii.gz", INSIDE)),
        r"mask\.nii\.gz: expected the grid of responses\.dscalar\.nii, grayordinates, found a volume",
    ),
    "complex numbers": (
        lambda root: savemat(root / "responses.mat", {"responses": VALUES + 1j * VALUES}),
        r"responses\.mat: expected responses of real numbers, found complex ones",
    ),
    "numbers beyond float32": (
        lambda root: savemat(root / "responses.mat", {"responses": VALUES * np.float64(1e300)}),
        r"responses\.mat: expected finite values, found [-0-9.]+e\+(299|300) of stimulus 0, target 0",
    ),
    "turned axes": (
        lambda root: savemat(root / "responses.mat", {"responses": VALUES.T[:, :9]}),
        r"responses\.mat: expected 12 rows, one per image .* found 120; add",
    ),
    "a matrix on its side": (
        lambda root: savemat(root / "responses.mat", {"responses": VALUES[:, :7].T}), "found 7 .its axes may be turned",
    ),
    "several matrices": (
        lambda root: savemat(root / "responses.mat", {"one": VALUES, "two": VALUES}),
        "expected a matrix responses of numbers, found one, two; save it",
    ),
    "no matrix": (lambda root: savemat(root / "responses.mat", {"names": "me"}), "found none; save it under this name"),
    "three axes": (
        lambda root: savemat(root / "responses.mat", {"responses": np.zeros((2, 3, 4))}),
        r"expected responses \(stimuli, targets\), found \(2, 3, 4\)",
    ),
    "a damaged file": (
        lambda root: (root / "responses.mat").write_bytes(b"MATLAB 5.0" + bytes(300)), r"expected a MATLAB file, found",
    ),
    "one volume": (
        lambda root: image(np.zeros(SHAPE)).to_filename(root / "responses.nii.gz"), "expected a series of trials",
    ),
    "hemispheres of other stimuli": (
        lambda root: (
            save_betas(root / "responses.mgh", VALUES[:5]),
            (root / "rh.responses.mgh").unlink(),
            (root / "rh").mkdir(),
            save_betas(root / "rh" / "responses.mgh", VALUES),
            shutil.move(root / "rh" / "rh.responses.mgh", root / "rh.responses.mgh"),
        ),
        "expected as many stimuli in both hemispheres, found 5 and 12",
    ),
    "ROIs of the other hemisphere": (
        lambda root: (
            save_betas(root / "responses.mgh", VALUES),
            (root / "rois.csv").write_text("target,hemisphere,roi\n3,rh,V1\n"),
        ),
        r"rois\.csv: expected hemisphere lh of target 3, by its file, found rh",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(root, fault):
    spoil, message = FAULTS[fault]
    spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        read(root)
    assert "\n" not in str(raised.value)


def test_check_examines_such_a_folder(root, capsys):
    save_betas(root / "responses.nii.gz", VALUES)
    save_map(root / "mask.nii.gz", INSIDE)
    assert calcarine(["check", str(root)]) == 0
    assert f"Folder, mine: {STIMULI} images" in capsys.readouterr().out
    (root / "mask.nii.gz").unlink()
    assert calcarine(["check", str(root)]) == 2
    said = capsys.readouterr().out
    assert "error: mask.nii.gz" in said or "expected one mask" in said
    assert "could not be checked" not in said
