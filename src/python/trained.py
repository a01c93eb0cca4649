"""A trained model, loaded from its checkpoint: what it predicts of new images, and what it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..data.stimuli import decode, list_images
from ..errors import InputError
from ..models import EncodingModule
from ..models.new_stimuli import Images

CHECKPOINT = Path("checkpoints", "best.ckpt")

Shown = str | Path | Sequence[str | Path] | Images


class TrainedModel:
    """A model ready to predict. `module` is the `EncodingModule` itself, for PyTorch.

    Args:
        path: Its checkpoint.

    Raises:
        InputError: It is no checkpoint of a model, or its encoder's weights are not to be had.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.module = EncodingModule.load_from_checkpoint(path, map_location=device)

    def predict(
        self, images: Shown, roi: str | None = None, subject: str | None = None, batch_size: int = 64
    ) -> np.ndarray:
        """Predicted responses to images that the model may never have seen.

        Args:
            images: A folder of images, an image file, or a list of files; or uint8 arrays or tensors as
                `EncodingModule.predict` takes them, clips too.
            roi: These targets alone: "V1v" of both hemispheres, "lh.V1v" of one.
            subject: This subject's alone, where there are several.
            batch_size: Images encoded at a time.

        Returns:
            float32 (images, targets) in the recording's units; `targets(roi, subject)` says what each column is.

        Raises:
            InputError: A file is no image, or there is no such ROI or subject.
        """
        return self.module.predict(_read(images), subject, roi, batch_size).numpy()

    def targets(self, roi: str | None = None, subject: str | None = None) -> pd.DataFrame:
        """What each column of a prediction is: its subject, its number there, hemisphere, ROIs and noise ceiling."""
        facts = self.module.facts
        rois: list[list[str]] = [[] for _ in facts.groups]
        for name, members in facts.rois.items():
            for member in members.tolist():
                rois[member].append(name)
        rows = []
        for target in self.module.targets(subject, roi).tolist():
            owner, own = next((name, part) for name, part in facts.subjects.items() if part.start <= target < part.stop)
            rows.append(
                {
                    "subject": owner,
                    "target": target - own.start,
                    "hemisphere": {0: "lh", 1: "rh"}.get(int(facts.hemispheres[target]), ""),
                    "rois": " ".join(rois[target]),
                    "noise_ceiling": float(facts.noise_ceiling[target]),
                }
            )
        return pd.DataFrame(rows)

    def describe(self) -> dict[str, Any]:
        """What the model is: its class and parts, the layers that it reads, and the targets of each subject and ROI."""
        facts, module = self.module.facts, self.module
        encoder = getattr(facts.intake, "encoder", None)
        return {
            "checkpoint": str(self.path),
            "model": type(module).__name__,
            "encoder": None if encoder is None else type(encoder).__name__,
            "backbone": None if module.backbone is None else type(module.backbone).__name__,
            "head": type(module.head).__name__,
            "features": {name: tuple(each.shape) for name, each in (facts.feature_mean or {}).items()},
            "parameters": sum(each.numel() for each in module.parameters()),
            "targets": len(facts.groups),
            "subjects": {name: part.stop - part.start for name, part in facts.subjects.items()},
            "rois": {name: len(members) for name, members in facts.rois.items()},
        }

    def __repr__(self) -> str:
        return f"TrainedModel({str(self.path)!r})"


def load_model(path: str | Path) -> TrainedModel:
    """A trained model from a run's folder, or from a checkpoint.

    Args:
        path: RUNS/NAME/version_N, or a checkpoint in it.

    Raises:
        InputError: There is no checkpoint of a model.
    """
    path = Path(path)
    return TrainedModel(path / CHECKPOINT if path.is_dir() else path)


def _read(images: Shown) -> Images:
    """Files decoded as sources decode them; arrays as they are."""
    if isinstance(images, str | Path):
        if not Path(images).exists():
            raise InputError(f"images: {images}: expected a folder or an image, found none; correct the path")
        images = list_images(Path(images)) if Path(images).is_dir() else [Path(images)]
    if isinstance(images, Tensor | np.ndarray):
        return images
    files = [each for each in images if isinstance(each, str | Path)]
    if not files:
        return images  # type: ignore[return-value]
    if len(files) < len(images):
        raise InputError("images: expected all files or all arrays, found some of each")
    return [decode(Path(each)) for each in files]
