"""Maps of a run are what other programs read: arrays, GIfTI on fsaverage, NIfTI of a voxel grid."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from calcarine.evaluation.maps import write_maps
from calcarine.evaluation.scores import TargetScores
from calcarine.recording import Grid, Recording, Responses

NOTHING = np.full(6, np.nan)
PEARSON = np.array([0.1, 0.2, np.nan, -0.4, 0.5, 0.6])
SCORES = TargetScores(np.full(6, 9), PEARSON, PEARSON / 2, *[NOTHING] * 7)
VERTICES = np.array([3, 70_000, 9, 163_841, 0, 5])


def recording(subject: str = "subj01") -> Recording:
    return Recording(
        subject=subject,
        stimuli=[""],  # pyright: ignore[reportArgumentType]
        responses=Responses.of(np.zeros((1, 6), np.float32)),
        splits=np.array(["test"]),
        hemispheres=np.repeat(["lh", "rh"], 3),
    )


def test_surface_maps_are_in_challenge_and_fsaverage_space(tmp_path: Path) -> None:
    write_maps(tmp_path / "maps", [(replace(recording(), vertices=VERTICES), SCORES)])
    kinds = (".gii", "_challenge_space.npy", "_fsaverage_space.npy")
    names = {f"{side}.{name}{kind}" for side in ("lh", "rh") for name in ("pearson", "r2") for kind in kinds}
    assert {path.name for path in (tmp_path / "maps").iterdir()} == names  # and none of what is unknown
    for side, own in (("lh", slice(0, 3)), ("rh", slice(3, 6))):
        challenge = np.load(tmp_path / "maps" / f"{side}.pearson_challenge_space.npy")
        np.testing.assert_array_equal(challenge, PEARSON[own].astype(np.float32))
        full = np.load(tmp_path / "maps" / f"{side}.pearson_fsaverage_space.npy")
        assert full.shape == (163_842,)
        np.testing.assert_array_equal(full[VERTICES[own]], challenge)
        assert np.isfinite(full).sum() == np.isfinite(PEARSON[own]).sum()
        image = nibabel.load(tmp_path / "maps" / f"{side}.pearson.gii")
        assert isinstance(image, nibabel.gifti.GiftiImage)
        np.testing.assert_array_equal(image.darrays[0].data, full)
        assert image.meta["AnatomicalStructurePrimary"] == {"lh": "CortexLeft", "rh": "CortexRight"}[side]


@pytest.mark.parametrize("affine", [None, np.diag([2.0, 2, 2, 1])])
def test_volumes_say_whether_their_place_is_known(affine: np.ndarray | None, tmp_path: Path) -> None:
    voxels = np.argwhere(np.arange(24).reshape(2, 3, 4) < 6)
    write_maps(tmp_path, [(replace(recording(), grid=Grid((2, 3, 4), voxels, affine)), SCORES)])
    assert {path.name for path in tmp_path.iterdir()} == {"pearson.nii.gz", "r2.nii.gz"}
    image = nibabel.load(tmp_path / "pearson.nii.gz")
    assert isinstance(image, nibabel.Nifti1Image)
    values = image.get_fdata()
    np.testing.assert_array_equal(values.ravel()[:6], PEARSON.astype(np.float32))
    assert np.isnan(values.ravel()[6:]).all()
    unknown = affine is None
    assert (image.header["sform_code"] == 0) == unknown
    assert (b"affine unknown" in bytes(image.header["descrip"])) == unknown
    if not unknown:
        np.testing.assert_array_equal(image.affine, affine)


def test_of_several_subjects_each_has_its_own(tmp_path: Path) -> None:
    parts = [(replace(recording(name), vertices=VERTICES), SCORES) for name in ("subj01", "subj02")]
    write_maps(tmp_path, parts)
    assert (tmp_path / "lh.subj02.pearson.gii").exists()
    assert not list(tmp_path.glob("lh.pearson*"))


def test_targets_without_a_place_have_no_maps(tmp_path: Path) -> None:
    write_maps(tmp_path / "maps", [(recording(), SCORES)])
    assert not (tmp_path / "maps").exists()
