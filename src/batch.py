"""What the data module hands to a model: batches, and once before them the facts of the training split."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .names import PREVIOUS, TEST, VALIDATION

Features = dict[str, Tensor]
"""Features of one batch by layer, each (batch, *shape)."""

FeatureShapes = dict[str, tuple[int, ...]]
"""Shape of one stimulus's features by layer, without the batch axis."""


@dataclass
class Batch:
    """One batch of stimuli, all of one subject.

    The tensors are views of buffers that the loader reuses: a batch is valid until the second one after it.

    Args:
        stimulus: Position of each stimulus in the data module's table, int64 (batch,).
        subject: Recording that they are of, counted from 0.
        response: Of the subject's own targets alone, float32 (batch, targets of the subject), NaN where one was not
            measured.
        features: Embeddings by layer, each (batch, *shape), float16 or float32; None without an encoder.
        images: uint8 (batch, 3, height, width), or of clips (batch, frames, 3, height, width); None with an encoder.
        category: Index into the categories of `Facts`, int64 (batch,), -1 where unknown; None where the recordings
            have no categories.
        targets: Which of all targets the subject's are.
    """

    stimulus: Tensor
    subject: int
    response: Tensor
    features: Features | None = None
    images: Tensor | None = None
    category: Tensor | None = None
    targets: slice = field(default_factory=lambda: slice(None))

    def __len__(self) -> int:
        return len(self.stimulus)

    def padded(self, size: int) -> "Batch":
        """A copy of the batch with its last stimulus repeated until there are `size`.

        Kernels round by the shape that they are given, and by how it lies in memory, but not by what else is in it: in
        batches of one size, and in the same place of them, a stimulus has the same prediction to the bit.
        """
        return Batch(
            padded(self.stimulus, size),
            self.subject,
            padded(self.response, size),
            None if self.features is None else {layer: padded(each, size) for layer, each in self.features.items()},
            None if self.images is None else padded(self.images, size),
            None if self.category is None else padded(self.category, size),
            self.targets,
        )


def padded(rows: Tensor, size: int) -> Tensor:
    """A copy of rows (n, …) with the last one repeated until there are `size`; none stay none."""
    missing = max(size - len(rows), 0) if len(rows) else 0  # a rank may have none
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


class Intake(Protocol):
    """What becomes of stimuli before a model is given them: `StimulusIntake` of src/encoders/intake.py."""

    def __call__(
        self, stimuli: np.ndarray, device: torch.device, batch_size: int | None = None
    ) -> tuple[Features | None, Tensor | None]:
        """Features by layer, or images, of stimuli uint8 (n, …, height, width, 3), so many at a time."""
        ...

    @property
    def of_clips(self) -> bool:
        """Whether an image alone is not enough."""
        ...

    def through(self, pixels: Tensor) -> tuple[Features | None, Tensor | None]:
        """The same of images of 0 to 255, float32 (n, 3, height, width), with gradients."""
        ...

    def to_plain(self, everything: bool = False) -> dict[str, Any]:
        """All of it in tensors and plain types, for a checkpoint; `everything` holds weights that could be fetched."""
        ...


DIGITS = 16
"""Of a content hash, that tell one stimulus from another."""


