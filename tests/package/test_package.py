"""A package predicts what its run did, without the run, the data, or the files of weights that it began with."""

import json
import shutil
from pathlib import Path

import calcarine as cc
import numpy as np
import pandas as pd
import pytest
import torch
from calcarine.batch import Batch
from calcarine.commands.main import main
from calcarine.encoders.intake import StimulusIntake, encode_stimuli
from calcarine.encoders.joint import JointEncoder, RandomControl
from calcarine.encoders.projection import Projection
from calcarine.package.plain import from_json, to_json
from torchvision.models import resnet18
from trees import write_folder

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
RESNET = ["--model=resnet18", "--weights=resnet.pth", "--layers=layer1", "--pool=avg", "--image_size=32"]


def flags_of(part: str) -> list[str]:
    return [f"--{part}=TorchvisionEncoder", *(each.replace("--", f"--{part}.", 1) for each in RESNET)]


MIXTURE = {
    "class_path": "TrunkHead",
    "init_args": {
        "trunk": {"class_path": "LayerProjection", "init_args": {"width": 8}},
        "readout": {
            "class_path": "LayerMixture",
            "init_args": {
                "shared": True,
                "readout": {"class_path": "RetinotopicReadout", "init_args": {"from_cortex": False, "scales": 2}},
            },
        },
    },
}
MODELS = {
    "mixture": [
        "--data.encoder=GaborEncoder", "--data.encoder.layers=[luminance,colour]",
        f"--model.head={json.dumps(MIXTURE)}", "--trainer.max_epochs=1",
    ],
    "query decoder": [
        "--data.encoder=PixelEncoder", "--data.encoder.size=8", "--model.head=QueryDecoder", "--model.head.width=16",
        "--trainer.max_epochs=1",
    ],
    "encoder": [*flags_of("data.encoder"), "--model=RidgeModule"],
    "backbone": ["--data.encoder=null", "--data.image_size=32", *flags_of("model.backbone"), "--trainer.max_epochs=1"],
    "projected": [
        "--data.encoder=PixelEncoder", "--model=RidgeModule", "--data.reduction=RandomProjection",
        "--data.reduction.components=20",
    ],
}  # fmt: skip


def export_one(place: Path, name: str) -> tuple[np.ndarray, list[str]]:
    """A package in a folder where run, data and weights are gone; what its run predicted, and of which images."""
    write_folder(place / "data", n_stimuli=40, n_targets=6)
    (place / "data/rois.csv").write_text("target,hemisphere,roi\n" + "".join(f"{i},lh,V|1\n" for i in range(3)))
    torch.manual_seed(1)
    torch.save(resnet18(num_classes=5).state_dict(), place / "resnet.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        flags = ["--data.source=Folder", "--data.source.root=data", *QUIET, *MODELS[name]]
        assert main(["train", *flags, "--name=mine"]) == 0
        before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
        assert main(["export", "runs/mine/version_0", "--out", "model", "--licence", "CC-BY-4.0"]) == 0
        assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == before
    predicted = np.load(place / "runs/mine/version_0/predictions/test.npy")
    names = list(pd.read_csv(place / "runs/mine/version_0/predictions/test_stimuli.csv").stimulus)
    (place / "images").mkdir()
    for each in names:
        shutil.copy(place / "data/images" / each, place / "images")
    for gone in ("runs", "data", "cache"):
        shutil.rmtree(place / gone, ignore_errors=True)
    (place / "resnet.pth").unlink()
    return predicted, names


@pytest.mark.parametrize("name", MODELS)
def test_it_predicts_to_the_bit_what_the_run_did(name, tmp_path, monkeypatch):
    expected, names = export_one(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "model", "--images", "images", "--out", "out"]) == 0
    assert list(pd.read_csv("out/stimuli.csv").stimulus) == names
    np.testing.assert_array_equal(np.load("out/predictions.npy"), expected)
    assert len(pd.read_csv("out/targets.csv")) == 6
    np.testing.assert_array_equal(cc.load_model("model").predict("images"), expected)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    place = tmp_path_factory.mktemp("package")
    return place, *export_one(place, "projected")


@pytest.fixture
def inside(exported, monkeypatch):
    monkeypatch.chdir(exported[0])
    return exported


