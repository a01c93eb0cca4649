"""Betas: the same numbers in every format, and what is known of readers of those formats."""

import base64
import json
import logging
import os
import shutil
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
from calcarine.data import Betas
from calcarine.data.trials.arrays import CiftiSeries, GlmsingleSeries
from calcarine.data.trials.endings import open_series
from calcarine.data.trials.gifti import GiftiSeries
from calcarine.data.trials.maps import map_on
from calcarine.data.trials.session import Chosen, SeriesSession
from calcarine.errors import InputError
from calcarine.recording import Recording
from labs import (
    AFFINE,
    KINDS,
    PLACES,
    SHAPE,
    SIDES,
    SURFACES,
    brain_models,
    glmsingle,
    image,
    read_table,
    save_betas,
    save_cifti,
    save_map,
    session,
    write_lab,
    write_table,
)
from nibabel.cifti2.cifti2_axes import LabelAxis, ScalarAxis
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable

SESSIONS = [session(30, 12, seed) for seed in (1, 2)]
BETAS, LABELS = ([each[part] for each in SESSIONS] for part in (0, 1))


def read(root: Path, cache: Path | None = None, **flags: Any) -> Recording:
    source = Betas(root, **flags)
    source.keep_in(cache or root.parent / f"{root.name}-cache")
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def responses(recording: Recording) -> np.ndarray:
    return recording.responses.gather(np.arange(len(recording.stimuli)))


def by_hand() -> np.ndarray:
    scored = [((own - own.mean(axis=0)) / own.std(axis=0)).astype(np.float32) for own in map(np.float64, BETAS)]
    trials, labels = np.concatenate(scored).astype(np.float64), np.concatenate(LABELS)
    names = sorted(set(labels.tolist()), key=lambda name: int(name[5:-4]))
    return np.array([trials[labels == name].mean(axis=0) for name in names], dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_all_formats_agree_to_the_bit(tmp_path, kind):
    found = read(write_lab(tmp_path / "lab", BETAS, LABELS, kind))
    assert np.array_equal(responses(found), by_hand())
    assert found.subject == "lab"
    assert found.trials is not None
    np.testing.assert_array_equal(found.trials.session, np.repeat([1, 2], 30))
    sides = ["lh"] * 50 + ["rh"] * 70
    if kind in SURFACES:
        assert found.hemispheres.tolist() == sides
        assert found.vertices is None  # so small a surface is not fsaverage's
    elif kind.endswith(("dscalar.nii", "dtseries.nii")):
        assert found.hemispheres.tolist() == ["lh"] * 48 + ["rh"] * 70 + ["lh"] * 2
        assert found.grid is None
    else:
        assert found.grid is not None
        assert found.grid.shape == SHAPE
        assert np.array_equal(found.grid.voxels, np.argwhere(np.ones(SHAPE)))
        assert (found.grid.affine is None) == (kind in ("hdf5", "npy"))  # GLMsingle does not keep it


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_rois_have_the_kind_of_the_betas(tmp_path, kind):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, kind)
    ending = {"hdf5": "nii.gz", "npy": "nii", "dtseries.nii": "dscalar.nii"}.get(kind, kind)
    inside = np.arange(PLACES) % 3 > 0
    area = np.arange(PLACES) % 4 == 1
    (root / "rois").mkdir()
    save_map(root / f"mask.{ending}", inside)
    save_map(root / "rois" / f"V1.{ending}", area)
    save_map(root / f"noiseceiling.{ending}", np.linspace(0, 90, PLACES))
    found = read(root)
    assert np.array_equal(responses(found), by_hand()[:, inside])
    own = [(roi.name, roi.hemisphere) for roi in found.rois]
    assert own == [("V1", side) for side in (("lh", "rh") if found.hemispheres[0] else ("",))]
    assert np.array_equal(np.sort(np.concatenate([roi.targets for roi in found.rois])), np.flatnonzero(area[inside]))
    repeats, told = found.ceilings(np.arange(len(found.stimuli))).values()
    assert np.array_equal(found.noise_ceiling, repeats)  # type: ignore[arg-type]
    np.testing.assert_allclose(told, np.linspace(0, 0.9, PLACES).astype(np.float32)[inside], rtol=1e-6)
    if kind in ("hdf5", "npy"):
        assert found.grid is not None
        assert found.grid.affine is not None  # the mask's


