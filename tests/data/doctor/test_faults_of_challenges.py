"""Faults that are planted in the trees of challenges and in the IT spikes' file are named; legal trees have none."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from PIL import Image
from seen import evoked, pictures
from trees import (
    FSAVERAGE_VERTICES,
    write_algonauts,
    write_algonauts2021,
    write_array,
    write_folder,
    write_grey_clip,
    write_it_spikes,
)

TRAINING, TEST = "subj01/training_split", "subj01/test_split"


def said(root: Path, asked: Asked | None = None) -> list[str]:
    """The lines of every examination of a root."""
    return [symptom.line(each.root) for each in examine(root, asked=asked) for symptom in each.chart.symptoms]


def assert_named(lines: list[str], begins: str, words: str) -> None:
    assert any(line.startswith(begins) and words in line for line in lines), lines
    assert not any("could not be checked" in line for line in lines), lines


def late(root: Path) -> None:
    """More pictures, and responses that follow them, those of the right hemisphere one row late."""
    folder = root / f"{TRAINING}/training_images"
    for path in folder.iterdir():
        path.unlink()
    images, shown = pictures(48)
    for number, image in enumerate(images, start=1):
        Image.fromarray(image).save(folder / f"train-{number:04d}_nsd-{number:05d}.png")
    for side, count, shift in (("lh", 7, 0), ("rh", 9, 1)):
        rows = np.roll(evoked(shown, count), shift, axis=0)
        write_array(root / f"{TRAINING}/training_fmri/{side}_training_fmri.npy", rows)


def gap(root: Path) -> None:
    next((root / f"{TRAINING}/training_images").glob("train-0003*")).unlink()


def same_in_test(root: Path) -> None:
    one = next((root / f"{TRAINING}/training_images").glob("train-0003*"))
    next((root / f"{TEST}/test_images").glob("test-0002*")).write_bytes(one.read_bytes())


def transposed(root: Path) -> None:
    path = root / f"{TRAINING}/training_fmri/lh_training_fmri.npy"
    np.save(path, np.load(path).T)


def without_a_file(root: Path) -> None:
    (root / f"{TRAINING}/training_fmri/rh_training_fmri.npy").unlink()


def other_mask(root: Path) -> None:
    write_array(root / "subj01/roi_masks/lh.all-vertices_fsaverage_space.npy", np.ones(FSAVERAGE_VERTICES, dtype=int))


def unnamed_label(root: Path) -> None:
    write_array(root / "subj01/roi_masks/rh.streams_challenge_space.npy", np.array([9] * 9))


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def harmful_mapping(root: Path) -> None:
    np.save(root / "subj01/roi_masks/mapping_streams.npy", np.array(Harmful(), dtype=object), allow_pickle=True)


def mixed_ceilings(root: Path) -> None:
    write_array(root / "noise_ceiling/subj01/lh.npy", np.linspace(5, 60, 7))
    write_array(root / "noise_ceiling/subj01/rh.npy", np.linspace(0.05, 0.6, 9))


CHALLENGE_2023 = {
    "right hemisphere one late": (late, f"error: {TRAINING}/training_fmri/rh_training_fmri.npy", "at lag +1"),
    "image missing": (gap, "error: subj01/training_split/training_images/train-0004", "without gaps"),
    "training image in test": (same_in_test, f"warning: {TRAINING}/training_images", "equal in all pixels"),
    "transposed": (transposed, f"error: {TRAINING}/training_fmri/lh_training_fmri.npy", "look transposed"),
    "hemisphere missing": (without_a_file, f"error: {TRAINING}/training_fmri/rh_training_fmri.npy", "no such file"),
    "mask of another subject": (other_mask, "error: subj01/roi_masks/lh.all-vertices", "vertices in challenge space"),
    "label without a name": (unnamed_label, "error: subj01/roi_masks/rh.streams", "found 9"),
    "harmful pickle": (harmful_mapping, "error: subj01/roi_masks/mapping_streams.npy", "print"),
    "ceilings in two units": (mixed_ceilings, "warning: noise_ceiling/subj01/rh.npy", "in per cent"),
}


@pytest.mark.parametrize("name", CHALLENGE_2023)
def test_a_fault_in_the_2023_tree_is_named(name, tmp_path):
    plant, begins, words = CHALLENGE_2023[name]
    write_algonauts(tmp_path)
    plant(tmp_path)
    assert_named(said(tmp_path), begins, words)


def test_a_subject_that_is_not_there_is_named(tmp_path):
    write_algonauts(tmp_path)
    assert_named(said(tmp_path, Asked(subjects=[3])), "error: ", "found subj01")


VIDEOS = "AlgonautsVideos268_All_30fpsmax"


def cut_video(root: Path) -> None:
    path = root / VIDEOS / "0003_clip.mp4"
    path.write_bytes(path.read_bytes()[:-2000])


def grey_video(root: Path) -> None:
    write_grey_clip(root / VIDEOS / "0003_clip.mp4", np.full(6, 90))


def video_missing(root: Path) -> None:
    (root / VIDEOS / "0003_clip.mp4").unlink()


def harmful_responses(root: Path) -> None:
    (root / "participants_data_v2021/mini_track/sub01/V2.pkl").write_bytes(pickle.dumps({"train": Harmful()}))


def constant_voxel(root: Path) -> None:
    path = root / "participants_data_v2021/mini_track/sub01/V2.pkl"
    content = pickle.loads(path.read_bytes())
    content["train"][:, :, 1] = 3
    path.write_bytes(pickle.dumps(content))


CHALLENGE_2021 = {
    "truncated video": (cut_video, f"error: {VIDEOS}/0003_clip.mp4", "cannot be decoded"),
    "video of one grey": (grey_video, f"warning: {VIDEOS}", "of one colour"),
    "video missing": (video_missing, f"error: {VIDEOS}/0004_clip.mp4", "expected video number 3"),
    "harmful pickle": (harmful_responses, "error: participants_data_v2021/mini_track/sub01/V2.pkl", "print"),
    "constant voxel": (constant_voxel, "warning: participants_data_v2021/mini_track/sub01/V2.pkl", "any variation (1)"),
}


@pytest.mark.parametrize("name", CHALLENGE_2021)
def test_a_fault_in_the_2021_tree_is_named(name, tmp_path):
    plant, begins, words = CHALLENGE_2021[name]
    write_algonauts2021(tmp_path)
    plant(tmp_path)
    assert_named(said(tmp_path), begins, words)


def spikes(root: Path, count: int = 8) -> Path:
    images, _ = pictures(count + 6)
    return write_it_spikes(root, images, {"train": count, "val": 3, "test": 3})


def edited(path: Path, name: str, array: np.ndarray | None) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if array is not None:
            file[name] = array


def test_faults_in_the_it_file_are_named(tmp_path):
    path = spikes(tmp_path)
    edited(path, "spikes_val", np.full((3, 5), np.nan))
    lines = said(tmp_path)
    assert_named(lines, "error: IT_data.h5", "spikes_val")
    assert_named(lines, "warning: IT_data.h5/spikes_val", "3 whole rows")
    edited(path, "spikes_train", None)
    assert_named(said(tmp_path), "error: ", "expected a dataset spikes_train")
    path.write_bytes(path.read_bytes()[:5000])
    assert_named(said(path), "error: ", "complete HDF5 file")


def test_images_that_are_not_normalised_are_named(tmp_path):
    path = spikes(tmp_path)
    edited(path, "stimulus_train", np.random.default_rng(0).random((8, 3, 24, 24)).astype(np.float32))
    assert_named(said(tmp_path), "warning: IT_data.h5", "normalisation")


def test_spikes_that_are_one_late_are_named(tmp_path):
    path = tmp_path / "IT_data.h5"
    images, shown = pictures(54)
    write_it_spikes(tmp_path, images, {"train": 48, "val": 3, "test": 3})
    edited(path, "spikes_train", np.roll(evoked(shown[:48], 5), 1, axis=0))
    assert_named(said(tmp_path), "error: IT_data.h5/spikes_train", "at lag +1")


def legal(kind: str, root: Path) -> None:
    if kind == "Folder":
        write_folder(root)
    elif kind == "Algonauts2021":
        write_algonauts2021(root, subjects=2)
    elif kind == "ItSpikes":
        spikes(root)
    else:
        write_algonauts(root, test_responses=kind == "Algonauts2023 with test responses")


@pytest.mark.parametrize(
    "kind", ["Folder", "Algonauts2023", "Algonauts2023 with test responses", "Algonauts2021", "ItSpikes"]
)
def test_a_legal_tree_has_neither_errors_nor_warnings(kind, tmp_path):
    legal(kind, tmp_path)
    (found,) = examine(tmp_path)
    assert found.format == kind.split()[0]
    assert not [symptom for symptom in found.chart.symptoms if symptom.severity != "note"]
