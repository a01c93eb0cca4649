"""Member: one model of a stack, and how it is trained."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lightning.pytorch import Callback

from ...arguments import KeepsArguments
from ...batch import Features, FeatureShapes
from ...errors import InputError
from ...recipe import Remakable
from ..encoding import EncodingModule

MEMBERS_FLAG = "--model.members"


class Member(KeepsArguments, Remakable):
    """One model of a stack: what it is given, what it is, and how long it is trained.

    Args:
        model: From targets and features to the model, such as RidgeModule or EncodingModule.
        layers: Which of the served layers it is given, as patterns: "gabor:*", or several; without, all.
        max_epochs: Epochs of a model that is trained; without, --trainer.max_epochs. One that is solved takes one.
        callbacks: What takes part in its training, such as ExponentialMovingAverage, and RoiEarlyStopping where there
            is a validation split. Without, it is trained to its last epoch.
    """

    def __init__(
        self,
        model: Callable[[int, FeatureShapes | None], EncodingModule],
        layers: Sequence[str] | str = "*",
        max_epochs: int | None = None,
        callbacks: list[Callback] | None = None,
    ) -> None:
        if max_epochs is not None and max_epochs < 1:
            raise InputError(f"{MEMBERS_FLAG}.NAME.max_epochs {max_epochs}: expected 1 or more")
        self.model = model
        self.layers = [layers] if isinstance(layers, str) else list(layers)
        self.max_epochs = max_epochs
        self.callbacks = list(callbacks or ())

    @classmethod
    def for_saved_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in arguments.items() if name in ("model", "layers")}

    def chosen(self, served: Sequence[str], name: str) -> list[str]:
        """The layers that it is given, in the order in which they are served.

        Args:
            served: All of them.
            name: Its own name, for people.

        Raises:
            InputError: A pattern fits none.
        """
        for pattern in self.layers:
            if not any(fnmatchcase(layer, pattern) for layer in served):
                raise InputError(
                    f"{MEMBERS_FLAG}.{name}.layers: expected patterns of the layers that --data.encoder serves "
                    f"({', '.join(served)}), found '{pattern}', which fits none"
                )
        return [layer for layer in served if any(fnmatchcase(layer, pattern) for pattern in self.layers)]

    def make(self, num_targets: int, feature_shapes: FeatureShapes, name: str) -> EncodingModule:
        """The model, not trained yet, of its part of the features.

        Args:
            num_targets: Of the data.
            feature_shapes: Of all that is served, by layer.
            name: Its own name, for people.

        Raises:
            InputError: A pattern fits no layer, or the model is none that a stack can have.
        """
        chosen = self.chosen(list(feature_shapes), name)
        return self.model(num_targets, {layer: feature_shapes[layer] for layer in chosen})


def part_of(features: Features | None, layers: Sequence[str]) -> Features | None:
    """Some layers of what there is of each."""
    return None if features is None else {layer: features[layer] for layer in layers}
