"""`calcarine score` against an independent recomputation, and every kind of bad submission."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calcarine.commands.main import main
from calcarine.evaluation import write_submission_2021, write_submission_2023
from trees import MAPPINGS, write_array

N_TEST = {"subj01": 31, "subj03": 25}
SIZES = {"lh": 23, "rh": 29}
VOXELS = {"EBA": 6, "V1": 9}

Arrays = dict[str, dict[str, np.ndarray]]


def write_truth(root: Path) -> tuple[Arrays, Arrays]:
    """Responses and ceilings of two subjects, some ceilings 0, some unknown; subj01 has ROI masks."""
    rng = np.random.default_rng(0)
    responses: Arrays = {}
    ceilings: Arrays = {}
    for subject, n in N_TEST.items():
        for side, size in SIZES.items():
            array = rng.normal(3, 2, (n, size))
            array[:, 4] = 1.5  # does not vary: in no mean
            ceiling = rng.uniform(0.05, 0.9, size)
            ceiling[[1, 7]], ceiling[2] = 0, np.nan
            write_array(root / "truth" / subject / "test_split/test_fmri" / f"{side}_test_fmri.npy", array)
            write_array(root / "ceiling" / subject / f"{side}.npy", 100 * ceiling)
            responses.setdefault(subject, {})[side], ceilings.setdefault(subject, {})[side] = array, ceiling
    masks = root / "truth/subj01/roi_masks"
    for name, mapping in MAPPINGS.items():
        write_array(masks / f"mapping_{name}.npy", np.array(mapping, dtype=object))
        for side, size in SIZES.items():
            labels = rng.choice([label for label in mapping if label != 2], size)
            write_array(masks / f"{side}.{name}_challenge_space.npy", labels)
    return responses, ceilings


def predict(responses: Arrays, seed: int = 1) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        subject: {side: (own + rng.normal(0, 3, own.shape)).astype(np.float32) for side, own in sides.items()}
        for subject, sides in responses.items()
    }


def shares(predicted: np.ndarray, measured: np.ndarray, ceilings: np.ndarray) -> list[float]:
    """FORMATS.md's sentence, one vertex at a time, by numpy's own correlation."""
    found = []
    for p, y, ceiling in zip(predicted.T.astype(np.float64), measured.T, ceilings.tolist(), strict=True):
        if ceiling > 0 and y.std() > 0:
            found.append(min(max(np.corrcoef(p, y)[0, 1], 0) ** 2 / ceiling, 1))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("score")
    responses, _ = write_truth(root)
    write_submission_2023(root / "submission.zip", predict(responses))
    return root


def flags(place: Path, submission: Path | None = None) -> list[str]:
    given = submission or place / "submission.zip"
    return ["score", str(given), "--truth", str(place / "truth"), "--ceiling", str(place / "ceiling")]


def test_2023_equals_an_independent_recomputation(place: Path, tmp_path: Path, capsys) -> None:
    responses, ceilings = write_truth(tmp_path)
    predicted = predict(responses)
    table = tmp_path / "scores.csv"
    assert main([*flags(place), "--json", "--csv", str(table)]) == 0
    answer = json.loads(capsys.readouterr().out)
    pooled: list[float] = []
    for subject, sides in responses.items():
        own = [share for side in sides for share in
               shares(predicted[subject][side], sides[side], ceilings[subject][side])]  # fmt: skip
        pooled += own
        (row,) = (r for r in answer["rows"] if (r["subject"], r["hemisphere"]) == (subject, "both"))
        assert row["score"] == pytest.approx(100 * np.mean(own), abs=1e-12)
        assert row["n_in_score"] == len(own) == 52 - 2 * 4
    assert answer["score"] == pytest.approx(100 * np.mean(pooled), abs=1e-12)
    assert answer["scoring"] == "Algonauts 2023 score"
    assert answer["rows"][0]["score"] == answer["score"]
    labels = np.load(tmp_path / "truth/subj01/roi_masks/rh.streams_challenge_space.npy")
    members = labels == 5  # "ventral"
    own = shares(
        predicted["subj01"]["rh"][:, members], responses["subj01"]["rh"][:, members], ceilings["subj01"]["rh"][members]
    )
    (row,) = (r for r in answer["rows"] if (r["subject"], r["hemisphere"], r["roi"]) == ("subj01", "rh", "ventral"))
    assert row["score"] == pytest.approx(100 * np.mean(own), abs=1e-12)
    written = pd.read_csv(table)
    assert written["score"].tolist() == pytest.approx([r["score"] or np.nan for r in answer["rows"]], nan_ok=True)


def test_the_table_ends_with_the_score(place: Path, capsys) -> None:
    assert main(flags(place)) == 0
    *_, empty, last = capsys.readouterr().out.splitlines()
    assert empty == ""
    assert "Algonauts 2023 score" in last
    assert last.endswith("; 88 of 104 targets are in the score")
    assert main(flags(place)[:-2]) == 0  # without ceilings there are correlations alone
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("noise ceiling unknown; give --ceiling for the challenge's score")


def test_a_folder_and_a_fortran_ordered_array_do(place: Path, tmp_path: Path, capsys) -> None:
    main([*flags(place), "--json"])
    expected = json.loads(capsys.readouterr().out)
    with zipfile.ZipFile(place / "submission.zip") as archive:
        archive.extractall(tmp_path / "mine")
    path = tmp_path / "mine/subj03/rh_pred_test.npy"
    np.save(path, np.asfortranarray(np.load(path)))
    (tmp_path / "mine/.DS_Store").touch()
    assert main([*flags(place, tmp_path / "mine"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == expected["rows"]


def repacked(place: Path, out: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Path:
    """The submission with other files in it."""
    with zipfile.ZipFile(place / "submission.zip") as archive:
        files = change({name: archive.read(name) for name in archive.namelist()})
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


def saved(array: np.ndarray | list, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


FILE = "subj01/lh_pred_test.npy"
GOOD = np.ones((N_TEST["subj01"], SIZES["lh"]), np.float32)
HOLED = GOOD.copy()
HOLED[3, 4] = np.nan
BOMB = saved(GOOD) + bytes(50_000_000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (saved(GOOD.astype(np.float16)), r"expected float32, found float16; convert"),
        (saved(GOOD.astype(np.float64)), r"expected float32, found float64; convert"),
        (saved(GOOD.astype(">f4")), r"expected float32, found >f4"),
        (saved(GOOD.T), r"expected \(31, 23\), stimuli × targets, found \(23, 31\); transpose it"),
        (saved(GOOD[:-1]), r"expected \(31, 23\).*found \(30, 23\); predict the test stimuli"),
        (saved(GOOD[None]), r"expected \(31, 23\).*found \(1, 31, 23\)"),
        (saved(HOLED), r"found 1 of 713 that are NaN or infinite"),
        (saved(np.array([print], dtype=object), allow_pickle=True), r"expected float32, found object"),
        (saved(GOOD)[:-5], r"expected 2,852 bytes of numbers, found 2,847"),
        (BOMB, r"expected 2,852 bytes of numbers, found more"),
        (b"", r"expected a \.npy file, found another"),
        (b"PK\x03\x04", r"expected a \.npy file, found another"),
    ],
)
def test_a_bad_array_is_one_line(place: Path, tmp_path: Path, capsys, content: bytes, words: str) -> None:
    bad = repacked(place, tmp_path / "bad.zip", lambda files: {**files, FILE: content})
    assert main([*flags(place, bad), "--csv", str(tmp_path / "table.csv")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {bad}/{FILE}: ")
    assert re.search(words, line), line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: {n: c for n, c in files.items() if "subj03" not in n}, "found no 'subj03/lh_pred_test.npy'"),
        (lambda files: {n: c for n, c in files.items() if n != FILE}, f"found no '{FILE}'"),
        (lambda files: {**files, "subj02/lh_pred_test.npy": b""}, "found 'subj02/lh_pred_test.npy' too; take it out"),
        (lambda files: {**files, "subj01/lh_pred.npy": b""}, "found 'subj01/lh_pred.npy' too"),
        (lambda files: {**files, "../../evil.npy": b""}, "found '../../evil.npy' too"),
        (lambda files: {f"sub/{n}": c for n, c in files.items()}, "zip what is in 'sub', not the folder itself"),
        (lambda files: {n.replace("subj", "sub"): c for n, c in files.items()}, "found 'sub01/lh_pred_test.npy'"),
        (lambda files: {}, "found no file"),
        (lambda files: {"mini_track.pkl": b""}, "expected responses of Algonauts 2021, as"),
    ],
)
def test_wrong_names_are_one_line(place: Path, tmp_path: Path, capsys, change, words: str) -> None:
    assert main(flags(place, repacked(place, tmp_path / "bad.zip", change))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_what_is_no_submission_or_no_truth_is_one_line(place: Path, tmp_path: Path, capsys) -> None:
    damaged, twice = tmp_path / "damaged.zip", tmp_path / "twice.zip"
    content = bytearray((place / "submission.zip").read_bytes())
    content[200] ^= 255
    damaged.write_bytes(content)
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr(FILE, b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(FILE, b"")
    (tmp_path / "text.zip").write_text("no zip")
    truth = str(place / "truth")
    for arguments, words in (
        (["score", str(damaged), "--truth", truth], "found a damaged file (Bad CRC-32"),
        (["score", str(twice), "--truth", truth], "found 'subj01/lh_pred_test.npy' twice"),
        (["score", str(tmp_path / "text.zip"), "--truth", truth], "expected a zip, or a folder"),
        (["score", str(tmp_path / "none.zip"), "--truth", truth], "expected a submission"),
        ([*flags(place)[:2], "--truth", str(place / "ceiling")], "expected a folder with subjNN/test_split"),
        ([*flags(place)[:2], "--truth", str(place / "nowhere")], "found none; correct the path"),
        ([*flags(place)[:4], "--ceiling", str(place / "nowhere")], "expected an array (targets), found no such file"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line, line


def write_truth_2021(root: Path, rois: dict[str, int]) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    truth: dict[str, dict[str, np.ndarray]] = {}
    for subject in ("sub01", "sub02"):
        (root / subject).mkdir(parents=True)
        for roi, count in rois.items():
            signal = rng.normal(size=(20, 1, count)) * (np.arange(count) != 2)  # voxel 2 is noise
            repeats = signal + rng.normal(size=(20, 4, count))
            (root / subject / f"{roi}.pkl").write_bytes(pickle.dumps({"test": repeats}))
            truth.setdefault(roi, {})[subject] = repeats
    return truth


def score_2021(repeats: np.ndarray, predicted: np.ndarray) -> list[float]:
    """r / √reliability of each voxel of one ROI and subject that has one, in a loop."""
    halves = [pair for pair in combinations(range(4), 2) if 0 in pair]
    found = []
    for voxel in range(repeats.shape[2]):
        own = repeats[:, :, voxel]
        rhos = [
            np.corrcoef(own[:, half].mean(1), own[:, sorted({0, 1, 2, 3} - set(half))].mean(1))[0, 1] for half in halves
        ]
        reliability = np.mean([2 * rho / (1 + rho) for rho in rhos])
        if reliability > 0:
            r = np.corrcoef(predicted[:, voxel].astype(np.float64), own.mean(1))[0, 1]
            found.append(r / reliability**0.5)
    return found


@pytest.mark.parametrize(("track", "rois"), [("mini", VOXELS), ("full", {"WB": 15})])
def test_2021_equals_an_independent_recomputation(tmp_path: Path, capsys, track, rois: dict[str, int]) -> None:
    truth = write_truth_2021(tmp_path / "truth", rois)
    rng = np.random.default_rng(6)
    predicted = {
        roi: {s: (own.mean(1) + rng.normal(size=own[:, 0].shape)).astype(np.float32) for s, own in subjects.items()}
        for roi, subjects in truth.items()
    }
    submission = write_submission_2021(tmp_path, track, predicted)
    assert main(["score", str(submission), "--truth", str(tmp_path / "truth"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    voxels = [score_2021(truth[roi][s], predicted[roi][s]) for roi in rois for s in ("sub01", "sub02")]
    assert answer["score"] == pytest.approx(np.mean([np.mean(own) for own in voxels]), abs=1e-12)
    total = answer["rows"][0]
    assert total["n_targets"] == 2 * sum(rois.values())
    assert total["n_in_score"] == sum(map(len, voxels)) < total["n_targets"]
    assert main(["score", str(submission), "--truth", str(tmp_path / "truth"), "--ceiling", str(tmp_path)]) == 2
    assert "Algonauts 2021 has none" in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_bad_pickle_is_one_line_and_is_not_run(tmp_path: Path, capsys) -> None:
    truth = write_truth_2021(tmp_path / "truth", VOXELS)
    good = {roi: {s: own.mean(1).astype(np.float32) for s, own in subjects.items()} for roi, subjects in truth.items()}

    def changed(roi: str, subject: str, value: object) -> dict[str, dict[str, object]]:
        return {**good, roi: {**good[roi], subject: value}}

    v1 = good["V1"]["sub01"]
    for content, words in (
        (Evil(), "found builtins.print; it was not run"),
        (changed("V1", "sub01", v1.astype(np.float64)), "V1 of sub01: expected float32, found float64"),
        (changed("V1", "sub01", v1.T), "V1 of sub01: expected (20, 9), stimuli × targets, found (9, 20); transpose"),
        (changed("V1", "sub01", v1 * np.nan), "V1 of sub01: expected finite predictions, found 180 of 180"),
        (changed("V1", "sub01", v1.tolist()), "V1 of sub01: expected an array, found list"),
        ({"V1": good["V1"]}, "expected the ROIs EBA, V1 as --truth has them, found V1"),
        ({**good, "V1": {"sub01": v1}}, "expected the subjects in V1 sub01, sub02 as --truth has them, found sub01"),
        ([1], "expected {ROI: {subNN: array}}, found list"),
        (bytes(3_000_000), "more than they can take"),
    ):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr("mini_track.pkl", pickle.dumps(content))
        assert main(["score", str(tmp_path / "bad.zip"), "--truth", str(tmp_path / "truth")]) == 2
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert words in line, line
        assert output.out == ""
