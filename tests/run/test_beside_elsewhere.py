"""Inputs beside the image where runs meet: a trunk taken along, a study, a stack, half precision, controls."""

import csv
from collections.abc import Sequence
from pathlib import Path

import calcarine as cc
import numpy as np
import pandas as pd
import pytest
import yaml
from calcarine.run.cli import build_cli
from calcarine.run.controls import plan_controls
from calcarine.run.main import main
from calcarine.study.front import main as tune
from calcarine.study.session import Session
from presented import write_presented

FLAGS = [
    "--data.source=Folder",
    "--data.source.root=anna",
    "--data.encoder=planted.Identity",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.beside=TrialContext",
    "--data.beside.previous=2",
    "--data.beside.components=4",
]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_presented(Path("anna"), stimuli=60)


@pytest.mark.parametrize(
    ("wanted", "named"),
    [([], "previous, time"), (["--data.beside.previous=0", "--data.beside.behaviour=[old]"], "time, behaviour")],
)
def test_a_trunk_that_reads_them_is_not_taken_along(
    wanted: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another run's components are others, and so may its columns of behaviour be, though they are as many."""
    trunk = [
        "--model.head=TrunkHead", "--model.head.trunk=MlpTrunk", "--model.head.trunk.dims=[8]",
        "--trainer.max_epochs=1",
    ]  # fmt: skip
    assert main([*FLAGS, *trunk, *wanted, "--name=first"]) == 0
    write_presented(Path("bert"), seed=1, stimuli=60)
    taken = "--model.head.trunk_weights=runs/first/version_0/checkpoints/best.ckpt"
    capsys.readouterr()
    others = [each.replace("old", "speed") for each in wanted]
    assert main([*FLAGS, *trunk, *others, taken, "--data.source.root=bert", "--name=second"]) == 2
    assert f"what that run's data had beside it ({named})" in capsys.readouterr().err
    assert not Path("runs/second").exists()


def controls_of(args: Sequence[str]) -> dict[str, tuple[list[str], str]]:
    """Flags of each control that a run would have, or why there is none."""
    plan = plan_controls(build_cli(args))
    return {each.control.name: (list(each.flags), each.control.left_out) for each in plan}


@pytest.mark.parametrize(("prefix", "random_control"), [("", False), ("pretrained:", True)])
def test_controls_have_the_layer_of_the_stimuli_before_that_their_encoders_serve(
    prefix: str, random_control: bool
) -> None:
    named = [
        f"--data.beside.layer={prefix}energy", f"--data.random_control={random_control}",
        "--data.encoder=learnt.Learnt", "--model=RidgeModule",
    ]  # fmt: skip
    found = controls_of([*FLAGS, *named])
    for control, layer in (("shuffled", f"{prefix}energy"), ("pixels", None), ("random_weights", "energy")):
        flags, left_out = found[control]
        assert not left_out
        cli = build_cli([*FLAGS, *named, *flags])
        assert cli.datamodule.inputs.beside.layer == layer
        assert "beside:previous" in cli.datamodule.feature_shapes


def test_a_stack_with_a_member_on_them_has_no_control_of_the_image_alone() -> None:
    ridge = {"class_path": "calcarine.models.RidgeModule"}
    members = {"image": {"layers": "pixels", "model": ridge}, "before": {"layers": ["beside:*"], "model": ridge}}
    stack = {"model": {"class_path": "calcarine.models.StackedModule", "init_args": {"members": members}}}
    Path("stack.yaml").write_text(yaml.safe_dump(stack))
    flags, left_out = controls_of(["--config=stack.yaml", *FLAGS])["trained_alone"]
    assert not flags
    assert left_out == "the stack's member before reads inputs beside the image, by beside:*"
    members["before"]["layers"] = "*"
    Path("stack.yaml").write_text(yaml.safe_dump(stack))
    assert controls_of(["--config=stack.yaml", *FLAGS])["trained_alone"] == (["--data.beside=null"], "")


@pytest.mark.slow
def test_a_stack_reads_them_in_half_precision() -> None:
    """A member on them, and one on the image: with their mean in their place the run's own prediction is another."""
    ridge = {"class_path": "calcarine.models.RidgeModule"}
    members = {"image": {"layers": "pixels", "model": ridge}, "beside": {"layers": "beside:*", "model": ridge}}
    stack = {"class_path": "calcarine.models.StackedModule", "init_args": {"members": members, "folds": 2}}
    Path("stack.yaml").write_text(yaml.safe_dump({"model": stack}))
    write_presented(Path("bert"), stimuli=160)
    given = ["--data.source.root=bert", "--data.cache_dtype=float16", "--data.beside.behaviour=true", "--name=stack"]
    assert main(["--config=stack.yaml", *FLAGS, *given]) == 0
    run = Path("runs/stack/version_0")
    rows = pd.read_csv(run / "beside.csv").query("roi == 'all' and hemisphere == 'both' and split == 'test'")
    assert rows.difference.item() > 0.1
    alone = np.load(run / "image_alone/predictions/test.npy")
    assert np.abs(alone - np.load(run / "predictions/test.npy")).max() > 0.3
    with (run / "predictions/test_stimuli.csv").open(newline="") as file:
        images = [Path("bert/images") / row["stimulus"] for row in csv.DictReader(file)]
    np.testing.assert_array_equal(cc.load_model(run).predict(images), alone)


def test_a_study_leaves_no_predictions_of_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those with them nor those of the image alone, which are as large."""
    monkeypatch.setattr(Session, "conclude", lambda self: None)
    Path("space.yaml").write_text("model.optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}")
    given = ["--trainer.max_epochs=1", "--search=space.yaml", "--study=mine", "--trials=1"]
    assert tune([*(each for each in FLAGS if "enable" not in each), *given]) == 0
    kept = {path.name.split(".")[0] for path in Path("runs/mine/trials").rglob("*") if path.is_file()}
    assert kept == {"events"}
