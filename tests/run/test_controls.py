"""`train.py --controls true`: what is planted beats them, what is not says so, what cannot be is refused."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from calcarine.results.run_folder import FinishedRun
from calcarine.run.main import main
from learnt import write_followed
from places import REPOSITORY

FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=learnt.Learnt",
    "--model=RidgeModule",
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
]
RUN = Path("runs/mine/version_0")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def verdict(capsys, *flags: str) -> str:
    """What the last line says of the controls."""
    assert main([*FLAGS, *flags, "--controls=true", "--name=mine"]) == 0
    *_, last = capsys.readouterr().out.strip().splitlines()
    return next(part for part in last.split("; ") if "beat" in part)


def rows(run: Path = RUN) -> dict[str, dict[str, str]]:
    """Of all targets, by control."""
    with (run / "controls.csv").open(newline="") as file:
        return {row["control"]: row for row in csv.DictReader(file) if row["hemisphere"] == "both"}


@pytest.mark.slow
def test_a_planted_signal_beats_all_controls(capsys):
    """Those of a run that ended without them, or was killed before them; what is trained is not trained again."""
    write_followed(Path("mine"), "weights")
    assert main([*FLAGS, "--name=mine"]) == 0
    assert not (RUN / "controls.csv").exists()
    said = verdict(capsys, "--ckpt_path=last")
    assert said.startswith("beats shuffled responses (")
    assert "pixels (" in said
    assert "random weights (" in said
    assert "does not" not in said
    found = rows()
    assert list(found) == ["shuffled", "pixels", "random_weights"]
    own = FinishedRun(RUN)
    whole = own.scores.query("split == 'test' and roi == 'all' and hemisphere == 'both'").iloc[0]
    for name, row in found.items():
        assert float(row["result_mean"]) == whole.pearson_mean > 0.5
        assert float(row["pearson_mean"]) < 0.3
        assert float(row["difference"]) == pytest.approx(float(row["result_mean"]) - float(row["pearson_mean"]))
        assert 0 < float(row["difference_ci_low"]) < float(row["difference"]) < float(row["difference_ci_high"])
        control = FinishedRun(RUN / "controls" / name)  # which `calcarine compare` takes too
        assert float(row["pearson_mean"]) in set(control.scores.pearson_mean)
        about = json.loads((RUN / "controls" / name / "run.json").read_text())
        assert about["wall_time_s"] > 0
    page = (RUN / "report.html").read_text()
    assert page.count("The result beats the control with ") == 3
    assert (RUN / "figures/controls.png").is_file()
    assert own.table("controls").control.tolist()[0] == "shuffled"
    whole_table = (RUN / "controls.csv").read_bytes()
    assert verdict(capsys, "--ckpt_path=last") == said
    assert (RUN / "controls.csv").read_bytes() == whole_table
    assert [path.name for path in RUN.parent.iterdir()] == ["version_0"]


@pytest.mark.slow
def test_responses_without_a_signal_do_not_beat_shuffled_ones(capsys):
    write_followed(Path("mine"), "nothing")
    assert "does not beat shuffled responses (" in verdict(capsys)
    page = (RUN / "report.html").read_text()
    warned = page[page.index("Before trusting these numbers") : page.index("</aside>")]
    assert "does not beat the control with shuffled responses" in warned
    assert "what it predicts may be chance" in warned


@pytest.mark.slow
def test_where_luminance_alone_is_planted_pixels_do_as_well(capsys):
    write_followed(Path("mine"), "pixels")
    said = verdict(capsys, "--data.encoder.pixels=true")
    beaten, _, unbeaten = said.partition("does not beat ")
    assert "shuffled responses" in beaten
    assert "pixels" in unbeaten
    assert "its features are not shown to tell more than small pixels do" in (RUN / "report.html").read_text()


@pytest.mark.slow
def test_a_backbone_gives_way_to_pixels_and_to_random_weights(capsys):
    write_followed(Path("mine"), "weights")
    backbone = ["--data.encoder=null", "--model=EncodingModule", "--model.backbone=learnt.Learnt"]
    frozen = ["--model.finetuning=Frozen", "--model.optimizer.lr=0.003", "--trainer.max_epochs=60"]
    said = verdict(capsys, *backbone, *frozen)
    assert all(f"{label} (" in said for label in ("shuffled responses", "pixels", "random weights"))
    config = FinishedRun(RUN / "controls/pixels").config
    assert config["model"]["init_args"]["backbone"] is None
    assert config["data"]["encoder"]["class_path"] == "calcarine.encoders.PixelEncoder"
    wrapped = FinishedRun(RUN / "controls/random_weights").config["model"]["init_args"]["backbone"]
    assert wrapped["class_path"] == "calcarine.encoders.RandomWeights"
    assert wrapped["init_args"]["encoder"]["class_path"] == "learnt.Learnt"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trainer.fast_dev_run=true"], "--controls true: a rehearsal has no scores"),
        (
            ["--data.source.shuffle=true", "--data.encoder=PixelEncoder"],
            "--controls true: expected a run that can be controlled, found no shuffled responses: the run's own are "
            "shuffled; no pixels: they are the run's own features; no random weights: the run's own features come "
            "from no weights that were trained before; leave it out",
        ),
    ],
)
def test_what_cannot_be_controlled_is_one_line(flags, message, capsys):
    write_followed(Path("mine"), "nothing", stimuli=30)
    assert main([*FLAGS, *flags, "--controls=true"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {message}")
    assert not list(Path("runs").glob("**/version_*"))


@pytest.mark.slow
def test_a_control_that_means_nothing_or_that_the_model_cannot_take_is_left_out_and_why(capsys, caplog):
    write_followed(Path("mine"), "weights")
    banded = ["--model=BandedRidgeModule", '--model.bands={"all": ["energy"]}']  # a layer that pixels do not have
    with caplog.at_level("INFO"):
        said = verdict(capsys, "--data.encoder.weights=random", *banded)
    assert "shuffled responses (" in said
    assert "pixels" not in said
    assert "no control with random weights: the run's own features come from no weights" in caplog.text
    assert 'no control with pixels: its training says "--model.bands' in caplog.text
    assert [path.name for path in (RUN / "controls").iterdir()] == ["shuffled"]
    page = (RUN / "report.html").read_text()
    assert page.count("There is no control with ") == 2


@pytest.mark.slow
def test_two_ranks_train_the_controls_together(capsys):
    """One folder, one line; for the same weights the figures of one process."""
    write_followed(Path("mine"), "weights", stimuli=80)
    few = ["--data.encoder.weights=random", "--trainer.enable_progress_bar=false"]
    flags = [*FLAGS, *few, "--name=mine", "--controls=true"]
    ranks = [sys.executable, str(REPOSITORY / "train.py"), *flags, "--trainer.devices=2", "--trainer.strategy=ddp"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests/fixtures")}
    done = subprocess.run(ranks, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test correlation") == 1
    assert [path.name for path in RUN.parent.iterdir()] == ["version_0"]
    two = rows()
    assert list(two) == ["shuffled", "pixels"]
    assert main([*flags, "--ckpt_path=last"]) == 0  # resumes each at its end, in one process
    assert capsys.readouterr().out.strip().splitlines()[-1] == done.stdout.strip().splitlines()[-1]
    for name, row in rows().items():
        for figure in ("result_mean", "pearson_mean", "difference_ci_low"):
            assert float(row[figure]) == pytest.approx(float(two[name][figure]), abs=1e-5)
