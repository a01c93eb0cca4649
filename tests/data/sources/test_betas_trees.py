"""Betas: which files of a tree belong together, and which of them do not."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data import Betas
from calcarine.errors import InputError
from calcarine.recording import Recording
from labs import PLACES, save_betas, save_map, session, write_lab

SESSIONS = [session(20, 8, seed) for seed in (1, 2)]
BETAS, LABELS = ([each[part] for each in SESSIONS] for part in (0, 1))
INSIDE = np.arange(PLACES) % 2 == 1


def read(root: Path, **flags: Any) -> Recording:
    source = Betas(root, **flags)
    source.keep_in(root.parent / "cache")
    (recording,) = source.read()
    return recording


def responses(recording: Recording) -> np.ndarray:
    return recording.responses.gather(np.arange(len(recording.stimuli)))


def derivatives(root: Path, pipelines: dict[str, list[int]]) -> Path:
    """A tree in which pipelines have betas of some sessions each, beside one table; the first pipeline's are true."""
    lab = write_lab(root / "lab", BETAS, LABELS)
    for sign, (pipeline, sessions) in enumerate(pipelines.items()):
        folder = root / "derivatives" / pipeline / "sub-01"
        folder.mkdir(parents=True)
        for number in sessions:
            save_betas(folder / f"sub-01_ses-{number:02d}_betas.nii.gz", BETAS[number - 1] * (1 - 2 * sign))
    for name in ("images", "trials.tsv"):
        (lab / name).rename(root / name)
    shutil.rmtree(lab)
    return root


@pytest.mark.parametrize("kind", ["nii.gz", "npy"])
def test_a_mask_that_names_a_space_counts_where_the_betas_name_none(tmp_path, kind):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, kind)
    save_map(root / "sub-01_space-T1w_desc-brain_mask.nii.gz", INSIDE)
    assert read(root).num_targets == INSIDE.sum()


def test_a_mask_of_another_space_is_left_aside_aloud(tmp_path, caplog):
    root = write_lab(tmp_path / "lab", BETAS, LABELS, prefix="space-T1w_")
    save_map(root / "space-MNI_mask.nii.gz", INSIDE)
    with caplog.at_level(logging.WARNING):
        assert read(root).num_targets == PLACES
    assert "space-MNI_mask.nii.gz: left aside, since its name says another space" in caplog.text


@pytest.mark.parametrize("pipelines", [{"plain": [1], "aroma": [2]}, {"plain": [1, 2], "aroma": [1, 2]}])
def test_betas_of_two_pipelines_are_never_mixed(tmp_path, pipelines):
    root = derivatives(tmp_path, pipelines)
    with pytest.raises(InputError, match=r"in one folder, found them in derivatives/aroma/sub-01 and in deriv.*plain"):
        read(root)
    save_map(root / "derivatives/aroma/sub-01/mask.nii.gz", INSIDE)
    for name in ("aroma", "plain"):
        (root / "derivatives" / name / "sub-01/trials.tsv").write_bytes((root / "trials.tsv").read_bytes())
    sessions = pipelines["plain"]
    found = read(root, betas="plain", sessions=sessions)
    assert found.num_targets == PLACES  # the other's mask is not its own
    lab = write_lab(tmp_path / "alone", BETAS, LABELS)
    assert np.array_equal(responses(found), responses(read(lab, sessions=sessions)))


def test_two_files_of_a_session_are_refused_unless_one_is_the_other_compressed(tmp_path):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    expected = responses(read(root))
    save_betas(root / "ses-02_betas.nii", BETAS[1])
    assert np.array_equal(responses(read(root)), expected)
    (root / "ses-02_betas.nii").unlink()
    save_betas(root / "ses-2_betas.nii.gz", BETAS[0])
    with pytest.raises(InputError, match=r"ses-2_betas\.nii\.gz: expected one file .* found ses-02_betas\.nii\.gz too"):
        read(root)


def test_another_subjects_table_is_not_taken(tmp_path):
    root = derivatives(tmp_path, {"plain": [1, 2]})
    expected = responses(read(root))
    table = root / "trials.tsv"
    for name in ("sub-02_trials.tsv", "sub-10_ses-01_trials.csv"):
        table = table.rename(root / name)
        with pytest.raises(InputError, match=r"expected a table of trials, trials\.tsv or \*_trials\.tsv, found none"):
            read(root)
    table.rename(root / "sub-01_trials.tsv")
    assert np.array_equal(responses(read(root)), expected)


def test_a_session_that_was_not_downloaded_is_left_out_aloud(tmp_path, caplog):
    """DataLad's links lead nowhere before their content is fetched; a mask that does is no mask to go without."""
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    expected = responses(read(root, sessions=[1]))
    (root / "ses-02_betas.nii.gz").unlink()
    (root / "ses-02_betas.nii.gz").symlink_to(".git/annex/objects/nowhere")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(responses(read(root)), expected)
    assert "the betas of session 2 are not there; the others are read" in caplog.text
    (root / "mask.nii.gz").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"mask\.nii\.gz: expected a map, found no such file"):
        read(root)


def test_a_split_by_its_name_is_not_a_file_that_happens_to_be_here(tmp_path, monkeypatch):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    names = sorted({name for own in LABELS for name in own})
    (root / "splits").mkdir()
    variant = {"train_ids": names[:4], "test_ids": names[4:]}
    (root / "splits/tau.json").write_text(json.dumps({"variants": [variant]}))
    monkeypatch.chdir(tmp_path)
    Path("tau").write_text("notes")
    assert (read(root, split="tau").splits == "train").sum() == 4
    shutil.move(root / "splits/tau.json", "mine.json")
    assert (read(root, split="mine.json").splits == "train").sum() == 4


def test_check_takes_the_flags_that_a_tree_needs(tmp_path, capsys):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    text = (root / "trials.tsv").read_text()
    (root / "trials.tsv").write_text(text.replace("label", "stim"))
    for number, own in enumerate(BETAS, start=1):
        save_betas(root / f"ses-{number:02d}_space-MNI_betas.nii.gz", own)
        (root / f"ses-{number:02d}_betas.nii.gz").rename(root / f"ses-{number:02d}_space-T1w_betas.nii.gz")
    assert calcarine(["check", str(root)]) == 2
    assert "say which with --data.source.space" in capsys.readouterr().out
    flags = ["--data.source.space", "T1w", "--data.source.label_column=stim", "--data.source.sessions=[2]"]
    assert calcarine(["check", str(root), *flags]) == 0
    said = capsys.readouterr().out
    assert "Betas, lab, session 2: 20 images" in said
    assert "equal in all pixels" not in said  # repeats of an image are none
    assert calcarine(["check", str(root), *flags, "--data.source.subject", "lab"]) == 0
    for wrong, message in (
        (["--data.source.spcae", "T1w"], "spcae"),
        (["--data.source.first_index", "7"], "first_index"),
        (["--data.source.subject=sub-09", *flags], "--data.source.subject sub-09: expected one of lab"),
    ):
        assert calcarine(["check", str(root), *wrong]) == 2
        told = capsys.readouterr()
        assert message in told.out + told.err
        assert "Traceback" not in told.err


def test_check_names_the_ceilings_own_file(tmp_path, capsys):
    root = write_lab(tmp_path / "lab", BETAS, LABELS)
    save_map(root / "noiseceiling.nii.gz", np.linspace(0, 60, PLACES))
    assert calcarine(["check", str(root)]) == 0
    assert "note: noiseceiling.nii.gz: per cent, 0 to 60" in capsys.readouterr().out
