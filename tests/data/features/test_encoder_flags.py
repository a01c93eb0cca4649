"""Fitted encoders, several encoders and the random control, as users ask for them."""

import numpy as np
import pytest
import torch
import yaml
from calcarine.encoders import PatchEncoder, TorchvisionEncoder, patches
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from PIL import Image
from trees import write_folder

PATCHES = {"class_path": "PatchEncoder", "init_args": {"patches": 5, "patch_size": 4, "image_size": 16, "grid": 2}}
PIXELS = {"class_path": "PixelEncoder", "init_args": {"size": 4}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A user's folder in which the last 10 of 40 images are the test split."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(patches, "FIT_PATCHES", 1000)
    write_folder(tmp_path / "mine", n_stimuli=40)
    rows = [f"image{n}.png,{'train' if n <= 24 else 'validation' if n <= 30 else 'test'}" for n in range(1, 41)]
    (tmp_path / "mine/split.csv").write_text("\n".join(["stimulus,split", *rows]))


def flags(tmp_path, encoder):
    config = {"data": {"source": {"class_path": "Folder", "init_args": {"root": "mine"}}, "encoder": encoder}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    return ["--config=run.yaml", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


def data_of(args):
    data = build_cli(args).datamodule
    data.setup()
    return data


def joint(**encoders):
    return {"class_path": "JointEncoder", "init_args": {"encoders": encoders}}


def test_a_test_image_does_not_change_what_is_learnt_and_a_training_image_does(tmp_path):
    args = flags(tmp_path, PATCHES)
    fingerprints, identities = [], []
    for image in (None, "image35.png", "image27.png", "image12.png"):
        if image is not None:
            Image.fromarray(np.full((6, 8, 3), 77, dtype=np.uint8)).save(tmp_path / "mine/images" / image)
        data = data_of(args)
        fingerprints.append(data.inputs.encoder.fingerprint()["weights_sha256"])
        identities.append(data.identity)
    assert fingerprints[0] == fingerprints[1] == fingerprints[2] != fingerprints[3]
    assert len(set(identities)) == 4


def test_several_encoders_train_and_the_checkpoint_can_encode_new_images(tmp_path, monkeypatch):
    args = flags(tmp_path, joint(patches=PATCHES, pixels=PIXELS))
    cli = build_cli(args)
    assert cli.datamodule.feature_shapes == {"patches:patches": (5, 2, 2), "pixels:pixels": (3, 4, 4)}
    assert main([*args, "--trainer.max_epochs=1", "--name=both"]) == 0
    entries = sorted(path.name for path in (tmp_path / "cache/embeddings").iterdir())
    monkeypatch.setattr(PatchEncoder, "fit", None)  # a second run learns and extracts nothing
    data = data_of(args)
    assert sorted(path.name for path in (tmp_path / "cache/embeddings").iterdir()) == entries
    checkpoint = torch.load(tmp_path / "runs/both/version_0/checkpoints/last.ckpt", weights_only=True)
    state = checkpoint["calcarine"]["intake"]["weights"]
    assert list(state) == ["patches", "pixels"]
    restored = PatchEncoder(**PATCHES["init_args"])
    restored.load_state_dict(state["patches"])
    images = torch.tensor(data.recordings[0].stimuli.read(0)).permute(2, 0, 1)[None]
    served = next(iter(data.train_dataloader()))
    row = served.stimulus.tolist().index(0)
    torch.testing.assert_close(restored(images)["patches"][0], served.features["patches:patches"][row])
    assert main(["--config=runs/both/version_0/config.yaml", "--ckpt_path=last", "--trainer.max_epochs=2"]) == 0


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (joint(), "--data.encoder.encoders: expected encoders by name, found none"),
        (joint(a=PIXELS, b=PIXELS), "found 'a' and 'b' the same"),
        ({"class_path": "JointEncoder"}, "--data.encoder.encoders: required"),
    ],
)
def test_a_wrong_joint_is_one_line(tmp_path, capsys, encoder, message):
    assert main(flags(tmp_path, encoder)) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(("encoder", "message"), [(PIXELS, "PixelEncoder has no weights"), (None, "needs --data.enc")])
def test_a_random_control_without_weights_is_one_line(tmp_path, capsys, encoder, message):
    assert main([*flags(tmp_path, encoder), "--data.random_control=true"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: --data.random_control: ")
    assert message in line


def test_the_random_control_serves_every_layer_twice(tmp_path):
    settings = {"model": "resnet18", "layers": ["layer1", "layer2"], "pool": "avg", "image_size": 32}
    torch.save(TorchvisionEncoder("resnet18", "random", seed=4).network.state_dict(), tmp_path / "own.pth")
    encoder = {"class_path": "TorchvisionEncoder", "init_args": {**settings, "weights": "own.pth"}}
    reduction = ["--data.reduction=PrincipalComponents", "--data.reduction.components=3"]
    args = [*flags(tmp_path, encoder), "--data.random_control=true"]
    data = data_of([*args, *reduction])
    names = [f"{kind}:{layer}" for kind in ("pretrained", "random") for layer in ("layer1", "layer2")]
    assert data.feature_shapes == dict.fromkeys(names, (3,))
    features = next(iter(data.train_dataloader())).features
    assert {layer: tuple(tensor.shape[1:]) for layer, tensor in features.items()} == data.feature_shapes
    assert not torch.equal(features["pretrained:layer1"], features["random:layer1"])
    entries = sorted((tmp_path / "cache/embeddings").iterdir())
    assert len(entries) == 4
    data_of(flags(tmp_path, encoder))  # alone, it is what it was beside the control
    encoder["init_args"]["weights"] = "random"
    data_of(flags(tmp_path, encoder))
    assert sorted((tmp_path / "cache/embeddings").iterdir()) == entries
