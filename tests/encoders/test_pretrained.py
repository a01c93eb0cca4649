"""torchvision, timm and open_clip encoders against the libraries' own forwards, with random weights."""

import copy
import json
import time

import pytest
import torch
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.base import prepare_images
from calcarine.encoders.pretrained import PretrainedEncoder
from calcarine.errors import InputError
from torch import Tensor

IMAGES = torch.randint(0, 256, (2, 3, 80, 100), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def inputs(encoder: PretrainedEncoder) -> Tensor:
    return prepare_images(IMAGES, encoder.spec.size, encoder.spec.interpolation, encoder.mean, encoder.std)


def same_weights(network: torch.nn.Module, encoder: PretrainedEncoder) -> torch.nn.Module:
    """A whole network of the library with the weights that the encoder kept."""
    result = network.load_state_dict(encoder.network.state_dict(), strict=False)
    assert not result.unexpected_keys
    return network.eval()


@torch.no_grad()
def test_torchvision_embedding_and_map() -> None:
    from torchvision.models import resnet18
    from torchvision.models.feature_extraction import create_feature_extractor

    encoder = TorchvisionEncoder("resnet18", weights="random", layers=["embedding", "layer1.0.conv1"]).eval()
    reference = create_feature_extractor(same_weights(resnet18(), encoder), ["flatten", "layer1.0.conv1"])
    expected, found = reference(inputs(encoder)), encoder(IMAGES)
    torch.testing.assert_close(found["embedding"], expected["flatten"])
    torch.testing.assert_close(found["layer1.0.conv1"], expected["layer1.0.conv1"])
    assert encoder.spec.size == 224
    assert encoder.feature_shapes() == {layer: tuple(features.shape[1:]) for layer, features in found.items()}


@torch.no_grad()
@pytest.mark.parametrize(("model", "width"), [("alexnet", 4096), ("squeezenet1_1", 512), ("densenet121", 1024)])
def test_torchvision_embedding_is_the_classifiers_input(model: str, width: int) -> None:
    from torchvision.models import get_model

    encoder = TorchvisionEncoder(model, weights="random", image_size=64, seed=3).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = get_model(model).eval()
    embedding = encoder(IMAGES)["embedding"]
    assert embedding.shape == (2, width)
    features = network.features(inputs(encoder))
    expected = {
        "alexnet": lambda: network.classifier[:6](network.avgpool(features).flatten(1)),
        "squeezenet1_1": lambda: features.mean((2, 3)),
        "densenet121": lambda: features.relu().mean((2, 3)),
    }[model]()
    torch.testing.assert_close(embedding, expected)


@torch.no_grad()
def test_torchvision_detector_runs_its_backbone_alone() -> None:
    from torchvision.models import get_model

    model = "fasterrcnn_mobilenet_v3_large_320_fpn"
    layers = ["backbone.body.1", "backbone.fpn.layer_blocks.0"]
    encoder = TorchvisionEncoder(model, "random", layers, image_size=96).eval()
    reference = same_weights(get_model(model, weights=None, weights_backbone=None), encoder)
    pyramid = reference.backbone(inputs(encoder))
    torch.testing.assert_close(encoder(IMAGES)["backbone.fpn.layer_blocks.0"], pyramid["0"])
    training = encoder.train()(IMAGES)  # where a whole detector would ask for boxes
    assert {layer: tuple(features.shape[1:]) for layer, features in training.items()} == encoder.feature_shapes()
    with pytest.raises(InputError, match=r"no default layer.*--data\.encoder\.layers"):
        TorchvisionEncoder(model, "random", image_size=96)


@torch.no_grad()
@pytest.mark.parametrize("model", ["test_resnet.r160_in1k", "test_vit.r160_in1k", "test_efficientnet.r160_in1k"])
def test_timm_embedding(model: str) -> None:
    import timm

    encoder = TimmEncoder(model, weights="random").eval()
    reference = same_weights(timm.create_model(model, num_classes=0), encoder)
    torch.testing.assert_close(encoder(IMAGES)["embedding"], reference(inputs(encoder)))
    assert encoder.spec.size == 160
    assert torch.equal(encoder.mean.flatten(), torch.tensor(timm.get_pretrained_cfg(model).mean))


@torch.no_grad()
def test_timm_tokens_and_logits_beside_the_embedding() -> None:
    import timm

    encoder = TimmEncoder("test_vit", weights="random", layers=["blocks.1", "embedding", "head"], image_size=64).eval()
    reference = same_weights(timm.create_model("test_vit", img_size=64), encoder)
    found, tokens = encoder(IMAGES), reference.forward_features(inputs(encoder))
    torch.testing.assert_close(found["embedding"], reference.forward_head(tokens, pre_logits=True))
    torch.testing.assert_close(found["head"], reference.forward_head(tokens))
    assert found["blocks.1"].shape == (2, 17, 64)
    pooled = TimmEncoder("test_vit", "random", ["blocks.1", "embedding"], pool=2, image_size=64)
    assert pooled.feature_shapes() == {"blocks.1": (64, 2, 2), "embedding": (64,)}
    assert {layer: tuple(features.shape[1:]) for layer, features in pooled(IMAGES).items()} == pooled.feature_shapes()


@torch.no_grad()
def test_open_clip_image_embedding_and_tokens() -> None:
    import open_clip

    encoder = OpenClipEncoder("ViT-S-32", weights="random", layers=["embedding", "transformer.resblocks.3"]).eval()
    reference = open_clip.create_model("ViT-S-32", load_weights=False)
    same_weights(reference.visual, encoder)
    found = encoder(IMAGES)
    torch.testing.assert_close(found["embedding"], reference.encode_image(inputs(encoder)), rtol=1e-4, atol=1e-5)
    assert found["transformer.resblocks.3"].shape == (2, 50, 384)
    assert not [name for name in encoder.state_dict() if "token_embedding" in name]


def test_random_weights_are_reproducible_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    prints = [TimmEncoder("test_resnet", "random", seed=seed).fingerprint() for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(4), expected)
    assert prints[0] == prints[1] != prints[2]
    assert json.loads(json.dumps(prints[0])) == prints[0]


def test_fingerprint_tells_settings_apart() -> None:
    def fingerprint(model: str = "test_resnet", **settings: object) -> str:
        return json.dumps(TimmEncoder(model, "random", **settings).fingerprint())  # type: ignore[arg-type]

    variants = [{}, {"layers": "layer2"}, {"layers": "layer2", "pool": "avg"}, {"layers": "layer2", "pool": 2}]
    assert len({fingerprint(**variant) for variant in [*variants, {"image_size": 64}]}) == 5
    assert fingerprint(layers=["layer1", "layer2"]) == fingerprint(layers=["layer2", "layer1"])


def test_fingerprint_tells_activations_apart() -> None:
    with torch.device("meta"):  # the text of a network needs no numbers
        quick, plain = (OpenClipEncoder(name, "random").settings() for name in ("ViT-B-32-quickgelu", "ViT-B-32"))
    assert quick["architecture_sha256"] != plain["architecture_sha256"]


def test_trains_as_a_backbone() -> None:
    encoder = TimmEncoder("test_vit", "random", layers=["blocks.0", "embedding"], pool="avg", image_size=64)
    assert all(module.training for module in encoder.modules())
    sum(features.sum() for features in encoder(IMAGES).values()).backward()
    trainable = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert trainable
    assert all(parameter.grad is not None for parameter in trainable.values())
    twin = copy.deepcopy(encoder).eval()
    twin.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(twin(IMAGES), encoder.eval()(IMAGES))
    with torch.inference_mode():
        torch.testing.assert_close(twin(IMAGES)["embedding"], encoder(IMAGES)["embedding"])


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(
    ("encoder", "model", "weights"),
    [
        (TimmEncoder, "resnet18.fb_ssl_yfcc100m_ft_in1k", "pretrained"),
        (TimmEncoder, "samvit_base_patch16", "sa1b"),
        (OpenClipEncoder, "ViT-B-32", "openai"),
        (OpenClipEncoder, "ViT-B-32", "laion2b_s34b_b79k"),
        (TorchvisionEncoder, "resnet50", "IMAGENET1K_V1"),
        (TorchvisionEncoder, "retinanet_resnet50_fpn_v2", "pretrained"),
    ],
)
def test_without_a_network_one_line_within_seconds(
    encoder: type[PretrainedEncoder], model: str, weights: str, offline: bool, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    import huggingface_hub.constants

    encoder.check_model(model)  # imports are not part of the time
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nothing listens: no network, wherever the test runs
    for builder in ("timm.create_model", "open_clip.model._build_vision_tower", "torchvision.models.get_model"):
        monkeypatch.setattr(builder, None)  # nothing is built before the weights are there
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        encoder(model, weights)
    assert time.perf_counter() - start < 15
    message = str(caught.value)
    assert model in message
    assert "could not be fetched" in message
    assert "--data.encoder.weights FILE" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("encoder", "arguments", "message"),
    [
        (TimmEncoder, {"model": "resnet5O"}, "timm has no model 'resnet5O'.*'resnet50'"),
        (TorchvisionEncoder, {"model": "resnet19"}, "torchvision has no model 'resnet19'.*'resnet18'"),
        (TorchvisionEncoder, {"model": "raft_large"}, "torchvision has no model 'raft_large'"),
        (OpenClipEncoder, {"model": "ViT-B-33"}, "open_clip has no model 'ViT-B-33'.*'ViT-B-32'"),
        (TimmEncoder, {"model": "resnet18", "weights": "pretraned"}, "no weights 'pretraned'.*'pretrained'"),
        (OpenClipEncoder, {"model": "ViT-B-32", "weights": "open_ai"}, "no weights 'open_ai'.*'openai'"),
        (TimmEncoder, {"model": "test_resnet", "weights": "random", "layers": "layer9"}, "'layer9'.*'layer"),
        (
            TimmEncoder,
            {"model": "test_resnet", "weights": "random", "layers": []},
            r"--data\.encoder\.layers: expected at least one layer",
        ),
        (
            TimmEncoder,
            {"model": "test_resnet", "weights": "random", "pool": 0},
            r"--data\.encoder\.pool: expected at least 1, found 0",
        ),
        (TimmEncoder, {"model": "test_vit", "weights": "random", "image_size": 50}, "test_vit.*50"),
        (TorchvisionEncoder, {"model": "vit_b_32", "weights": "random", "image_size": 50}, "vit_b_32.*50"),
    ],
)
def test_wrong_flags_are_one_clear_line(encoder: type[PretrainedEncoder], arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        encoder(**arguments)
    assert "\n" not in str(caught.value)
