"""Inputs beside the image through the real commands: what is planted there is explained with them, and not without."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import calcarine as cc
import numpy as np
import pandas as pd
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.data.simulation.write import simulate
from calcarine.errors import InputError
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from presented import write_presented

FLAGS = [
    "--data.source=Folder",
    "--data.encoder=planted.Identity",
    "--model=RidgeModule",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
BESIDE = [
    "--data.beside=TrialContext",
    "--data.beside.previous=2",
    "--data.beside.components=16",
    "--data.beside.behaviour=true",
]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(*flags: str, root: str = "anna", name: str = "run") -> Path:
    assert main([*FLAGS, f"--data.source.root={root}", *flags, f"--name={name}"]) == 0
    return Path("runs") / name / "version_0"


def whole(run: Path, table: str = "beside") -> Any:
    found = pd.read_csv(run / f"{table}.csv").query("roi == 'all' and hemisphere == 'both' and split == 'test'")
    return next(found.itertuples())


def test_the_planted_part_is_explained_with_them_and_not_without(capsys: pytest.CaptureFixture[str]) -> None:
    """A third of what can be explained is the image's: r = √(1 / 3.5) without noise in the weights, and √(3 / 3.5)."""
    write_presented(Path("anna"))
    run = train(*BESIDE)
    row = whole(run)
    assert row.pearson_mean > 0.8
    assert 0.3 < row.image_alone_mean < 0.6
    assert row.difference == pytest.approx(row.pearson_mean - row.image_alone_mean)
    assert 0.2 < row.difference_ci_low < row.difference < row.difference_ci_high
    assert whole(run, "scores").pearson_mean == row.pearson_mean
    assert f"with inputs beside the image (previous, time, behaviour; without {row.image_alone_mean:.3f})" in (
        capsys.readouterr().out
    )
    page = (run / "report.html").read_text()
    warned = page[page.index("Before trusting these numbers") : page.index("</aside>")]
    assert "The model has inputs beside the image (previous, time, behaviour)" in warned
    assert "<h2>Inputs beside the image</h2>" in page


@pytest.mark.slow
def test_an_order_that_is_not_the_responses_adds_nothing() -> None:
    """Beside a model that never had such inputs, which predicts what the image alone tells."""
    write_presented(Path("anna"))
    alone = whole(train(*BESIDE)).image_alone_mean
    never = whole(train(name="never"), "scores").pearson_mean
    assert never == pytest.approx(alone, abs=0.06)
    assert not (Path("runs/never/version_0") / "beside.csv").exists()
    write_presented(Path("mixed"), permuted=True)
    mixed = whole(train(*BESIDE, root="mixed", name="mixed"))
    assert mixed.pearson_mean < never + 0.03
    assert mixed.difference_ci_low < 0.02
    assert mixed.difference < 0.05


