"""`calcarine export --format brainscore-assembly`: what xarray opens is what the run predicted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from calcarine.commands.main import main
from calcarine.data import BrainScore
from finished_runs import write_data, write_run

TESTS = [2, 5, 7, 9]


@pytest.fixture
def run(tmp_path) -> tuple[Path, np.ndarray]:
    write_data(tmp_path / "mine", 12, 6)
    predictions = np.random.default_rng(1).standard_normal((len(TESTS), 6)).astype(np.float32)
    folder = write_run(
        tmp_path / "runs/a/version_0",
        tmp_path / "mine",
        {"validation": ([0, 1], predictions[:2]), "test": (TESTS, predictions)},
    )
    return folder, predictions


def test_xarray_opens_what_was_predicted(run, tmp_path, capsys):
    import xarray

    folder, predictions = run
    before = sorted(path.stat().st_mtime_ns for path in folder.rglob("*"))
    assert main(["export", str(folder), "--format", "brainscore-assembly", "--out", str(tmp_path / "out")]) == 0
    assert "validation_mine.nc, test_mine.nc" in capsys.readouterr().out
    with xarray.open_dataarray(tmp_path / "out" / "test_mine.nc", engine="h5netcdf") as assembly:
        assert assembly.dims == ("presentation", "neuroid")
        assert assembly.name == "data"
        np.testing.assert_array_equal(assembly.values, predictions)
        assert assembly["stimulus_id"].values.tolist() == [f"image{place + 1}.png" for place in TESTS]
        assert assembly["split"].values.tolist() == ["test"] * 4
        assert assembly["region"].values.tolist() == ["V4", "V1"] * 3
        assert assembly["hemisphere"].values.tolist() == ["lh"] * 3 + ["rh"] * 3
        assert assembly["neuroid_id"].values[2] == "mine.2"
        by_region = assembly.set_index(neuroid=["region", "neuroid_id"]).sel(region="V1")
        np.testing.assert_array_equal(by_region.values, predictions[:, 1::2])
    assert sorted(path.stat().st_mtime_ns for path in folder.rglob("*")) == before


def test_an_assembly_is_read_again_as_data(run, tmp_path):
    folder, predictions = run
    out = tmp_path / "out"
    assert main(["export", str(folder), "--format", "brainscore-assembly", "--out", str(out)]) == 0
    (recording,) = BrainScore(out, images=tmp_path / "mine" / "images", assembly="test_mine.nc").read()
    assert recording.stimuli.names == [f"image{place + 1}.png" for place in TESTS]
    np.testing.assert_array_equal(recording.responses.gather(np.arange(4)), predictions)
    assert {roi.name for roi in recording.rois} == {"V1", "V4"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: shutil.rmtree(run / "predictions"), "expected validation.npy or test.npy, found neither"),
        (lambda run: (run / "scores.csv").unlink(), "expected the folder of a finished run"),
        (lambda run: shutil.rmtree(run.parents[2] / "mine"), "the run's responses cannot be read again"),
        (lambda run: (run.parents[2] / "out" / "x").mkdir(parents=True), "a new or an empty folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_nothing_is_written(run, tmp_path, capsys, spoil, message):
    folder, _ = run
    spoil(folder)
    assert main(["export", str(folder), "--format", "brainscore-assembly", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.nc")) if (tmp_path / "out").exists() else True
