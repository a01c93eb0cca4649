"""`--per_roi`: the rows that are best on each ROI's validation make one model, which is at least as good in each."""

import csv
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from calcarine.evaluation.tables import read_scores
from calcarine.study.front import main
from calcarine.study.ledger.attributes import PER_ROI
from calcarine.study.ledger.queue import finished
from calcarine.study.opening import open_session
from calcarine.study.outcome.report import REPORT
from calcarine.study.search.options import parse
from calcarine.study.session import Session
from calcarine.study.trial import Trials
from PIL import Image
from trees import write_array, write_folder

ROIS = {"clear": range(16), "dim": range(16, 32), "faint": range(32, 48)}


@pytest.fixture(autouse=True)
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Targets that pixels explain more or less, so that each ROI needs a decay of its own. Seed 4."""
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "mine", n_stimuli=100, n_targets=48)
    rng = np.random.default_rng(4)
    pixels = []
    for number in range(1, 101):
        colours = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((32, 32), Image.Resampling.NEAREST).save(folder / f"images/image{number}.png")
        pixels.append(colours.astype(np.float32).ravel() / 80)
    signal = np.stack(pixels) @ rng.normal(size=(48, 48)).astype(np.float32) / 7
    noise = rng.normal(size=signal.shape).astype(np.float32) * np.repeat([0.1, 1.0, 3.0], 16).astype(np.float32)
    write_array(folder / "responses.npy", signal + noise)
    with (folder / "rois.csv").open("w", newline="") as file:
        rows = [(target, "lh", name) for name, targets in ROIS.items() for target in targets]
        csv.writer(file).writerows([("target", "hemisphere", "roi"), *rows])
    (tmp_path / "space.yaml").write_text("model.optimizer.weight_decay: {type: categorical, choices: [0.1, 1.0, 10.0]}")
    return [
        *("--data.source=Folder", "--data.source.root=mine", "--data.encoder=PixelEncoder", "--data.validation=0.3"),
        *("--data.encoder.size=4", "--trainer.accelerator=cpu", "--trainer.max_epochs=30", "--search=space.yaml"),
        *(
            "--model.optimizer.lr=0.02",
            "--early_stopping.patience=30",
            "--study=mine",
            "--per_roi",
            "--sampler=grid",
            "--trials=3",
        ),
    ]


def scores(folder: Path, split: str) -> dict[str, float]:
    rows = [row for row in read_scores(folder / "scores.csv") if row.split == split and row.roi != "all"]
    return {f"{row.hemisphere}.{row.roi}": row.pearson_mean or 0.0 for row in rows}


@pytest.mark.slow
def test_the_assembled_model_is_at_least_the_best_trial_in_every_roi(flags: list[str]) -> None:
    session = open_session(parse(flags))
    session.run()
    study, folder = session.study, Path("runs/mine/per_roi/version_0")
    content = study.user_attrs[PER_ROI]
    assert content["folder"] == str(folder)
    assembled, single = (scores(each, "validation") for each in (folder, Path("runs/mine/best/version_0")))
    complete = finished(study)
    assert len(complete) == 3
    by_roi = dict(zip([each["roi"] for each in content["rois"]], content["rois"], strict=True))
    assert list(by_roi) == [f"lh.{name}" for name in ROIS]
    for group, (roi, result) in enumerate(by_roi.items()):
        means = [trial.user_attrs[PER_ROI]["validation"][group] for trial in complete]
        assert result["trial"] == int(np.argmax(means))
        assert assembled[roi] == pytest.approx(max(means), abs=1e-6)
        assert assembled[roi] == pytest.approx(result["validation"], abs=1e-6)
        assert single[roi] == pytest.approx(result["best_validation"], abs=1e-6)
        assert scores(folder, "test")[roi] == pytest.approx(result["test"], abs=1e-6)
        assert assembled[roi] >= single[roi] - 1e-6
    assert len({result["trial"] for result in by_roi.values()}) > 1, "one trial is best everywhere: nothing is tested"
    assert sum(assembled.values()) > sum(single.values()) + 0.005
    state = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    kept = torch.load("runs/mine/.rows/0.pt", weights_only=True)["rows"]["head.weight"]
    assert torch.equal(state["head.weight"][:16], kept)
    assert {"report.html", "predictions", "targets.csv", "config.yaml"} <= {path.name for path in folder.iterdir()}
    page = Path("runs/mine", REPORT).read_text()
    assert "One trial, or one per ROI" in page
    before = (folder / "scores.csv").stat().st_mtime_ns
    open_session(parse(flags)).run()  # nothing is left to do
    assert (folder / "scores.csv").stat().st_mtime_ns == before
    assert len(list(folder.parent.iterdir())) == 1


@pytest.mark.slow
def test_a_crash_between_trials_loses_no_rows(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    open_session(parse([*flags, "--study=whole"])).search()
    open_session(parse([*flags, "--trials=1"])).search()
    open_session(parse(flags)).search()
    for group in range(3):
        kept, same = (torch.load(f"runs/{name}/.rows/{group}.pt", weights_only=True) for name in ("mine", "whole"))
        assert kept["trial"] == same["trial"]
        assert torch.equal(kept["rows"]["head.weight"], same["rows"]["head.weight"])
    shutil.rmtree("runs/mine/.rows")  # as on a machine without the disk of the others
    assert main(flags) == 2
    assert "--per_roi: runs/mine/.rows lacks rows of study mine" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_of_an_earlier_study_of_the_name_and_of_pruned_trials_do_not_count(
    flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Path("runs/mine/.rows/0.pt")
    rows.parent.mkdir(parents=True)
    torch.save({"trial": 7, "validation": 1.0, "rows": {}}, rows)

    def pruned(self: Trials, trial: optuna.Trial) -> None:
        raise optuna.TrialPruned

    monkeypatch.setattr(Trials, "_run", pruned)
    session = open_session(parse([*flags, "--trials=1"]))
    session.run()
    assert not rows.exists()
    assert Path("runs/mine", REPORT).exists()


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        (
            "",
            ["--model.head=FullyConnectedHead"],
            "--per_roi: needs a model whose targets are independent, found Fully",
        ),
        ("data.encoder.size: {type: int, low: 4, high: 8}", [], "--per_roi: --search varies data.encoder.size"),
        ("seed_everything: {type: int, low: 0, high: 8}", [], "--per_roi: --search varies seed_everything"),
    ],
)
def test_rows_that_cannot_be_joined_are_refused(
    space: str, more: list[str], message: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if space:
        Path("space.yaml").write_text(space)
    assert main([*flags, *more]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_study_does_not_come_to_keep_rows_midway(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Session, "conclude", lambda self: None)
    monkeypatch.setattr(Session, "search", lambda self: None)
    assert main([flag for flag in flags if flag != "--per_roi"]) == 0
    assert main(flags) == 2
    assert "it is not what it was begun with: per_roi: False → True" in capsys.readouterr().err
