"""The Python front door, as a user types it in a notebook."""

import functools
import subprocess
import sys
from pathlib import Path

import calcarine as cc
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from calcarine.run.main import main
from PIL import Image
from trees import write_folder

QUIET = {"trainer.accelerator": "cpu", "trainer.enable_progress_bar": False, "trainer.enable_model_summary": False}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a user's data in DIR."""
    place = tmp_path_factory.mktemp("notebook")
    write_folder(place / "DIR", n_stimuli=40, n_targets=20)
    (place / "DIR/rois.csv").write_text("target,hemisphere,roi\n" + "".join(f"{i},lh,NA\n" for i in range(9)))
    return place


@pytest.fixture(scope="module")
def run(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        source, encoder = cc.Folder("DIR"), cc.PixelEncoder(size=4)
        yield cc.train(source=source, encoder=encoder, model="ridge", test=0.3, name="mine", flags=QUIET)


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.chdir(place)


def test_importing_it_imports_neither_torch_nor_pandas():
    code = (
        "import sys, calcarine as cc; from calcarine import errors; cc.Folder; "
        "sys.exit(' '.join({'torch', 'lightning', 'pandas'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_class_of_a_config_has_its_name_here():
    from calcarine import data, encoders, models

    assert {*data.__all__, *encoders.__all__, *models.__all__, "train", "open_run", "simulate"} <= set(dir(cc))
    assert set(dir(cc)) == set(cc.__all__)
    assert all(getattr(cc, name) is not None for name in cc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Foldr'"):
        cc.Foldr  # noqa: B018


def test_a_run_has_its_tables_and_pictures(run):
    assert run.folder == Path("runs/mine/version_0")
    assert set(run.scores.split) == {"validation", "test"}
    assert set(run.scores.roi) == {"all", "NA"}
    assert run.scores.pearson_mean.dtype == float
    assert len(run.targets) == 2 * 20
    assert "penalty" in run.targets
    assert list(run.history.columns)[:3] == ["train/loss", "validation/loss", "validation/pearson"]
    assert run.config["data"]["source"]["init_args"]["root"] == "DIR"
    assert str(run.report) == "runs/mine/version_0/report.html"
    assert "<iframe srcdoc=" in run.report._repr_html_()
    assert run.figures["pearson_per_roi"]._repr_png_().startswith(b"\x89PNG")
    assert run.figures._repr_html_().count("<img") == len(run.figures) > 1
    assert "mine" in run._repr_html_()
    with pytest.raises(
        cc.InputError, match=r"bands\.csv: this run has no such table, it has benchmarks, history, scores, targets"
    ):
        run.table("bands")


def test_the_same_run_is_opened_again_and_repeated_by_train_py(run):
    assert cc.open_run(run.folder).scores.equals(run.scores)
    assert main([f"--config={run.folder}/config.yaml", "--name=again"]) == 0
    assert cc.open_run("runs/again/version_0").scores.equals(run.scores)


def test_a_run_predicts_its_own_test_images_and_new_ones(run):
    files = [Path("DIR/images", name) for name in pd.read_csv(run.folder / "predictions/test_stimuli.csv").stimulus]
    known = np.load(run.folder / "predictions/test.npy")
    np.testing.assert_array_equal(run.predict(files), known)
    model = cc.load_model("runs/mine/version_0")
    arrays = [np.asarray(Image.open(each).convert("RGB")) for each in files]
    np.testing.assert_array_equal(model.predict(arrays), run.predict(files))
    np.testing.assert_array_equal(model.predict(torch.from_numpy(np.stack(arrays))), run.predict(files))
    np.testing.assert_array_equal(model.predict(str(files[0])), run.predict(files[:1]))
    assert model.predict("DIR/images", roi="NA").shape == (40, 9)
    assert list(model.targets(roi="NA").target) == list(range(9))
    assert set(model.targets().columns) == {"subject", "target", "hemisphere", "rois", "noise_ceiling", "x", "y", "z"}
    about = model.describe()
    assert (about["model"], about["encoder"], about["head"]) == ("RidgeModule", "PixelEncoder", "LinearHead")
    assert (about["targets"], about["rois"], about["features"]) == (20, {"lh.NA": 9}, {"pixels": (3, 4, 4)})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda model: model.predict("DIR/images", roi="V1"), r"roi V1: the model has no such ROI"),
        (lambda model: model.predict("DIR/none.png"), r"DIR/none\.png"),
        (lambda model: model.predict(np.zeros((2, 3, 8, 8))), r"images: expected uint8 .* found float64"),
        (lambda model: model.predict(["DIR/x.png", np.zeros((8, 8, 3), np.uint8)]), r"all files or all arrays"),
        (lambda _: cc.load_model("DIR"), r"best\.ckpt: expected a checkpoint, found no such file"),
    ],
)
def test_what_cannot_be_predicted_is_said_in_one_line(run, asked, message):
    with pytest.raises(cc.InputError, match=message):
        asked(run.model)


