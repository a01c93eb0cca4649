"""A study's own command line."""

from pathlib import Path

from calcarine.study.search.options import parse


def test_a_study_is_kept_where_runs_go_and_its_trials_are_told():
    here, there = parse(["--study=mine"]), parse(["--study=mine", "--runs=some/where"])
    assert (here.folder, here.storage, here.args) == (Path("runs/mine"), "sqlite:///runs/mine/study.db", [])
    assert (there.folder, there.storage) == (Path("some/where/mine"), "sqlite:///some/where/mine/study.db")
    assert there.args == ["--runs=some/where"]
