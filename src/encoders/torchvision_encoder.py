"""TorchvisionEncoder: any image model of torchvision."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import InputError, one_line
from .capture import Tap
from .checkpoint import load_state
from .framing import Framing
from .hub import fetch_url, following
from .pretrained import InputSpec, PretrainedEncoder
from .tracing import Event

# Detectors whose first published weights ("COCO_V1") torchvision runs with batch norms of epsilon 0.
ZERO_EPSILON = {f"{kind}_resnet50_fpn" for kind in ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet")}
DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


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
        published = models.get_model_weights(model)
        # Given to the builder, the tag would have torchvision unpickle the file: what it changes beside is done here.
        file = fetch_url(published[tag].url, what) if tag and not following() else None
        preset = published[tag or "DEFAULT"].transforms()
        detector = model in models.list_models(models.detection)
        try:
            network: Any = models.get_model(model, weights=None, **_arguments(model, image_size, preset))
        except (ValueError, RuntimeError, AssertionError) as error:
            raise InputError(f"{what}: cannot be made at image_size {image_size}: {one_line(error)}") from error
        if detector:
            spec = _detector_input(network.transform, image_size)
            network = _Backbone(network.backbone)
            if tag and not model.startswith("ssd") and not model.endswith("_v2"):
                _freeze_norms(network, 0.0 if model in ZERO_EPSILON and tag == "COCO_V1" else 1e-5)
        else:
            crops = hasattr(preset, "crop_size")
            own = (preset.crop_size if crops else preset.resize_size)[0]
            size = image_size or own
            framing = Framing(int(preset.resize_size[0] * size / own)) if crops else None
            spec = InputSpec(size, tuple(preset.mean), tuple(preset.std), preset.interpolation.value, framing)
        if file:
            load_state(network, cls.own_state(network, file), [], file)
        return network, spec

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
        return {DENSE_LAYER.sub(r"\1\2", key): tensor for key, tensor in state.items()}  # DenseNets of before 2019


def _arguments(model: str, image_size: int | None, preset: Any) -> dict[str, Any]:
    """What the builder has to be told so that the weights fit and nothing is downloaded."""
    from torchvision.models import detection, list_models, segmentation

    if model in list_models(detection):
        return {"weights_backbone": None}
    if model in list_models(segmentation):
        auxiliary = {} if model.startswith("lraspp") else {"aux_loss": True}  # checkpoints hold it
        return {"weights_backbone": None, **auxiliary}
    if model in ("googlenet", "inception_v3"):  # their published weights expect inputs on another scale
        return {"transform_input": True, "init_weights": True}  # the latter is the default, with a warning
    if model.startswith("vit_"):
        return {"image_size": image_size or preset.crop_size[0]}  # position embeddings are made for one size
    if model.startswith("maxvit_"):
        return {"input_size": (image_size or preset.crop_size[0],) * 2}  # so are the numbers of its windows
    return {}


class _Backbone(nn.Module):
    """The part of a detector that runs on any images, under the names that it has in the detector."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Any:
        return self.backbone(images)


def _freeze_norms(network: nn.Module, epsilon: float) -> None:
    """Fix all batch norms, as torchvision does in detectors with published weights."""
    from torchvision.ops import FrozenBatchNorm2d

    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, FrozenBatchNorm2d(module.num_features, epsilon))


def _detector_input(transform: Any, image_size: int | None) -> InputSpec:
    """Input of a detector, which brings its own resizing and normalisation."""
    own = transform.fixed_size[0] if transform.fixed_size else transform.min_size[-1]
    return InputSpec(image_size or own, tuple(transform.image_mean), tuple(transform.image_std))
