"""Weight files that the test writes itself, for all three libraries; damaged, mismatched and malicious ones."""

import os
from functools import cache
from pathlib import Path

import pytest
import torch
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.checkpoint import read_state
from calcarine.encoders.pretrained import PretrainedEncoder
from calcarine.errors import InputError
from safetensors.torch import save_file
from torch import Tensor

IMAGES = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TIMM_FILE = ("timm/test_resnet.r160_in1k", "model.safetensors")  # repository and name of published weights
WRAPPINGS = ["plain", "state_dict", "module", "lightning", "safetensors"]


@cache
def whole_network(encoder: type[PretrainedEncoder], model: str) -> torch.nn.Module:
    """The library's network with all its parts (of CLIP the image tower), seeded unlike the encoder's default."""
    torch.manual_seed(99)
    return encoder.build(model, None, None)[0]


def whole_clip(tower: torch.nn.Module) -> dict[str, Tensor]:
    """State of a whole CLIP, whose text tower has names like those of the image tower."""
    image = {f"visual.{key}": tensor for key, tensor in tower.state_dict().items()}
    text = {key: torch.zeros(3) for key in tower.state_dict() if key.startswith(("transformer.", "ln_"))}
    return {"logit_scale": torch.tensor(1.0), "positional_embedding": torch.zeros(7, 5), **text, **image}


def write(state: dict[str, Tensor], wrapping: str, folder: Path) -> Path:
    path = folder / ("weights.safetensors" if wrapping == "safetensors" else "weights.pth")
    if wrapping == "safetensors":
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    elif wrapping == "plain":
        torch.save(state, path)
    elif wrapping == "state_dict":
        torch.save({"epoch": 3, "arch": "x", "state_dict": state}, path)
    elif wrapping == "module":
        torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, path)
    else:
        head = {"head.weight": torch.zeros(2, 2), "loss.weight": torch.ones(3)}
        wrapped = {f"model.{key}": tensor for key, tensor in state.items()}
        torch.save({"pytorch-lightning_version": "2.6.4", "state_dict": {**head, **wrapped}}, path)
    return path


@pytest.mark.parametrize(
    ("encoder", "model", "wrapping"),
    [
        *((TimmEncoder, "test_vit", wrapping) for wrapping in WRAPPINGS),
        *((TorchvisionEncoder, "shufflenet_v2_x0_5", wrapping) for wrapping in ("module", "safetensors")),
        *((OpenClipEncoder, "ViT-S-32", wrapping) for wrapping in ("lightning", "safetensors")),
    ],
)
def test_local_file(encoder: type[PretrainedEncoder], model: str, wrapping: str, tmp_path: Path) -> None:
    network = whole_network(encoder, model)
    path = write(whole_clip(network) if encoder is OpenClipEncoder else network.state_dict(), wrapping, tmp_path)
    loaded = encoder(model, weights=str(path)).eval()
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
    assert loaded(IMAGES)["embedding"].isfinite().all()


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, for huggingface_hub and torch.hub to look for their downloads."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def in_hub_cache(caches: Path, repository: str, name: str) -> Path:
    """Where huggingface_hub keeps a file that it downloaded."""
    folder = caches / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot / name


def in_torch_cache(caches: Path, model: str, tag: str = "DEFAULT") -> Path:
    """Where torch.hub keeps the published weights of a torchvision model."""
    from torchvision.models import get_model_weights

    folder = caches / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / get_model_weights(model)[tag].url.rpartition("/")[2]


def save_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)


@pytest.mark.parametrize("library", ["timm", "open_clip", "torchvision"])
def test_published_weights_come_from_the_librarys_cache(library: str, caches: Path) -> None:
    if library == "timm":
        network = whole_network(TimmEncoder, "test_resnet")
        save_safetensors(network.state_dict(), in_hub_cache(caches, *TIMM_FILE))
        loaded = TimmEncoder("test_resnet")
        assert "state_dict" not in loaded.network.pretrained_cfg  # which would be a second copy of the weights
    elif library == "open_clip":
        network = whole_network(OpenClipEncoder, "RN50")
        path = in_hub_cache(caches, "timm/resnet50_clip.openai", "open_clip_model.safetensors")
        save_safetensors(whole_clip(network), path)
        loaded = OpenClipEncoder("RN50")
    else:
        network = whole_network(TorchvisionEncoder, "shufflenet_v2_x0_5")
        torch.save(network.state_dict(), in_torch_cache(caches, "shufflenet_v2_x0_5"))
        loaded = TorchvisionEncoder("shufflenet_v2_x0_5")
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_image_tower_alone_loads_into_open_clip(tmp_path: Path) -> None:
    tower = whole_network(OpenClipEncoder, "ViT-S-32")
    loaded = OpenClipEncoder("ViT-S-32", weights=str(write(tower.state_dict(), "plain", tmp_path)))
    assert torch.equal(loaded.network.conv1.weight, tower.conv1.weight)


def test_detector_checkpoint(tmp_path: Path) -> None:
    from torchvision.models import get_model

    model = "fasterrcnn_mobilenet_v3_large_320_fpn"
    network = get_model(model, weights=None, weights_backbone=None)  # with its heads
    path = write(network.state_dict(), "plain", tmp_path)
    loaded = TorchvisionEncoder(model, str(path), ["backbone.body.1"], image_size=64)
    name = "backbone.body.0.0.weight"
    assert torch.equal(loaded.network.state_dict()[name], network.state_dict()[name])


