"""TVSD: what a tree of the THINGS ventral stream spiking dataset becomes, held against a reading by loops."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from calcarine.data import TVSD
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from calcarine.data.simulation.planted import Truth
from calcarine.data.simulation.write import simulate
from calcarine.errors import InputError
from calcarine.recording import Recording
from PIL import Image
from recovered import simulate_and_recover

IMAGES, TESTS = 40, 8
UNMEASURED = {"N": 700, "F": 600}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tvsd") / "tree"
    simulate(out, format="tvsd", images=IMAGES, seed=1)
    return out


def read(root: Path, **flags: Any) -> Recording:
    source = TVSD(root, **flags)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def activity(root: Path, monkey: str = "N") -> Path:
    return root / f"monkey{monkey}" / "THINGS_normMUA.mat"


def listed(root: Path, monkey: str = "N") -> Path:
    return root / f"monkey{monkey}" / "_logs" / "things_imgs.mat"


def names_by_hand(root: Path, monkey: str) -> list[str]:
    """What the list of images says, character by character."""
    names = []
    with h5py.File(listed(root, monkey)) as file:
        for group in ("train_imgs", "test_imgs"):
            references = file[f"{group}/things_path"][:, 0]  # type: ignore[index]
            names += ["".join(chr(code) for code in file[each][:, 0]) for each in references]  # type: ignore[index]
    return names


@pytest.mark.parametrize("monkey", ["N", "F"])
def test_it_reads_what_is_there_to_the_bit(tree, monkey):
    found, kept = read(tree, monkey=monkey), np.delete(np.arange(1024), UNMEASURED[monkey])
    names = names_by_hand(tree, monkey)
    assert all("\\" in name for name in names)
    with h5py.File(activity(tree, monkey)) as file:
        rows = np.concatenate([file["train_MUA"][:], file["test_MUA"][:]])[:, kept]  # type: ignore[index]
    assert found.subject == f"monkey{monkey}"
    assert found.splits.tolist() == [""] * IMAGES + ["test"] * TESTS
    assert np.array_equal(found.responses.gather(np.arange(IMAGES + TESTS)), rows.astype(np.float32))
    assert found.categories is not None
    for index, name in enumerate(names):
        concept, file_name = name.split("\\")
        with Image.open(tree / "object_images" / concept / file_name) as image:
            assert np.array_equal(found.stimuli.read(index), np.asarray(image))
        assert (found.stimuli.names[index], found.categories[index]) == (file_name, concept)


@pytest.mark.parametrize(
    ("monkey", "blocks"),
    [
        ("N", {"V1": (0, 512), "V4": (512, 768), "IT": (768, 1024)}),
        ("F", {"V1": (0, 512), "IT": (512, 832), "V4": (832, 1024)}),
    ],
)
def test_areas_are_blocks_of_channels_in_each_monkeys_own_order(tree, monkey, blocks):
    found, kept = read(tree, monkey=monkey), np.delete(np.arange(1024), UNMEASURED[monkey])
    assert [roi.name for roi in found.rois] == ["V1", "V4", "IT"]
    models = {"V1": "gabor", "V4": "texture", "IT": "category"}
    truth = Truth.read(tree / "truth" / f"monkey{monkey}.npz")
    for roi in found.rois:
        first, last = blocks[roi.name]
        assert kept[roi.targets].tolist() == [channel for channel in range(first, last) if channel in kept]
        assert set(truth.model[kept[roi.targets]]) == {models[roi.name]}


def test_both_monkeys_are_two_recordings(tree):
    source = TVSD(tree, monkey=["N", "F"])
    assert [recording.subject for recording in source.read()] == ["monkeyN", "monkeyF"]
    assert source.num_targets == 2 * 1023


@pytest.mark.parametrize("monkey", ["N", "F"])
def test_ceilings_are_the_planted_ones(tree, monkey):
    found, kept = read(tree, monkey=monkey), np.delete(np.arange(1024), UNMEASURED[monkey])
    test = np.flatnonzero(found.splits == "test")
    ceilings = found.ceilings(test)
    assert list(ceilings) == ["the repeats of these stimuli", "reliab of the file"]
    with h5py.File(activity(tree, monkey)) as file:
        repeats = file["test_MUA_reps"][:, :, kept]  # type: ignore[index]
    counts = (~np.isnan(repeats[:, :, 0])).sum(axis=0)
    assert len(set(counts)) > 1
    single = Truth.read(tree / "truth" / f"monkey{monkey}.npz").noise_ceiling[kept]
    for ceiling in ceilings.values():
        assert abs((ceiling - single / (single + (1 - single) * (1 / counts).mean())).mean()) < 0.01
    of_first = found.ceilings(test[:4])["the repeats of these stimuli"]
    assert not np.array_equal(of_first, ceilings["the repeats of these stimuli"])
    assert found.noise_ceiling is not None  # of stimuli most of which were shown once
    once = (IMAGES + (1 / counts).sum()) / (IMAGES + TESTS)
    assert abs((found.noise_ceiling - single / (single + (1 - single) * once)).mean()) < 0.02
    assert list(found.ceilings(np.arange(IMAGES))) == ["the recording"]


def test_reliability_is_the_correlation_of_pairs(tree):
    """What the file holds, and Spearman's and Brown's step from one repetition to as many as were averaged."""
    found, channel = read(tree), 3
    test = np.flatnonzero(found.splits == "test")
    with h5py.File(activity(tree)) as file:
        repeats, stored = file["test_MUA_reps"][:, :, channel], file["reliab"][:, channel]  # type: ignore[index]
    pairs = []
    for one in range(30):
        for other in range(one + 1, 30):
            both = ~np.isnan(repeats[one]) & ~np.isnan(repeats[other])
            pairs.append(np.corrcoef(repeats[one][both], repeats[other][both])[0, 1])
    np.testing.assert_allclose(stored, pairs, atol=1e-10)
    mean, number = np.mean(pairs), 1 / np.mean(1 / (~np.isnan(repeats)).sum(axis=0))
    expected = number * mean / (1 + (number - 1) * mean)
    assert found.ceilings(test)["reliab of the file"][channel] == pytest.approx(expected)


def test_an_odd_but_legal_tree_works(tree, tmp_path):
    """Folders that are links, a root that nobody may write to, images elsewhere, slashes, no reliab, lists in a row."""
    root = tmp_path / "links"
    (root / "monkeyN" / "_logs").mkdir(parents=True)
    shutil.copy(activity(tree), activity(root))
    with h5py.File(activity(root), "r+") as file:
        del file["reliab"]
    names = [name.replace("\\", "/") for name in names_by_hand(tree, "N")]
    with h5py.File(listed(root), "w") as file:
        for group, own in (("train_imgs", names[:IMAGES]), ("test_imgs", names[IMAGES:])):
            texts = []
            for place, name in enumerate(own):
                file[f"{group}{place}"] = np.array([[ord(each) for each in name]], dtype=np.uint16)
                texts.append(file[f"{group}{place}"].ref)
            file.create_dataset(f"{group}/things_path", data=np.array([texts], dtype=h5py.ref_dtype))
    (tmp_path / "THINGS").mkdir()
    (tmp_path / "THINGS" / "object_images").symlink_to(tree / "object_images")
    (root / "monkeyF").symlink_to(tree / "monkeyF")
    root.chmod(0o555)
    for images in (tmp_path / "THINGS", tmp_path / "THINGS" / "object_images"):
        found = read(root, images=images)
        assert list(found.ceilings(np.flatnonzero(found.splits == "test"))) == ["the repeats of these stimuli"]
        assert found.stimuli.read(0).shape == (128, 128, 3)
    assert read(root, monkey="F", images=images).subject == "monkeyF"
    root.chmod(0o755)


def edit(path: Callable[[Path], Path], change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        with h5py.File(path(root), "r+") as file:
            change(file)

    return plant


def put(name: str, index: Any, value: float) -> Callable[[Path], None]:
    return edit(activity, lambda file: file[name].__setitem__(index, value))  # type: ignore[union-attr]


def replace(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def of(file: h5py.File) -> None:
        array = file[name][()]  # type: ignore[index]
        del file[name]
        file[name] = change(array)

    return edit(activity, of)


def link_out(root: Path) -> None:
    with h5py.File(listed(root), "r+") as file:
        file.move("train_imgs", "hidden")
        file["train_imgs"] = h5py.ExternalLink(str(listed(root, "F")), "/train_imgs")


def rename(file: h5py.File, text: str) -> None:
    reference = file["train_imgs/things_path"][4, 0]  # type: ignore[index]
    name = file[reference].name
    del file[name]
    file["new"] = np.array([[ord(each)] for each in text], dtype=np.uint16)
    references = file["train_imgs/things_path"]
    references[4, 0] = file["new"].ref  # type: ignore[index]


def point_to_numbers(file: h5py.File) -> None:
    file["numbers"] = np.zeros(3)
    file["train_imgs/things_path"][2, 0] = file["numbers"].ref  # type: ignore[index]


def truncate(root: Path) -> None:
    with activity(root).open("r+b") as file:
        file.truncate(activity(root).stat().st_size // 2)


def lose_image(root: Path) -> None:
    next((root / "object_images").rglob("*_01s.jpg")).unlink()


FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no such monkey": (
        lambda root: shutil.rmtree(root / "monkeyF"), {"monkey": "F"},
        r"of monkeyF, found none \(there are monkeyN\)",
    ),
    "another monkey": (None, {"monkey": "G"}, "--data.source.monkey G: expected N, F"),
    "a monkey twice": (None, {"monkey": ["N", "N"]}, "expected N, F or"),
    "no list of images": (lambda root: listed(root).unlink(), {}, r"things_imgs\.mat: expected a file of monkeyN"),
    "no folder of images": (
        lambda root: shutil.rmtree(root / "object_images"), {},
        "expected the folder of the THINGS images",
    ),
    "another folder of images": (None, {"images": "nowhere"}, "--data.source.images nowhere: expected the folder"),
    "a missing image": (lose_image, {}, "found no file for 1 of them, such as"),
    "a truncated file": (truncate, {}, r"THINGS_normMUA\.mat: expected a complete HDF5 file"),
    "axes as in MATLAB": (replace("train_MUA", np.transpose), {}, r"train_MUA .*its axes are reversed"),
    "repetitions turned": (
        replace("test_MUA_reps", lambda each: each.transpose(1, 0, 2)), {},
        r"expected test_MUA_reps \(8, 8, 1024\)",
    ),
    "few channels": (replace("train_MUA", lambda each: each[:, :900]), {}, r"expected train_MUA \(images, 1024\)"),
    "pairs of other repetitions": (replace("reliab", lambda each: each[:7]), {}, r"expected reliab \(435, 1024\)"),
    "the other monkey's list": (
        replace("train_MUA", lambda each: each[:-1]), {},
        "expected 39 train_imgs, one per row",
    ),
    "a gap": (put("train_MUA", (3, 7), np.nan), {}, r"found nan in image 3, channel 7 \(counted from 0\) and 1 such"),
    "an infinite response": (
        put("test_MUA", (2, 9), np.inf), {},
        "expected finite test_MUA.*found inf in image 2, channel 9",
    ),
    "an image without repetitions": (
        put("test_MUA_reps", (slice(None), 1), np.nan), {},
        "a repetition of every test image",
    ),
    "no measured channel": (put("train_MUA", 0, np.nan), {}, "expected measured channels, found none"),
    "a name that leads elsewhere": (
        edit(listed, lambda file: rename(file, "..\\secret.jpg")), {},
        "expected the names of images as CONCEPT/FILE",
    ),
    "a name without a concept": (
        edit(listed, lambda file: rename(file, "dog.jpg")), {},
        "CONCEPT/FILE, found 'dog.jpg'",
    ),
    "a reference to numbers": (
        edit(listed, point_to_numbers), {},
        r"expected entry 2 of train_imgs/things_path .* to be a text, found float64",
    ),
    "a list in another file": (link_out, {}, "things_path in the file itself, found a group or a link"),
    "no responses": (
        edit(activity, lambda file: file.__delitem__("test_MUA")), {},
        "expected a dataset test_MUA in the file itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(tree, tmp_path, fault):
    spoil, flags, message = FAULTS[fault]
    root = tree
    if spoil is not None:
        root = tmp_path / "tree"
        shutil.copytree(tree, root, ignore=shutil.ignore_patterns("monkeyF", "truth"))
        (root / "monkeyF").mkdir()
        for path in (activity(root, "F"), listed(root, "F")):
            path.parent.mkdir(exist_ok=True)
            os.link(tree / path.relative_to(root), path)
        spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        read(root, **flags)
    assert "\n" not in str(raised.value)


def said(root: Path, severities: tuple[str, ...] = ("error", "warning"), **asked: Any) -> list[str]:
    found = examine(root, asked=Asked(**asked))
    assert {each.format for each in found} == {"TVSD"}
    return [
        symptom.line(each.root) for each in found for symptom in each.chart.symptoms if symptom.severity in severities
    ]


def test_check_is_silent_on_a_sound_tree(tree, tmp_path):
    assert said(tree) == []
    assert any("monkeyF: 40 images" in line and "repetitions" in line for line in said(tree, ("note",)))
    root = tmp_path / "apart"
    root.mkdir()
    (root / "monkeyN").symlink_to(tree / "monkeyN")
    assert said(root, images=tree / "object_images") == []


@pytest.mark.parametrize(
    ("plant", "begins", "words"),
    [
        (truncate, "error: monkeyN/THINGS_normMUA.mat", "copy it again"),
        (lose_image, "error: object_images: expected 8 images", "found no file for 1"),
        (put("train_MUA", (3, 7), np.nan), "error: monkeyN/THINGS_normMUA.mat", "found nan in image 3"),
        (
            replace("test_MUA", lambda each: np.roll(each, 1, axis=0)),
            "error: monkeyN/THINGS_normMUA.mat/test_MUA",
            "rows away: one of the two is shifted",
        ),
        (
            replace("reliab", lambda each: 0 * each),
            "warning: monkeyN/THINGS_normMUA.mat/reliab",
            "all are 0",
        ),
    ],
)
def test_check_names_a_fault(tree, tmp_path, plant, begins, words):
    root = tmp_path / "tree"
    shutil.copytree(tree, root, ignore=shutil.ignore_patterns("monkeyF", "truth"))
    plant(root)
    lines = said(root)
    assert any(line.startswith(begins) and words in line for line in lines), lines
    assert not any("could not be checked" in line for line in lines), lines


@pytest.mark.slow
def test_a_run_recovers_what_is_planted_and_its_control_does_not(tmp_path, monkeypatch):
    """By the command line, as a user would: the source is found by what the folder holds."""
    simulate_and_recover(tmp_path, monkeypatch, "tvsd", roi="V1", least=0.6)
