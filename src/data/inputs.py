"""Inputs: what a model is given of each stimulus, as a run's settings say it, known before anything is read."""

from dataclasses import dataclass, field
from math import prod

from ..batch import FeatureShapes
from ..encoders import Encoder
from ..encoders.intake import with_spread
from ..errors import InputError
from .beside.context import FLAG, TrialContext
from .beside.served import check_previous
from .features.embeddings import EmbeddingCache
from .features.reduction import Reduction
from .sources.base import Source


@dataclass(frozen=True)
class Inputs:
    """An encoder's features, reduced or not, with what stands beside the image; or images.

    Args:
        source: The reader of the data's format.
        cache: Where features and decoded images are kept.
        encoder: The frozen encoder; none serves images.
        reduction: Fewer features, fitted on the training split.
        beside: What a model is given beside the image.
        average_frames: Of clips, the mean of each feature over the frames, rather than every frame's features.
        frame_spread: Of clips, beside the mean the standard deviation over the frames.
        encode_batch_size: Images per forward pass of the encoder; none takes what fits.
        image_size: Side in pixels to which images are resized where there is no encoder.

    Attributes:
        behaviour: Columns of the source's record of behaviour that are given.

    Raises:
        InputError: Parts that do not go together, or that the source does not have.
    """

    source: Source
    cache: EmbeddingCache
    encoder: Encoder | None = None
    reduction: Reduction | None = None
    beside: TrialContext | None = None
    average_frames: bool = True
    frame_spread: bool = False
    encode_batch_size: int | None = None
    image_size: int | None = None
    behaviour: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.reduction is not None and self.encoder is None:
            raise InputError("--data.reduction: needs --data.encoder, because raw images are not reduced")
        served = (
            "no encoder" if self.encoder is None else "images" if self.source.frames is None else "every frame served"
        )
        if self.frame_spread and (self.encoder is None or self.source.frames is None or not self.average_frames):
            raise InputError(
                "--data.frame_spread: expected clips, --data.encoder and --data.average_frames true, found " + served
            )
        if self.beside is None:
            return
        if self.encoder is None or self.frames is not None:
            raise InputError(f"{FLAG}: expected --data.encoder and --data.average_frames true, found {served}")
        self.behaviour.extend(self.beside.columns(self.source))

    @property
    def frames(self) -> int | None:
        """Frames of a clip whose features are served one by one; None where stimuli have one set of features."""
        return None if self.average_frames or self.encoder is None else self.source.frames

    @property
    def shapes(self) -> FeatureShapes | None:
        """Shape of one stimulus's features by layer as they are served; None where images are."""
        if self.encoder is None:
            return None
        shapes = self.image_shapes
        if self.frames is not None:
            return {layer: (self.frames, *shape) for layer, shape in shapes.items()}
        return shapes | self.beside_shapes

    @property
    def encoded_shapes(self) -> FeatureShapes:
        """Shapes by layer of what the encoder makes of a stimulus, before any reduction, without frames."""
        assert self.encoder is not None
        shapes = self.encoder.feature_shapes()
        return with_spread(shapes, shapes) if self.frame_spread else shapes

    @property
    def image_shapes(self) -> FeatureShapes:
        """Shapes by layer of what is served of an image, without frames."""
        shapes = self.encoded_shapes
        return shapes if self.reduction is None else self.reduction.shapes(shapes)

    @property
    def beside_shapes(self) -> FeatureShapes:
        """Shapes by layer of what is served beside it."""
        return {} if self.beside is None else self.beside.shapes(self.image_shapes, self.behaviour)

    def check(self, training: int) -> None:
        """Refuse what cannot be fitted to so few stimuli, before the first image is read: embedding may take hours.

        Args:
            training: Stimuli of the training split.

        Raises:
            InputError: A reduction, or what stands beside the image, wants more of them.
        """
        if self.encoder is not None and self.reduction is not None:
            self.reduction.check(training * (self.frames or 1), self.encoded_shapes)
        if self.beside is not None:
            shapes = self.image_shapes
            check_previous(self.beside, training, prod(shapes[self.beside.source_layer(shapes)]))
