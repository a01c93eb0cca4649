"""The simulated visual cortex: meshes, areas and retinotopy."""

import numpy as np
import pytest
from calcarine.data.simulation.cortex import ROI_CLASSES, visual_patch
from calcarine.data.simulation.subject import hemisphere_sizes
from calcarine.fsaverage import mesh_at_level


@pytest.mark.parametrize(("hemisphere", "targets"), [("lh", 485), ("rh", 1188), ("lh", 3000), ("rh", 20544)])
def test_patch_is_visual_cortex(hemisphere, targets):
    patch = visual_patch(hemisphere, targets)
    assert len(patch.vertices) == targets
    assert (np.diff(patch.vertices) > 0).all()
    assert patch.coordinates[:, 1].max() < -15  # the back of the brain, millimetres
    assert (patch.coordinates[:, 0] * (-1 if hemisphere == "lh" else 1)).min() > -3
    rois = patch.rois()
    expected = {name for names in ROI_CLASSES.values() for name in names}
    assert expected - set(rois) == {"mTL-bodies", "mTL-faces", "aTL-faces", "mfs-words", "mTL-words"}
    assert all(len(found) >= 4 for found in rois.values())


@pytest.mark.parametrize("hemisphere", ["lh", "rh"])
def test_retinotopy(hemisphere):
    patch = visual_patch(hemisphere, 1188)
    rois, (x, y) = patch.rois(), patch.field.T
    assert ((x >= 0.5) if hemisphere == "lh" else (x <= 0.5)).all()  # the contralateral half of the image
    for area in ("V1", "V2", "V3"):
        assert (y[rois[f"{area}v"]] <= 0.5).all()  # ventral banks see the upper field
        assert (y[rois[f"{area}d"]] >= 0.5).all()
    eccentricity = np.hypot(x - 0.5, y - 0.5)
    assert eccentricity.max() <= 0.42 + 1e-9
    early = rois["early"]
    assert np.corrcoef(eccentricity[early], patch.coordinates[early, 1])[0, 1] > 0.6  # the fovea lies at the back


def test_maps_are_smooth_over_the_surface():
    patch = visual_patch("lh", 1188)
    v1 = np.concatenate([patch.rois()["V1v"], patch.rois()["V1d"]])
    sphere, _ = mesh_at_level("lh", 5)
    angle = np.arccos(np.clip(sphere[patch.vertices[v1]] @ sphere[patch.vertices[v1]].T, -1, 1))
    apart = np.linalg.norm(patch.field[v1][:, None] - patch.field[v1][None], axis=-1)
    neighbours = (angle > 0) & (angle < np.radians(2.3))
    assert np.median(apart[neighbours]) < 0.4 * np.median(apart)


def test_rois_are_compact_and_overlap_across_classes():
    patch = visual_patch("rh", 20544)
    sphere, _ = mesh_at_level("rh", 7)
    rois = patch.rois()
    for name in ("EBA", "FFA-1", "PPA", "VWFA-2"):
        places = sphere[patch.vertices[rois[name]]]
        centre = places.mean(axis=0) / np.linalg.norm(places.mean(axis=0))
        assert np.degrees(np.arccos(places @ centre)).max() < 10
    assert set(rois["V1v"]) <= set(rois["early"])


def test_bilateral_places_mirror():
    left, right = (visual_patch(side, 1188) for side in ("lh", "rh"))
    for name in ("EBA", "FFA-1", "OPA", "PPA", "V1d"):
        places = [patch.coordinates[patch.rois()[name]].mean(axis=0) for patch in (left, right)]
        assert places[0] * [-1, 1, 1] == pytest.approx(places[1], abs=9)  # millimetres


def test_most_targets():
    """Flags admit two fifths of both hemispheres, a little more than a fifth of which is in the right one."""
    right = hemisphere_sizes(65_536)[1]
    patch = visual_patch("rh", right)
    assert len(np.unique(patch.vertices)) == right
    assert ((patch.field >= 0) & (patch.field <= 1)).all()
