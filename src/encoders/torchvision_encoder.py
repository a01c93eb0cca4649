"""TorchvisionEncoder: any image model of torchvision."""

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .capture import Event, Tap
from .hub import fetch_url
from .pretrained import InputSpec, PretrainedEncoder


class TorchvisionEncoder(PretrainedEncoder):
    """A model of `torchvision.models`: classifiers, segmentation models, and the backbones of detectors.

    A detector runs as far as its backbone (layers "backbone.…"): what follows depends on the boxes found. Detectors
    and segmentation models have no "embedding", so name the layers.
    """

    library = "torchvision"

    @classmethod
    def models(cls) -> Collection[str]:
        from torchvision import models

        other = (models.video, models.optical_flow, models.quantization)
        return sorted({*models.list_models()}.difference(*(models.list_models(module) for module in other)))

    @classmethod
    def tags(cls, model: str) -> Sequence[str]:
        from torchvision.models import get_model_weights

        published = get_model_weights(model)
        default = published["DEFAULT"].name  # an alias, which iteration leaves out
        return [default, *(member.name for member in published if member.name != default)]

    @classmethod
    def build(cls, model: str, tag: str | None, image_size: int | None) -> tuple[nn.Module, InputSpec]:
        from torchvision import models

        what = f"{cls.library}:{model}"
        detector = model in models.list_models(models.detection)
        published = models.get_model_weights(model)
        arguments: dict[str, Any] = {"weights": published[tag] if tag else None}
        if tag:
            fetch_url(published[tag].url, what)  # into the cache where the builder looks
        segmenter = model in models.list_models(models.segmentation)
        if detector or segmenter:
            arguments["weights_backbone"] = None
        if segmenter and not model.startswith("lraspp"):
            arguments["aux_loss"] = True  # checkpoints hold it
        if model.startswith("vit_") and image_size is not None:
            arguments["image_size"] = image_size  # its position embeddings are made for one size
        try:
            network: Any = models.get_model(model, **arguments)
        except (ValueError, RuntimeError, AssertionError) as error:
            raise InputError(f"{what}: cannot load {tag or 'it'} at image_size {image_size}: {error}") from error
        if hasattr(network, "transform_input"):
            network.transform_input = True  # GoogLeNet and Inception: their published weights expect it
        if detector:
            return _Backbone(network.backbone), _detector_input(network.transform, image_size)
        preset = published[tag or "DEFAULT"].transforms()
        size = image_size or (preset.crop_size if hasattr(preset, "crop_size") else preset.resize_size)[0]
        return network, InputSpec(size, tuple(preset.mean), tuple(preset.std), preset.interpolation.value)

    @classmethod
    def embedding_tap(cls, network: nn.Module, events: Sequence[Event]) -> Tap | None:
        output = events[-1].shape
        if output is None or len(output) != 2:
            return None
        weighted = (nn.Linear, nn.Conv2d)  # SqueezeNet classifies by a convolution
        names = [event.tap.module for event in events if isinstance(network.get_submodule(event.tap.module), weighted)]
        return Tap(names[-1], "input")

    @classmethod
    def convert(cls, network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
        # What detectors hold beside their backbone does not run.
        if isinstance(network, _Backbone):
            return {key: tensor for key, tensor in state.items() if key.startswith("backbone.")}
        return state


class _Backbone(nn.Module):
    """The part of a detector that runs on any images, under the names that it has in the detector."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Any:
        return self.backbone(images)


def _detector_input(transform: Any, image_size: int | None) -> InputSpec:
    """Input of a detector, which brings its own resizing and normalisation."""
    own = transform.fixed_size[0] if transform.fixed_size else transform.min_size[-1]
    return InputSpec(image_size or own, tuple(transform.image_mean), tuple(transform.image_std))
