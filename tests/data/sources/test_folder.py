"""A user's folder: read in the right order, and every fault is one line that names its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from calcarine.data.sources.folder import Folder
from calcarine.errors import InputError
from calcarine.run.cli import build_cli
from PIL import Image
from trees import write_array, write_folder

N_STIMULI, N_TARGETS = 12, 5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "monkey7", N_STIMULI, N_TARGETS)


def test_rows_follow_the_numbers_in_the_names(root: Path) -> None:
    (recording,) = Folder(root).read()
    assert recording.subject == "monkey7"
    assert recording.stimuli.names == [f"image{i}.png" for i in range(1, 13)]
    responses = recording.responses.gather(np.arange(N_STIMULI))
    np.testing.assert_array_equal(responses, np.load(root / "responses.npy"))
    np.testing.assert_array_equal(recording.stimuli.read(9), np.asarray(Image.open(root / "images" / "image10.png")))
    assert recording.responses.measured.all()
    assert (recording.splits == "").all()
    assert (recording.hemispheres == "").all()
    assert list(recording.rois) == []
    assert recording.noise_ceiling is None
    assert recording.coordinates is None
    assert recording.submission is None


def test_the_subject_has_the_folder_s_name_however_it_is_reached(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert Folder(Path()).read()[0].subject == "monkey7"


def test_several_folders_are_one_recording_each(root: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "elsewhere" / "monkey8", 9, 3)
    (other / "rois.csv").write_text("target,hemisphere,roi\n2,,V4\n")
    source = Folder([root, other])
    assert source.num_targets == N_TARGETS + 3
    first, second = source.read()
    assert [(each.subject, each.responses.shape) for each in (first, second)] == [
        ("monkey7", (N_STIMULI, N_TARGETS)),
        ("monkey8", (9, 3)),
    ]
    np.testing.assert_array_equal(second.responses.gather(np.arange(9)), np.load(other / "responses.npy"))
    assert [roi.name for roi in second.rois] == ["V4"]
    assert list(first.rois) == []


def test_several_folders_have_their_ceilings_by_subject(root: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "monkey8", 9, 3)
    write_array(tmp_path / "nc" / "monkey7" / "noise_ceiling.npy", [10, 20, 30, 40, 50])
    write_array(tmp_path / "nc" / "monkey8" / "noise_ceiling.npy", [0.5, 0.25, np.nan])
    first, second = Folder([root, other], noise_ceiling=tmp_path / "nc").read()
    np.testing.assert_allclose(first.noise_ceiling, [0.1, 0.2, 0.3, 0.4, 0.5])  # type: ignore[arg-type]
    np.testing.assert_allclose(second.noise_ceiling, [0.5, 0.25, np.nan])  # type: ignore[arg-type]
    third = write_folder(tmp_path / "monkey9", 9, 3)
    with pytest.raises(InputError, match=r"nc/monkey9/noise_ceiling\.npy: expected an array"):
        Folder([root, third], noise_ceiling=tmp_path / "nc").read()


def test_folders_of_one_name_are_refused(root: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "elsewhere" / "monkey7", 9, 3)
    for roots, found in (([root, other], "monkey7 twice"), ([root, root], "monkey7 twice"), ([], "none")):
        with pytest.raises(InputError, match=rf"^--data\.source\.root: expected folders of different names.*{found}"):
            Folder(roots)


def test_one_of_several_folders_that_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data\.source\.root .*absent: expected a folder with images/"):
        Folder([root, tmp_path / "absent"])


@pytest.mark.parametrize("flags", [["--data.source.root=[monkey7,other/monkey8]"], ["--config=mine.yaml"]])
def test_several_folders_on_the_command_line_and_in_a_config(
    flags: list[str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    write_folder(Path("other/monkey8"), 9, 3)
    Path("mine.yaml").write_text("data:\n  source:\n    init_args:\n      root: [monkey7, other/monkey8]\n")
    cli = build_cli(["--data.source=Folder", "--trainer.accelerator=cpu", *flags])
    assert [recording.subject for recording in cli.datamodule.source.read()] == ["monkey7", "monkey8"]
    assert cli.model.head.num_targets == N_TARGETS + 3
    written = yaml.safe_load(cli.parser.dump(cli.config, skip_link_targets=True))  # as config.yaml is
    assert written["data"]["source"]["init_args"]["root"] == ["monkey7", "other/monkey8"]


def test_construction_reads_the_header_only(root: Path) -> None:
    source = Folder(root, shuffle=True)
    assert source.shuffle
    np.load(root / "responses.npy", mmap_mode="r+")[3, 2] = np.nan
    assert Folder(root).num_targets == N_TARGETS
    with pytest.raises(InputError, match="row 3, column 2"):
        source.read()


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4", "u1", "i8"])
def test_responses_of_any_real_dtype(root: Path, dtype: str) -> None:
    responses = np.random.default_rng(0).integers(0, 200, (N_STIMULI, N_TARGETS)).astype(dtype)
    write_array(root / "responses.npy", np.asfortranarray(responses))
    gathered = Folder(root).read()[0].responses.gather(np.array([11, 0, 5]))
    np.testing.assert_array_equal(gathered, responses[[11, 0, 5]].astype(np.float32))
    assert gathered.dtype == np.float32


def test_everything_optional(root: Path, tmp_path: Path) -> None:
    (root / "split.csv").write_text(
        "\ufeffstimulus,split\nimage2.png,test\n\nimage10.png,validation\nimage1.png,train\n"
        + "".join(f"image{i}.png,train\n" for i in (3, 4, 5, 6, 7, 8, 9, 11, 12))
    )
    (root / "rois.csv").write_text(
        "roi,target,hemisphere,note\nV1,3,lh,\nFFA,0,rh,\n V1,1, lh,\nface,0,rh,x\nV1,4,rh,\n"
    )
    coordinates = np.arange(15).reshape(5, 3)
    write_array(root / "coordinates.npy", coordinates)
    write_array(tmp_path / "nc" / "noise_ceiling.npy", [10, 20, 30, 40, np.nan])
    for ceiling in (tmp_path / "nc", tmp_path / "nc" / "noise_ceiling.npy"):
        (recording,) = Folder(root, noise_ceiling=ceiling).read()
        np.testing.assert_allclose(recording.noise_ceiling, [0.1, 0.2, 0.3, 0.4, np.nan])  # type: ignore[arg-type]
    assert recording.splits.tolist() == ["train", "test", *["train"] * 7, "validation", "train", "train"]
    assert recording.hemispheres.tolist() == ["rh", "lh", "", "lh", "rh"]
    rois = {(roi.hemisphere, roi.name): roi.targets.tolist() for roi in recording.rois}
    assert rois == {("lh", "V1"): [1, 3], ("rh", "V1"): [4], ("rh", "FFA"): [0], ("rh", "face"): [0]}
    np.testing.assert_array_equal(recording.coordinates, coordinates)  # type: ignore[arg-type]


def test_responses_are_the_mean_over_the_repetitions_that_are_there(root: Path) -> None:
    repeats = np.random.default_rng(0).standard_normal((N_STIMULI, 4, N_TARGETS)).astype(np.float32)
    repeats[3, 1:] = np.nan
    repeats[5, 2, 1] = np.nan
    (root / "responses.npy").unlink()
    write_array(root / "responses_repeats.npy", repeats)
    source = Folder(root)
    assert source.num_targets == N_TARGETS
    gathered = source.read()[0].responses.gather(np.arange(N_STIMULI))
    np.testing.assert_allclose(gathered, np.nanmean(repeats.astype(np.float64), axis=1), rtol=1e-6)


def test_responses_stand_beside_their_repetitions(root: Path) -> None:
    repeats = np.full((N_STIMULI, 2, N_TARGETS), np.nan)
    write_array(root / "responses_repeats.npy", repeats)
    gathered = Folder(root).read()[0].responses.gather(np.arange(N_STIMULI))
    np.testing.assert_array_equal(gathered, np.load(root / "responses.npy"))
    assert Folder(root).read()[0].noise_ceiling is None  # nothing to tell it from


def test_repetitions_tell_the_noise_ceiling_where_none_is_given(root: Path, tmp_path: Path) -> None:
    signal = np.linspace(-1, 1, N_STIMULI)[:, None, None]
    repeats = signal + np.array([0, 0.1, 1, 10, 0]) * np.random.default_rng(0).standard_normal(
        (N_STIMULI, 4, N_TARGETS)
    )
    repeats[:, :, 4] = 7  # does not vary
    repeats[3, 1:] = np.nan
    write_array(root / "responses_repeats.npy", repeats.astype(np.float32))
    ceiling = Folder(root).read()[0].noise_ceiling
    assert ceiling is not None
    assert ceiling.dtype == np.float64
    assert ceiling[0] == pytest.approx(1)
    assert 1 > ceiling[1] > 0.95 > ceiling[2] > ceiling[3] >= 0
    assert np.isnan(ceiling[4])
    write_array(tmp_path / "given.npy", np.full(N_TARGETS, 0.5))
    given = Folder(root, noise_ceiling=tmp_path / "given.npy").read()[0].noise_ceiling
    np.testing.assert_array_equal(given, np.full(N_TARGETS, 0.5))  # type: ignore[arg-type]


def test_images_that_the_split_does_not_name_are_left_out_where_that_is_asked(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "".join(f"image{i}.png,{'test' if i > 9 else 'train'}\n" for i in (1, 2, 5, 7, 11, 12))
    (root / "split.csv").write_text("stimulus,split\n" + lines)
    with caplog.at_level("INFO", "calcarine"):
        (recording,) = Folder(root, unlisted="drop").read()
    assert "left out 6 images that split.csv does not name" in caplog.text
    kept = np.array([0, 1, 4, 6, 10, 11])
    assert recording.stimuli.names == [f"image{i + 1}.png" for i in kept]
    assert recording.splits.tolist() == [*["train"] * 4, "test", "test"]
    responses = np.load(root / "responses.npy")
    np.testing.assert_array_equal(recording.responses.gather(np.arange(6)), responses[kept])
    np.testing.assert_array_equal(recording.responses.gather(np.array([4, 1])), responses[[10, 1]])
    (root / "split.csv").write_text("stimulus,split\n")
    with pytest.raises(InputError, match=r"split\.csv: expected a split for each of 12 images, found none for 12"):
        Folder(root, unlisted="drop").read()


@pytest.mark.parametrize("repeated", [False, True])
def test_what_was_not_measured_is_counted_where_it_is_allowed(
    repeated: bool, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    responses = np.load(root / "responses.npy")
    responses[3, 1] = responses[7] = np.nan
    name = "responses_repeats.npy" if repeated else "responses.npy"
    (root / "responses.npy").unlink()
    write_array(root / name, np.repeat(responses[:, None], 2, axis=1) if repeated else responses)
    with pytest.raises(InputError, match=rf"{name}: .*; or set --data\.source\.missing allow"):
        Folder(root).read()
    with caplog.at_level("INFO", "calcarine"):
        (recording,) = Folder(root, missing="allow").read()
    assert f"{root / name}: 6 of 60 responses are NaN, not measured" in caplog.text
    np.testing.assert_array_equal(recording.responses.gather(np.arange(N_STIMULI)), responses)


def test_the_folder_s_own_noise_ceilings_go_before_those_of_repetitions(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_array(root / "noise_ceiling.npy", [10, 20, 30, 40, np.nan])
    expected = np.array([0.1, 0.2, 0.3, 0.4, np.nan])
    np.testing.assert_allclose(Folder(root).read()[0].noise_ceiling, expected)  # type: ignore[arg-type]
    write_array(root / "responses_repeats.npy", np.random.default_rng(0).standard_normal((N_STIMULI, 3, N_TARGETS)))
    with caplog.at_level("INFO", "calcarine"):
        (recording,) = Folder(root).read()
    np.testing.assert_allclose(recording.noise_ceiling, expected)  # type: ignore[arg-type]
    assert "noise_ceiling.npy: noise ceilings are those of this file, not those that the repetitions" in caplog.text
    write_array(tmp_path / "given.npy", np.full(N_TARGETS, 0.5))
    (given,) = Folder(root, noise_ceiling=tmp_path / "given.npy").read()
    np.testing.assert_array_equal(given.noise_ceiling, np.full(N_TARGETS, 0.5))  # type: ignore[arg-type]


@pytest.mark.parametrize("repeated", [False, True])
def test_a_small_spread_on_a_large_offset_keeps_its_digits(repeated: bool, root: Path) -> None:
    spread = np.random.default_rng(0).standard_normal((N_STIMULI, N_TARGETS))
    responses = spread * [1e-3, 1e-3, 1, 1e3, 0] + [1e4, -1e4, 1e4, 0, 7e5]
    name = "responses_repeats.npy" if repeated else "responses.npy"
    (root / "responses.npy").unlink()
    write_array(root / name, responses[:, None] if repeated else responses)
    (recording,) = Folder(root).read()
    offset = recording.responses.offset
    assert offset is not None
    np.testing.assert_allclose(offset, [1e4, -1e4, 0, 0, 0], rtol=1e-6)
    gathered = recording.responses.gather(np.arange(N_STIMULI))
    np.testing.assert_allclose(gathered[:, :2] + offset[:2], responses[:, :2], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(gathered[:, 2:], responses[:, 2:].astype(np.float32))


def array(name: str, shape: tuple[int, ...], **faults: float) -> Callable[[Path], None]:
    """Writes zeros, with faults at "row_column" places."""

    def write(root: Path) -> None:
        values = np.zeros(shape, dtype=np.float32)
        for place, value in faults.items():
            values[tuple(int(i) for i in place.split("_")[1:])] = value
        write_array(root / name, values)

    return write


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda root: void((root / name).write_bytes(content.encode() if isinstance(content, str) else content))


def void(_: object) -> None:
    return None


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "responses missing": (lambda root: (root / "responses.npy").unlink(), "responses.npy", "found no such file"),
    "responses empty": (text("responses.npy", b""), "responses.npy", "damaged"),
    "responses of one axis": (array("responses.npy", (12,)), "responses.npy", "found shape (12,)"),
    "responses short": (array("responses.npy", (11, 5)), "responses.npy", "expected 12 rows"),
    "responses infinite": (
        array("responses.npy", (12, 5), at_2_4=np.inf),
        "responses.npy",
        "found inf at row 2, column 4 (counted from 0) and 1 such entries in all; remove or correct them",
    ),
    "responses missing some": (
        array("responses.npy", (12, 5), at_2_4=np.nan, at_3_4=np.nan),
        "responses.npy",
        "2 such entries in all; remove or correct them; or set --data.source.missing allow",
    ),
    "split of some": (
        text("split.csv", "stimulus,split\n" + "".join(f"image{i}.png,train\n" for i in range(1, 9))),
        "split.csv",
        "of 12 images, found none for 4 (image9.png, image10.png, image11.png, …); name them, or leave them out with "
        "--data.source.unlisted drop",
    ),
    "responses object": (
        lambda root: write_array(root / "responses.npy", np.array([[None]], dtype=object)),
        "responses.npy",
        "damaged",
    ),
    "responses complex": (
        lambda root: write_array(root / "responses.npy", np.zeros((12, 5), dtype=complex)),
        "responses.npy",
        "complex128",
    ),
    "repeats infinite": (
        array("responses_repeats.npy", (12, 2, 5), at_1_0_3=-np.inf),
        "responses_repeats.npy",
        "found -inf at index 1, 0, 3",
    ),
    "repeats of other targets": (
        array("responses_repeats.npy", (12, 2, 4)),
        "responses_repeats.npy",
        "expected (12, repetitions, 5)",
    ),
    "images missing": (lambda root: void((root / "images").rename(root / "photos")), "images", "expected a folder"),
    "image missing": (lambda root: (root / "images" / "image3.png").unlink(), "responses.npy", "expected 11 rows"),
    "image extra": (
        lambda root: void((root / "images" / "image3 (copy).png").write_bytes(b"x")),
        "responses.npy",
        "expected 13 rows",
    ),
    "foreign file": (text("images/labels.csv", "x"), "images/labels.csv", "expected nothing but images"),
    "split header": (text("split.csv", "image,split\n"), "split.csv, line 1", "stimulus,split, found 'image,split'"),
    "split semicolons": (text("split.csv", "stimulus;split\n"), "split.csv, line 1", "found 'stimulus;split'"),
    "split empty": (text("split.csv", ""), "split.csv, line 1", "found ''"),
    "split stimulus": (
        text("split.csv", "stimulus,split\nimage1.png,train\nimage12.jpg,test\n"),
        "split.csv, line 3",
        "mean 'image12.png'?",
    ),
    "split word": (text("split.csv", "stimulus,split\nimage1.png,training\n"), "split.csv, line 2", "found 'training'"),
    "split twice": (
        text("split.csv", "stimulus,split\nimage1.png,train\nimage1.png,test\n"),
        "split.csv, line 3",
        "'image1.png' again",
    ),
    "split short row": (text("split.csv", "stimulus,split\nimage1.png\n"), "split.csv, line 2", "found fewer"),
    "split long row": (text("split.csv", "stimulus,split\nimage1.png,a,b\n"), "split.csv, line 2", "found more"),
    "split UTF-16": (text("split.csv", "stimulus,split\n".encode("utf-16")), "split.csv", "in UTF-8"),
    "split quote": (text("split.csv", 'stimulus,split\n"image1.png,train\n'), "split.csv", "comma-separated"),
    "roi target": (text("rois.csv", "target,hemisphere,roi\n5,lh,V1\n"), "rois.csv, line 2", "from 0 to 4, found '5'"),
    "roi negative": (text("rois.csv", "target,hemisphere,roi\n-1,lh,V1\n"), "rois.csv, line 2", "found '-1'"),
    "roi fraction": (text("rois.csv", "target,hemisphere,roi\n1.0,lh,V1\n"), "rois.csv, line 2", "found '1.0'"),
    "roi vast": (text("rois.csv", f"target,hemisphere,roi\n{'9' * 5000},lh,V1\n"), "rois.csv, line 2", "from 0 to 4"),
    "roi hemisphere": (text("rois.csv", "target,hemisphere,roi\n0,left,V1\n"), "rois.csv, line 2", "found 'left'"),
    "roi nameless": (text("rois.csv", "target,hemisphere,roi\n0,lh,\n"), "rois.csv, line 2", "name of a ROI"),
    **{
        f"roi named {name}": (
            text("rois.csv", f"target,hemisphere,roi\n0,lh,V1\n0,lh,{name}\n"),
            "rois.csv, line 3",
            f"found {name!r}; rename it",
        )
        for name in ("all", "none", "V1;V2")
    },
    "roi in two hemispheres": (
        text("rois.csv", "target,hemisphere,roi\n0,lh,V1\n0,rh,V2\n"),
        "rois.csv, line 3",
        "'lh' for target 0",
    ),
    "coordinates of other targets": (array("coordinates.npy", (4, 3)), "coordinates.npy", "expected (5, 3)"),
    "coordinates unknown": (array("coordinates.npy", (5, 3), at_1_2=np.nan), "coordinates.npy", "found nan at row 1"),
    "ceilings of other targets": (array("noise_ceiling.npy", (4,)), "noise_ceiling.npy", "expected 5 noise ceilings"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_one_line(root: Path, fault: str) -> None:
    write, place, found = FAULTS[fault]
    write(root)
    ceiling = root / "noise_ceiling.npy"
    with pytest.raises(InputError) as refusal:
        Folder(root, noise_ceiling=ceiling if ceiling.exists() else None).read()
    message = str(refusal.value)
    assert message.startswith(f"{root / place}: expected")
    assert found in message
    assert "\n" not in message


def test_a_stimulus_without_any_repetition_is_named(root: Path) -> None:
    repeats = np.ones((N_STIMULI, 3, N_TARGETS))
    repeats[4, :, 2] = np.nan
    (root / "responses.npy").unlink()
    write_array(root / "responses_repeats.npy", repeats)
    with pytest.raises(InputError, match=r"responses_repeats\.npy: .* stimulus 4, target 2 "):
        Folder(root).read()


def test_a_missing_root_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"--data\.source\.root .*absent: expected a folder with images/ and responses"
    ):
        Folder(tmp_path / "absent")


def test_reads_the_real_spikes(shared_data: Path) -> None:
    source = Folder(shared_data / "macaque_v4" / "201025")
    (recording,) = source.read()
    assert recording.subject == "201025"
    assert source.num_targets == recording.num_targets == 89
    assert recording.responses.shape == (1200, 89)
    assert (recording.stimuli.names[0], recording.stimuli.names[-1]) == ("image0001.jpg", "image1200.jpg")
    assert recording.stimuli.read(1199).shape == (112, 112, 3)
    assert len(set(recording.stimuli.digests())) == 1200


def test_the_real_repetitions_average_to_the_real_responses(shared_data: Path, tmp_path: Path) -> None:
    given = shared_data / "macaque_v4" / "210325"
    (recording,) = Folder(given).read()
    for name in ("images", "responses_repeats.npy"):
        (tmp_path / name).symlink_to(given / name)
    (averaged,) = Folder(tmp_path).read()
    for read in (recording, averaged):
        assert read.noise_ceiling is not None
        assert read.noise_ceiling.mean() == pytest.approx(0.74, abs=0.02)
    every = np.arange(640)
    np.testing.assert_allclose(averaged.responses.gather(every), recording.responses.gather(every), atol=1e-5)
