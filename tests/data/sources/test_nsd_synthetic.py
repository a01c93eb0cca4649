"""NsdSynthetic: images as they were seen, repeats by the design, and a second test set beside NSD."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from calcarine.data import NSD, NsdSynthetic
from calcarine.data.simulation.planted import Truth
from calcarine.data.simulation.write import simulate
from calcarine.data.test_sets import with_test_sets
from calcarine.errors import InputError
from scipy.io import loadmat

pytestmark = pytest.mark.slow
KIND = "nsdsyntheticbetas_fithrf_GLMdenoise_RR"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "tree"
    simulate(out, format="nsd-synthetic", images=40, targets=60, seed=4)
    return out


def source_in(cache: Path, root: Path, **flags: Any) -> NsdSynthetic:
    source = NsdSynthetic(root, **flags)
    source.keep_in(cache)
    return source


def order_of(tree: Path) -> np.ndarray:
    path = tree / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"
    return loadmat(path)["masterordering"].astype(int)[0] - 1


@pytest.mark.parametrize(("task", "odd"), [("both", None), ("fixation", True), ("memory", False)])
def test_responses_are_the_mean_of_the_trials_of_the_task(tree, tmp_path, task, odd):
    (found,) = source_in(tmp_path, tree, targets="all", task=task).read()
    order = order_of(tree)
    run = np.array([trial * 8 // len(order) + 1 for trial in range(len(order))])
    used = np.ones(len(order), dtype=bool) if odd is None else (run % 2 == 1) == odd
    side = nibabel.load(tree / f"nsddata_betas/ppdata/subj01/fsaverage/{KIND}/lh.betas_nsdsynthetic.mgh")  # type: ignore[attr-defined]
    betas = np.asarray(side.dataobj, dtype=np.float64)[77, 0, 0]  # type: ignore[attr-defined]
    scaled = (betas - betas.mean()) / betas.std()
    expected = [scaled[used & (order == image)].mean() for image in np.unique(order[used])]
    np.testing.assert_allclose(found.responses.gather(np.arange(len(expected)))[:, 77], expected, atol=1e-6)
    assert set(found.splits) == {"test"}


def test_images_are_the_square_in_the_middle_in_the_light_of_image_files(tree, tmp_path):
    (found,) = source_in(tmp_path, tree).read()
    folder = tree / "nsddata_stimuli/stimuli/nsdsynthetic"
    with h5py.File(folder / "nsdsynthetic_stimuli.hdf5") as shared:
        count, stored = len(shared["imgBrick"]), shared["imgBrick"][3]  # type: ignore[index, arg-type]
    with h5py.File(folder / "nsdsynthetic_colorstimuli_subj01.hdf5") as own:
        coloured = own["imgBrick"][0]  # type: ignore[index]
    for index, image in ((3, stored), (count, coloured)):
        expected = np.rint(np.sqrt(image[:, 323:1037] / 255.0) * 255)
        assert np.array_equal(found.stimuli.read(index), expected)
        assert found.stimuli.read(index).shape == (714, 714, 3)
    assert found.stimuli.names[count] == f"nsdsynthetic-{count:03d}"
    assert found.categories is not None
    assert found.categories[:3].tolist() == ["noise", "natural", "contrast"]


def test_it_is_a_test_set_of_nsd_aligned_by_vertex(tree, tmp_path):
    main = NSD(tree, targets=["nsdgeneral", "nsdgeneralRSC"])
    main.keep_in(tmp_path)
    (alone,) = main.read()
    synthetic = source_in(tmp_path, tree)  # other targets: without nsdgeneralRSC, with vertices that NSD lacks
    (joined,) = with_test_sets([alone], {"synthetic": synthetic})
    (other,) = synthetic.read()
    assert joined.num_targets == alone.num_targets != other.num_targets
    behind = np.flatnonzero(joined.splits == "synthetic")
    assert len(behind) == len(other.stimuli)
    responses = joined.responses.gather(behind)
    for target in (0, 11, joined.num_targets - 1):
        assert joined.vertices is not None
        assert other.vertices is not None
        same = (other.vertices == joined.vertices[target]) & (other.hemispheres == joined.hemispheres[target])
        if same.any():
            expected = other.responses.gather(np.arange(len(behind)))[:, same.argmax()]
            assert np.array_equal(responses[:, target], expected)
        else:
            assert np.isnan(responses[:, target]).all()
    assert np.isnan(responses).all(axis=0).sum() == (~np.isin(joined.vertices, other.vertices)).sum()
    test = np.flatnonzero(alone.splits == "test")
    for name, ceiling in alone.ceilings(test).items():
        np.testing.assert_array_equal(joined.ceilings(test)[name], ceiling)
    assert list(joined.ceilings(behind)) == ["the repeats of these stimuli"]


def test_ceilings_of_unequal_repeats_are_the_planted_ones(tmp_path):
    """Many more images than the format has, so that the mean over targets is exact within .01."""
    from calcarine.data.trials.repeats import TrialRepeats

    rng = np.random.default_rng(0)
    counts = np.repeat([2, 4, 8, 10], [236, 32, 8, 8])
    stimulus = rng.permutation(np.repeat(np.arange(284), counts))
    planted = rng.uniform(0.1, 0.8, 3000)
    signal = rng.standard_normal((284, 3000))
    trials = np.sqrt(planted) * signal[stimulus] + np.sqrt(1 - planted) * rng.standard_normal((744, 3000))
    (found,) = TrialRepeats(trials.astype(np.float32), stimulus).ceilings(np.arange(284)).values()
    norm = (236 / 2 + 32 / 4 + 8 / 8 + 8 / 10) / 284
    expected = planted / (planted + (1 - planted) * norm)
    assert abs(float((found - expected).mean())) < 0.01
    assert np.corrcoef(found, expected)[0, 1] > 0.95


def test_planted_responses_are_those_of_the_same_targets(tree, tmp_path):
    truth = Truth.read(tree / "truth" / "subj01.npz")
    (found,) = source_in(tmp_path, tree, space="func1pt8mm").read()
    (ceilings,) = found.ceilings(np.arange(len(found.stimuli))).values()
    assert np.corrcoef(ceilings, truth.noise_ceiling)[0, 1] > 0.5


FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no betas": (None, {"betas": "nsdsyntheticbetas_fithrf"}, f"expected the betas, found .*{KIND}"),
    "no design": (
        lambda root: (root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat").unlink(), {},
        r"nsdsynthetic_expdesign\.mat: expected a MATLAB file",
    ),
    "a truncated file": (
        lambda root: _cut(root / f"nsddata_betas/ppdata/subj01/fsaverage/{KIND}/rh.betas_nsdsynthetic.mgh"), {},
        "broken download",
    ),
    "no coloured images": (
        lambda root: (root / "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_subj01.hdf5").unlink(), {},
        "nsdsynthetic_colorstimuli_subj01.hdf5: expected a complete HDF5 file",
    ),
    "no such task": (None, {"targets": "V7"}, "expected the atlas V7, found no such file"),
}  # fmt: skip


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(tree, tmp_path, fault):
    spoil, flags, message = FAULTS[fault]
    root = tree
    if spoil is not None:
        root = tmp_path / "tree"
        shutil.copytree(tree, root, ignore=shutil.ignore_patterns("betas_fithrf*"))
        spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        source_in(tmp_path / "cache", root, **flags).read()
    assert "\n" not in str(raised.value)