def test_a_file_of_all_sessions_is_counted_through(tmp_path):
    """GLMsingle is often run over several sessions at once, and writes one file."""
    root = write_lab(tmp_path / "lab", [], [], "hdf5")
    other = write_lab(tmp_path / "other", BETAS, LABELS)
    (other / "images").rename(root / "there")
    with h5py.File(root / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", "w") as file:
        file["betasmd"] = glmsingle(np.concatenate(BETAS))["betasmd"]
    for kind in ("B_FITHRF", "C_FITHRF_GLMDENOISE"):  # the last model is taken
        with h5py.File(root / f"TYPE{kind}.hdf5", "w") as file:
            file["betasmd"] = np.zeros((*SHAPE, 60), dtype=np.float32)
    rows = read_table(other / "trials.tsv")
    (root / "trials.tsv").write_bytes((other / "trials.tsv").read_bytes())
    with pytest.raises(InputError, match=r"expected beta_index to count through the one file .* found 0 in several"):
        read(root, images=root / "there")
    own = [(row["session"], row["run"], place, row["label"]) for place, row in enumerate(rows)]
    write_table(root / "trials.tsv", ("session", "run", "beta_index", "label"), own)
    assert np.array_equal(responses(read(root, images=root / "there")), by_hand())
    one = read(root, images=root / "there", sessions=[2])
    assert one.trials is not None
    assert set(one.trials.session.tolist()) == {2}
    assert len(one.trials.session) == 30


def test_glmsingle_in_a_folder_for_each_session(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "npy")
    for name in ("ses-01", "ses-02"):
        (root / name).mkdir()
        own = root / name / "TYPED_FITHRF_GLMDENOISE_RR.npy"
        (root / f"{name}_betas.npy").rename(own)
        np.save(own.with_name("TYPEA_ONOFF.npy"), {"onoffR2": np.ones(3)})  # type: ignore[arg-type]
        np.save(own.with_name("DESIGNINFO.npy"), {"stimorder": [1, 2]})  # type: ignore[arg-type]
    assert Betas.recognises(root)
    assert np.array_equal(responses(read(root)), by_hand())


def test_columns_have_any_names_and_count_from_1_where_it_is_said(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    rows = [
        (f"ses-{int(row['session']):02d}", int(row["beta_index"]) + 1, row["label"].removesuffix(".png"))
        for row in read_table(root / "trials.tsv")
    ]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    (root / "trials.tsv").unlink()
    write_table(root / "conditions.csv", ("day", "trial", "picture"), rows)
    names = {"session_column": "day", "index_column": "trial", "label_column": "picture"}
    found = read(root, trials=root / "conditions.csv", first_index=1, **names)
    assert np.array_equal(responses(found), by_hand())
    with pytest.raises(InputError, match=r"trial from 0 to 29, as session [12] has 30 trials, found 1 to 30: it may"):
        read(root, trials=root / "conditions.csv", **names)


def test_trials_without_a_stimulus_are_not_read(tmp_path):
    """Blank trials, by a missing row or as n/a; a session is standardised over the others."""
    holes = [np.insert(own, [3, 9], 1e6, axis=0) for own in BETAS]
    root = write_lab(tmp_path / "lab", holes, [["image0.png"] * 32] * 2)
    rows: list[tuple[object, ...]] = []
    for number, labels in enumerate(LABELS, start=1):
        full = list(np.insert(np.array(labels, dtype=object), [3, 9], "n/a"))
        rows += [(number, 1, place, label) for place, label in enumerate(full) if number == 1 or label != "n/a"]
    write_table(root / "trials.tsv", ("session", "run", "beta_index", "label"), rows)
    for label in {name for own in LABELS for name in own}:
        (root / "images" / label).write_bytes((root / "images/image0.png").read_bytes())
    assert np.array_equal(responses(read(root)), by_hand())


def test_what_is_prepared_is_not_read_again(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "nii")
    first = responses(read(root))
    path = root / "ses-02_betas.nii"
    times = path.stat()
    with path.open("r+b") as file:  # all but the first trials, which tell what was measured
        file.seek(-4 * PLACES * 20, 2)
        file.write(bytes(4 * PLACES * 20))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert np.array_equal(responses(read(root)), first)
    assert not np.array_equal(responses(read(root, tmp_path / "elsewhere")), first)


@pytest.mark.parametrize("counts", ["full", "unequal"])
def test_planted_ceilings_are_recovered_from_repeats(tmp_path, counts):
    rng = np.random.default_rng(5)
    ceiling = np.tile(np.linspace(0.05, 0.9, 12), 10)
    repeats = np.full(1500, 3) if counts == "full" else rng.integers(1, 5, 1500)
    order = rng.permutation(np.repeat(np.arange(1500), repeats))
    signals = rng.standard_normal((1500, PLACES))
    signals = (signals - signals.mean(axis=0)) / signals.std(axis=0)
    rows = np.sqrt(ceiling) * signals[order] + np.sqrt(1 - ceiling) * rng.standard_normal((len(order), PLACES))
    betas = [rng.uniform(-1, 2, PLACES) + rng.uniform(0.6, 1.6, PLACES) * part for part in np.array_split(rows, 4)]
    names = [f"image{row}.png" for row in order]
    labels = [part.tolist() for part in np.array_split(np.array(names), 4)]
    root = write_lab(tmp_path / "lab", betas, labels, "npy")
    found = read(root)
    numbers = np.array([int(name[5:-4]) for name in found.stimuli.names])
    scored = np.flatnonzero(numbers < 1200)
    expected = ceiling / (ceiling + (1 - ceiling) * (1 / repeats[numbers[scored]]).mean())
    (told,) = found.ceilings(scored).values()
    assert abs((told - expected).mean()) < 0.01
    assert np.abs(told - expected).mean() < 0.03
    assert found.noise_ceiling is not None


def test_a_surface_of_fsaverages_size_is_fsaverage(tmp_path):
    root = tmp_path / "lab"
    (root / "images").mkdir(parents=True)
    (root / "images/a.png").write_bytes(b"")
    (root / "images/b.png").write_bytes(b"")
    values = np.random.default_rng(0).standard_normal((4, 10_242)).astype(np.float32)
    for side in ("L", "R"):
        arrays = [GiftiDataArray(row, datatype="NIFTI_TYPE_FLOAT32") for row in values]
        GiftiImage(darrays=arrays).to_filename(root / f"ses-1_hemi-{side}_space-fsaverage5_betas.func.gii")
    write_table(root / "trials.tsv", ("label",), [("a.png",), ("b.png",), ("a.png",), ("b.png",)])
    found = read(root)
    assert found.vertices is not None
    assert found.coordinates is not None
    assert np.array_equal(found.vertices, np.tile(np.arange(10_242), 2))
    assert found.hemispheres.tolist() == ["lh"] * 10_242 + ["rh"] * 10_242
    for one, other in (("space-fsaverage5", "space-fsnative"), ("space-fsnative", "res-164k_fs_LR")):
        for path in root.glob("*.gii"):
            path.rename(path.with_name(path.name.replace(one, other)))
        assert read(root).vertices is None


def test_a_float_map_under_a_header_of_whole_numbers(tmp_path):
    """nibabel keeps the type of a header that is handed on: 0 and NaN of a map become almost 0, and no more NaN."""
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    inside = np.arange(PLACES) % 3 > 0
    whole = image(np.zeros(SHAPE, dtype=np.int16))
    values = np.where(inside, np.linspace(20, 60, PLACES), np.nan)
    for name, own in (("mask", inside.astype(np.float32)), ("noiseceiling", values)):
        nib.Nifti1Image(own.reshape(SHAPE).astype(np.float32), whole.affine, whole.header).to_filename(
            root / f"{name}.nii.gz"
        )
    stored = np.asarray(nib.load(root / "noiseceiling.nii.gz").dataobj).ravel()  # type: ignore[attr-defined]
    assert not np.isnan(stored).any()
    found = read(root, targets="all")
    assert found.num_targets == inside.sum()
    (root / "mask.nii.gz").unlink()
    everywhere = read(root)
    told = list(everywhere.ceilings(np.arange(len(everywhere.stimuli))).values())[-1]
    assert (told[~inside] == 0).all()  # and not a millionth, which would score as all


def test_other_derivatives_keep_their_masks(tmp_path):
    """FreeSurfer's brainmask.mgz and fMRIPrep's tissues are of other grids, and no concern of the betas."""
    root = tmp_path / "bids"
    lab = write_lab(tmp_path / "lab", BETAS, LABELS)
    betas = root / "derivatives/glm/sub-CSI1"
    betas.mkdir(parents=True)
    for path in lab.glob("*"):
        path.rename((root if path.name == "images" else betas) / path.name)
    for name in ("freesurfer/sub-CSI1/mri/brainmask.mgz", "fmriprep/sub-CSI1/anat/sub-CSI1_label-GM_probseg.nii.gz"):
        path = root / "derivatives" / name
        path.parent.mkdir(parents=True)
        nib.MGHImage(np.ones((7, 7, 7), dtype=np.float32), np.eye(4)).to_filename(path.with_suffix(".mgz"))  # type: ignore[attr-defined]
        if path.suffix == ".gz":
            image(np.full((7, 7, 7), 0.3)).to_filename(path)
    found = read(root)
    assert found.subject == "sub-CSI1"
    assert np.array_equal(responses(found), by_hand())
    assert Betas(root, subject="CSI1").own_subjects


def test_a_mask_of_another_grid_is_refused(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    moved = image(np.ones(SHAPE))
    moved.affine[0, 3] += 4
    nib.Nifti1Image(np.ones(SHAPE, dtype=np.float32), moved.affine).to_filename(root / "mask.nii.gz")
    with pytest.raises(
        InputError, match=r"mask\.nii\.gz: expected the grid of ses-01_betas\.nii\.gz, found another aff"
    ):
        read(root)


def test_an_atlas_of_cortex_alone_is_matched_by_structure_and_vertex(tmp_path):
    """dlabel files often cover cortex, betas all of the 91,282 grayordinates: places in the file are not the same."""
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "dscalar.nii")
    (root / "rois").mkdir()
    models = brain_models()
    right = models[models.name == "CIFTI_STRUCTURE_CORTEX_RIGHT"]
    table = {0: ("???", (0.0,) * 4), 1: ("V1", (1.0,) * 4), 2: ("V2", (1.0,) * 4)}
    labels = np.where(right.vertex % 2, 1.0, 2.0)[None]
    save_cifti(root / "rois/areas.dlabel.nii", labels, LabelAxis(["areas"], [table]), right)
    assert read(root).num_targets == len(right)  # without a mask targets are those of the ROIs
    found = read(root, targets="all")
    rois = {roi.name: roi for roi in found.rois}
    assert {(roi.name, roi.hemisphere) for roi in found.rois} == {("V1", "rh"), ("V2", "rh")}
    vertex = models.vertex[rois["V1"].targets]
    assert (vertex % 2 == 1).all()
    assert (np.asarray(models.name)[rois["V1"].targets] == "CIFTI_STRUCTURE_CORTEX_RIGHT").all()
    assert len(rois["V1"].targets) + len(rois["V2"].targets) == len(right)


def test_an_atlas_in_a_volume_needs_its_names(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    (root / "rois").mkdir()
    save_map(root / "rois/lh.areas.nii.gz", np.arange(PLACES) % 3)
    with pytest.raises(InputError, match=r"lh\.areas\.nii\.gz: expected a name for each label, found none of 1; put a"):
        read(root)
    (root / "rois/lh.areas.nii.gz.ctab").write_text("0  Unknown\n1   V1\n\n2 V2 255 0 0\n")
    found = read(root, targets="all")
    assert {(roi.name, roi.hemisphere) for roi in found.rois} == {("V1", "lh"), ("V2", "lh")}
    assert found.hemispheres[:3].tolist() == ["", "lh", "lh"]


def test_gifti_is_read_one_array_at_a_time(tmp_path):
    """Also: one array of vertices × trials, and what other writers put first."""
    values = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)
    path = tmp_path / "a.func.gii"
    GiftiImage(darrays=[GiftiDataArray(row, datatype="NIFTI_TYPE_FLOAT32") for row in values]).to_filename(path)
    text = path.read_bytes()
    cut = tmp_path / "cut.func.gii"
    cut.write_bytes(text[: len(text) * 2 // 3])
    series = GiftiSeries(cut)  # what stands first is enough to know its size
    assert (series.num_trials, series.size) == (9, 40)
    assert np.array_equal(series.read(np.array([5, 3]), range(2)), values[:2, [5, 3]])
    with pytest.raises(InputError, match=r"cut\.func\.gii: expected a complete GIfTI file"):
        series.read(np.arange(40))
    table = tmp_path / "table.func.gii"
    for order in ("C", "F"):
        own = GiftiDataArray(np.asarray(values.T, order=order), datatype="NIFTI_TYPE_FLOAT32")
        own.ind_ord = {"C": "RowMajorOrder", "F": "ColumnMajorOrder"}[order]
        GiftiImage(darrays=[own]).to_filename(table)
        assert np.array_equal(GiftiSeries(table).read(np.arange(40)), nib.load(table).darrays[0].data.T)  # type: ignore[attr-defined]


def test_gifti_that_names_another_file_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(160))
    path = tmp_path / "a.func.gii"
    GiftiImage(darrays=[GiftiDataArray(np.zeros(40, dtype=np.float32), datatype="NIFTI_TYPE_FLOAT32")]).to_filename(
        path
    )
    text = path.read_text().replace("GZipBase64Binary", "ExternalFileBinary")
    path.write_text(text.replace('ExternalFileName=""', 'ExternalFileName="secret"'))
    with pytest.raises(InputError, match="found that it names another one"):
        GiftiSeries(path)


@pytest.mark.parametrize("kind", ["hdf5", "pieces.hdf5", "npy", "fortran.npy"])
def test_glmsingles_files_are_read_in_part(tmp_path, kind):
    values = np.random.default_rng(0).standard_normal((2500, PLACES)).astype(np.float32)  # more than is unpickled
    path, content = tmp_path / f"a.{kind}", glmsingle(values)
    betas = content["betasmd"]
    if kind.endswith("npy"):
        np.save(path, content | ({"betasmd": np.asfortranarray(betas)} if "fortran" in kind else {}))  # type: ignore[arg-type]
    else:
        with h5py.File(path, "w") as file:
            pieces = {"chunks": (2, 2, 3, 50), "compression": "gzip"} if "pieces" in kind else {}
            file.create_dataset("betasmd", data=betas, **pieces)
    series = GlmsingleSeries(path)
    places = np.random.default_rng(1).permutation(PLACES)[:50]
    assert np.array_equal(series.read(places), values[:, places])
    for trials in (range(3), range(40, 90)):
        assert np.array_equal(series.read(places, trials), values[trials.start : trials.stop, places])
    flat = tmp_path / "flat.npy"
    np.save(flat, {"betasmd": betas.reshape(PLACES, 1, 1, -1)})  # type: ignore[arg-type]
    assert GlmsingleSeries(flat).shape == (PLACES, 1, 1)


def test_cifti_of_scaled_whole_numbers(tmp_path):
    path = tmp_path / "a.dscalar.nii"
    values = np.random.default_rng(0).integers(-500, 500, (6, PLACES))
    save_cifti(path, values, ScalarAxis([str(n) for n in range(6)]))
    scaled: Any = nib.load(path)  # type: ignore[attr-defined]
    scaled.nifti_header.set_data_dtype(np.int16)
    scaled.nifti_header.set_slope_inter(0.01, 3)
    scaled.to_filename(tmp_path / "b.dscalar.nii")
    expected = np.asarray(nib.load(tmp_path / "b.dscalar.nii").dataobj).astype(np.float32)  # type: ignore[attr-defined]
    assert np.array_equal(CiftiSeries(tmp_path / "b.dscalar.nii").read(np.arange(PLACES)), expected)


def test_a_split_in_a_table_is_found(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    names = sorted({name for own in LABELS for name in own})
    rows = [(name, "test" if place % 4 == 0 else "train") for place, name in enumerate([*names, "unseen.png"])]
    write_table(root / "split.csv", ("stimulus", "split"), rows)
    found = read(root)
    assert {name for name, split in zip(found.stimuli.names, found.splits, strict=True) if split == "test"} == {
        name for name, split in rows if split == "test" and name in names
    }
    (root / "splits").mkdir()
    variants = [{"variant_id": n, "train_ids": names[: 4 + n], "test_ids": names[8:]} for n in (0, 1)]
    (root / "splits/mine.json").write_text(json.dumps({"variants": variants}))
    assert (read(root, split="mine:1").splits == "train").sum() == 5


def test_surfaces_of_both_suffixes_are_one_kind(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "mgh")
    for side in SIDES:
        (root / f"{side}.ses-01_betas.mgh").unlink()
    save_betas(root / "ses-01_betas.mgz", BETAS[0])
    assert np.array_equal(responses(read(root)), by_hand())


@pytest.mark.parametrize(("betas", "like", "fits"), [
    ("nii.gz", (6, 5, 4), False), ("npy", (6, 5, 4), False), ("npy", SHAPE, True), ("npy", (*SHAPE, 1), True),
    ("dscalar.nii", SHAPE, False), ("mgh", (5, 5, 2), False), ("mgh", (50, 1, 1), True),
])  # fmt: skip
def test_a_map_of_as_many_values_in_another_shape_is_of_another_grid(tmp_path, betas, like, fits):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, betas)
    path = root / f"{'lh.' if betas == 'mgh' else ''}V1.nii.gz"
    nib.Nifti1Image(np.ones(like, dtype=np.uint8), AFFINE).to_filename(path)
    series = open_series(sorted(root.glob("*ses-01*"))[0])
    assert (map_on(path, series) is not None) == fits


def test_what_varies_seldom_is_measured(tmp_path, caplog):
    """Coarse and sparse numbers stay the same for some trials; what never varies was not measured."""
    rng = np.random.default_rng(0)
    coarse = [np.rint(0.5 * rng.standard_normal((60, PLACES))) for _ in range(2)]
    sparse = [np.where(rng.random(own.shape) < 0.8, 0, own + 0.5) for own in coarse]
    labels = [[f"image{row}.png" for row in range(60)]] * 2
    for number, (kind, own) in enumerate((kind, own) for own in (coarse, sparse) for kind in ("nii.gz", "npy", "mgh")):
        own[1][:, :3] = 4
        root = write_lab(tmp_path / f"lab{number}", own, labels, kind)
        with caplog.at_level(logging.WARNING):  # what is few is said at a lower level, which another test may have set
            assert read(root).num_targets == PLACES - 3
    assert "left out" not in caplog.text
    own[1][:, :40] = 4
    with caplog.at_level(logging.WARNING):
        assert read(write_lab(tmp_path / "lab", own, labels)).num_targets == PLACES - 40
    assert "left out 40 of 120 targets, which some session did not measure" in caplog.text


@pytest.mark.parametrize("kind", ["pieces.hdf5", "hdf5", "npy", "nii", "nii.gz", "func.gii", "dscalar.nii"])
def test_a_file_of_all_sessions_costs_each_its_own_trials(tmp_path, kind):
    """GLMsingle writes one file of 20 sessions; reading a session must not take the memory of all."""
    count, own = 2000, range(1900, 1950)
    values = np.random.default_rng(0).standard_normal((count, PLACES)).astype(np.float32)
    path = tmp_path / f"lh.a.{kind}"
    if kind == "pieces.hdf5":
        with h5py.File(path, "w") as file:
            file.create_dataset("betasmd", data=glmsingle(values)["betasmd"], chunks=(2, 2, 3, 50), compression="gzip")
    else:
        save_betas(tmp_path / f"a.{kind}" if kind == "func.gii" else path, values)
    path = tmp_path / "lh.a.func.gii" if kind == "func.gii" else path
    series, places = open_series(path), np.arange(50)
    session = SeriesSession("", {"": series}, Chosen(places, np.full(50, "")), np.array(own))
    tracemalloc.start()
    found = session.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = values[own.start : own.stop, places]
    assert np.array_equal(found, expected)
    if kind not in ("npy", "func.gii", "dscalar.nii"):  # whose parsers need more than so few numbers
        assert peak < values.nbytes / 4


@pytest.mark.parametrize("kind", ["hdf5", "npy"])
def test_glmsingles_voxels_lie_where_the_rois_say(tmp_path, kind):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, kind)
    (root / "rois").mkdir()
    save_map(root / "rois/V1.nii.gz", np.arange(PLACES) % 4 == 1)
    found = read(root)
    assert found.grid is not None
    assert np.array_equal(found.grid.affine, AFFINE)  # type: ignore[arg-type]
    assert found.coordinates is not None
    nib.Nifti1Image(np.ones(SHAPE, dtype=np.uint8), np.eye(4)).to_filename(root / "rois/V2.nii.gz")
    with pytest.raises(InputError, match=r"V2\.nii\.gz: expected the affine of .*V1\.nii\.gz, for the betas have none"):
        read(root)


@pytest.mark.parametrize("unknown", [0, -1, 7])
def test_what_freesurfers_tables_call_unknown_is_no_roi(tmp_path, unknown):
    """A mask whose table of labels has that alone, and an atlas that has it among others."""
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "func.gii")
    (root / "rois").mkdir()
    area = np.arange(50) % 2
    for name, labels, values in (
        ("V1", {unknown: "???"}, area),
        ("areas", {unknown: "???", 2: "V2"}, np.where(area, 2, unknown)),
    ):
        table = GiftiLabelTable()
        for key, label in labels.items():
            table.labels.append(GiftiLabel(key))
            table.labels[-1].label = label
        array = GiftiDataArray(values.astype(np.float32), datatype="NIFTI_TYPE_FLOAT32")
        GiftiImage(darrays=[array], labeltable=table).to_filename(root / f"rois/lh.{name}.func.gii")
    rois = {roi.name: roi.targets.tolist() for roi in read(root, targets="all").rois}
    assert rois == {"V1": np.flatnonzero(area).tolist(), "V2": np.flatnonzero(area).tolist()}


def test_the_other_hemispheres_mask_is_found_however_the_side_is_written(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "mgh")
    inside = np.arange(PLACES) % 3 > 0
    save_map(root / "vis.mgh", inside)
    for one, two in (("lh_vis", "rh_vis"), ("hemi-L_vis", "hemi-R_vis"), ("vis.l", "vis.r")):
        for side, name in (("lh", one), ("rh", two)):
            shutil.copy(root / f"{side}.vis.mgh", tmp_path / f"{name}.mgh")
        assert read(root, mask=tmp_path / f"{one}.mgh").num_targets == inside.sum()
        assert read(root, mask=tmp_path / f"{two}.mgh").num_targets == inside.sum()


@pytest.mark.parametrize("ending", ["NII.GZ", "NII", "MGZ", "FUNC.GII", "HDF5", "NPY", "DSCALAR.NII"])
def test_endings_may_be_in_capitals(tmp_path, ending):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, ending.lower())
    for path in root.glob("*betas*"):
        path.rename(path.with_name(path.name.replace(ending.lower(), ending)))
    assert np.array_equal(responses(read(root)), by_hand())


