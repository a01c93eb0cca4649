"""The networks of the published systems, by the names that users type."""

import pytest
import torch
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.pretrained import PretrainedEncoder

ZOO = [
    (TimmEncoder, "resnet18.fb_ssl_yfcc100m_ft_in1k", "fb_ssl_yfcc100m_ft_in1k", 224, 512),
    (TimmEncoder, "resnet18.fb_swsl_ig1b_ft_in1k", "fb_swsl_ig1b_ft_in1k", 224, 512),
    (TimmEncoder, "resnet50.fb_ssl_yfcc100m_ft_in1k", "fb_ssl_yfcc100m_ft_in1k", 224, 2048),
    (TimmEncoder, "resnet50.fb_swsl_ig1b_ft_in1k", "fb_swsl_ig1b_ft_in1k", 224, 2048),
    (TimmEncoder, "nasnetalarge.tf_in1k", "tf_in1k", 331, 4032),
    (TimmEncoder, "samvit_base_patch16.sa1b", "sa1b", 1024, 256),
    (TimmEncoder, "vit_small_patch14_dinov2.lvd142m", "lvd142m", 518, 384),
    (OpenClipEncoder, "ViT-B-32", "openai", 224, 512),
    (TorchvisionEncoder, "alexnet", "IMAGENET1K_V1", 224, 4096),
    (TorchvisionEncoder, "squeezenet1_1", "IMAGENET1K_V1", 224, 512),
    (TorchvisionEncoder, "vgg16", "IMAGENET1K_V1", 224, 4096),
    (TorchvisionEncoder, "vgg19", "IMAGENET1K_V1", 224, 4096),
]


@pytest.mark.parametrize(("encoder", "model", "tag", "size", "width"), ZOO, ids=[each[1] for each in ZOO])
def test_a_published_network_has_its_weights_size_and_embedding(
    encoder: type[PretrainedEncoder], model: str, tag: str, size: int, width: int
) -> None:
    assert tag in encoder.tags(model)
    with torch.device("meta"):  # shapes without numbers: the biggest takes a second
        network = encoder(model, "random")
    assert network.spec.size == size
    assert network.feature_shapes() == {"embedding": (width,)}


def test_segment_anything_ends_in_a_neck_of_maps() -> None:
    with torch.device("meta"):
        network = TimmEncoder("samvit_base_patch16.sa1b", "random", ["neck"])
    assert network.feature_shapes() == {"neck": (256, 64, 64)}
