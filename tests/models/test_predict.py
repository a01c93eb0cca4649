"""A checkpoint alone predicts new images: the run's own test images as the run itself predicted them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import TorchvisionEncoder
from calcarine.encoders.intake import StimulusIntake
from calcarine.encoders.joint import RandomControl
from calcarine.errors import InputError
from calcarine.models import EncodingModule, RidgeModule, SimilarityModule
from calcarine.names import TEST
from calcarine.run.cli import build_cli
from calcarine.run.predictions import by_recording
from calcarine.run.training import train
from lightning.pytorch import Trainer
from planted import Identity, Planted
from torchvision.models import resnet18
from trees import write_folder

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2}
SOURCE = {"images": 60, "test_images": 10, "targets": 24, "image_size": 32}
GABOR = {"class_path": "GaborEncoder", "init_args": {"frequencies": [2, 4], "grid": 3}}
PIXELS = {"class_path": "PixelEncoder", "init_args": {"size": 8}}
PATCHES = {"class_path": "PatchEncoder", "init_args": {"patches": 8, "image_size": 32}}
RESNET = {
    "class_path": "TorchvisionEncoder",
    "init_args": {"model": "resnet18", "weights": "random", "layers": ["layer1"], "pool": "avg", "image_size": 32},
}
PCA = {"class_path": "PrincipalComponents", "init_args": {"components": 12}}
PROJECTED = {"class_path": "RandomProjection", "init_args": {"components": 12}}
SGD = {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e-3}}}
TRUNK = {
    "trunk": {"class_path": "MlpTrunk", "init_args": {"dims": [8]}},
    "subject_layers": True,
    "subject_dropout": 0.5,
}


def joint(**encoders: Any) -> dict[str, Any]:
    return {"class_path": "JointEncoder", "init_args": {"encoders": encoders}}


RUNS: dict[str, dict[str, Any]] = {
    "linear": {"data": {"encoder": GABOR}, "model": ("EncodingModule", SGD)},
    "half": {"data": {"encoder": GABOR, "cache_dtype": "float16"}, "model": ("EncodingModule", SGD)},
    "bf16": {"data": {"encoder": RESNET, "encode_precision": "bf16-mixed"}, "model": ("RidgeModule", {})},
    "components": {"data": {"encoder": joint(a=PIXELS, b=PATCHES), "reduction": PCA}, "model": ("RidgeModule", {})},
    "projected": {"data": {"encoder": GABOR, "reduction": PROJECTED}, "model": ("SimilarityModule", {})},
    "responses": {
        "data": {"encoder": GABOR, "response_components": 5},
        "model": ("EncodingModule", {"head": "ComponentHead", **SGD}),
    },
    "banded": {"data": {"encoder": RESNET}, "model": ("BandedRidgeModule", {"candidates": 5})},
    "windowed": {"data": {"encoder": GABOR}, "model": ("WindowedModule", {"centers": 2, "kernel": "rbf"})},
    "layers": {"data": {"encoder": GABOR}, "model": ("LayerSelectionModule", {"regression": {"class_path": "Ridge"}})},
    "lasso": {"data": {"encoder": PIXELS, "reduction": PCA}, "model": ("ElasticNetModule", {"path_length": 5})},
    "backbone": {
        "data": {"encoder": None, "image_size": 24},
        "model": ("EncodingModule", {"backbone": RESNET, "test_shifts": [2], **SGD}),
    },
    "hemispheres": {
        "data": {"encoder": None},
        "model": (
            "EncodingModule",
            {"backbone": PIXELS, "head": "MlpHead", "hemisphere_networks": True, "loss": "OneMinusCorrelation", **SGD},
        ),
    },
    "subjects": {
        "source": {"subject": [1, 2]},
        "data": {"encoder": GABOR},
        "model": ("EncodingModule", {"head": {"class_path": "TrunkHead", "init_args": TRUNK}, **SGD}),
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_predicts_as_the_run_did(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kind, arguments = RUNS[name]["model"]
    source = {"class_path": "Simulated", "init_args": {**SOURCE, **RUNS[name].get("source", {})}}
    config = {
        "data": {"source": source, "batch_size": 16, **RUNS[name]["data"]},
        "model": {"class_path": kind, "init_args": arguments},
        "trainer": QUIET,
    }
    Path("run.yaml").write_text(yaml.safe_dump(config))
    cli = build_cli(["--config=run.yaml"])
    folder = train(cli, keep=True)
    assert folder is not None
    model = EncodingModule.load_from_checkpoint(folder / "checkpoints" / "best.ckpt")
    assert type(model) is type(cli.model)
    predictions = list(by_recording(cli.datamodule, TEST, folder / "predictions"))
    assert len(predictions) == len(cli.datamodule.recordings)
    for recording, stimuli, expected in predictions:
        images = np.stack([recording.stimuli.read(index) for index in stimuli])
        predicted = model.predict(images, subject=recording.subject)
        scale = cli.datamodule.facts.response_scale[cli.datamodule.facts.subjects[recording.subject]]
        apart = (predicted - torch.tensor(expected)).abs()
        assert (apart < 2e-5 * scale).all()
        assert (apart == 0).float().mean() > 0.9  # kernels may round by a row's place in the batch
        few = model.predict([images[0], images[1].transpose(2, 0, 1)], subject=recording.subject, roi="lateral")
        torch.testing.assert_close(
            few, predicted[:2, _columns(model, recording.subject, "lateral")], rtol=1e-4, atol=1e-4
        )


def _columns(model: EncodingModule, subject: str, roi: str) -> torch.Tensor:
    return torch.searchsorted(model.targets(subject), model.targets(subject, roi))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EncodingModule, np.ndarray]:
    """A checkpoint of a ridge on two subjects' pixels, its model in memory, and images of the first subject."""
    folder = tmp_path_factory.mktemp("trained")
    data = EncodingDataModule(Planted(60, subjects=2), Identity(), cache_dir=folder / "cache")
    model = RidgeModule(data.num_targets, data.feature_shapes)
    trainer = Trainer(logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "model.ckpt", weights_only=True)
    return folder / "model.ckpt", model, np.stack([data.recordings[0].stimuli.read(index) for index in range(5)])


