"""A recording and an encoder of chosen sizes, made of random numbers, and a trainer as train.py makes it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from calcarine.data import Source
from calcarine.encoders import Encoder
from calcarine.models import RoiEarlyStopping
from calcarine.names import HEMISPHERES, TRAIN, VALIDATION
from calcarine.recording import Recording, Responses, Roi
from calcarine.run.checkpoints import BackgroundCheckpointIO, LastCheckpoint
from calcarine.run.folder import EpochSeed, HistoryWriter, RunLogger
from lightning.pytorch import Callback, Trainer
from torch import Tensor

PIXELS = 8


class Pictures:
    """Images of a few pixels, in memory."""

    frames = None

    def __init__(self, images: np.ndarray, subject: str) -> None:
        self.images = images
        self.names = [f"{subject}_{index:04d}.png" for index in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def digests(self, memo: Path | None = None) -> list[str]:
        return self.names


class Brain(Source):
    """Random responses.

    Args:
        targets: How many, of both hemispheres.
        training: Stimuli.
        validation: Stimuli.
        rois: How many ROIs share the targets, each of one hemisphere.
        alone: The ROI that is recorded alone; all are where not given.
        seed: Of responses and images; the subject is numbered by it.
    """

    def __init__(
        self, targets: int, training: int, validation: int, rois: int, alone: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.seed = seed
        self.training = training
        self.validation = validation
        self.own = np.array_split(np.arange(targets), rois)
        self.targets = targets
        self.recorded = range(rois) if alone is None else [alone]

    @property
    def num_targets(self) -> int:
        return sum(len(self.own[roi]) for roi in self.recorded)

    def read(self) -> list[Recording]:
        rng = np.random.default_rng(self.seed)
        count = self.training + self.validation
        responses = rng.standard_normal((count, self.targets), dtype=np.float32)
        images = rng.integers(0, 255, (count, PIXELS, PIXELS, 3), dtype=np.uint8)
        splits = np.array([TRAIN] * self.training + [VALIDATION] * self.validation)
        columns, sides, rois = [], [], []
        for number in self.recorded:
            side = HEMISPHERES[number * 2 // len(self.own)]
            own = self.own[number]
            rois.append(Roi(f"roi{number}", side, np.arange(len(columns), len(columns) + len(own))))
            columns.extend(own.tolist())
            sides.extend([side] * len(own))
        measured = Responses.of(np.ascontiguousarray(responses[:, columns]))  # lay column by column
        subject = f"subj{self.seed + 1:02d}"
        return [Recording(subject, Pictures(images, subject), measured, splits, np.array(sides), rois)]


class RandomFeatures(Encoder):
    """So many random projections of pixels."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        weights = torch.randn(3 * PIXELS**2, features, generator=torch.Generator().manual_seed(0))
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": images.float().flatten(1) @ self.get_buffer("weights")}

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"features": (self.features,)}

    def settings(self) -> dict[str, object]:
        return {}


def make_trainer(
    epochs: int, *callbacks: Callback, accelerator: str = "cpu", precision: Any = "32-true"
) -> tuple[Trainer, BackgroundCheckpointIO]:
    """A trainer with all that a run has, in the present folder, and who writes its checkpoints."""
    writer = BackgroundCheckpointIO()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=1,
        precision=precision,
        logger=RunLogger("benchmark", None, Path("runs")),
        callbacks=[EpochSeed(0), HistoryWriter(), RoiEarlyStopping(), LastCheckpoint(), *callbacks],
        plugins=[writer],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    return trainer, writer
