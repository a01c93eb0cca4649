"""Betas: every fault is one line that names its file or flag, and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data import Betas
from calcarine.errors import InputError
from labs import KINDS, PLACES, SHAPE, image, read_table, save_betas, save_map, session, write_lab, write_table
from PIL import Image

SESSIONS = [session(20, 8, seed) for seed in (1, 2)]
BETAS, LABELS = ([each[part] for each in SESSIONS] for part in (0, 1))


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    root = write_lab(tmp_path_factory.mktemp("faults") / "lab", BETAS, LABELS)
    (root / "rois").mkdir()
    save_map(root / "rois/V1.nii.gz", np.arange(PLACES) % 2 == 0)
    save_map(root / "mask.nii.gz", np.arange(PLACES) > 3)
    return root


def edit(change: Callable[[list[dict[str, str]]], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        rows = read_table(root / "trials.tsv")
        change(rows)
        write_table(root / "trials.tsv", list(rows[0]), [list(row.values()) for row in rows])

    return spoil


def edit_text(change: Callable[[str], str]) -> Callable[[Path], object]:
    return put("trials.tsv", lambda path: path.write_text(change(path.read_text())))


def put(name: str, write: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda root: write(root / name)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def plain(path: Path, count: int) -> None:
    """An uncompressed file that ends early."""
    path.with_name("ses-02_betas.nii.gz").unlink()
    save_betas(path, BETAS[1])
    path.write_bytes(path.read_bytes()[:-count])


def some_nan(root: Path) -> None:
    own = BETAS[1].copy()
    own[7, 50] = np.nan
    save_betas(root / "ses-02_betas.nii.gz", own)


def in_packed(root: Path, table: str) -> None:
    shutil.rmtree(root / "images")
    (root / "stimuli").mkdir()
    with h5py.File(root / "stimuli/task-images_stimuli.h5", "w") as file:
        file.create_dataset("images", (3,), dtype=h5py.vlen_dtype(np.uint8))
    (root / "stimuli/task-images_metadata.csv").write_text(table)


def glmsingle_only(root: Path, content: object, name: str = "TYPED_FITHRF_GLMDENOISE_RR.npy") -> None:
    for path in root.glob("*betas*"):
        path.unlink()
    if name.endswith("npy"):
        np.save(root / name, content)  # type: ignore[arg-type]
    else:
        with h5py.File(root / name, "w") as file:
            file["modelmd"] = np.zeros((2, 2))


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def split(train: list[str], test: list[str]) -> Callable[[Path], object]:
    text = json.dumps({"variants": [{"train_ids": train, "test_ids": test}]})
    return put("mine.json", lambda path: path.write_text(text))


NAMES = sorted({name for own in LABELS for name in own})
FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no folder": (shutil.rmtree, {}, "expected a folder with betas, found no folder"),
    "no betas": (
        lambda root: [path.unlink() for path in root.glob("*betas*")], {}, "expected files of single-trial betas",
    ),
    "no such subject": (None, {"subject": 3}, r"--data\.source\.subject 3: expected one of lab"),
    "the same subject twice": (None, {"subject": ["lab", "lab"]}, "expected each subject once"),
    "no such session": (None, {"sessions": [1, 9]}, r"sessions \[1, 9\]: expected sessions .* found 1, 2; download"),
    "no session": (None, {"sessions": []}, r"sessions \[\]: expected sessions"),
    "several kinds": (
        put("ses-01_space-MNI_betas.nii.gz", lambda path: save_betas(path, BETAS[0])), {},
        r"found 2 kinds: betas\.nii, space-MNI_betas\.nii; say which with --data\.source\.space",
    ),
    "no such space": (None, {"space": "T1w"}, r"hold 'betas' and space-T1w, found betas\.nii; see"),
    "another grid in a session": (
        put("ses-02_betas.nii.gz", lambda path: image(np.zeros((4, 5, 7, 20))).to_filename(path)), {},
        r"ses-02_betas\.nii\.gz: expected \(4, 5, 6\) as in ses-01_betas\.nii\.gz, found \(4, 5, 7\)",
    ),
    "another affine in a session": (
        put("ses-02_betas.nii.gz", lambda path: nib.Nifti1Image(  # type: ignore[attr-defined]
            np.zeros((*SHAPE, 20), dtype=np.float32), np.eye(4)).to_filename(path)), {}, "expected the affine as in",
    ),
    "a file per run": (
        put("ses-02_betas.nii.gz", lambda path: [
            save_betas(path.with_name(f"ses-02_run-{run}_betas.nii.gz"), BETAS[1][run::2]) for run in (0, 1)]), {},
        r"found 3 kinds: betas\.nii, run-0_betas\.nii, run-1_betas\.nii; say which",
    ),
    "one volume only": (
        put("ses-02_betas.nii.gz", lambda path: image(np.zeros(SHAPE)).to_filename(path)), {},
        r"ses-02_betas\.nii\.gz: expected a series of trials, one volume each, found float32 \(4, 5, 6\)",
    ),
    "half a file": (
        put("ses-02_betas.nii.gz", halve), {}, r"ses-02_betas\.nii\.gz: expected .* (broken download|copy it again)",
    ),
    "a plain file that ends early": (
        put("ses-02_betas.nii", lambda path: plain(path, 400)), {}, r"ses-02_betas\.nii: expected [0-9,]+ bytes",
    ),
    "no image file at all": (
        put("ses-02_betas.nii.gz", lambda path: path.write_bytes(b"<html>")), {}, "found a damaged file",
    ),
    "one hemisphere of a session": (
        put("lh.ses-02_betas.nii.gz", lambda path: path.with_name("ses-02_betas.nii.gz").rename(path)), {},
        r"expected the hemispheres of session 1 \(one file of both\) in session 2, found lh",
    ),
    "a gap in one trial": (some_nan, {}, r"found nan in trial 7 \(counted from 0\) and 1 such values"),
    "no table": (lambda root: (root / "trials.tsv").unlink(), {}, "expected a table of trials, trials.tsv or"),
    "no such table": (None, {"trials": Path("none.tsv")}, "none.tsv: expected a table of trials, found no such file"),
    "no column of labels": (None, {"label_column": "stimulus"}, "a row for each trial and the column stimulus"),
    "no such column of sessions": (None, {"session_column": "day"}, "expected the column day, found session, run"),
    "no such column of trials": (None, {"index_column": "trial"}, "expected the column trial, or a row for each of 20"),
    "trials from 1": (
        edit(lambda rows: [row.update(beta_index=str(int(row["beta_index"]) + 1)) for row in rows]), {},
        r"expected beta_index from 0 to 19, as session 1 has 20 trials, found 1 to 20: it may count from the other one",
    ),
    "more rows than trials": (
        edit(lambda rows: rows.append({**rows[-1], "beta_index": "25"})), {}, "found 0 to 25; use the table that",
    ),
    "a trial twice": (
        edit(lambda rows: rows[3].update(beta_index="2")), {}, "expected each beta_index once in session 1, found 2 ag",
    ),
    "trials in words": (edit(lambda rows: rows[0].update(beta_index="one")), {}, "expected whole numbers in column"),
    "runs in words": (
        edit(lambda rows: rows[5].update(run="first")), {}, "expected column run to count runs, found 'first'; name",
    ),
    "a row too short": (
        edit_text(lambda text: text.replace("1\t1\t3\t", "1\t1\t")), {},
        r"trials\.tsv, line 5: expected 4 values, one for each column, found 3; correct it",
    ),
    "a column without a name": (
        edit_text(lambda text: text.replace(".png", ".png\t7")), {}, r"trials\.tsv, line 2: expected 4 values",
    ),
    "two columns of one name": (
        edit_text(lambda text: text.replace("\trun\t", "\tsession \t")), {}, "expected one column session, found 2",
    ),
    "two names of one image": (
        edit(lambda rows: rows[0].update(label=rows[0]["label"].removesuffix(".png"))), {},
        r"expected one name for each image, found 'image[0-9]+(\.png)?' and 'image[0-9]+(\.png)?' for image[0-9]+\.png",
    ),
    "a session of one trial": (
        edit(lambda rows: [row.update(label="n/a") for row in rows[21:]]), {},
        "expected at least 2 trials with a stimulus in session 2, over which it is standardised, found 1; leave",
    ),
    "a session without rows": (
        edit(lambda rows: rows.__delitem__(slice(20, None))), {}, "expected rows of session 2, whose betas are there",
    ),
    "sessions twice": (
        put("sub_trials.tsv", lambda path: shutil.copy(path.with_name("trials.tsv"), path)), {},
        r"expected rows of session 1, whose betas are there, found them in .*trials\.tsv too",
    ),
    "rows of another session": (
        put("ses-01_trials.tsv", lambda path: path.with_name("trials.tsv").rename(path)), {},
        "expected rows of session 1, as its name says, found session 2 in column session",
    ),
    "no stimuli": (edit(lambda rows: [row.update(label="n/a") for row in rows]), {}, "stimuli in column label"),
    "no images": (lambda root: shutil.rmtree(root / "images"), {}, r"a folder of the images .* file \*_stimuli"),
    "a missing image": (
        lambda root: (root / "images" / LABELS[0][0]).unlink(), {}, "found no file for 1 of them, such as image",
    ),
    "two images of one name": (
        lambda root: (
            edit(lambda rows: [row.update(label=row["label"].removesuffix(".png")) for row in rows])(root),
            (root / "images/image3.bmp").write_bytes(b"x"),
        ), {}, r"found 'image3' for image3\.png and image3\.bmp; add them",
    ),
    "a label that leads elsewhere": (
        edit(lambda rows: rows[0].update(label="../../secret.png")), {}, "expected names of images within",
    ),
    "packed images without a table": (
        lambda root: in_packed(root, "name\na\n"), {}, "task-images_metadata.csv: expected the column image_name",
    ),
    "packed images of another table": (
        lambda root: in_packed(root, "image_name\na\nb\n"), {}, "expected 2 images, one for each row of task-images_me",
    ),
    "images that are not packed": (
        lambda root: in_packed(root, "image_name\na\nb\nc\n"), {}, "expected the image of every trial, found no 'image",
    ),
    "two masks": (
        put("other_mask.nii.gz", lambda path: save_map(path, np.ones(PLACES))), {},
        r"expected one mask, found mask\.nii\.gz, other_mask\.nii\.gz; name one",
    ),
    "no such mask": (None, {"mask": Path("none.nii.gz")}, r"none\.nii\.gz: expected a map, found no such file"),
    "an empty mask": (
        put("mask.nii.gz", lambda path: save_map(path, np.zeros(PLACES))), {}, "within the mask, found none; choose",
    ),
    "a mask of another grid": (
        put("mask.nii.gz", lambda path: image(np.ones((3, 4, 5))).to_filename(path)), {},
        r"mask\.nii\.gz: expected the grid of ses-01_betas\.nii\.gz, \(4, 5, 6\), found \(3, 4, 5\)",
    ),
    "ROIs of another grid": (
        put("rois/V1.nii.gz", lambda path: image(np.ones((3, 4, 5))).to_filename(path)), {},
        r"V1\.nii\.gz: expected ROIs on the grid of the betas, \(4, 5, 6\)",
    ),
    "a ROI that is a probability": (
        put("rois/V1.nii.gz", lambda path: save_map(path, np.linspace(0, 1, PLACES))), {}, "a mask or an atlas of",
    ),
    "an atlas without names": (
        put("rois/V1.nii.gz", lambda path: save_map(path, np.arange(PLACES) % 4)), {}, "put a table of index and name",
    ),
    "a table of labels without names": (
        put("rois/V1.tsv", lambda path: path.write_text("index\tregion\n1\tV1\n")), {}, "the columns index and",
    ),
    "a ROI with the program's own name": (
        put("rois/all.nii.gz", lambda path: save_map(path, np.ones(PLACES))), {}, "found 'all'; rename it",
    ),
    "one ROI in two files": (
        put("rois/prf/label-V1_mask.nii.gz", lambda path: (path.parent.mkdir(), save_map(path, np.ones(PLACES)))), {},
        r"label-V1_mask\.nii\.gz: expected each ROI in one file, found V1 in .*rois/V1\.nii\.gz too; rename one",
    ),
    "no such ROI": (None, {"targets": "V9"}, r"--data\.source\.targets V9: expected a ROI of lab, found V1; name"),
    "no such ROI to score": (None, {"rois": ["V9"]}, r"--data\.source\.rois V9: expected a ROI"),
    "no such folder of ROIs": (None, {"roi_folder": Path("none")}, "roi_folder none: expected a folder of ROIs"),
    "nothing measured": (
        put("ses-02_betas.nii.gz", lambda path: save_betas(path, np.full_like(BETAS[1], 2))), {},
        "expected voxels or vertices that are measured in all sessions, found none of 116",
    ),
    "ceilings as shares": (
        put("noiseceiling.nii.gz", lambda path: save_map(path, np.full(PLACES, 0.4))), {}, "found a maximum of 0.4: sh",
    ),
    "ceilings as per cents": (
        put("noiseceiling.nii.gz", lambda path: save_map(path, np.full(PLACES, 40.0))), {"ceiling_in": "share"},
        "expected noise ceilings as shares of variance, 0 to 1, found 40 to 40",
    ),
    "no such split": (None, {"split": "tau"}, r"--data\.source\.split tau: expected a file, or one of none in"),
    "a split that is no list": (
        put("mine.json", lambda path: path.write_text('{"variants": [{"train": []}]}')), {"split": "mine.json"},
        r"mine\.json: expected \{\"variants\"",
    ),
    "a split nested without end": (
        put("mine.json", lambda path: path.write_text("[" * 100_000)), {"split": "mine.json"}, r"mine\.json: expect",
    ),
    "a variant beyond all numbers": (
        put("mine.json", lambda path: path.write_text('{"variants": [{"variant_id": 1e400}]}')), {"split": "mine.json"},
        r"mine\.json: expected \{",
    ),
    "a stimulus on both sides": (split(NAMES, NAMES[:1]), {"split": "mine.json"}, "found 'image[0-9]+.png' in both"),
    "no test stimulus": (split(NAMES, ["unseen.png"]), {"split": "mine.json"}, "expected stimuli of the test split"),
    "no such variant": (split(NAMES[1:], NAMES[:1]), {"split": "mine.json:4"}, "variant 4 with lists of names"),
    "a harmful pickle": (
        lambda root: glmsingle_only(root, {"betasmd": Harmful()}), {}, "builtins.print; it was not run",
    ),
    "another pickle": (lambda root: glmsingle_only(root, {"R2": np.ones(3)}), {}, "expected a dict with betasmd, as"),
    "an array in place of a pickle": (
        lambda root: glmsingle_only(root, np.ones((2, 2))), {}, "expected one object saved by numpy.save, found an ar",
    ),
    "MATLAB's GLMsingle": (
        lambda root: glmsingle_only(root, None, "TYPED_FITHRF_GLMDENOISE_RR.hdf5"), {}, "expected a dataset betasmd",
    ),
    "GLMsingle's first model": (
        lambda root: glmsingle_only(root, {"betasmd": np.ones((2, 3, 4))}, "TYPEB_FITHRF.npy"), {},
        r"expected betasmd \(X, Y, Z, trials\) of numbers, found float64 \(2, 3, 4\)",
    ),
}  # fmt: skip


def read(root: Path, cache: Path, **flags: Any) -> None:
    if str(flags.get("split")).startswith("mine.json"):
        flags["split"] = f"{root / flags['split']}"
    source = Betas(root, **flags)
    source.keep_in(cache)
    source.read()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(lab, tmp_path, fault, capsys):
    spoil, flags, message = FAULTS[fault]
    root = lab
    if spoil is not None:
        root = shutil.copytree(lab, tmp_path / "lab")
        spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        read(root, tmp_path / "cache", **flags)
    assert "\n" not in str(raised.value)
    assert "run\n" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_early_is_one_line(tmp_path, kind):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, kind)
    path = sorted(root.glob(f"*ses-02*.{kind}"))[-1]
    path.write_bytes(path.read_bytes()[: -min(3000, path.stat().st_size // 2)])
    with pytest.raises(InputError, match=rf"{path.name}: expected ") as raised:
        read(root, tmp_path / "cache")
    assert "\n" not in str(raised.value)


def test_the_lab_itself_is_read(lab, tmp_path):
    read(lab, tmp_path / "cache")


@pytest.mark.parametrize("fault", ["a missing image", "ceilings as shares", "ROIs of another grid"])
def test_check_names_a_fault(lab, tmp_path, fault, capsys):
    root = shutil.copytree(lab, tmp_path / "lab")
    FAULTS[fault][0](root)
    assert calcarine(["check", str(root)]) == 2
    said = capsys.readouterr().out
    assert "error: " in said
    assert "could not be checked" not in said


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["a truncated session", "no such ROI", "trials from 1"])
def test_training_ends_with_status_2_and_one_line(lab, tmp_path, fault, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = shutil.copytree(lab, tmp_path / "lab")
    flags = {"no such ROI": ["--data.source.targets=V9"]}.get(fault, [])
    if fault == "a truncated session":
        halve(root / "ses-02_betas.nii.gz")
    elif fault == "trials from 1":
        FAULTS[fault][0](root)
    assert (
        calcarine(["train", "--data.source.root=lab", "--model=RidgeModule", "--trainer.accelerator=cpu", *flags]) == 2
    )
    said = capsys.readouterr().err
    assert "expected" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert not list((tmp_path / "runs").glob("*"))


def test_a_pickle_with_a_lie_about_its_size_is_refused(tmp_path):
    path = tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.npy"
    np.save(path, {"betasmd": np.zeros((8, 8, 8, 800), dtype=np.float32)})  # type: ignore[arg-type]
    content = path.read_bytes()
    shape = b"M" + (800).to_bytes(2, "little")  # as a pickle has it
    assert content.count(shape) == 1
    path.write_bytes(content.replace(shape, b"M" + (900).to_bytes(2, "little")))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "images/a.png")
    write_table(tmp_path / "trials.tsv", ("session", "beta_index", "label"), [(1, 0, "a.png")])
    with pytest.raises(
        InputError, match=r"expected a pickle of plain data, found one that cannot be read \(1638400 bytes"
    ):
        read(tmp_path, tmp_path / "cache")
