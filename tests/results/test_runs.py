"""`calcarine runs` on folders as train.py and tune.py leave them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calcarine.commands.main import main
from finished_runs import write_data, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs, one of them a study's best; one begun, one of an earlier version, one damaged."""
    root = tmp_path_factory.mktemp("listed")
    responses = write_data(root / "data", 60, 8)
    runs = root / "runs"
    rng = np.random.default_rng(0)
    finished = (("gabor/version_2", 3, 47.2), ("gabor/version_10", 2, 900.0), ("study/best/version_0", 1, 9000.0))
    for name, noise, seconds in finished:
        predictions = responses + noise * rng.standard_normal(responses.shape)
        about = {
            "date": f"2026-11-{10 + noise}T08:30:00+00:00",
            "model": "RidgeModule",
            "wall_time_s": seconds,
            "result": {"ceiling_share": 0.5 / noise, "score": 60.5 / noise},
        }
        splits = {"validation": (range(20), -predictions[:20]), "test": (range(20, 60), predictions[20:])}
        write_run(runs / name, root / "data", splits, about=about)
    write_run(runs / "old/version_0", root / "data", {"validation": (range(20), responses[:20])})
    begun = runs / "gabor/version_11"
    begun.mkdir()
    (begun / "config.yaml").write_text("seed_everything: 0\n")
    (runs / "study/trials/version_0").mkdir(parents=True)
    (runs / "study/trials/version_0/events.out.tfevents.1").touch()
    write_run(runs / "bad/version_0", root / "data", {"validation": (range(20), responses[:20])})
    (runs / "bad/version_0/run.json").write_text("{")
    (runs / "study/round").symlink_to(runs)
    return runs


def order(runs: Path, capsys, *flags: str) -> list[str]:
    assert main(["runs", str(runs), *flags]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    return [line.split()[0] for line in lines if "/version_" in line and ":" not in line.split()[0]][:4]


def test_every_finished_run_is_a_line(runs: Path, capsys, tmp_path: Path) -> None:
    assert main(["runs", str(runs), "--csv", str(tmp_path / "all.csv")]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["run", "date", "data", "model"]
    table = pd.read_csv(tmp_path / "all.csv")
    assert table["run"].tolist() == ["gabor/version_2", "gabor/version_10", "old/version_0", "study/best/version_0"]
    scores = pd.read_csv(runs / "gabor/version_10/scores.csv")
    whole = scores[(scores["split"] == "test") & (scores["hemisphere"] == "both")]
    assert table["correlation"][1] == pytest.approx(whole["pearson_mean"].item(), rel=1e-12)
    assert table["split"].tolist() == ["test", "test", "validation", "test"]
    assert table["ceiling_share"][0] == pytest.approx(0.5 / 3)
    figures = f"{table['correlation'][1]:.3f} 25 % 30.250 15 min"
    assert " ".join(lines[1].split()[1:]) == f"2026-11-12 08:30 Folder RidgeModule test {figures}"
    assert "–" in lines[2]
    assert lines[4] == "1 not finished: gabor/version_11"
    assert lines[5].startswith(f"left out: {runs}/bad/version_0/run.json: expected a run's provenance")
    assert len(lines) == 6


def test_a_column_sorts_and_what_has_none_comes_last(runs: Path, capsys) -> None:
    by_time = ["study/best/version_0", "gabor/version_10", "gabor/version_2", "old/version_0"]
    assert order(runs, capsys, "--sort", "time") == by_time
    assert order(runs, capsys, "--sort", "score") == by_time
    assert order(runs, capsys, "--sort", "date") == [*by_time[:3], "old/version_0"]
    assert order(runs, capsys, "--sort", "correlation")[0] == "old/version_0"  # it predicts exactly
    assert main(["runs", str(runs), "--sort", "scores"]) == 2
    assert "--sort scores: expected a column of run, date," in capsys.readouterr().err


def test_a_folder_without_runs(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no finished run\n"
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 2
    assert "runs: expected a folder of runs, found none" in capsys.readouterr().err