def test_subjects_and_rois_are_chosen_by_name(trained: tuple[Path, EncodingModule, np.ndarray]) -> None:
    path, model, images = trained
    loaded = EncodingModule.load_from_checkpoint(path)
    everything = model.predict(images)
    assert everything.shape == (5, 80)
    torch.testing.assert_close(loaded.predict(torch.tensor(images).movedim(-1, 1), batch_size=2), everything)
    assert loaded.targets("subj02", "a").tolist() == list(range(40, 56))
    torch.testing.assert_close(loaded.predict(images, roi="rh.b"), everything[:, [*range(16, 40), *range(56, 80)]])
    torch.testing.assert_close(loaded.predict(images, "subj02", "a"), everything[:, 40:56])
    for arguments, message in (
        ({"subject": "subj03"}, "expected one that the model was trained on, subj01, subj02"),
        ({"roi": "lh.c"}, r"roi lh\.c: the model has no such ROI; expected one of a, b, subj01"),
    ):
        with pytest.raises(InputError, match=message):
            loaded.predict(images, **arguments)
    for wrong in (images / 255, images[..., :1], [images[0], images[:2]]):
        with pytest.raises(InputError, match="images: expected"):
            loaded.predict(wrong)


def test_a_checkpoint_that_cannot_predict_is_one_line(trained: tuple[Path, EncodingModule, np.ndarray]) -> None:
    path, _, _ = trained
    content = torch.load(path, weights_only=True)
    held = content["calcarine"]
    intake = {**held["intake"], "fingerprint": '{"encoder": "Identity", "weights_sha256": "0"}'}
    unplain = {name: each for name, each in held.items() if name != "recipe"}
    for changed, message in (
        ({"calcarine": {**held, "format": 0}}, r"holds how its model was made \(format 1\), found format 0"),
        ({"calcarine": None}, "found one of another version or program"),
        ({"calcarine": {**unplain, "fault": "found <function>"}}, "and this one was not: found <function>"),
        ({"calcarine": {**held, "intake": intake}}, r"found another \(weights_sha256\)"),
        ({"state_dict": {}}, "Missing key"),
    ):
        torch.save({**content, **changed}, path.with_name("changed.ckpt"))
        with pytest.raises(InputError, match=message) as raised:
            EncodingModule.load_from_checkpoint(path.with_name("changed.ckpt"))
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="expected a checkpoint of a SimilarityModule, found one of a RidgeModule"):
        SimilarityModule.load_from_checkpoint(path)
    with pytest.raises(InputError, match="found no such file"):
        EncodingModule.load_from_checkpoint(path.with_name("none.ckpt"))


def test_fetched_weights_are_named_and_told_by_their_fingerprint(tmp_path: Path) -> None:
    file, plain_file = tmp_path / "resnet18.pth", tmp_path / "intake.pt"
    torch.save(resnet18().state_dict(), file)
    encoder = TorchvisionEncoder("resnet18", str(file), layers=["layer1"], pool="avg", image_size=32)
    intake = StimulusIntake(RandomControl(encoder))
    plain = intake.to_plain()
    assert list(plain["weights"]) == ["random"]
    torch.save(plain, plain_file)
    again = StimulusIntake.from_plain(torch.load(plain_file, weights_only=True))
    images = np.random.default_rng(0).integers(0, 255, (2, 40, 30, 3), dtype=np.uint8)
    (expected, _), (found, _) = (each(images, torch.device("cpu")) for each in (intake, again))
    assert expected is not None
    assert found is not None
    assert all(torch.equal(expected[layer], found[layer]) for layer in expected)
    torch.save(resnet18().state_dict(), file)  # other weights in its place
    with pytest.raises(InputError, match=r"RandomControl: expected the encoder .* found another \(weights_sha256\)"):
        StimulusIntake.from_plain(torch.load(plain_file, weights_only=True))


def test_figures_are_logged_as_asked(tmp_path: Path) -> None:
    data = EncodingDataModule(Planted(60), Identity(), cache_dir=tmp_path)
    model = EncodingModule(data.num_targets, data.feature_shapes, metrics=["r2", "mse"])
    trainer = Trainer(logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(model, data)
    logged = trainer.test(model, data, verbose=False)[0]
    names = {f"test{place}" for each in ("pearson", "r2", "mse") for place in (f"/{each}", f"_{each}/lh.a")}
    assert names <= set(logged)
    assert not any("mae" in name for name in logged)


def test_predictions_carry_an_offset_that_float32_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(Path("mine"), 40)
    responses = 1e6 + 1e-3 * np.random.default_rng(0).standard_normal((40, 3))
    np.save("mine/responses.npy", responses)
    flags = ["--data.source=Folder", "--data.source.root=mine", "--data.encoder=PixelEncoder", "--model=RidgeModule"]
    cli = build_cli([*flags, *(f"--trainer.{name}={str(value).lower()}" for name, value in QUIET.items())])
    folder = train(cli, keep=True)
    assert folder is not None
    model = EncodingModule.load_from_checkpoint(folder / "checkpoints" / "best.ckpt")
    images = np.stack([cli.datamodule.recordings[0].stimuli.read(index) for index in range(5)])
    predicted = model.predict(images).numpy()
    assert np.abs(predicted - responses[:5]).max() < 1e-2
    assert predicted.std() > 0
