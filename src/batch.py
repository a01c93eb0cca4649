"""Batch: what the data module hands to a model."""

from dataclasses import dataclass

from torch import Tensor

Features = dict[str, Tensor]
"""Features of one batch by layer, each (batch, *shape)."""

FeatureShapes = dict[str, tuple[int, ...]]
"""Shape of one stimulus's features by layer, without the batch axis."""


@dataclass
class Batch:
    """One batch of stimuli.

    The tensors are views of buffers that the loader reuses: a batch is valid until the second one after it.

    Args:
        stimulus: Position of each stimulus in the data module's table, int64 (batch,).
        response: float32 (batch, num_targets), NaN where a target was not measured.
        features: Embeddings by layer, each (batch, *shape), float16 or float32; None without an encoder.
        images: uint8 (batch, 3, height, width); None with an encoder.
        category: Object class of each stimulus, int64 (batch,), where the recording knows one.
    """

    stimulus: Tensor
    response: Tensor
    features: Features | None = None
    images: Tensor | None = None
    category: Tensor | None = None

    def __len__(self) -> int:
        return len(self.stimulus)
