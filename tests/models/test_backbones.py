"""Every published backbone inside an EncodingModule: its gradients, its dropout, and training's own options."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from calcarine.batch import Batch
from calcarine.encoders import Encoder, TimmEncoder, TorchvisionEncoder
from calcarine.errors import InputError
from calcarine.models import EncodingModule, Full, FullyConnectedHead, OneCycle, ShiftedEncoder
from calcarine.run.main import main
from tiny_backbone import TinyBackbone, fit, tensors
from torch import nn
from trees import write_folder

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
slow = pytest.mark.slow


def batch(size: int = 3, side: int = 40) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, generator=generator)
    return Batch(torch.zeros(size, dtype=torch.int64), 0, torch.randn(size, 4, generator=generator), images=images)


@pytest.mark.parametrize(
    ("library", "model", "width", "side"),
    [
        (TorchvisionEncoder, "resnet18", 512, 64),
        pytest.param(TorchvisionEncoder, "resnet50", 2048, 64, marks=slow),
        pytest.param(TorchvisionEncoder, "resnet152", 2048, 64, marks=slow),
        pytest.param(TorchvisionEncoder, "vgg16", 4096, 32, marks=slow),
        pytest.param(TorchvisionEncoder, "alexnet", 4096, 64, marks=slow),
        pytest.param(TorchvisionEncoder, "densenet121", 1024, 64, marks=slow),
        pytest.param(TorchvisionEncoder, "densenet169", 1664, 64, marks=slow),
        pytest.param(TorchvisionEncoder, "efficientnet_b6", 2304, 64, marks=slow),
        pytest.param(TimmEncoder, "resnet18", 512, 64, marks=slow),
        pytest.param(TimmEncoder, "densenet121", 1024, 64, marks=slow),
    ],
    ids=lambda value: getattr(value, "library", None),
)
def test_gradients_reach_every_weight(library: Any, model: str, width: int, side: int) -> None:
    """In-place activations overwrite nothing that the backward pass needs, and DDP has no weight to wait for."""
    torch.manual_seed(0)
    backbone: Encoder = library(model, "random", image_size=side)
    assert backbone.feature_shapes() == {"embedding": (width,)}
    module = EncodingModule(4, None, FullyConnectedHead, backbone=backbone)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.ones_(each.weight)  # timm lets each block begin as the identity, with no gradient inside
    module.train()
    given = batch()
    loss = module.loss(module(given), given.response).mean()
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    moved = sum(int(parameter.grad.any()) for parameter in module.parameters() if parameter.grad is not None)
    assert moved >= 0.95 * len(list(module.parameters()))  # a dead ReLU may give some the gradient 0


@slow
def test_the_classifiers_own_dropout_is_trained_with() -> None:
    """The two fully connected layers of AlexNet that stay drop half in training, and nothing in evaluation."""
    encoder = TorchvisionEncoder("alexnet", "random", image_size=64)
    images = batch().images
    assert images is not None
    torch.manual_seed(0)
    assert not torch.equal(encoder(images)["embedding"], encoder(images)["embedding"])
    encoder.eval()
    assert torch.equal(encoder(images)["embedding"], encoder(images)["embedding"])


@pytest.mark.parametrize("optimizer", ["AdamW", "Adam", "NAdam", "SGD"])
def test_each_optimiser_trains_head_and_backbone_by_flag(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=20, n_targets=5)
    flags = [
        *QUIET,
        "--trainer.fast_dev_run=2",
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=null",
        "--data.batch_size=8",
        "--model.backbone=TorchvisionEncoder",
        "--model.backbone.model=squeezenet1_1",
        "--model.backbone.weights=random",
        "--model.backbone.image_size=32",
        "--model.finetuning=Gradual",
        "--model.finetuning.start=0",
        f"--model.optimizer={optimizer}",
        "--model.optimizer.lr=0.001",
        "--model.optimizer.weight_decay=0.01",
        "--model.scheduler=OneCycle",
        "--trainer.callbacks=ExponentialMovingAverage",
    ]
    assert main(flags) == 0


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped(algorithm: str, tmp_path: Path) -> None:
    """One step of plain gradient descent with rate 1 moves the weights by the clipped gradient."""
    sgd = {"optimizer": lambda params: torch.optim.SGD(params, lr=1.0), "scheduler": None}
    clip: dict[str, Any] = {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm}
    torch.manual_seed(0)
    model, *_ = fit(tmp_path, Full(), epochs=1, model=sgd, limit_train_batches=1, **clip)
    torch.manual_seed(0)
    start = tensors(EncodingModule(40, None, backbone=TinyBackbone()))
    moved = torch.cat([(each.detach() - start[name]).flatten() for name, each in model.named_parameters()])
    if algorithm == "norm":
        assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-3)
    else:
        assert float(moved.abs().max()) == pytest.approx(1e-3, rel=1e-3)


def test_mixed_precision_is_close_to_full_and_keeps_sums_exact(tmp_path: Path) -> None:
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        model, data, trainer, _ = fit(tmp_path, Full(), epochs=4, model={"scheduler": OneCycle}, precision=precision)
        assert all(each.dtype == torch.float32 for each in model.parameters())
        assert model.target_losses.dtype == torch.float64
        losses.append(trainer.validate(model, data, verbose=False)[0]["validation/loss"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_clipping_and_fused_and_mixed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning would end with an error of its own in the first step."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=20, n_targets=5)
    flags = [
        *QUIET,
        "--trainer.fast_dev_run=true",
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=PixelEncoder",
        "--trainer.precision=bf16-mixed",
        "--trainer.gradient_clip_val=1",
        "--model.optimizer=AdamW",
    ]
    assert main([*flags, "--model.optimizer.fused=true"]) == 2
    assert "--trainer.gradient_clip_val: a fused optimizer" in capsys.readouterr().err
    assert main([*flags, "--model.optimizer.fused=false"]) == 0


def test_images_are_shifted_in_training_alone() -> None:
    """By whole pixels up to the greatest shift, each image by its own; every shift occurs, and edges go on outwards."""
    ramp = torch.arange(20, dtype=torch.uint8)
    images = torch.stack([ramp.repeat(20, 1), ramp[:, None].repeat(1, 20), torch.full((20, 20), 7)])  # (3, 20, 20)
    images = images.to(torch.uint8).repeat(400, 1, 1, 1)
    encoder = ShiftedEncoder(Raw(), pixels=2)
    assert encoder.feature_shapes() == {"pixels": (3, 20, 20)}
    torch.manual_seed(0)
    found = encoder.train()(images)["pixels"]
    right, down = found[:, 0, 10, 10].int() - 10, found[:, 1, 10, 10].int() - 10
    assert {*zip(right.tolist(), down.tolist(), strict=True)} == {*product(range(-2, 3), repeat=2)}
    shifts = torch.stack([right, down], 1)
    expected = (torch.arange(20) + shifts[..., None]).clamp(0, 19)  # (400, 2, 20)
    assert torch.equal(found[:, 0, 0].int(), expected[:, 0])
    assert torch.equal(found[:, 1, :, 0].int(), expected[:, 1])
    assert (found[:, 2] == 7).all()
    assert torch.equal(encoder.eval()(images)["pixels"], images)
    with pytest.raises(InputError, match=r"--model\.backbone\.pixels -1: expected 0 or more"):
        ShiftedEncoder(Raw(), pixels=-1)


class Raw(Encoder):
    """The images as they come."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"pixels": images}

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"pixels": (3, 20, 20)}

    def settings(self) -> dict[str, object]:
        return {}
