"""TimmEncoder: any model of timm."""

import sys
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from ..errors import InputError, one_line
from .capture import Tap
from .checkpoint import read_state
from .framing import Framing
from .hub import fetch_published, following
from .pretrained import InputSpec, PretrainedEncoder
from .tracing import Event


class TimmEncoder(PretrainedEncoder):
    """A model of timm, such as "resnet50", "samvit_base_patch16.sa1b" or "vit_small_patch14_dinov2.lvd142m".

    What follows the dot is the tag of published weights; it may as well be given as `weights`. It also determines
    size and normalisation of the input, for random weights and local files too.
    """

    library = "timm"

    @classmethod
    def models(cls) -> Collection[str]:
        return _model_names()

    @classmethod
    def tags(cls, model: str) -> Sequence[str]:
        import timm

        architecture, _, own = model.partition(".")
        default = own or getattr(timm.get_pretrained_cfg(architecture), "tag", "")
        names = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
        return sorted((name for name in names if name), key=lambda name: name != default)

    @classmethod
    def build(cls, model: str, tag: str | None, image_size: int | None) -> tuple[nn.Module, InputSpec]:
        import timm

        name = f"{model.partition('.')[0]}.{tag}" if tag else model
        config: Any = timm.get_pretrained_cfg(name)
        arguments: dict[str, Any] = {}
        if image_size is not None and config.fixed_input_size:
            arguments["img_size"] = image_size  # position embeddings are resampled
        source = ""
        if tag and not following():
            weights = config.hf_hub_filename or "pytorch_model.bin"
            file = fetch_published(config.hf_hub_id, weights, config.url, f"{cls.library}:{name}")
            # timm would unpickle the file, but it alone knows how each model's tensors are converted: it gets those.
            arguments.update(pretrained=True, pretrained_cfg_overlay={"state_dict": read_state(file)})
            source = f" from {file}"
        try:
            network: Any = timm.create_model(name, **arguments)
        except Exception as error:  # whatever a model's constructor or converter of weights raises
            size = "its own image_size" if image_size is None else f"image_size {image_size}"
            raise InputError(f"{cls.library}:{name}: cannot be made{source} at {size}: {one_line(error)}") from error
        network.pretrained_cfg.pop("state_dict", None)  # a second copy of the weights
        interpolation = "bilinear" if config.interpolation == "bilinear" else "bicubic"
        size = image_size or config.input_size[-1]
        # Where crop_pct is 1, nothing but the long side's ends is lost. timm also has "border", of no model so far.
        fit: Any = {"center": "shorter", "squash": "both"}.get(config.crop_mode)
        framing = Framing(int(size / config.crop_pct), fit) if fit else None
        return network, InputSpec(size, config.mean, config.std, interpolation, framing)

    @classmethod
    def embedding_tap(cls, network: nn.Module, events: Sequence[Event]) -> Tap | None:
        classifier: Any = network.get_classifier()  # type: ignore[operator]
        if isinstance(classifier, (tuple, list)):  # distilled models: the class token's, then the distillation token's
            classifier = classifier[0]
        ran = [event.tap for event in events if network.get_submodule(event.tap.module) is classifier]
        return Tap(ran[0].module, "input") if ran else Tap("")

    @classmethod
    def convert(cls, network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
        # By convention each of timm's files converts its models' original checkpoints with a function of this name.
        filter_state = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        return state if filter_state is None else filter_state(state, network)


@lru_cache(maxsize=1)
def _model_names() -> frozenset[str]:
    """Architectures, and architectures with the tag of published weights."""
    import timm

    return frozenset([*timm.list_models(), *timm.list_pretrained()])