def test_rois_are_predicted_by_name(inside, tmp_path):
    assert main(["predict", "model", "--images", "images", "--roi", "V|1", "--out", str(tmp_path / "out")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out/predictions.npy"), inside[1][:, :3])
    assert list(pd.read_csv(tmp_path / "out/targets.csv").target) == [0, 1, 2]


@pytest.mark.usefixtures("inside")
def test_it_says_what_it_is():
    described = cc.load_model("model").describe()
    assert described["licence"] == "CC-BY-4.0"
    assert described["run"]["data_fingerprint"]
    card = Path("model/README.md").read_text()
    assert "CC-BY-4.0" in card
    assert "| mine | lh | V\\|1 | 3 |" in card or "| data | lh | V\\|1 | 3 |" in card
    assert sorted(path.name for path in Path("model").iterdir()) == [
        "README.md", "config.yaml", "model.json", "model.safetensors", "run.json", "scores.csv", "targets.csv"
    ]  # fmt: skip


def _without_weights(package: Path) -> None:
    (package / "model.safetensors").unlink()


def _of_other_weights(package: Path) -> None:
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, package / "model.safetensors")


def _of_another_format(package: Path) -> None:
    said = json.loads((package / "model.json").read_text())
    (package / "model.json").write_text(json.dumps({**said, "format": 99}))


def _of_a_forbidden_class(package: Path) -> None:
    text = (package / "model.json").read_text()
    module = json.loads(text)["checkpoint"]["calcarine"]["recipe"]["class_path"]
    (package / "model.json").write_text(text.replace(f'"{module}"', '"subprocess.Popen"'))


def _cut_off(package: Path) -> None:
    text = (package / "model.json").read_text()
    (package / "model.json").write_text(text[: len(text) // 2])


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_weights, "model.safetensors: expected the package's weights, found"),
        (_of_other_weights, "do not belong together"),
        (_of_another_format, "expected a package of format 1, found 99; export it again"),
        (_of_a_forbidden_class, "subprocess.Popen: refused"),
        (_cut_off, "model.json: expected a package's description, found"),
    ],
)
def test_a_spoiled_package_is_refused_in_one_line(spoil, said, tmp_path, capsys):
    shutil.copytree("model", tmp_path / "model")
    spoil(tmp_path / "model")
    assert main(["predict", str(tmp_path / "model"), "--images", "images", "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "model", "--images", "nowhere"], "--images nowhere: expected a folder of images"),
        (
            ["predict", "model", "--images", "images", "--out", "model"],
            "--out model: expected a new or an empty folder",
        ),
        (["predict", "model", "--images", "images", "--out", "images/out"], "lies in images, which is read"),
        (["predict", "model", "--images", "images", "--roi", "FFA"], "roi FFA: the model has no such ROI"),
        (["predict", "nothing", "--images", "images"], "nothing: expected a checkpoint, found no such file"),
        (
            ["predict", "model", "--images", "images", "--out", "model/out"],
            "--out model/out: lies in model, which is read",
        ),
        (["export", "nothing"], "nothing/scores.csv: expected a run's scores, found no such file"),
    ],
)
def test_what_was_typed_wrongly_is_said_in_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert not Path("predicted").exists()


def test_plain_types_come_back_from_json():
    sparse = torch.sparse_coo_tensor([[0, 2], [1, 0]], [1.0, 2.0], (3, 2))
    value = {"a": (1, None, [True, "x"]), "b": torch.arange(3), "c": float("nan"), "d": -float("inf"), "e": sparse}
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(to_json(value, tensors, "it"), allow_nan=False)
    found = from_json(json.loads(text), tensors)
    assert found["a"] == value["a"]
    assert torch.equal(found["b"], value["b"])
    assert np.isnan(found["c"])
    assert found["d"] == value["d"]
    assert torch.equal(found["e"].to_dense(), sparse.to_dense())
    with pytest.raises(TypeError, match="it/f: expected tensors and plain types, found PosixPath"):
        to_json({"f": Path("x")}, tensors, "it")


def _weights(path: Path, seed: int) -> str:
    torch.manual_seed(seed)
    torch.save(resnet18(num_classes=5).state_dict(), path)
    return str(path)


def test_encoders_side_by_side_are_made_before_their_weights_come(tmp_path):
    """Random ones as the networks are until then, two are alike, and none is told from its random control."""
    one, other = (
        cc.TorchvisionEncoder("resnet18", _weights(tmp_path / f"{seed}.pth", seed), "layer1", "avg", 32)
        for seed in (1, 2)
    )
    stimuli = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    for encoder in (JointEncoder({"one": one, "other": other}), RandomControl(one)):
        intake = StimulusIntake(encoder)
        plain = intake.to_plain(everything=True)
        again = StimulusIntake.from_plain(plain)
        expected, found = (each(stimuli, torch.device("cpu"))[0] for each in (intake, again))
        assert all(torch.equal(found[layer], expected[layer]) for layer in expected)


def test_batches_are_filled_up_and_an_empty_one_stays_empty():
    index, features = torch.arange(3), {"a": torch.arange(6.0).view(3, 2)}
    full = Batch(index, 1, torch.zeros(3, 4), features, targets=slice(2, 6)).padded(5)
    assert full.stimulus.tolist() == [0, 1, 2, 2, 2]
    assert (full.subject, full.targets) == (1, slice(2, 6))
    assert full.features is not None
    assert full.features["a"][3:].tolist() == [[4.0, 5.0]] * 2
    none = Batch(index[:0], 0, torch.zeros(0, 4), {"a": torch.zeros(0, 2)})
    assert len(none.padded(5)) == 0
    assert Projection(torch.zeros(2), torch.ones(2, 3))(torch.zeros(0, 2)).shape == (0, 3)


def test_images_of_many_sizes_are_encoded_once_each(monkeypatch):
    seen = []
    encoder = cc.PixelEncoder(size=4)
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda images: seen.append(len(images)) or forward(images))
    images = [np.zeros((8 + index, 8, 3), np.uint8) for index in range(6)]
    encode_stimuli(encoder, images, torch.device("cpu"), 4, average_frames=True)
    assert seen == [1] * 6
    encode_stimuli(encoder, images[:1] * 6, torch.device("cpu"), 4, average_frames=True)
    assert seen[6:] == [4, 4]