def test_tables_as_other_programs_write_them(tmp_path):
    """Trailing separators, no run for what showed nothing, names in quotes that hold a comma."""
    root = write_lab(tmp_path / "lab", [np.vstack([own, own[:1]]) for own in BETAS], LABELS)
    lines = (root / "trials.tsv").read_text().splitlines()
    blanks = [f"{number}\tn/a\tn/a\tn/a" for number in (1, 2)]
    (root / "trials.tsv").write_text("\n".join([lines[0], *(f"{line}\t" for line in [*lines[1:], *blanks]), "\t\t\t"]))
    (root / "rois").mkdir()
    save_map(root / "rois/areas.nii.gz", np.arange(PLACES) % 3)
    (root / "rois/areas.csv").write_text('index,name\n1,"V1, left"\n2,V2\n')
    found = read(root, targets="all")
    assert np.array_equal(responses(found), by_hand())
    assert [roi.name for roi in found.rois] == ["V1, left", "V2"]


def test_a_mask_or_an_atlas_under_a_scale_whose_steps_miss_whole_numbers(tmp_path):
    """0 and 1 lie halfway between two steps of 0.01 from 0.305, and are stored as 0.005 and 1.005."""
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    (root / "rois").mkdir()
    area = np.arange(PLACES) % 3 == 1
    for name, values in (("V1", area), ("areas", 2 * area)):
        stored = image(np.rint((values.reshape(SHAPE) - 0.305) / 0.01 + 0.01).astype(np.int16))
        stored.header.set_slope_inter(0.01, 0.305)
        stored.to_filename(root / f"rois/{name}.nii.gz")
    (root / "rois/areas.tsv").write_text("index\tname\n2\tV2\n")
    rois = {roi.name: roi.targets.tolist() for roi in read(root, targets="all").rois}
    assert rois == dict.fromkeys(("V1", "V2"), np.flatnonzero(area).tolist())


