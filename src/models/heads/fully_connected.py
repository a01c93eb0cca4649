"""FullyConnectedHead: hidden layers, each with its own options, and a linear output."""

from itertools import pairwise
from typing import Literal, TypeVar

from torch import Tensor, nn

from ...batch import Features, FeatureShapes, flatten
from ...errors import InputError
from ..batch_norm import BatchNorm
from .base import Head

Activation = Literal["relu", "tanh", "none"]
_ACTIVATIONS: dict[Activation, type[nn.Module] | None] = {"relu": nn.ReLU, "tanh": nn.Tanh, "none": None}
Option = TypeVar("Option", bool, float, Activation)


class FullyConnectedHead(Head):
    """Fully connected layers fc1, fc2 … behind all features side by side; the last gives the responses.

    Each hidden layer is Linear → batch norm → activation → dropout, where the last three are optional. An option is
    one value for all hidden layers, or a list with one for each.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        hidden_dims: Width of each hidden layer.
        activation: What follows the linear map; "none" leaves it linear.
        batch_norm: Whether a hidden layer is normalised over the batch.
        dropout: Share of a hidden layer's outputs that training drops.
        use_dropout: Whether anything is dropped; a search may switch it, and search `dropout` where it is on.

    Raises:
        InputError: A width below 1, a share outside 0 to 1, or a list that has not one value per hidden layer.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        hidden_dims: list[int] = [1024, 512],  # noqa: B006 jsonargparse shows it, nothing changes it
        activation: Activation | list[Activation] = "relu",
        batch_norm: bool | list[bool] = False,
        dropout: float | list[float] = 0.0,
        use_dropout: bool | list[bool] = True,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        if any(width < 1 for width in hidden_dims):
            raise InputError(f"--model.head.hidden_dims {hidden_dims}: expected widths of 1 or more")
        count = len(hidden_dims)
        activations = _per_layer("activation", activation, count)
        normed = _per_layer("batch_norm", batch_norm, count)
        dropping = _per_layer("use_dropout", use_dropout, count)
        shares = _per_layer("dropout", dropout, count)
        if any(not 0 <= share < 1 for share in shares):
            raise InputError(f"--model.head.dropout {dropout}: expected shares from 0 to below 1")

        widths = [self.num_features, *hidden_dims]
        self.layers = nn.Sequential()
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            name = f"fc{index + 1}"
            self.layers.add_module(name, nn.Linear(inputs, outputs))
            if normed[index]:
                self.layers.add_module(f"{name}_norm", BatchNorm(outputs))
            if make := _ACTIVATIONS[activations[index]]:
                self.layers.add_module(f"{name}_activation", make())
            if dropping[index] and shares[index]:
                self.layers.add_module(f"{name}_dropout", nn.Dropout(shares[index]))
        self.layers.add_module(f"fc{count + 1}", nn.Linear(widths[-1], num_targets))

    def forward(self, features: Features) -> Tensor:
        return self.layers(flatten(features))  # (batch, num_targets)


def _per_layer(flag: str, value: Option | list[Option], count: int) -> list[Option]:
    """An option's value for each hidden layer."""
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise InputError(
            f"--model.head.{flag} {value}: expected one value, or one for each of the {count} layers of "
            f"--model.head.hidden_dims, found {len(value)}"
        )
    return value