@dataclass(frozen=True)
class Seen:
    """What weights have learnt from: the first DIGITS digits of stimuli's content hashes.

    Args:
        trained: Of stimuli that they were trained on.
        selected: Of those that chose among them, as a validation split does, and did no more.
    """

    trained: frozenset[str] = frozenset()
    selected: frozenset[str] = frozenset()

    def __or__(self, other: "Seen") -> "Seen":
        trained = self.trained | other.trained
        return Seen(trained, (self.selected | other.selected) - trained)

    def of_split(self, split: str) -> frozenset[str]:
        """What is not new in a held-out split: a validation split does again what it did, and is none the worse."""
        return self.trained if split == VALIDATION else self.trained | self.selected


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a model learns of the data before the first batch; every statistic is the training split's alone.

    Args:
        response_mean: float32 (num_targets,).
        response_scale: Standard deviation, float32 (num_targets,), 1 where a target does not vary.
        feature_mean: By layer, each float32 (*shape); None without an encoder.
        feature_scale: Likewise; 1 where a feature does not vary.
        standardized: Whether each feature of an image has a scale of its own; otherwise each layer has one, so that
            components keep their variances beside each other, which is what ridge goes by. Components of the stimuli
            before do so always.
        groups: Set in which each target is stopped in training, int64 (num_targets,): a partition.
        group_names: Name of each group, "lh.V1v".
        rois: Target indices of each ROI by its name, "lh.V1v"; they may overlap.
        subjects: Targets of each recording by its subject, in the order of `Batch.subject`; some may have none.
        hemispheres: Hemisphere of each target, int64 (num_targets,): 0 left, 1 right, -1 unknown.
        coordinates: Place of each target, float32 (num_targets, 3) in millimetres, NaN where unknown.
        noise_ceiling: Share of variance that a perfect model could explain, float32 (num_targets,), NaN where unknown.
        categories: Names of the objects that stimuli show; empty where the recordings know none.
        frames: Frames of a clip that are served one by one, the first axis of every layer's features; None where
            stimuli have one set of features.
        training: Positions of each recording's training stimuli in the data module's table by its subject, ascending,
            int64 (n,); in the order of `subjects`.
        repeated: Of recordings whose training stimuli show some image several times: the image of each, numbered from 0
            in order of first appearance, int64 (n,), by subject.
        evaluated: The held-out splits, in the order of the test's loaders.
        seen: First DIGITS digits of the content hashes of all stimuli that it is trained or selected on, sorted; once a
            model has taken the facts, also of those that a trunk which it begins from was.
        selected: Those of `seen` that it is only selected on.
        seed: Of the split, and of the folds of a cross-validation.
        intake: From new stimuli to what batches hold of them; None where there is none.
        gaps: Responses to stimuli of the training and the validation split that are NaN although they were shown.
        measured: Training stimuli for which each target was measured, int64 (num_targets,); None where nobody asked.
        steps: Of an epoch, with stimuli of each recording, in the order of `subjects`.
        smallest_batch: Stimuli in the smallest batch of training.
        batch_size: Stimuli that held-out batches are padded to; 0 where they are not.
        offset: What was taken from each target's responses, float64 (num_targets,), and stands in no other number here;
            None where nothing was.
        beside: Layers of features that are no image's, as of the stimuli before it. New images have none: their
            training mean stands in their place.
        response_components: Number K of principal components of each recording's standardised training responses; 0
            where nobody asked for them.
        response_basis: How a standard deviation of each component shows in each of its recording's targets, in their
            standard deviations, float32 (K, num_targets), the largest component first; zeros where a recording has
            fewer. None where nobody asked, and in a checkpoint, of which the model holds it.
        response_share: Share of each target's training variance that its components keep, float32 (num_targets,), NaN
            where it does not vary; None where nobody asked.
    """

    response_mean: Tensor
    response_scale: Tensor
    feature_mean: Features | None
    feature_scale: Features | None
    standardized: bool
    groups: Tensor
    group_names: list[str]
    rois: dict[str, Tensor]
    subjects: dict[str, slice]
    hemispheres: Tensor
    coordinates: Tensor
    noise_ceiling: Tensor
    categories: list[str]
    frames: int | None = None
    training: dict[str, Tensor] = field(default_factory=dict)
    repeated: dict[str, Tensor] = field(default_factory=dict)
    evaluated: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    seed: int = 0
    intake: Intake | None = None
    gaps: int = 0
    measured: Tensor | None = None
    steps: list[int] = field(default_factory=list)
    smallest_batch: int = 0
    batch_size: int = 0
    offset: Tensor | None = None
    beside: list[str] = field(default_factory=list)
    response_components: int = 0
    response_basis: Tensor | None = None
    response_share: Tensor | None = None

    @property
    def standardized_in_folds(self) -> bool:
        """Whether a cross-validation gives each feature a scale of its own again, by its fold's training part.

        It does not where a layer is of components, whose scale is one: that of all training stimuli stands.
        """
        return self.standardized and PREVIOUS not in (self.feature_scale or {})

    @property
    def complete(self) -> bool:
        """Whether every target was measured for each of its subject's stimuli that train and validate."""
        return not self.gaps

    @property
    def training_stimuli(self) -> dict[str, int]:
        """How many stimuli each subject is trained on; rows that show one image are one."""
        return {
            subject: len(self.repeated[subject].unique() if subject in self.repeated else rows)
            for subject, rows in self.training.items()
        }

    def of(self, targets: slice | Tensor) -> "Facts":
        """The facts of some targets, which are numbered from 0 again.

        Args:
            targets: A range of them, or rising indices, int64 (n,).
        """
        chosen = torch.arange(len(self.groups))[targets]
        own, groups = self.groups[chosen].unique(return_inverse=True)
        place = torch.full_like(self.groups, -1)  # each target's new number
        place[chosen] = torch.arange(len(chosen))
        rois = {name: place[of_roi] for name, of_roi in self.rois.items()}
        subjects = {
            name: torch.searchsorted(chosen, torch.tensor([part.start, part.stop])).tolist()
            for name, part in self.subjects.items()
        }
        return replace(
            self,
            response_mean=self.response_mean[chosen],
            response_scale=self.response_scale[chosen],
            groups=groups,
            group_names=[self.group_names[group] for group in own.tolist()],
            rois={name: of_roi[of_roi >= 0] for name, of_roi in rois.items() if (of_roi >= 0).any()},
            subjects={name: slice(start, stop) for name, (start, stop) in subjects.items()},
            hemispheres=self.hemispheres[chosen],
            coordinates=self.coordinates[chosen],
            noise_ceiling=self.noise_ceiling[chosen],
            measured=None if self.measured is None else self.measured[chosen],
            offset=None if self.offset is None else self.offset[chosen],
            response_basis=None if self.response_basis is None else self.response_basis[:, chosen],
            response_share=None if self.response_share is None else self.response_share[chosen],
        )

    def of_components(self) -> "Facts":
        """Those of the principal components of one recording's responses, as if they were its targets.

        They have no place, no ROI and no ceiling, and are one set.
        """
        count, first = self.response_components, 0
        subjects = {}
        for name, part in self.subjects.items():
            own = count if part.stop > part.start and not first else 0
            subjects[name] = slice(first, first + own)
            first += own
        unknown = torch.full((count,), torch.nan)
        return replace(
            self,
            response_mean=torch.zeros(count),
            response_scale=torch.ones(count),
            groups=torch.zeros(count, dtype=torch.int64),
            group_names=["components"],
            rois={},
            subjects=subjects,
            hemispheres=torch.full((count,), -1),
            coordinates=unknown[:, None].expand(-1, 3),
            noise_ceiling=unknown,
            measured=None,
            offset=None,
            response_components=0,
            response_basis=None,
            response_share=None,
        )

    def with_seen(self, before: Seen) -> "Facts":
        """The facts of a model that begins from weights which others have trained."""
        selected = frozenset(self.selected)
        all_of_it = before | Seen(frozenset(self.seen) - selected, selected)
        return replace(self, seen=sorted(all_of_it.of_split(TEST)), selected=sorted(all_of_it.selected))

    def to_plain(self) -> dict[str, Any]:
        """Fields by name in tensors and plain types, for a checkpoint; `intake` is its own."""
        elsewhere = ("intake", "response_basis")
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in elsewhere}
        return {**plain, "subjects": {name: (part.start, part.stop) for name, part in self.subjects.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], intake: Intake | None) -> "Facts":
        """Undo `to_plain`."""
        subjects = {name: slice(start, stop) for name, (start, stop) in plain["subjects"].items()}
        return cls(**{**plain, "subjects": subjects, "intake": intake})


@runtime_checkable
class TakesFacts(Protocol):
    """What the data module tells its facts: the model."""

    def check(self, facts: Facts) -> None:
        """Raise InputError where it cannot learn from the data, before the first image is read.

        Args:
            facts: Without what only the features tell: their statistics and the intake.
        """
        ...

    def take_facts(self, facts: Facts) -> None:
        """Take all of them, before the first batch."""
        ...

    @property
    def seen_before(self) -> Seen:
        """What the weights that it begins from have learnt from."""
        ...


def flatten(features: Features) -> Tensor:
    """All layers side by side, (batch, num_features)."""
    return torch.cat([layer.flatten(1) for layer in features.values()], dim=1)
