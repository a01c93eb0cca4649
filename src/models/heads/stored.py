"""StoredHead: a head that keeps training data, of which there is a number known only when it is solved."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...batch import FeatureShapes
from .base import Head


class StoredHead(Head):
    """A head whose buffers start empty and grow along their first axis when it is solved.

    Loading a checkpoint gives each buffer the length that it has there. A subclass has at least one parameter, or
    several processes would have nothing that Lightning's DDP could wrap.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int) -> None:
        super().__init__(feature_shapes, num_targets)
        self.register_load_state_dict_pre_hook(_lengthen)


def _lengthen(module: nn.Module, state: Mapping[str, Any], prefix: str, *_: object) -> None:
    """Make room for what is loaded; a shape that differs in more than its length is left to be refused."""
    for name, buffer in module.named_buffers(recurse=False):
        saved = state.get(prefix + name)
        if isinstance(saved, Tensor) and saved.ndim and saved.shape[1:] == buffer.shape[1:]:
            setattr(module, name, buffer.new_empty(saved.shape))