def test_a_new_image_is_predicted_as_the_image_alone(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By the run's model, by its package, and on other data: and each says so in a line."""
    write_presented(Path("anna"), stimuli=120)
    run = train(*BESIDE)
    with (run / "predictions/test_stimuli.csv").open(newline="") as file:
        files = [Path("anna/images") / row["stimulus"] for row in csv.DictReader(file)]
    expected = np.load(run / "image_alone/predictions/test.npy")
    assert np.abs(expected - np.load(run / "predictions/test.npy")).max() > 0.5
    caplog.clear()
    model = cc.load_model(run)
    np.testing.assert_array_equal(model.predict(files), expected)
    assert "inputs beside the image (beside:previous, beside:time, beside:behaviour)" in caplog.text
    assert model.describe()["beside"] == ["beside:previous", "beside:time", "beside:behaviour"]
    assert calcarine(["export", str(run), "--out=package"]) == 0
    assert "inputs beside the image (previous, time, behaviour)" in Path("package/README.md").read_text()
    np.testing.assert_array_equal(cc.load_model("package").predict(files), expected)
    other = ["--data.source=Folder", "--data.source.root=other"]
    write_presented(Path("other"), seed=4, stimuli=40)
    caplog.clear()
    assert calcarine(["evaluate", str(run), *other, "--out=evaluated"]) == 0
    assert caplog.text.count("was trained with inputs beside the image") == 1
    assert "none of these stimuli has any" in Path("evaluated/report.html").read_text()
    capsys.readouterr()


def test_a_banded_ridge_has_a_band_of_each() -> None:
    write_presented(Path("anna"), stimuli=160)
    made = cc.train(
        cc.Folder("anna"),
        "planted.Identity",
        partial(cc.BandedRidgeModule, candidates=12),
        beside=cc.TrialContext(previous=2, components=16, behaviour=True),
        flags=[flag for flag in FLAGS if flag.startswith("--trainer")],
    )
    run = made.folder
    bands = pd.read_csv(run / "bands.csv").query("roi == 'all' and hemisphere == 'both'").set_index("band")
    assert list(bands.index) == ["pixels", "beside:previous", "beside:time", "beside:behaviour"]
    assert (bands.r2_mean[["pixels", "beside:previous", "beside:behaviour"]] > 0.12).all()
    assert bands.r2_mean["beside:time"] < 0.05


@pytest.mark.slow
def test_several_subjects_go_on_where_they_were_and_controls_have_none() -> None:
    """Heads of two subjects whose orders are their own, in training, resumed, and trained again without."""
    write_presented(Path("anna"))
    write_presented(Path("bert"), seed=1, stimuli=200, targets=5)
    flags = [
        *BESIDE, "--model=EncodingModule", "--model.head=BesideHead", "--model.optimizer.lr=0.01",
        "--data.source.root=[anna,bert]",
    ]  # fmt: skip
    run = train(*flags, "--trainer.max_epochs=40", name="whole")
    rows = pd.read_csv(run / "beside.csv").query("roi == 'all' and hemisphere == 'both'").set_index("subject")
    assert list(rows.index) == ["anna", "bert"]
    assert (rows.difference > 0.1).all()
    halves = train(*flags, "--trainer.max_epochs=20", name="halves")
    again = ["--trainer.max_epochs=40", "--ckpt_path=last", "--controls=true"]
    train(*flags, *again, name="halves")
    for subject in ("anna", "bert"):
        for folder in ("predictions", "image_alone/predictions"):
            ours, theirs = (np.load(each / folder / subject / "test.npy") for each in (run, halves))
            np.testing.assert_array_equal(ours, theirs)
    controls = pd.read_csv(halves / "controls.csv").query("roi == 'all' and hemisphere == 'both'")
    assert set(controls.control) == {"shuffled", "pixels", "trained_alone"}
    assert (controls[controls.control == "trained_alone"].difference > 0.1).all()


@pytest.mark.slow
def test_nsd_tells_the_order_and_a_test_set_without_one_has_the_mean(caplog: pytest.LogCaptureFixture) -> None:
    """Single trials of the Natural Scenes Dataset, whose reduction sees each trial's image; NSD-synthetic beside it."""
    simulate(Path("tree"), format="nsd-synthetic", images=40, targets=40, subjects=1, seed=2)
    source = ["--data.source=NSD", "--data.source.root=tree", "--data.source.average_repeats=false"]
    sets = ["--data.test_sets.synthetic=NsdSynthetic", "--data.test_sets.synthetic.root=tree"]
    reduced = ["--data.reduction=PrincipalComponents", "--data.reduction.components=10"]
    encoder = ["--data.encoder=PixelEncoder", "--data.encoder.size=8"]
    context = ["--data.beside=TrialContext", "--data.beside.previous=4", "--data.beside.components=6"]
    caplog.clear()
    assert main([*FLAGS, *source, *sets, *encoder, *reduced, *context, "--name=run"]) == 0
    assert "in synthetic)" in caplog.text
    run = Path("runs/run/version_0")
    for split, same in (("test", False), ("synthetic", True)):
        predicted, alone = (np.load(run / f"{each}predictions/{split}.npy") for each in ("", "image_alone/"))
        assert np.allclose(predicted, alone, atol=1e-4) == same
    assert "the training mean stands for it" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--data.source=Simulated"], "--data.beside: expected a source that tells the order of its trials"),
        (["--data.encoder=null"], "--data.beside: expected --data.encoder and --data.average_frames true"),
        (["--data.beside.behaviour=[rt]"], "--data.beside.behaviour: expected rt in the record of behaviour, found sp"),
        (["--data.beside.behaviour=[note]"], "--data.beside.behaviour: expected note in the record of behaviour"),
        (["--data.beside.layer=conv1"], "--data.beside.layer conv1: expected a layer that --data.encoder serves"),
        (["--data.beside.previous=-1"], "--data.beside.previous -1: expected 0 or more"),
        (["--data.beside.components=0"], "--data.beside.components 0: expected 1 or more"),
        (
            ["--data.beside.previous=0", "--data.beside.time=false", "--data.beside.behaviour=false"],
            "--data.beside: expected something beside the image",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(flags: list[str], line: str) -> None:
    write_presented(Path("anna"), stimuli=20)
    root = [] if "--data.source=Simulated" in flags else ["--data.source.root=anna"]
    with pytest.raises(InputError) as raised:
        build_cli([*FLAGS, *root, *BESIDE, *flags])
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_wrong_with_a_table_ends_the_run_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    write_presented(Path("anna"), stimuli=20)
    given = [*FLAGS, "--data.source.root=anna", *BESIDE, "--data.beside.components=40", "--name=run"]
    assert main(given) == 2
    assert "--data.beside.components 40: expected fewer than the" in capsys.readouterr().err
    table = Path("anna/trials.csv")
    table.write_text(table.read_text().replace("image003.png", "imgae003.png", 1))
    assert main([*FLAGS, "--data.source.root=anna", *BESIDE, "--data.beside.components=4", "--name=run"]) == 2
    assert "did you mean 'image003.png'?" in capsys.readouterr().err
    assert not Path("runs/run").exists()
