"""The tables of a run's folder: columns, empty cells, round trips and bytes."""

import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calcarine.errors import InputError
from calcarine.evaluation.scores import ScoreRow, target_scores
from calcarine.evaluation.tables import read_scores, write_rows, write_targets
from calcarine.recording import Recording, Responses, Roi

ROW = ScoreRow(
    split="test",
    subject="subj01",
    hemisphere="lh",
    roi="V1, ventral",
    n_targets=3,
    n_scored=2,
    pearson_mean=0.1 + 0.2,
    pearson_median=1 / 3,
    pearson_ci_low=-1e-17,
    pearson_ci_high=0.4,
    r2_mean=-12.5,
    explained_variance_mean=0.5,
    mse=1e22,
    rmse=1.0,
    mae=2.0,
    smooth_l1=3.0,
    noise_ceiling_mean=None,
    score=52.3,
)
HEADER = (
    "split,subject,hemisphere,roi,n_targets,n_scored,pearson_mean,pearson_median,pearson_ci_low,pearson_ci_high,"
    "r2_mean,explained_variance_mean,mse,rmse,mae,smooth_l1,noise_ceiling_mean,score"
)


def test_scores_read_back_exactly_with_the_promised_columns(tmp_path: Path) -> None:
    path = tmp_path / "run" / "scores.csv"
    rows = [ROW, replace(ROW, hemisphere="both", pearson_mean=None)]
    write_rows(path, rows)
    header, first, second = path.read_text().splitlines()
    assert header == HEADER
    assert first.startswith('test,subj01,lh,"V1, ventral",3,2,0.30000000000000004,0.3333333333333333,-1e-17,0.4,')
    assert second.endswith(",3.0,,52.3")
    assert read_scores(path) == rows
    before = path.read_bytes()
    write_rows(path, read_scores(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "found no such file"),
        ("", "expected a table of scores"),
        ("a,b\n1,2\n", "found a,b"),
        (HEADER + "\ntest,subj01\n", "expected a table of scores"),
        (HEADER + "\n" + ",".join(["x"] * 18) + "\n", "expected a table of scores"),
    ],
)
def test_what_is_no_table_of_scores_is_refused_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def tree(num_targets: int) -> tuple[Recording, np.ndarray]:
    rng = np.random.default_rng(0)
    responses = rng.normal(size=(6, num_targets)).astype(np.float32)
    half = num_targets // 2
    recording = Recording(
        subject="subj03",
        stimuli=["a"] * 6,  # pyright: ignore[reportArgumentType]
        responses=Responses.of(responses),
        splits=np.full(6, "test"),
        hemispheres=np.array(["lh"] * half + ["rh"] * (num_targets - half)),
        rois=[Roi("V1v", "lh", np.arange(2)), Roi("early", "lh", np.arange(1, 3)), Roi("none", "rh", np.arange(0))],
        noise_ceiling=np.r_[0.0, np.nan, np.full(num_targets - 2, 0.25)],
        vertices=np.arange(num_targets) * 7,
    )
    return recording, (responses + rng.normal(size=responses.shape)).astype(np.float32)


def test_targets_hold_what_is_known_of_each(tmp_path: Path) -> None:
    recording, predictions = tree(6)
    responses = recording.responses.gather(np.arange(6))
    responses[:, 5] = 2.0
    scores = target_scores(predictions, responses, recording.noise_ceiling)
    write_targets(tmp_path / "targets.csv", [(recording, "validation", scores), (recording, "test", scores)], {})
    with (tmp_path / "targets.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == (
        "split,subject,hemisphere,target,rois,vertex,pearson,r2,explained_variance,mse,rmse,mae,smooth_l1,"
        "noise_ceiling,score"
    )
    assert [(row["split"], row["target"]) for row in rows] == [
        (split, str(target)) for split in ("validation", "test") for target in range(6)
    ]
    assert [row["rois"] for row in rows[:6]] == ["V1v", "V1v;early", "early", "", "", ""]
    assert [row["hemisphere"] for row in rows[:6]] == ["lh"] * 3 + ["rh"] * 3
    assert [row["vertex"] for row in rows[:6]] == ["0", "7", "14", "21", "28", "35"]
    assert [float(row["pearson"]) for row in rows[:5]] == scores.pearson[:5].tolist()
    assert (rows[5]["pearson"], rows[5]["score"], float(rows[5]["mse"])) == ("", "", scores.mse[5])
    assert (rows[0]["noise_ceiling"], rows[0]["score"]) == ("0.0", "")
    assert (rows[1]["noise_ceiling"], rows[1]["score"]) == ("", "")


def test_a_full_size_subject_is_written_in_seconds(tmp_path: Path) -> None:
    recording, predictions = tree(39_548)
    scores = target_scores(predictions, recording.responses.gather(np.arange(6)), recording.noise_ceiling)
    begin = time.process_time()  # not the wall clock, which others' load moves
    write_targets(tmp_path / "targets.csv", [(recording, "validation", scores), (recording, "test", scores)], {})
    assert time.process_time() - begin < 15
    with (tmp_path / "targets.csv").open() as file:
        assert sum(1 for _ in file) == 2 * 39_548 + 1