def test_another_number_of_classes_matters_only_to_the_classifier(tmp_path: Path) -> None:
    import timm

    network = timm.create_model("test_resnet", num_classes=7)
    path = str(write(network.state_dict(), "plain", tmp_path))
    loaded = TimmEncoder("test_resnet", weights=path)
    assert torch.equal(loaded.network.conv1[0].weight, network.conv1[0].weight)
    with pytest.raises(InputError, match=r"another shape, first 'fc\.weight'.*\(1000, .*\(7, "):
        TimmEncoder("test_resnet", weights=path, layers="fc")


def test_position_embeddings_are_resampled_to_another_size(tmp_path: Path) -> None:
    path = write(whole_network(TimmEncoder, "test_vit").state_dict(), "plain", tmp_path)
    assert TimmEncoder("test_vit", str(path), image_size=64).network.pos_embed.shape == (1, 17, 64)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    path = write(whole_network(TorchvisionEncoder, "resnet34").state_dict(), "plain", tmp_path)
    with pytest.raises(InputError) as caught:
        TorchvisionEncoder("resnet18", weights=str(path))  # a deeper network holds all that a shallower one needs
    assert "unexpected, first 'layer1.2.conv1.weight'" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_tensors_are_counted_and_named(tmp_path: Path) -> None:
    state = whole_network(TimmEncoder, "test_resnet").state_dict()
    removed = [key for key in state if key.startswith("layer2")]
    path = write({key: tensor for key, tensor in state.items() if key not in removed}, "plain", tmp_path)
    counted = [key for key in removed if not key.endswith("num_batches_tracked")]
    with pytest.raises(InputError, match=f"{len(counted)} of .* missing, first '{counted[0]}'"):
        TimmEncoder("test_resnet", weights=str(path))
    TimmEncoder("test_resnet", weights=str(path), layers="layer1")  # does not need them


def test_momentum_copies_are_ambiguous(tmp_path: Path) -> None:
    state = whole_network(TimmEncoder, "test_resnet").state_dict()
    both = {f"{copy}.{key}": tensor for copy in ("encoder_q", "encoder_k") for key, tensor in state.items()}
    with pytest.raises(InputError, match="expected one set of weights, found two"):
        TimmEncoder("test_resnet", weights=str(write(both, "plain", tmp_path)))


class Payload:
    """Runs a command when unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, legacy: bool) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "owned"
    content = {"state_dict": {"conv1.weight": torch.zeros(1)}, "callback": Payload(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"refused.*(posix|os)[. ]system") as caught:
        TimmEncoder("test_resnet", weights=str(path))
    assert not marker.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def published_pickle(library: str, caches: Path) -> Path:
    """Where the library's cache holds the published weights of a small model, as a pickle."""
    if library == "torchvision":
        return in_torch_cache(caches, "shufflenet_v2_x0_5")
    return in_hub_cache(caches, TIMM_FILE[0], "pytorch_model.bin")


def load_published(library: str) -> PretrainedEncoder:
    return TorchvisionEncoder("shufflenet_v2_x0_5") if library == "torchvision" else TimmEncoder("test_resnet")


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("legacy", [False, True])
def test_malicious_pickle_in_the_librarys_cache_does_not_run(library: str, legacy: bool, caches: Path) -> None:
    path, marker = published_pickle(library, caches), caches / "owned"
    content = {"state_dict": {"conv1.weight": torch.zeros(1)}, "callback": Payload(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"refused.*(posix|os)[. ]system") as caught:
        load_published(library)
    assert not marker.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("damage", ["text", "truncated", "other tensors", "other shapes"])
def test_damaged_file_in_the_librarys_cache_is_one_line(library: str, damage: str, caches: Path) -> None:
    path = published_pickle(library, caches)
    state = dict(load_random(library).network.state_dict())
    if damage == "other tensors":
        state = {f"x.{key}y": tensor for key, tensor in state.items()}
    elif damage == "other shapes":
        state = {key: torch.zeros(2, 2) for key in state}
    torch.save(state, path)
    if damage == "text":
        path.write_text("<html>404</html>")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError) as caught:
        load_published(library)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def load_random(library: str) -> PretrainedEncoder:
    if library == "torchvision":
        return TorchvisionEncoder("shufflenet_v2_x0_5", "random")
    return TimmEncoder("test_resnet", "random")


@pytest.mark.parametrize("damage", [b"", b"404: Not Found", b"\xff" * 500])
def test_damaged_safetensors_in_the_hub_cache_are_one_line(damage: bytes, caches: Path) -> None:
    path = in_hub_cache(caches, *TIMM_FILE)
    path.write_bytes(damage)
    with pytest.raises(InputError, match="expected a safetensors file") as caught:
        TimmEncoder("test_resnet")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "absent", "folder"])
def test_damaged_files_are_one_line(tmp_path: Path, suffix: str, damage: str) -> None:
    state = {"weight": torch.rand(100, 100)}
    path = write(state, "safetensors" if suffix == ".safetensors" else "plain", tmp_path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("404: Not Found")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(InputError) as caught:
        read_state(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.zeros(3), {"lr": 0.1}, [torch.zeros(2)], {}])
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match="expected a state_dict"):
        read_state(tmp_path / "other.pt")