def test_no_folder_of_a_run_is_refused():
    with pytest.raises(cc.InputError, match=r"DIR: expected the folder of a finished run, found no scores\.csv"):
        cc.open_run("DIR")


def test_one_object_serves_several_runs_and_parts_are_given_in_any_form(run):
    """A string, a class, a partial, an array; and what stands in a config stays unless it is said otherwise."""
    Path("mine.yaml").write_text("data: {test: 0.3, validation: 0.2}\n")
    source = cc.Folder("DIR")
    again = cc.train(
        source,
        cc.JointEncoder({"small": cc.PixelEncoder(2), "large": cc.PixelEncoder(size=4)}),
        functools.partial(cc.BandedRidgeModule, penalties=np.array([1.0, 100.0])),
        reduction=cc.PrincipalComponents(3),
        config="mine.yaml",
        validation=0.1,
        runs="elsewhere",
        seed=3,
        flags=[f"--{name}={value}" for name, value in QUIET.items()],
    )
    assert again.folder == Path("elsewhere/mine/version_0")
    config = again.config
    assert config["data"]["test"] == 0.3
    assert config["data"]["validation"] == 0.1
    assert config["seed_everything"] == 3
    assert config["data"]["reduction"]["init_args"]["components"] == 3
    assert config["data"]["encoder"]["init_args"]["encoders"]["small"]["init_args"]["size"] == 2
    assert config["model"]["init_args"]["penalties"] == [1.0, 100.0]


def test_a_network_is_a_partial_of_partials(run):
    trained = cc.train(
        source=cc.Folder("DIR"),
        encoder=None,
        model=functools.partial(
            cc.EncodingModule,
            backbone=cc.ShiftedEncoder(cc.PixelEncoder(4), pixels=1),
            head=functools.partial(cc.MlpHead, width=8),
            loss=cc.SmoothL1(),
        ),
        max_epochs=1,
        batch_size=20,
        flags=QUIET,
    )
    model = yaml.safe_load((trained.folder / "config.yaml").read_text())["model"]["init_args"]
    assert trained.folder.parent.name == "default"
    assert model["backbone"]["init_args"]["encoder"]["init_args"]["size"] == 4
    assert model["head"]["init_args"]["width"] == 8
    assert model["loss"]["class_path"] == "calcarine.models.SmoothL1"
    assert model["optimizer"]["class_path"] == "torch.optim.SGD"  # as train.py has it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "Folde"}, r"--data\.source: no class is called Folde; did you mean Folder\?$"),
        ({"model": "rigde"}, r"--model: .*rigde"),
        (
            {"model": functools.partial(cc.RidgeModule, penaltis=[1])},
            r"--model\.penaltis: no such option; did you mean",
        ),
        ({"model": functools.partial(cc.RidgeModule, [1])}, r"--model: expected partial\(RidgeModule, NAME=…\)"),
        (
            {"model": cc.LinearHead({"a": (2,)}, 3)},
            r"--model: expected the class LinearHead, or partial\(LinearHead, …",
        ),
        ({"encoder": lambda images: images}, r"--data\.encoder: expected what a config can say, found <function"),
        ({"flags": {"trainer.max_epoch": 3}}, r"--trainer\.max_epoch: no such option; did you mean"),
        ({"flags": "--trainer.max_epochs=3"}, r"flags: expected a list of flags or a dictionary, found the text"),
        ({"flags": {"trainer.fast_dev_run": True}}, r"trainer\.fast_dev_run leaves no run to return"),
        ({"config": "none.yaml"}, r"--config: .*none\.yaml"),
        ({"source": "Folder", "validation": 2.0, "flags": {**QUIET, "data.source.root": "DIR"}}, r"--data\.validation"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, message):
    with pytest.raises(cc.InputError, match=message) as raised:
        cc.train(**arguments)
    assert "\n" not in str(raised.value)


def test_six_lines_of_lightning():
    """The parts without the run around them, for those who have a training script of their own."""
    import lightning.pytorch as pl

    data = cc.EncodingDataModule(cc.Folder("DIR"), encoder=cc.PixelEncoder(4))
    model = cc.RidgeModule(data.num_targets, data.feature_shapes)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.fit(model, data)
    assert "test/pearson" in str(trainer.test(model, data)[0])
