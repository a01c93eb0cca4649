"""What an image loses before a model sees it, against the libraries' own pipelines."""

import pytest
import torch
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.base import prepare_images
from calcarine.encoders.framing import Framing
from calcarine.encoders.pretrained import PretrainedEncoder
from calcarine.errors import InputError
from torch import Tensor, nn

IMAGE = torch.randint(0, 256, (1, 3, 301, 403), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def smooth() -> Tensor:
    """A picture (3, 301, 403): resizing noise would amplify rounding."""
    return nn.functional.interpolate(IMAGE[..., ::40, ::40].float(), size=(301, 403), mode="bilinear")[0].to(
        torch.uint8
    )


def timm_pipeline(model: str) -> nn.Module:
    import timm
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(model).to_dict())
    return create_transform(**config)  # type: ignore[return-value]


def torchvision_pipeline(model: str) -> nn.Module:
    from torchvision.models import get_model_weights

    return get_model_weights(model)["DEFAULT"].transforms()


def open_clip_pipeline(mode: str) -> nn.Module:
    from open_clip.transform import image_transform

    return image_transform(224, is_train=False, resize_mode=mode)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("encoder", "model", "pipeline"),
    [
        (TimmEncoder, "vit_base_patch16_siglip_224.webli", lambda: timm_pipeline("vit_base_patch16_siglip_224.webli")),
        (TimmEncoder, "resnet18.a1_in1k", lambda: timm_pipeline("resnet18.a1_in1k")),
        (
            TimmEncoder,
            "vit_base_patch16_clip_quickgelu_224.openai",
            lambda: timm_pipeline("vit_base_patch16_clip_quickgelu_224.openai"),
        ),
        (TorchvisionEncoder, "resnet50", lambda: torchvision_pipeline("resnet50")),
        (TorchvisionEncoder, "efficientnet_b0", lambda: torchvision_pipeline("efficientnet_b0")),
        (OpenClipEncoder, "ViT-B-32", lambda: open_clip_pipeline("shortest")),
    ],
)
def test_the_models_own_pipeline_is_followed(encoder: type[PretrainedEncoder], model: str, pipeline) -> None:
    from torchvision.transforms.functional import to_pil_image

    with torch.device("meta"):
        spec = encoder.build(model, None, None)[1]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (spec.mean, spec.std))
    picture = smooth()
    expected = pipeline()(to_pil_image(picture))
    found = prepare_images(picture[None], spec.size, spec.interpolation, mean, std, spec.framing)[0]
    assert found.shape == expected.shape == (3, spec.size, spec.size)
    torch.testing.assert_close(found * std, expected * std, atol=1.6 / 255, rtol=0)  # PIL rounds to whole values, twice
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.9999


def test_open_clip_squeezes_what_timm_crops() -> None:
    """The same weights of SigLIP, in two libraries."""
    with torch.device("meta"):
        cropped = TimmEncoder.build("vit_base_patch16_siglip_224.webli", None, None)[1].framing
    assert cropped == Framing(248, "shorter")
    import open_clip

    assert open_clip.get_pretrained_cfg("ViT-B-16-SigLIP", "webli")["resize_mode"] == "squash"
    both = Framing(224, "both")
    torch.testing.assert_close(
        prepare_images(IMAGE, 224, "bicubic", framing=both), prepare_images(IMAGE, 224, "bicubic"), rtol=0, atol=0
    )


def test_what_was_done_is_said_and_tells_caches_apart() -> None:
    whole, own = (TimmEncoder("test_resnet", "random", preprocess=way) for way in ("whole", "model"))
    assert whole.preprocessing() == "the whole image squeezed to 160 × 160 pixels, bilinear"
    assert own.preprocessing() == "the shorter side brought to 168 pixels, the middle 160 × 160 kept, bilinear"
    assert whole.settings() != own.settings()
    marked = torch.zeros(1, 3, 100, 300, dtype=torch.uint8)
    marked[..., :40] = 255
    black = torch.zeros_like(marked)
    assert torch.equal(own.eval()(marked)["embedding"], own(black)["embedding"])  # the left is cut off
    assert not torch.equal(whole.eval()(marked)["embedding"], whole(black)["embedding"])


def test_a_model_whose_pipeline_ends_in_no_square_is_refused() -> None:
    with torch.device("meta"), pytest.raises(InputError, match=r"preprocess model: expected a model.*lraspp") as caught:
        TorchvisionEncoder("lraspp_mobilenet_v3_large", "random", "classifier.low_classifier", preprocess="model")
    assert "\n" not in str(caught.value)
