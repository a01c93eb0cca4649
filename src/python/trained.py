"""A trained model, loaded from a run, a checkpoint or a package: what it predicts of new images, and what it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..data.stimuli import decode, list_images
from ..errors import InputError
from ..models import EncodingModule
from ..models.new_stimuli import Images
from ..models.targets import targets_table
from ..package.files import checkpoint_of
from ..package.read import is_package, read_package

log = logging.getLogger(__name__)

Shown = str | Path | Sequence[str | Path] | Images


class TrainedModel:
    """A model ready to predict. `module` is the `EncodingModule` itself, for PyTorch.

    Args:
        path: Its checkpoint, or its package.

    Raises:
        InputError: It is no model, or its encoder's weights are not to be had.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: dict[str, Any] = {}
        if is_package(path):
            module, self.said = read_package(path)
        else:
            module = EncodingModule.load_from_checkpoint(path)
        self.module = module.to("cuda" if torch.cuda.is_available() else "cpu")
        if self.module.facts.beside:
            log.warning(
                "%s was trained with inputs beside the image (%s): of new images there are none, and their training "
                "mean stands in their place", path, ", ".join(self.module.facts.beside),
            )  # fmt: skip

    def predict(
        self, images: Shown, roi: str | None = None, subject: str | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Predicted responses to images that the model may never have seen.

        Args:
            images: A folder of images, an image file, or a list of files; or uint8 arrays or tensors as
                `EncodingModule.predict` takes them, clips too.
            roi: These targets alone: "V1v" of both hemispheres, "lh.V1v" of one.
            subject: This subject's alone, where there are several.
            batch_size: Images at a time; without, as many as in training.

        Returns:
            (images, targets) in the recording's units, of the kind that `EncodingModule.predict` returns;
            `targets(roi, subject)` says what each column is.

        Raises:
            InputError: A file is no image, or there is no such ROI or subject.
        """
        return self.module.predict(shown(images), subject, roi, batch_size).numpy()

    def targets(self, roi: str | None = None, subject: str | None = None) -> pd.DataFrame:
        """What each column of a prediction is: its subject, its number there, hemisphere, ROIs, ceiling and place."""
        return targets_table(self.module.facts, self.module.targets(subject, roi))

    def describe(self) -> dict[str, Any]:
        """What the model is: its class and parts, the layers that it reads, and the targets of each subject and ROI.

        Of a package also its licence, and what made it.
        """
        facts, module = self.module.facts, self.module
        encoder = getattr(facts.intake, "encoder", None)
        return {
            "path": str(self.path),
            "model": type(module).__name__,
            "encoder": None if encoder is None else type(encoder).__name__,
            "backbone": None if module.backbone is None else type(module.backbone).__name__,
            "head": type(module.head).__name__,
            "features": {name: tuple(each.shape) for name, each in (facts.feature_mean or {}).items()},
            "beside": list(facts.beside),
            "parameters": sum(each.numel() for each in module.parameters()),
            "targets": len(facts.groups),
            "subjects": {name: part.stop - part.start for name, part in facts.subjects.items()},
            "rois": {name: len(members) for name, members in facts.rois.items()},
            **self.said,
        }

    def __repr__(self) -> str:
        return f"TrainedModel({str(self.path)!r})"


def load_model(path: str | Path) -> TrainedModel:
    """A trained model from a run's folder, from a checkpoint, or from a package that `calcarine export` wrote.

    Args:
        path: RUNS/NAME/version_N, a checkpoint in it, or a package.

    Raises:
        InputError: There is no model.
    """
    path = Path(path)
    return TrainedModel(path if is_package(path) or not path.is_dir() else checkpoint_of(path))


class Decoded(Sequence[np.ndarray]):
    """Image files, each decoded as sources decode it when it is asked for.

    Args:
        files: The files.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Decoded: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Decoded:
        return Decoded(self.files[index]) if isinstance(index, slice) else decode(self.files[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(decode, self.files)


def shown(images: Shown) -> Images:
    """Files as what decodes them; arrays as they are.

    Raises:
        InputError: There is no such file or folder, or some are files and some arrays.
    """
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
    return Decoded([Path(each) for each in files])
