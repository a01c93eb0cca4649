"""The Algonauts 2021 tree: read as it is, and every fault is one line that names its place."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calcarine.data import Algonauts2021
from calcarine.data.reliability import split_half_reliability
from calcarine.errors import InputError
from trees import MINI_VOXELS, write_algonauts2021, write_clip

VIDEOS = "AlgonautsVideos268_All_30fpsmax"


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """The mini track's folder."""
    return write_algonauts2021(tmp_path / "data")


def load(path: Path) -> np.ndarray:
    return pickle.loads(path.read_bytes())["train"]


def test_voxels_of_the_whole_brain_have_a_place_in_their_grid(tmp_path: Path, mini: Path) -> None:
    (whole,) = Algonauts2021(tmp_path / "data", track="full").read()
    assert whole.grid is not None
    assert whole.grid.shape == (3, 3, 3)
    assert whole.grid.affine is None
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(whole.grid.voxels.T), (3, 3, 3)), np.arange(12))
    (rois,) = Algonauts2021(tmp_path / "data").read()
    assert rois.grid is None


def test_rois_stand_side_by_side_and_repetitions_are_averaged(tmp_path: Path, mini: Path) -> None:
    source = Algonauts2021(tmp_path / "data", frames=3)
    assert source.num_targets == 14
    (recording,) = source.read()
    assert recording.subject == "sub01"
    assert recording.responses.shape == (11, 14)
    assert recording.responses.measured.tolist() == [True] * 8 + [False] * 3
    assert recording.splits.tolist() == [""] * 8 + ["withheld"] * 3
    assert recording.submission == "algonauts2021_mini"
    assert set(recording.hemispheres) == {""}
    assert recording.coordinates is None
    assert {roi.name: len(roi.targets) for roi in recording.rois} == MINI_VOXELS
    responses = recording.responses.gather(np.arange(11))
    assert recording.noise_ceiling is not None
    for roi in recording.rois:
        repeats = load(mini / "sub01" / f"{roi.name}.pkl")
        np.testing.assert_allclose(responses[:8, roi.targets], repeats.mean(axis=1), rtol=1e-5)
        reliability = split_half_reliability(repeats)
        np.testing.assert_array_equal(recording.noise_ceiling[roi.targets], np.maximum(reliability, 0))
    assert np.isnan(responses[8:]).all()
    assert recording.stimuli.names[8] == "0009_clip.mp4"
    assert recording.stimuli.read(8).shape == (3, 32, 48, 3)


def test_the_full_track_has_the_whole_brain(tmp_path: Path, mini: Path) -> None:
    source = Algonauts2021(tmp_path / "data", track="full", frames=3, shuffle=True)
    (recording,) = source.read()
    assert source.num_targets == 12
    assert source.shuffle
    assert [roi.name for roi in recording.rois] == ["WB"]
    assert recording.submission == "algonauts2021_full"


def test_some_rois_of_several_subjects(tmp_path: Path) -> None:
    write_algonauts2021(tmp_path, subjects=2, n_test=0)
    source = Algonauts2021(tmp_path, subject=[2, 1], rois=["V2", "EBA"], frames=1)
    recordings = source.read()
    assert [recording.subject for recording in recordings] == ["sub02", "sub01"]
    assert source.num_targets == 14
    assert [(roi.name, roi.targets.tolist()) for roi in recordings[0].rois] == [
        ("V2", [0, 1, 2]),
        ("EBA", [3, 4, 5, 6]),
    ]
    assert recordings[0].stimuli.digests() == recordings[1].stimuli.digests()


def test_single_presentations_tell_no_ceiling(tmp_path: Path) -> None:
    write_algonauts2021(tmp_path, repetitions=1)
    (recording,) = Algonauts2021(tmp_path, frames=6).read()
    assert recording.noise_ceiling is None


def test_missing_repetitions_are_left_out_of_the_mean(tmp_path: Path, mini: Path) -> None:
    path = mini / "sub01" / "V1.pkl"
    repeats = load(path)
    repeats[3, 1:] = np.nan
    path.write_bytes(pickle.dumps({"train": repeats}))
    (recording,) = Algonauts2021(tmp_path / "data", rois=["V1"]).read()
    np.testing.assert_array_equal(recording.responses.gather(np.array([3]))[0], repeats[3, 0])


def test_pickles_of_python_2(tmp_path: Path, mini: Path) -> None:
    """What the challenge's files are: strings and arrays that only latin-1 reads."""
    repeats = load(mini / "sub01" / "V2.pkl").astype("<f8")
    text = pickle.dumps({"train": repeats}, protocol=2).replace(b"numpy._core", b"numpy.core")
    text = text.replace(b"X\x05\x00\x00\x00train", b"U\x05train")
    (mini / "sub01" / "V2.pkl").write_bytes(text)
    (recording,) = Algonauts2021(tmp_path / "data", rois=["V2"]).read()
    np.testing.assert_allclose(recording.responses.gather(np.arange(8)), repeats.mean(axis=1), rtol=1e-6)


def content(**values: Any) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(pickle.dumps(values)))


def void(_: object) -> None:
    return None


