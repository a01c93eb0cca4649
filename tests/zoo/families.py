"""The families of timm, torchvision and open_clip: what the libraries have, and one small model of each in the list."""

import csv
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("families.csv")


@dataclass(frozen=True)
class Member:
    """One model of a family.

    Args:
        library: "timm", "torchvision" or "open_clip".
        version: Of the library, when it was chosen.
        family: As `family_of` says.
        model: Its smallest, or nearly.
        image_size: In pixels; None for the model's own, where it takes no smaller.
        skipped: Why it is not walked through; "" where it is.
    """

    library: str
    version: str
    family: str
    model: str
    image_size: int | None
    skipped: str


def members() -> list[Member]:
    """The list."""
    with LIST.open(newline="") as file:
        return [
            Member(
                row["library"], row["version"], row["family"], row["model"], _size(row["image_size"]), row["skipped"]
            )
            for row in csv.DictReader(file)
        ]


def families(library: str) -> set[str]:
    """All families of a library as it is installed."""
    from calcarine.encoders import OpenClipEncoder, TorchvisionEncoder

    if library == "timm":
        import timm

        return set(timm.list_modules())
    kind = {"torchvision": TorchvisionEncoder, "open_clip": OpenClipEncoder}[library]
    return {family_of(library, model) for model in kind.models()}


def family_of(library: str, model: str) -> str:
    """The file of the library in which a model is written; for open_clip the kind of its image tower."""
    if library == "timm":
        from timm.models._registry import _model_to_module

        return _model_to_module[model]
    if library == "torchvision":
        from torchvision.models import get_model_builder

        return get_model_builder(model).__module__.removeprefix("torchvision.models.")
    import open_clip

    config = open_clip.get_model_config(model) or {}
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        return f"timm.{family_of('timm', vision['timm_model_name'].partition('.')[0])}"
    if isinstance(vision["layers"], list):
        return "ModifiedResNet"
    return "VisionTransformer, attentional pool" if vision.get("attentional_pool") else "VisionTransformer"


def _size(text: str) -> int | None:
    return int(text) if text else None
