"""OpenClipEncoder: the image tower of any CLIP model of open_clip."""

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from .capture import Tap
from .checkpoint import load_state
from .framing import Framing
from .hub import fetch_published, following
from .pretrained import InputSpec, PretrainedEncoder
from .tracing import Event

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class OpenClipEncoder(PretrainedEncoder):
    """The image tower of a model of open_clip, such as "ViT-B-32"; "embedding" is the image embedding.

    The text tower is never made. A checkpoint may hold the whole CLIP or the image tower alone. OpenAI's weights
    need another activation: the tag "openai" brings it, a local file of them wants the model "ViT-B-32-quickgelu".
    """

    library = "open_clip"

    @classmethod
    def models(cls) -> Collection[str]:
        import open_clip

        return open_clip.list_models()

    @classmethod
    def tags(cls, model: str) -> Sequence[str]:
        import open_clip

        return open_clip.list_pretrained_tags_by_model(model)

    @classmethod
    def build(cls, model: str, tag: str | None, image_size: int | None) -> tuple[nn.Module, InputSpec]:
        import open_clip
        from open_clip.model import _build_vision_tower  # the whole model would want its text tower's files too

        config: Any = open_clip.get_model_config(model)
        published: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag) if tag else {}
        file = None
        if tag and not following():
            repository, _, name = published.get("hf_hub", "").rpartition("/")
            name = name or "open_clip_pytorch_model.bin"
            file = fetch_published(repository, name, published.get("url", ""), f"{cls.library}:{model} ({tag})")
        vision: Any = {**config["vision_cfg"], "timm_model_pretrained": False, "output_tokens": False}
        if image_size is not None:
            vision["image_size"] = image_size
        quick_gelu = bool(published.get("quick_gelu") or config.get("quick_gelu"))
        tower: Any = _build_vision_tower(config["embed_dim"], vision, quick_gelu)
        trunk: Any = getattr(tower, "trunk", None)
        if image_size is not None and hasattr(trunk, "set_input_size"):
            trunk.set_input_size(img_size=image_size)  # open_clip leaves timm's models at their own size
        if file:
            load_state(tower, cls.own_state(tower, file), [], file)
        size = vision.get("image_size", 224)
        size = size if isinstance(size, int) else size[0]
        fit: Any = {"shortest": "shorter", "squash": "both"}.get(published.get("resize_mode") or "shortest")
        return tower, InputSpec(
            size,
            tuple(published.get("mean") or OPENAI_MEAN),
            tuple(published.get("std") or OPENAI_STD),
            "bilinear" if published.get("interpolation") == "bilinear" else "bicubic",
            Framing(size, fit) if fit else None,
        )

    @classmethod
    def embedding_tap(cls, network: nn.Module, events: Sequence[Event]) -> Tap | None:
        return Tap("")

    @classmethod
    def convert(cls, network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
        from open_clip.model import resize_pos_embed

        whole = {f"visual.{key}": tensor for key, tensor in state.items()}
        resize_pos_embed(whole, SimpleNamespace(visual=network))
        return {key.removeprefix("visual."): tensor for key, tensor in whole.items()}
