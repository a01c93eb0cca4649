"""The Algonauts scores and submissions against independent recomputations, 2023 on the real noise ceilings."""

import io
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.unpickle import load_pickle
from calcarine.errors import InputError
from calcarine.evaluation.challenge import (
    algonauts2021_score,
    algonauts2023_score,
    noise_normalised,
    reliability_normalised,
    write_submission_2021,
    write_submission_2023,
)


def pooled_in_words(pearsons: list[np.ndarray], ceilings: list[np.ndarray]) -> float:
    """FORMATS.md's sentence, one vertex at a time."""
    shares = []
    for pearson, ceiling in zip(pearsons, ceilings, strict=True):
        for r, limit in zip(pearson.tolist(), ceiling.tolist(), strict=True):
            if limit == 0 or np.isnan(limit) or np.isnan(r):
                continue
            shares.append(min(max(r, 0.0) ** 2 / limit, 1.0))
    return 100 * sum(shares) / len(shares)


def real_ceilings(shared_data: Path) -> list[np.ndarray]:
    files = sorted((shared_data / "nsd_noise_ceiling").glob("subj0[1-8]/?h.npy"))
    assert len(files) == 16
    return [np.load(file).astype(np.float64) / 100 for file in files]


def test_score_pools_all_subjects_on_the_real_ceilings(shared_data: Path) -> None:
    ceilings = real_ceilings(shared_data)
    rng = np.random.default_rng(0)
    pearsons = [np.clip(np.sqrt(c) * 0.7 + rng.normal(0, 0.15, len(c)), -1, 1) for c in ceilings]
    pearsons[3][::100] = np.nan  # responses without variance
    score = algonauts2023_score(pearsons, ceilings)
    assert score == pytest.approx(pooled_in_words(pearsons, ceilings), abs=1e-10)
    per_array = [algonauts2023_score([r], [c]) for r, c in zip(pearsons, ceilings, strict=True)]
    assert score != pytest.approx(np.mean(per_array), abs=1e-6)  # a mean of subjects' means is another figure


def test_ceiling_of_zero_is_left_out_and_not_replaced(shared_data: Path) -> None:
    ceilings = real_ceilings(shared_data)
    zeros = sum(int((c == 0).sum()) for c in ceilings)
    assert zeros > 0
    pearsons = [np.full(len(c), 0.01) for c in ceilings]
    tiny = [np.where(c == 0, 1e-12, c) for c in ceilings]
    right, wrong = algonauts2023_score(pearsons, ceilings), algonauts2023_score(pearsons, tiny)
    known = sum(len(c) for c in ceilings) - zeros
    assert wrong == pytest.approx((right * known + 100 * zeros) / (known + zeros))
    assert wrong > right


def test_a_perfect_model_scores_100_and_an_inverted_one_0(shared_data: Path) -> None:
    ceilings = real_ceilings(shared_data)
    assert algonauts2023_score([np.sqrt(c) for c in ceilings], ceilings) == pytest.approx(100)
    assert algonauts2023_score([-np.sqrt(c) for c in ceilings], ceilings) == 0


def test_noise_normalised_clips_and_leaves_out() -> None:
    found = noise_normalised(np.array([0.5, 0.9, -0.5, np.nan, 0.5, 0.5]), np.array([0.5, 0.5, 0.5, 0.5, 0.0, np.nan]))
    np.testing.assert_allclose(found, [0.5, 1, 0, np.nan, np.nan, np.nan])
    assert np.isnan(algonauts2023_score([], []))
    assert np.isnan(algonauts2023_score([np.array([0.5])], [np.array([0.0])]))


def submission(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        f"subj{subject:02d}": {
            "rh": rng.normal(size=(n, 205)).astype(np.float32),
            "lh": rng.normal(size=(n, 190)),  # float64 must be written as float32
        }
        for subject, n in ((2, 15), (1, 29))
    }


def test_submission_holds_the_arrays_and_is_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calcarine.evaluation.challenge._CHUNK_BYTES", 4 * 205 * 4)  # four rows at a time
    one, two = tmp_path / "a" / "submission.zip", tmp_path / "submission.zip"
    write_submission_2023(one, submission())
    write_submission_2023(two, dict(reversed(submission().items())))
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert archive.testzip() is None
        names = [f"subj{subject:02d}/{hemisphere}_pred_test.npy" for subject in (1, 2) for hemisphere in ("lh", "rh")]
        assert archive.namelist() == names
        for name in names:
            array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            expected = submission()[name[:6]][name[7:9]].astype(np.float32)
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, expected)


