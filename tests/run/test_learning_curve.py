"""`train.py --learning_curve`: points on fewer stimuli, and what a trained trunk gains a new subject."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calcarine.run.main import main
from calcarine.yaml_text import read_yaml

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
DATA = ["--data.source=alike.Alike", "--data.encoder=alike.Values", "--data.validation=0.2"]
RIDGE = [*QUIET, *DATA, "--data.source.stimuli=150", "--model=RidgeModule", "--name=ridge"]
TRUNK = [
    *QUIET,
    *DATA,
    "--model.head=TrunkHead",
    "--model.head.trunk=MlpTrunk",
    "--model.head.trunk.dims=[64,32]",
    "--model.head.subject_layers=true",
    "--model.optimizer=torch.optim.AdamW",
    "--model.optimizer.lr=3e-3",
    "--model.scheduler=null",
    "--early_stopping.patience=8",
]
COUNTS = (50, 100, 200, 500)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def whole(run: Path) -> pd.DataFrame:
    """Points over all targets, by number of training stimuli."""
    table = pd.read_csv(run / "learning_curve.csv")
    return table[(table["hemisphere"] == "both") & (table["roi"] == "all")].set_index("training_stimuli")


def test_a_closed_form_has_a_curve_whose_points_are_runs_on_fewer_stimuli() -> None:
    """Of two subjects; the whole run is the last point."""
    two = [*RIDGE, "--data.source.subject=[1,2]"]
    assert main([*two, "--learning_curve=[60,30]"]) == 0
    run = Path("runs/ridge/version_0")
    points = whole(run)
    assert points.index.tolist() == [30, 30, 60, 60, 120, 120]
    assert points["point"].tolist() == [1, 1, 2, 2, 3, 3]
    assert points["scratch_mean"].isna().all()
    scores = pd.read_csv(run / "scores.csv").query("split == 'test' and hemisphere == 'both' and roi == 'all'")
    assert points.loc[120, "pearson_mean"].tolist() == scores["pearson_mean"].tolist()
    assert main([*two, "--data.training_stimuli=30", "--name=alone"]) == 0
    for subject in ("subj01", "subj02"):
        inner, alone = (
            np.load(folder / f"predictions/{subject}/test.npy")
            for folder in (run / "learning_curve/30", Path("runs/alone/version_0"))
        )
        assert np.array_equal(inner, alone)
    page = (run / "report.html").read_text()
    assert "<h2>Learning curve</h2>" in page
    assert (run / "figures/training_stimuli.png").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learning_curve=[]"], "--learning_curve []: expected numbers of stimuli, such as [50,100,200,500]"),
        (["--learning_curve=[30]", "--trainer.fast_dev_run=true"], "--learning_curve: a rehearsal has no scores"),
        (["--learning_curve=[30,121]"], "--learning_curve 121: expected at most the 120 training stimuli of subj01"),
        (["--learning_curve=[0]"], "--learning_curve"),
        (["--data.training_stimuli=121"], "--data.training_stimuli 121: expected at most the 120 training stimuli of"),
        (["--data.training_stimuli=0"], "--data.training_stimuli 0: expected 1 or more"),
    ],
)
def test_what_cannot_be_is_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RIDGE, *flags]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {message}")
    assert not list(Path("runs").glob("**/version_*"))


def test_a_trunk_within_another_head_begins_untrained_too() -> None:
    """Wherever in the model its weights stand."""
    short = [*QUIET, *DATA, "--data.source.stimuli=80", "--trainer.max_epochs=1", "--model.optimizer.lr=1e-3"]
    trunk = {"class_path": "calcarine.models.MlpTrunk", "init_args": {"dims": [8]}}
    first = [f"--model.head.trunk={json.dumps(trunk)}", "--name=first"]
    assert main([*short, "--model.head=TrunkHead", *first]) == 0
    weights = "runs/first/version_0/checkpoints/best.ckpt"
    within = {"class_path": "calcarine.models.TrunkHead", "init_args": {"trunk": trunk, "trunk_weights": weights}}
    groups = {"class_path": "calcarine.models.RandomGroups", "init_args": {"readout": within, "groups": 2}}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*meta.*")
        assert main([*short, f"--model.head={json.dumps(groups)}", "--learning_curve=[30]", "--name=second"]) == 0
    assert whole(Path("runs/second/version_0"))["scratch_mean"].notna().loc[30]
    inner = read_yaml(Path("runs/second/version_0/learning_curve/30_scratch/config.yaml").read_text())
    readout = inner["model"]["init_args"]["head"]["init_args"]["readout"]
    assert readout["init_args"]["trunk_weights"] is None


@pytest.mark.slow
def test_a_curve_can_be_asked_for_later_and_with_more_points() -> None:
    """What is trained is not trained again; the number of all training stimuli is the run itself."""
    run = Path("runs/ridge/version_0")
    assert main(RIDGE) == 0
    assert main([*RIDGE, "--learning_curve=[30]", "--ckpt_path=last"]) == 0
    first = run / "learning_curve/30/checkpoints/best.ckpt"
    predictions = (run / "learning_curve/30/predictions/test.npy").read_bytes()
    assert whole(run).index.tolist() == [30, 120]
    assert main([*RIDGE, "--learning_curve=[30,120,60]", "--ckpt_path=last", "--controls=true"]) == 0
    assert whole(run).index.tolist() == [30, 60, 120]
    assert first.is_file()
    assert (run / "learning_curve/30/predictions/test.npy").read_bytes() == predictions
    assert sorted(path.name for path in (run / "learning_curve").iterdir()) == ["30", "60"]
    assert set(pd.read_csv(run / "controls.csv")["control"]) == {"shuffled", "pixels"}
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert main([*RIDGE, "--ckpt_path=last"]) == 0  # and asked for no more
    assert first.is_file()
    assert not [run / name for name in ("learning_curve.csv", "controls.csv") if (run / name).exists()]
    assert not list((run / "figures").glob("training_stimuli.*"))
    assert "<h2>Learning curve</h2>" not in (run / "report.html").read_text()


@pytest.mark.slow
def test_a_point_that_the_model_cannot_have_is_left_out_and_why(caplog: pytest.LogCaptureFixture) -> None:
    reduced = ["--data.reduction=PrincipalComponents", "--data.reduction.components=20"]
    with caplog.at_level("INFO"):
        assert main([*RIDGE, *reduced, "--learning_curve=[10,60]"]) == 0
    assert whole(Path("runs/ridge/version_0")).index.tolist() == [60, 120]
    assert "There is no point of 10 training stimuli: its training says" in caplog.text
    assert "There is no point of 10 training stimuli" in Path("runs/ridge/version_0/report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [False, True])
def test_adaptation_beats_training_from_scratch_below_500_stimuli(
    shuffle: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trunk of three subjects, trained with subject dropout, taken to a fourth; shuffled responses gain nothing."""
    three = ["--data.source.subject=[1,2,3]", "--model.head.subject_dropout=0.3", "--trainer.max_epochs=40"]
    assert main([*TRUNK, *three, "--name=three"]) == 0
    fourth = [
        f"--data.source.subject={[4, 5, 6] if shuffle else [4]}",
        "--data.source.stimuli=1000",
        f"--data.source.shuffle={str(shuffle).lower()}",
        "--model.head.trunk_weights=runs/three/version_0/checkpoints/best.ckpt",
        "--model.head.freeze_trunk=true",
        "--data.batch_size=16",
        "--trainer.max_epochs=60",
        f"--learning_curve={list(COUNTS)}",
        "--name=fourth",
    ]
    assert main([*TRUNK, *fourth]) == 0
    points = whole(Path("runs/fourth/version_0"))
    assert points.index.unique().tolist() == [*COUNTS, 800]
    said = capsys.readouterr().out.strip().splitlines()[-1]
    if shuffle:
        # By chance a subject's targets are all predicted a little, or all wrongly: they share 12 codes.
        means = points.groupby("training_stimuli")[["pearson_mean", "scratch_mean", "gain"]].mean()
        assert means.abs().max().max() < 0.15, means
        assert means.abs().mean().max() < 0.1, means
        return
    few = points.loc[[count for count in COUNTS if count < 500]]
    assert (few["gain_ci_low"] > 0).all()
    assert (few["pearson_mean"] > few["scratch_ci_high"]).all()
    assert points.loc[50, "gain"] > 0.5
    assert points["pearson_mean"].is_monotonic_increasing
    assert "its trained trunk gains at 50, 100, 200" in said
