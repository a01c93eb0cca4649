"""A checkpoint alone predicts new images: the run's own test images as the run itself predicted them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from calcarine.models import EncodingModule
from calcarine.names import TEST
from calcarine.run.cli import build_cli
from calcarine.run.predictions import by_recording
from calcarine.run.stages import train

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
TRUNK = {"class_path": "MlpTrunk", "init_args": {"dims": [8]}}


def joint(**encoders: Any) -> dict[str, Any]:
    return {"class_path": "JointEncoder", "init_args": {"encoders": encoders}}


RUNS: dict[str, dict[str, Any]] = {
    "linear": {"data": {"encoder": GABOR}, "model": ("EncodingModule", SGD)},
    "half": {"data": {"encoder": GABOR, "cache_dtype": "float16"}, "model": ("EncodingModule", SGD)},
    "components": {"data": {"encoder": joint(a=PIXELS, b=PATCHES), "reduction": PCA}, "model": ("RidgeModule", {})},
    "projected": {"data": {"encoder": GABOR, "reduction": PROJECTED}, "model": ("SimilarityModule", {})},
    "control": {"data": {"encoder": RESNET}, "model": ("BandedRidgeModule", {"candidates": 5})},
    "windowed": {"data": {"encoder": GABOR}, "model": ("WindowedModule", {"centers": 2, "kernel": "rbf"})},
    "layers": {"data": {"encoder": GABOR}, "model": ("LayerSelectionModule", {"regression": {"class_path": "Ridge"}})},
    "lasso": {"data": {"encoder": PIXELS, "reduction": PCA}, "model": ("ElasticNetModule", {"path_length": 5})},
    "backbone": {"data": {"encoder": None, "image_size": 24}, "model": ("EncodingModule", {"backbone": RESNET, **SGD})},
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
        "model": ("EncodingModule", {"head": {"class_path": "TrunkHead", "init_args": {"trunk": TRUNK}}, **SGD}),
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
        # Embeddings were computed 64 at a time with others, predictions 16 at a time: kernels round by the batch.
        scale = cli.datamodule.facts.response_scale[cli.datamodule.facts.subjects[recording.subject]]
        assert ((predicted - torch.tensor(expected)).abs() < 2e-5 * scale).all()
        few = model.predict([images[0], images[1].transpose(2, 0, 1)], subject=recording.subject, roi="lateral")
        torch.testing.assert_close(
            few, predicted[:2, _columns(model, recording.subject, "lateral")], rtol=1e-4, atol=1e-4
        )


def _columns(model: EncodingModule, subject: str, roi: str) -> torch.Tensor:
    return torch.searchsorted(model.targets(subject), model.targets(subject, roi))
