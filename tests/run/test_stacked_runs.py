"""A stack inside a run, through the real command: what it predicts, learns from, goes on with and refuses."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import calcarine as cc
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from calcarine.commands.main import main as calcarine
from calcarine.models import EncodingModule, StackedModule
from calcarine.names import TRAIN
from calcarine.run import members as training_of_members
from calcarine.run.main import main
from PIL import Image
from scipy.stats import pearsonr
from trees import write_algonauts, write_array

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
RIDGE = {"class_path": "calcarine.models.RidgeModule"}
MEMBERS = {"fine": {"layers": ["fine:*"], "model": RIDGE}, "coarse": {"layers": ["coarse:*"], "model": RIDGE}}
NETWORK = {
    "layers": "fine:*",
    "max_epochs": 12,
    "callbacks": [{"class_path": "calcarine.models.ExponentialMovingAverage", "init_args": {"decay": 0.5}}],
    "model": {
        "class_path": "calcarine.models.EncodingModule",
        "init_args": {
            "head": {"class_path": "calcarine.models.MlpHead", "init_args": {"width": 24, "blocks": 1}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "scheduler": {"class_path": "calcarine.models.OneCycle"},
        },
    },
}
MEMORY = {
    "layers": ["fine:*"],
    "model": {
        "class_path": "calcarine.models.RidgeModule",
        "init_args": {"penalties": [1e-4], "selection": "all", "folds": 2},
    },
}
"""Recalls what it was trained on: of more features than stimuli, and hardly penalised."""


def write_planted(
    root: Path,
    stimuli: int = 150,
    tests: int = 50,
    targets: int = 12,
    seed: int = 0,
    noise: float = 1.0,
    shown: int = 1,
) -> np.ndarray:
    """Pictures of noise: a third of the targets see a fine pattern, a third coarse colours, a third both.

    Args:
        root: The folder to write.
        stimuli: Pictures to train on.
        tests: Pictures to test on.
        targets: How many.
        seed: Of all of it.
        noise: Standard deviation, of a signal of variance 1.
        shown: Times that each picture of the training split stands there, under other names.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (stimuli + tests, 8, 8, 3), dtype=np.uint8)
    centred = pixels / 127.5 - 1
    fine = centred.reshape(len(pixels), -1) @ rng.standard_normal((192, targets))
    blocks = centred.reshape(len(pixels), 2, 4, 2, 4, 3).mean((2, 4)).reshape(len(pixels), -1)
    coarse = blocks @ rng.standard_normal((12, targets))
    fine, coarse = fine / fine.std(0), coarse / coarse.std(0)
    share = np.repeat([0.0, 0.5, 1.0], targets // 3)
    signal = np.sqrt(share) * coarse + np.sqrt(1 - share) * fine
    order = np.concatenate([np.repeat(np.arange(stimuli), shown), np.arange(stimuli, len(pixels))])
    responses = 5 + signal[order] + noise * rng.standard_normal((len(order), targets))
    (root / "images").mkdir(parents=True)
    lines = ["stimulus,split"]
    for index, picture in enumerate(order):
        Image.fromarray(pixels[picture]).save(root / f"images/{index:04d}.png")
        lines.append(f"{index:04d}.png,{'train' if picture < stimuli else 'test'}")
    (root / "split.csv").write_text("\n".join(lines) + "\n")
    rois = [f"{target},lh,{'abc'[target // (targets // 3)]}" for target in range(targets)]
    (root / "rois.csv").write_text("\n".join(["target,hemisphere,roi", *rois]) + "\n")
    write_array(root / "responses.npy", responses.astype(np.float32))
    return responses


def write_config(members: Mapping[str, Any], path: str = "stack.yaml", **settings: Any) -> str:
    sizes = {"fine": 8, "coarse": 2}
    encoders = {
        name: {"class_path": "calcarine.encoders.PixelEncoder", "init_args": {"size": size}}
        for name, size in sizes.items()
    }
    config = {
        "data": {
            "source": {"class_path": "calcarine.data.Folder", "init_args": {"root": "mine"}},
            "encoder": {"class_path": "calcarine.encoders.JointEncoder", "init_args": {"encoders": encoders}},
            "validation": 0.0,
        },
        "model": {
            "class_path": "calcarine.models.StackedModule",
            "init_args": {"members": dict(members), "folds": 3, **settings},
        },
    }
    Path(path).write_text(yaml.safe_dump(config))
    return path


def train(*flags: str, name: str = "stack") -> Path:
    assert main(["--config=stack.yaml", f"--name={name}", *QUIET, *flags]) == 0
    return sorted(Path("runs", name).iterdir())[-1]


def test_images(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Test images and the responses to them."""
    table = pd.read_csv(root / "split.csv")
    chosen = np.flatnonzero(table.split == "test")
    images = np.stack([np.asarray(Image.open(root / "images" / table.stimulus[index])) for index in chosen])
    return images, np.load(root / "responses.npy")[chosen]


test_images.__test__ = False  # type: ignore[attr-defined]


def alone(model: StackedModule, images: np.ndarray) -> dict[str, np.ndarray]:
    """What each member predicts by itself, (n, T)."""
    weight, bias = model.stacked.weight.clone(), model.stacked.bias.clone()
    found = {}
    for index, name in enumerate(model.stacked.names):
        model.stacked.weight.zero_()[index] = 1
        model.stacked.bias.zero_()
        found[name] = model.predict(images).numpy()
    model.stacked.weight.copy_(weight)
    model.stacked.bias.copy_(bias)
    return found


def mean_correlation(predictions: np.ndarray, responses: np.ndarray) -> float:
    columns = zip(predictions.T, responses.T, strict=True)
    return float(np.nanmean([pearsonr(p, y).statistic if p.std() else np.nan for p, y in columns]))


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_planted(Path("mine"))
    return Path("mine")


def test_a_stack_is_one_run_one_checkpoint_and_says_what_each_member_does(planted: Path) -> None:
    write_config({**MEMBERS, "v1.5 network": NETWORK})
    run = train()
    images, responses = test_images(planted)
    predicted = np.load(run / "predictions/test.npy")
    model = EncodingModule.load_from_checkpoint(run / "checkpoints/best.ckpt")
    assert isinstance(model, StackedModule)
    np.testing.assert_array_equal(model.predict(images).numpy(), predicted)
    own, table = alone(model, images), pd.read_csv(run / "targets.csv")
    weights = np.stack([table[f"weight_{name}"] for name in own])
    combined = sum(weight * each for weight, each in zip(weights, own.values(), strict=True))
    assert (predicted - combined).std(0).max() < 1e-4, "a target's predictions are its members' and one intercept"
    assert (weights >= 0).all()
    assert mean_correlation(predicted, responses) > max(mean_correlation(each, responses) for each in own.values())

    coarse_only = (table.rois == "c").to_numpy()
    assert table.weight_coarse[coarse_only].min() > 0.5
    assert table.weight_fine[coarse_only].mean() < table["weight_fine"][~coarse_only].mean()
    parts = table[["unique_member_r2_fine", "unique_member_r2_coarse", "unique_member_r2_v1.5 network"]].sum(axis=1)
    np.testing.assert_allclose(parts + table.unique_member_r2_shared, table.cv_r2, atol=1e-5)
    assert table.member_r2_coarse[coarse_only].min() > table.member_r2_fine[coarse_only].max() - 0.05
    by_roi = pd.read_csv(run / "members.csv", keep_default_na=False)
    assert set(by_roi.member) == {"fine", "coarse", "v1.5 network", "shared"}
    assert (run / "figures/member_partition.png").is_file()
    assert "What each member adds" in (run / "report.html").read_text()

    kept = sorted(path.relative_to(run).as_posix() for path in (run / "members").rglob("*") if path.is_file())
    assert [path for path in kept if "tfevents" not in path] == [
        f"members/{name}/{part}/history.csv"
        for name in ("coarse", "fine", "v1.5 network")
        for part in ("fold_1", "fold_2", "fold_3", "whole")
    ], "predictions and weights of trainings are gone, and curves stay"


def test_every_statistic_of_a_fold_is_of_what_it_trains_on(planted: Path) -> None:
    data = cc.EncodingDataModule(cc.Folder("mine"), cc.PixelEncoder(2), validation=0.0)
    data.setup()
    fold = data.positions(TRAIN)[::4]
    part = data.part(["pixels"], fold, seed=7)
    trained = np.setdiff1d(data.positions(TRAIN), fold)
    responses = np.load("mine/responses.npy")
    np.testing.assert_allclose(part.facts.response_mean, responses[trained].mean(0), rtol=1e-5)
    np.testing.assert_allclose(part.facts.response_scale, responses[trained].std(0), rtol=1e-5)
    served = np.concatenate([batch.features["pixels"].clone() for batch in part.train_dataloader()])
    assert len(served) == len(trained)
    assert part.facts.feature_mean is not None
    np.testing.assert_allclose(part.facts.feature_mean["pixels"], served.mean(0), rtol=1e-4, atol=1e-4)
    assert part.facts.seed == data.facts.seed, "so that folds within a member do not depend on it"
    assert list(data.test_dataloader()) == ["test"]
    assert list(part.test_dataloader()) == ["fold"]


def test_what_a_member_has_memorised_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures shown twice, responses without a signal: in-sample, or with a twin in another fold, it would explain."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    responses = write_planted(Path("mine"), stimuli=90, shown=2)
    own = np.random.default_rng(1).standard_normal((90, responses.shape[1]))
    responses[:180] = np.repeat(own, 2, axis=0)
    write_array(Path("mine/responses.npy"), responses.astype(np.float32))
    write_config({"memory": MEMORY, "coarse": MEMBERS["coarse"]})
    run = train()
    table = pd.read_csv(run / "targets.csv")
    assert table.member_r2_memory.max() < 0.1
    assert table.weight_memory.mean() < 0.1
    model = EncodingModule.load_from_checkpoint(run / "checkpoints/best.ckpt")
    assert isinstance(model, StackedModule)
    seen = np.stack([np.asarray(Image.open(f"mine/images/{index:04d}.png")) for index in range(0, 180, 2)])
    assert mean_correlation(alone(model, seen)["memory"], own) > 0.99, "it has memorised them"


def test_a_run_that_was_interrupted_goes_on_with_the_trainings_it_had(
    planted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_config({"fine": MEMBERS["fine"], "network": NETWORK})
    undisturbed = train(name="whole")
    begun, fit = [], training_of_members._fit

    def interrupted(*given: Any) -> Any:
        begun.append(given[-1].name)
        if len(begun) == 6:
            raise KeyboardInterrupt
        return fit(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training_of_members, "_fit", interrupted)
        assert main(["--config=stack.yaml", "--name=stack", *QUIET]) == 130
    assert "holds 5 trainings of members; to go on: train.py" in caplog.text
    assert "--ckpt_path=last" in caplog.text
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(training_of_members, "_fit", lambda *given: (begun.append(given[-1].name), fit(*given))[1])
        run = train("--ckpt_path=last")
    assert run.name == "version_0"
    assert begun == ["fold_2", "fold_3", "whole"]
    expected = np.load(undisturbed / "predictions/test.npy")
    np.testing.assert_array_equal(np.load(run / "predictions/test.npy"), expected)
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(training_of_members, "_fit", lambda *given: begun.append(given[-1].name))
        train("--ckpt_path=last")
    assert begun == []  # nothing is left to train
    np.testing.assert_array_equal(np.load(run / "predictions/test.npy"), expected)


def test_other_settings_do_not_go_on_with_anothers_trainings(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(MEMBERS)
    begun, fit = [], training_of_members._fit

    def interrupted(*given: Any) -> Any:
        begun.append(given[-1].name)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return fit(*given)

    monkeypatch.setattr(training_of_members, "_fit", interrupted)
    assert main(["--config=stack.yaml", "--name=stack", *QUIET]) == 130
    begun += [""]
    write_config({**MEMBERS, "coarse": {**MEMBERS["coarse"], "max_epochs": 3}})
    train("--ckpt_path=last")
    assert begun[4:] == 2 * ["fold_1", "fold_2", "fold_3", "whole"]


@pytest.mark.parametrize(
    ("members", "settings", "flags", "told"),
    [
        ({"fine": MEMBERS["fine"]}, {}, [], "--model.members: expected two models or more"),
        (
            {**MEMBERS, "a/b": MEMBERS["fine"]},
            {},
            [],
            "expected names that a folder can have, and none 'shared', found 'a/b'",
        ),
        ({**MEMBERS, "other": {"layers": ["vit:*"], "model": RIDGE}}, {}, [], "found 'vit:*', which fits none"),
        (MEMBERS, {"folds": 1}, [], "--model.folds 1: expected 2 or more"),
        (MEMBERS, {"folds": 90}, [], "expected at least 180 training stimuli"),
        (MEMBERS, {}, ["--data.encoder=null"], "StackedModule needs features"),
        (MEMBERS, {}, ["--trainer.devices=2"], "expected one process, in which StackedModule trains its members"),
        ({**MEMBERS, "n": {**NETWORK, "max_epochs": 0}}, {}, [], "max_epochs 0: expected 1 or more"),
        (MEMBERS, {}, ["--scale_lr=true"], "--scale_lr: StackedModule solves"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(
    members: dict[str, Any],
    settings: dict[str, Any],
    flags: Sequence[str],
    told: str,
    planted: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_config(members, **settings)
    assert main(["--config=stack.yaml", *QUIET, *flags]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said
    assert "\n" not in said
    assert not list(Path("runs").glob("*"))


def test_a_stack_of_a_stack_is_refused(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = {"class_path": "calcarine.models.StackedModule", "init_args": {"members": MEMBERS}}
    write_config({**MEMBERS, "stack": {"model": inner}})
    assert main(["--config=stack.yaml", *QUIET]) == 2
    assert "--model.members.stack: expected a model that is no stack itself" in capsys.readouterr().err


def test_a_member_that_diverges_is_named(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = json.loads(json.dumps(NETWORK))
    wild["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e30}}
    write_config({**MEMBERS, "wild": wild})
    assert main(["--config=stack.yaml", *QUIET]) == 2
    assert "member wild: expected finite predictions" in capsys.readouterr().err


def test_a_stack_can_be_tried_out(planted: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_config({**MEMBERS, "network": NETWORK})
    assert main(["--config=stack.yaml", *QUIET, "--trainer.fast_dev_run=true"]) == 0
    assert "nothing was written" in caplog.text
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_large_offset_changes_no_correlation(planted: Path) -> None:
    write_config(MEMBERS)
    near = pd.read_csv(train() / "targets.csv")
    write_array(planted / "responses.npy", np.load(planted / "responses.npy").astype(np.float64) * 1e-3 + 1e4)
    far = pd.read_csv(train(name="far") / "targets.csv")
    np.testing.assert_allclose(far.pearson, near.pearson, atol=1e-4)
    np.testing.assert_allclose(far.weight_fine, near.weight_fine, atol=1e-3)


@pytest.mark.slow
def test_each_subject_has_weights_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    for subject in range(2):
        write_planted(Path(f"subject_{subject}"), targets=6, seed=subject)
    write_config(MEMBERS)
    run = train("--data.source.root=[subject_0,subject_1]")
    assert set(pd.read_csv(run / "members.csv").subject) == {"subject_0", "subject_1"}
    table = pd.read_csv(run / "targets.csv")
    assert table.weight_coarse[table.rois == "c"].min() > 0.5
    for subject in range(2):
        write_config(MEMBERS)
        own = pd.read_csv(train(f"--data.source.root=subject_{subject}", name=f"own_{subject}") / "targets.csv")
        joint = table[table.subject == f"subject_{subject}"]
        assert joint.pearson.mean() == pytest.approx(own.pearson.mean(), abs=0.05)  # folds are others


def test_a_subject_of_few_stimuli_is_in_every_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_planted(Path("large"), targets=6)
    write_planted(Path("small"), stimuli=10, tests=10, targets=6, seed=1)
    write_config(MEMBERS)
    deal, dealt = training_of_members._deal, []
    monkeypatch.setattr(training_of_members, "_deal", lambda *given: (dealt.append(deal(*given)), dealt[-1])[1])
    run = train("--data.source.root=[large,small]", "--model.folds=5")
    (folds,) = dealt
    assert [(fold < 150).sum() for fold in folds] == [30] * 5
    assert [((fold >= 200) & (fold < 210)).sum() for fold in folds] == [2] * 5
    weights = pd.read_csv(run / "targets.csv")[["weight_fine", "weight_coarse"]]
    assert weights.notna().all(axis=None)


def test_members_take_features_that_a_reduction_has_made(planted: Path) -> None:
    write_config({**MEMBERS, "coarse": {"layers": ["coarse:*"], "model": RIDGE}})
    run = train("--data.reduction=PrincipalComponents", "--data.reduction.components=11", "--model.folds=2")
    assert (run / "members.csv").is_file()


def test_a_stack_of_the_challenge_leaves_a_submission_and_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given in Python, and with a validation split by which its network stops."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_algonauts(Path("challenge"), n_train=60, n_test=12)
    network = partial(cc.EncodingModule, head=partial(cc.MlpHead, width=8, blocks=1))
    members = {
        "ridge": cc.Member(cc.RidgeModule),
        "network": cc.Member(network, max_epochs=3, callbacks=[cc.RoiEarlyStopping(2)]),
    }
    run = cc.train(
        cc.Algonauts2023("challenge"),
        cc.PixelEncoder(4),
        partial(cc.StackedModule, members=members, folds=2),
        flags=QUIET,
        name="stack",
    )
    folder = Path(run.folder)
    with zipfile.ZipFile(folder / "submission.zip") as submission:
        assert {Path(each).name for each in submission.namelist()} >= {"lh_pred_test.npy", "rh_pred_test.npy"}
    assert calcarine(["export", str(folder), "--out", "model", "--licence", "CC-BY-4.0"]) == 0
    images = "challenge/subj01/test_split/test_images"
    assert calcarine(["predict", "model", "--images", images, "--out", "out"]) == 0
    np.testing.assert_array_equal(np.load("out/predictions.npy"), np.load(folder / "predictions/withheld.npy"))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, pytest.param(10, marks=pytest.mark.long)])
def test_a_stack_is_never_worse_than_its_best_member(
    seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted data of some seeds, and the same with shuffled responses."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_config({**MEMBERS, "network": NETWORK, "memory": MEMORY}, folds=5)
    gains, shuffled = [], []
    for seed in range(seeds):
        root = Path(f"seed_{seed}")
        write_planted(root, stimuli=300, tests=200, targets=30, seed=seed)
        given = [f"--data.source.root={root}", f"--seed_everything={seed}"]
        model = EncodingModule.load_from_checkpoint(train(*given) / "checkpoints/best.ckpt")
        assert isinstance(model, StackedModule)
        images, responses = test_images(root)
        reached = mean_correlation(model.predict(images).numpy(), responses)
        gains.append(reached - max(mean_correlation(each, responses) for each in alone(model, images).values()))
        control = train(*given, "--data.source.shuffle=true", name="shuffled")
        shuffled.append(mean_correlation(np.load(control / "predictions/test.npy"), responses))
    assert min(gains) > -0.003
    assert np.mean(gains) > 0.01
    assert abs(np.mean(shuffled)) < 0.05


def test_what_members_leave_on_the_disk_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_planted(Path("mine"), targets=900)
    write_config(MEMBERS)
    told, left = [], []
    ask = StackedModule.demand
    monkeypatch.setattr(StackedModule, "demand", lambda *given: (told.append(ask(*given)), told[-1])[1])

    def weighed(folder: Path) -> None:
        files = [*folder.glob("predictions/*.npy"), *folder.glob("*.ckpt")]
        left.append(sum(file.stat().st_size for file in files))

    monkeypatch.setattr(training_of_members, "_forget", weighed)
    train()
    assert told[0].members == pytest.approx(sum(left), rel=0.1)  # checkpoints hold the facts, too
