"""BesideHead: one head for the image, another for what stands beside it."""

from collections.abc import Callable

from torch import Tensor

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Attention, Findings
from ...names import BESIDE
from .base import Head
from .linear import LinearHead


class BesideHead(Head):
    """Adds what a head reads of the image and what another reads of the inputs beside it (--data.beside).

    So a head that looks for places in maps, or at tokens, takes inputs that have neither. Without such inputs it is the
    image's head alone.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        image: From the image's layers to responses.
        beside: From the layers beside them to what is added.

    Raises:
        InputError: One of them is a head of several subjects.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        image: Callable[[FeatureShapes, int], Head] = LinearHead,
        beside: Callable[[FeatureShapes, int], Head] = LinearHead,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        others = {layer: shape for layer, shape in feature_shapes.items() if layer.startswith(BESIDE)}
        seen = {layer: shape for layer, shape in feature_shapes.items() if layer not in others}
        self.image = image(seen, num_targets)
        self.beside = beside(others, num_targets) if others else None
        for name, head in (("image", self.image), ("beside", self.beside)):
            if head is not None and head.of_subjects:
                raise InputError(
                    f"--model.head.{name} {type(head).__name__}: expected a head of one subject, found one of several; "
                    "make BesideHead its readout"
                )
        self.independent_targets = all(head.independent_targets for head in self._heads())

    def check(self, facts: Facts) -> None:
        for head in self._heads():
            head.check(facts)

    def unmade(self, facts: Facts) -> int:
        return sum(head.unmade(facts) for head in self._heads())

    def fill(self, facts: Facts) -> None:
        for head in self._heads():
            head.fill(facts)

    def findings(self) -> Findings | None:
        return self.image.findings()

    def watch(self, features: Features, subject: int) -> None:
        self.image.watch(self._of_image(features), subject)

    def attention(self) -> Attention | None:
        return self.image.attention()

    def forward(self, features: Features) -> Tensor:
        predicted: Tensor = self.image(self._of_image(features))
        if self.beside is None:
            return predicted
        return predicted + self.beside({layer: each for layer, each in features.items() if layer.startswith(BESIDE)})

    def _heads(self) -> list[Head]:
        return [self.image] if self.beside is None else [self.image, self.beside]

    def _of_image(self, features: Features) -> Features:
        return {layer: each for layer, each in features.items() if not layer.startswith(BESIDE)}
