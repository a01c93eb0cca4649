"""FramewiseHead: each frame of a clip is read alone, and the predictions are averaged."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Attention, Findings
from .base import Head
from .linear import LinearHead


class FrameHead(Head):
    """A head over the frames of clips: the first axis of every layer's features is theirs.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (frames, *shape).
        num_targets: Targets to predict.

    Attributes:
        frame_shapes: Shape of one frame's features by layer, each (*shape).

    Raises:
        InputError: The features are not those of each frame. Where their shapes could be, `check` raises it.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int) -> None:
        super().__init__(feature_shapes, num_targets)
        lengths = {shape[0] for shape in feature_shapes.values()}
        if len(lengths) > 1 or any(len(shape) < 2 for shape in feature_shapes.values()):
            raise self._without_frames(feature_shapes)
        self.feature_shapes = feature_shapes
        self.frame_shapes = {layer: shape[1:] for layer, shape in feature_shapes.items()}

    def check(self, facts: Facts) -> None:
        if facts.frames is None:  # maps of an image have a first axis too
            raise self._without_frames(self.feature_shapes)

    def fill(self, facts: Facts) -> None:
        self.check(facts)

    def _without_frames(self, feature_shapes: FeatureShapes) -> InputError:
        layer, shape = next(iter(feature_shapes.items()))
        return InputError(
            f"--model.head {type(self).__name__}: expected features of each frame of a clip, found layer {layer} of "
            f"shape {shape}; give it clips, --data.encoder and --data.average_frames false"
        )


class FramewiseHead(FrameHead):
    """Reads each frame's features by the same head and averages the predictions over frames.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (frames, *shape).
        num_targets: Targets to predict.
        head: From one frame's features to responses.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        head: Callable[[FeatureShapes, int], Head] = LinearHead,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.head = head(self.frame_shapes, num_targets)
        self.independent_targets = self.head.independent_targets

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        return self.head.feature_statistics(facts)

    def check(self, facts: Facts) -> None:
        super().check(facts)
        self.head.check(replace(facts, frames=None))

    def fill(self, facts: Facts) -> None:
        super().fill(facts)
        self.head.fill(replace(facts, frames=None))

    def unmade(self, facts: Facts) -> int:
        return self.head.unmade(replace(facts, frames=None))

    def findings(self) -> Findings | None:
        return self.head.findings()

    def watch(self, features: Features, subject: int) -> None:
        self.head.watch(self._frames(features), subject)

    def attention(self) -> Attention | None:
        return self.head.attention()

    @property
    def of_subjects(self) -> bool:
        return self.head.of_subjects

    def subject_of(self, weight: str) -> int | None:
        return self.head.subject_of(weight.removeprefix("head."))  # "head.head.readouts.0.…"

    def read(self, features: Features, subject: int) -> Tensor:
        frames = next(iter(features.values())).shape[1]
        return self._averaged(self.head.read(self._frames(features), subject), frames)

    def forward(self, features: Features) -> Tensor:
        frames = next(iter(features.values())).shape[1]
        return self._averaged(self.head(self._frames(features)), frames)

    def _frames(self, features: Features) -> Features:
        return {layer: each.flatten(0, 1) for layer, each in features.items()}  # (batch · frames, *shape)

    def _averaged(self, prediction: Tensor, frames: int) -> Tensor:
        return prediction.unflatten(0, (-1, frames)).mean(1)  # (batch, num_targets)