@pytest.mark.parametrize("size", [5_000_000, 100_000_000])
@pytest.mark.parametrize("kind", ["func.gii", "gii map"])
def test_a_gifti_of_more_than_it_says_is_not_unpacked(tmp_path, kind, size):
    """Zeros are a thousand times smaller when compressed."""
    root = write_lab(tmp_path / "lab", BETAS, LABELS, "func.gii")
    path = root / ("lh.ses-01_betas.func.gii" if kind == "func.gii" else "lh.mask.func.gii")
    text = base64.b64encode(zlib.compress(bytes(size), 9)).decode()
    array = (
        '<DataArray Intent="NIFTI_INTENT_NONE" DataType="NIFTI_TYPE_FLOAT32" ArrayIndexingOrder="RowMajorOrder" '
        'Dimensionality="1" Dim0="50" Encoding="GZipBase64Binary" Endian="LittleEndian" ExternalFileName="" '
        f'ExternalFileOffset=""><Data>{text}</Data></DataArray>'
    )
    path.write_text(f'<?xml version="1.0"?><GIFTI Version="1.0" NumberOfDataArrays="1">{array}</GIFTI>')
    tracemalloc.start()
    with pytest.raises(InputError, match=r"more (text than \[50\] values take|values than \[50\]) in an array"):
        GiftiSeries(path).read(np.arange(50)) if kind == "func.gii" else read(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000  # the parser's own 35 MB
