"""What torchvision's builders change beside the weights when they load published ones, and we do in their place."""

import re
from pathlib import Path

import pytest
import torch
from calcarine.encoders import TorchvisionEncoder
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

IMAGES = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder where torch.hub keeps what it downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.nn.init.trunc_normal_", lambda tensor, **_: nn.init.normal_(tensor, 0, 0.01))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def publish(state: dict[str, Tensor], model: str, tag: str, checkpoints: Path) -> None:
    """Lay weights where torchvision's own builder finds them as the published ones."""
    torch.save(state, checkpoints / get_model_weights(model)[tag].url.rpartition("/")[2])


def unlike_the_default(network: nn.Module) -> dict[str, Tensor]:
    """State of a network with running statistics that are not 0 and 1."""
    state = network.state_dict()
    generator = torch.Generator().manual_seed(2)
    for name, tensor in state.items():
        if name.endswith(("running_mean", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 1e-3 + 1e-4)  # so that epsilon counts
    return state


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("model", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_heads(model: str, checkpoints: Path) -> None:
    publish(unlike_the_default(get_model(model)), model, "IMAGENET1K_V1", checkpoints)  # with its auxiliary heads
    reference = get_model(model, weights="IMAGENET1K_V1").eval()
    encoder = TorchvisionEncoder(model, layers="fc", image_size=96).eval()
    pixels = (IMAGES / 255 - encoder.mean) / encoder.std
    torch.testing.assert_close(encoder(IMAGES)["fc"], reference(pixels))  # both change the input's scale
    assert not [name for name, _ in encoder.named_parameters() if "aux" in name.lower()]
    assert encoder.train()(IMAGES)["fc"].shape == (2, 1000)  # where the library's would return its auxiliary heads too


@torch.no_grad()
def test_detector_keeps_its_fixed_norms_and_their_epsilon(checkpoints: Path) -> None:
    model = "retinanet_resnet50_fpn"
    network = get_model(model, weights=None, weights_backbone=None)
    publish(unlike_the_default(network), model, "COCO_V1", checkpoints)
    reference = get_model(model, weights="COCO_V1", weights_backbone=None).eval()
    encoder = TorchvisionEncoder(model, layers="backbone.body.layer1", image_size=96)
    pixels = (IMAGES / 255 - encoder.mean) / encoder.std
    body = reference.backbone.body
    expected = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(pixels)))))
    torch.testing.assert_close(encoder(IMAGES)["backbone.body.layer1"], expected)  # in training mode, too


def test_vision_transformer_has_the_size_of_its_weights(checkpoints: Path) -> None:
    with torch.device("meta"):
        network = get_model("vit_b_16", image_size=384)
    state = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in network.state_dict().items()}
    publish(state, "vit_b_16", "IMAGENET1K_SWAG_E2E_V1", checkpoints)
    encoder = TorchvisionEncoder("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", layers="conv_proj")
    assert encoder.spec.size == 384
    assert encoder.feature_shapes() == {"conv_proj": (768, 24, 24)}


def test_densenet_under_its_old_names(checkpoints: Path) -> None:
    state = unlike_the_default(get_model("densenet121"))
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): tensor for name, tensor in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    publish(old, "densenet121", "IMAGENET1K_V1", checkpoints)
    loaded = TorchvisionEncoder("densenet121", image_size=64).network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.items())


def test_a_module_that_asks_for_the_version_of_its_state(checkpoints: Path) -> None:
    state = unlike_the_default(get_model("mnasnet0_5"))
    publish(state, "mnasnet0_5", "IMAGENET1K_V1", checkpoints)
    loaded = TorchvisionEncoder("mnasnet0_5", image_size=64).network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.items())