ZEROS = np.zeros((8, 3, 3), dtype=np.float32)
FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "other stimuli": (
        content(train=ZEROS[:5]),
        "expected responses to 8 videos as in EBA.pkl, found 5",
    ),
    "two axes": (content(train=ZEROS[0]), "none of them 0, found shape (3, 3)"),
    "no voxels": (content(train=ZEROS[:, :, :0]), "found shape (8, 3, 0)"),
    "no train": (content(test=ZEROS), "(videos, repetitions, voxels)}, found dict"),
    "a list": (lambda path: void(path.write_bytes(pickle.dumps([1]))), "(videos, repetitions, voxels)}, found list"),
    "text": (content(train=np.array([[["a"]]])), "(videos, repetitions, voxels)}, found <U1"),
    "infinite": (content(train=np.where(np.arange(3) == 1, np.inf, ZEROS)), "found 24 infinite ones"),
    "too large for float32": (content(train=ZEROS.astype(np.float64) + 1e300), "found 72 infinite ones"),
    "never shown": (
        content(train=np.where(np.arange(8)[:, None, None] == 5, np.nan, ZEROS)),
        "found none of stimulus 5, target 0",
    ),
    "mask of other voxels": (content(train=ZEROS, voxel_mask=np.ones((2, 1, 1))), "marks 3 voxels as the responses"),
    "mask of text": (content(train=ZEROS, voxel_mask="x"), "found a str; copy"),
    "damaged": (lambda path: void(path.write_bytes(path.read_bytes()[:-20])), "expected a pickle of plain data"),
    "empty": (lambda path: void(path.write_bytes(b"")), "expected a pickle of plain data"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("error")
def test_every_fault_is_one_line(tmp_path: Path, mini: Path, fault: str) -> None:
    write, found = FAULTS[fault]
    path = mini / "sub01" / "V2.pkl"
    write(path)
    with pytest.raises(InputError) as refusal:
        Algonauts2021(tmp_path / "data").read()
    message = str(refusal.value)
    assert message.startswith(f"{path}: expected")
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["all", "none", "a;b"])
def test_a_roi_with_a_name_of_the_programs_own(tmp_path: Path, mini: Path, name: str) -> None:
    (mini / "sub01" / "V2.pkl").rename(mini / "sub01" / f"{name}.pkl")
    with pytest.raises(InputError, match=rf"{name}\.pkl: expected a ROI's name without ';'"):
        Algonauts2021(tmp_path / "data")


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_malicious_pickle_is_refused_and_nothing_of_it_runs(tmp_path: Path, mini: Path) -> None:
    trace = tmp_path / "ran"
    path = mini / "sub01" / "V2.pkl"
    path.write_bytes(pickle.dumps({"train": ZEROS, "voxel_mask": Malicious(trace)}))
    with pytest.raises(InputError, match=r"V2\.pkl: .* found posix\.mkdir; it was not run"):
        Algonauts2021(tmp_path / "data")
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # what would have happened
    assert trace.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"root": Path("absent")}, r"^--data\.source\.root absent: expected a folder with participants"),
        ({"subject": 3}, r"sub03: expected the folder of subject 3, found sub01 in .*mini_track; correct --data"),
        ({"subject": [1, 1]}, "expected each subject once"),
        ({"rois": ["V1", "V9"]}, r"expected each ROI once, of EBA, V1, V2 in .*, found V9"),
        ({"rois": ["V1", "V1"]}, "found one twice"),
        ({"frames": 0}, r"--data\.source\.frames 0: expected 1 or more"),
    ],
)
def test_wrong_flags_say_what_is_there(tmp_path: Path, mini: Path, flags: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Algonauts2021(**{"root": tmp_path / "data", **flags})


def test_videos_that_are_missing_or_short(tmp_path: Path, mini: Path) -> None:
    folder = tmp_path / "data" / VIDEOS
    (recording,) = Algonauts2021(tmp_path / "data", frames=7).read()
    with pytest.raises(InputError, match=r"0003_clip\.mp4: expected at least 7 frames, found 6"):
        recording.stimuli.read(2)
    for number in (8, 9, 10, 11):
        (folder / f"{number:04d}_clip.mp4").unlink()
    with pytest.raises(InputError, match=rf"{VIDEOS}: expected at least 8 videos, .* found 7; put"):
        Algonauts2021(tmp_path / "data").read()
    write_clip(folder / "0009_clip.mp4")
    with pytest.raises(InputError, match=r"0009_clip\.mp4: expected video number 8"):
        Algonauts2021(tmp_path / "data").read()


def test_reads_object2vec(shared_data: Path) -> None:
    source = Algonauts2021(shared_data / "object2vec", frames=10)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets == 1870
    assert recording.responses.measured.sum() == 72
    assert len(recording.rois) == 10
    assert recording.noise_ceiling is None
    assert np.isfinite(recording.responses.gather(np.arange(72))).all()
    assert recording.stimuli.names[71:73] == ["0072_vase.mp4", "0073_beacon.mp4"]
    assert recording.splits[71:73].tolist() == ["", "withheld"]
    assert recording.stimuli.read(72).shape == (10, 224, 224, 3)