def test_faulty_predictions_leave_the_old_submission(tmp_path: Path) -> None:
    path = tmp_path / "submission.zip"
    write_submission_2023(path, submission())
    before = path.read_bytes()
    diverged = submission()
    diverged["subj02"]["rh"][7, 3] = np.inf
    with pytest.raises(InputError, match=r"subj02/rh_pred_test\.npy: every prediction must be a finite .* found inf"):
        write_submission_2023(path, diverged)
    short = submission()
    short["subj01"]["lh"] = short["subj01"]["lh"][:-1]
    with pytest.raises(InputError, match=r"subj01 needs equally many images per hemisphere"):
        write_submission_2023(path, short)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_2021_score_is_the_mean_over_voxels_then_over_rois() -> None:
    rng = np.random.default_rng(0)
    sizes = (5, 40, 200)
    pearsons = [rng.uniform(-0.5, 1, size) for size in sizes]
    reliabilities = [rng.uniform(-0.3, 0.9, size) for size in sizes]
    pearsons[1][3], reliabilities[2][7], reliabilities[2][8] = np.nan, np.nan, 0
    means, unscored = [], 0
    for pearson, reliability in zip(pearsons, reliabilities, strict=True):
        voxels = []
        for r, share in zip(pearson.tolist(), reliability.tolist(), strict=True):
            if share > 0 and not np.isnan(r):
                voxels.append(r / share**0.5)
            else:
                unscored += 1
        means.append(sum(voxels) / len(voxels))
    mini = algonauts2021_score(pearsons, reliabilities)
    assert mini.score == pytest.approx(sum(means) / 3, rel=1e-12)
    assert (mini.n_scored, mini.n_unscored) == (sum(sizes) - unscored, unscored)
    full = algonauts2021_score([np.concatenate(pearsons)], [np.concatenate(reliabilities)])
    assert full.score != pytest.approx(mini.score, abs=1e-6)  # the full track's mean is over all voxels at once
    assert full[1:] == mini[1:]


def test_2021_voxels_without_reliability_have_no_score() -> None:
    pearson = np.array([0.5, 0.9, -0.5, np.nan, 0.5, 0.5, 0.5])
    found = reliability_normalised(pearson, np.array([0.25, 0.25, 1, 1, 0, -0.1, np.nan]))
    np.testing.assert_allclose(found, [1, 1.8, -0.5, np.nan, np.nan, np.nan, np.nan])
    empty = algonauts2021_score([np.array([0.5])] * 2, [np.array([0.0]), np.array([0.25])])
    assert empty == (1.0, 1, 1)  # the first ROI is in no mean
    nothing = algonauts2021_score([np.array([0.5])], [np.array([0.0])])
    assert np.isnan(nothing.score)
    assert nothing.n_scored == 0


def predictions_2021(rois: tuple[str, ...] = ("V1", "EBA")) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return {roi: {f"sub{number:02d}": rng.normal(size=(9, 4 + number)) for number in (2, 1)} for roi in rois}


def test_2021_submission_reads_back_and_is_reproducible(tmp_path: Path) -> None:
    path = write_submission_2021(tmp_path / "a", "mini", predictions_2021())
    assert path == tmp_path / "a" / "mini_track.zip"
    turned = {roi: dict(reversed(own.items())) for roi, own in reversed(predictions_2021().items())}
    again = write_submission_2021(tmp_path / "b", "mini", turned)
    assert path.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["mini_track.pkl"]
        archive.extractall(tmp_path)
    read = load_pickle(tmp_path / "mini_track.pkl")
    assert list(read) == ["EBA", "V1"]
    for roi, own in predictions_2021().items():
        assert list(read[roi]) == ["sub01", "sub02"]
        for subject, array in own.items():
            assert read[roi][subject].dtype == np.float32
            np.testing.assert_array_equal(read[roi][subject], array.astype(np.float32))


def test_2021_submission_can_be_read_by_the_numpy_of_its_year(tmp_path: Path) -> None:
    path = write_submission_2021(tmp_path, "full", predictions_2021(("WB",)))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("full_track.pkl")
    names = {argument for opcode, argument, _ in pickletools.genops(content) if opcode.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


def test_2021_faulty_predictions_leave_the_old_submission(tmp_path: Path) -> None:
    before = write_submission_2021(tmp_path, "mini", predictions_2021()).read_bytes()
    diverged, large, short, partial = (predictions_2021() for _ in range(4))
    diverged["EBA"]["sub02"][3, 2] = np.nan
    large["EBA"]["sub02"][3, 2] = 1e300
    short["EBA"]["sub02"] = short["EBA"]["sub02"][:-1]
    del partial["EBA"]["sub02"]
    for predictions, words in (
        (diverged, r"found others in 1 of 9 videos for EBA of sub02; the training diverged"),
        (large, r"found others in 1 of 9 videos for EBA of sub02"),
        (short, r"expected predictions of every subject for equally many videos"),
        (partial, r"expected predictions of every subject"),
    ):
        with pytest.raises(InputError, match=rf"^mini_track\.zip: .*{words}"):
            write_submission_2021(tmp_path, "mini", predictions)
    with pytest.raises(InputError, match=r"^full_track\.zip: the full track takes predictions of WB, found V1, EBA"):
        write_submission_2021(tmp_path, "full", predictions_2021())
    assert (tmp_path / "mini_track.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mini_track.zip"]
