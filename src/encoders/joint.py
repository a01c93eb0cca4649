"""JointEncoder: several encoders side by side."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import TypeVar, cast

from torch import Tensor, nn

from ..batch import Features, FeatureShapes
from ..errors import InputError
from .base import Encoder, part_layer
from .hub import following

T = TypeVar("T")


class JointEncoder(Encoder):
    """Several encoders side by side, such as the bands of a banded ridge.

    Layers are named "NAME:LAYER", such as "gabor:luminance". Each encoder is fitted, extracted and cached on its own,
    exactly as it is alone.

    Args:
        encoders: The encoders by their names.

    Raises:
        InputError: There is none, a name is empty or has a colon, or two are the same.
    """

    def __init__(self, encoders: dict[str, Encoder]) -> None:
        super().__init__()
        if not encoders:
            raise InputError("--data.encoder.encoders: expected encoders by name, found none; give one at least")
        for name in encoders:
            if not name or ":" in name:
                raise InputError(
                    f"--data.encoder.encoders: expected names without a colon, found '{name}', and layers are called "
                    "NAME:LAYER; choose another"
                )
        for (first, one), (second, other) in combinations(encoders.items(), 2):
            # The hash of big weights takes seconds: only where nothing else tells the two apart.
            if following():
                break  # their weights come later
            if one.identity() == other.identity() and one.fingerprint() == other.fingerprint():
                raise InputError(
                    f"--data.encoder.encoders: expected different encoders, found '{first}' and '{second}' the same; "
                    "leave one out"
                )
        self.names = list(encoders)
        self.encoders = nn.ModuleList(encoders.values())  # a ModuleDict would refuse names such as "v1.5" or "items"

    def parts(self) -> dict[str, Encoder]:
        named = self._named().items()
        return {part_layer(name, inner): part for name, encoder in named for inner, part in encoder.parts().items()}

    def forward(self, images: Tensor) -> Features:
        return self._by_layer({name: part(images) for name, part in self.parts().items()})

    def feature_shapes(self) -> FeatureShapes:
        return self._by_layer({name: part.feature_shapes() for name, part in self.parts().items()})

    def token_places(self) -> dict[str, Tensor]:
        return self._by_layer({name: part.token_places() for name, part in self.parts().items()})

    def randomised(self) -> Encoder:
        """Each part with random weights; one that has none to randomise stays as it is, where another has."""
        named = self._named()
        with_weights = [name for name, each in named.items() if _has_weights(each)]
        return JointEncoder(
            {
                name: each.randomised() if name in with_weights or not with_weights else each
                for name, each in named.items()
            }
        )

    def settings(self) -> dict[str, object]:
        return {"parts": {name: part.identity() for name, part in self.parts().items()}}

    def _named(self) -> dict[str, Encoder]:
        return dict(zip(self.names, cast("Iterable[Encoder]", self.encoders), strict=True))

    @staticmethod
    def _by_layer(by_part: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
        return {part_layer(part, layer): value for part, own in by_part.items() for layer, value in own.items()}


def _has_weights(encoder: Encoder) -> bool:
    """Whether weights were learnt elsewhere; while they follow, an encoder says that they are random."""
    return encoder.fetched or (following() and any(True for _ in encoder.parameters()))


class RandomControl(JointEncoder):
    """An encoder twice, side by side: "pretrained:LAYER" with its weights, and "random:LAYER" with random ones.

    Args:
        encoder: The encoder.

    Raises:
        InputError: It has no weights, or random ones.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__({"pretrained": encoder, "random": encoder.randomised()})


class RandomWeights(Encoder):
    """An encoder's architecture with random weights, and its layers' own names: what training the weights brought is
    what the encoder predicts better.

    Args:
        encoder: The encoder with its weights.

    Raises:
        InputError: It has no weights, or random ones.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.randomised()

    def parts(self) -> dict[str, Encoder]:
        return self.encoder.parts()

    def forward(self, images: Tensor) -> Features:
        return self.encoder(images)

    def feature_shapes(self) -> FeatureShapes:
        return self.encoder.feature_shapes()

    def token_places(self) -> dict[str, Tensor]:
        return self.encoder.token_places()

    def preprocessing(self) -> str:
        return self.encoder.preprocessing()

    def settings(self) -> dict[str, object]:
        return {"encoder": self.encoder.identity()}
