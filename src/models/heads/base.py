"""Head: features → responses."""

from abc import ABC, abstractmethod
from functools import reduce
from math import prod
from operator import or_

from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes, Seen
from ...findings import Attention, Findings
from ...recipe import Remakable
from ..demand import size_of

ALL = "all"
"""Name of the one network of all targets."""


class Head(Remakable, nn.Module, ABC):
    """Predicts the responses of all targets from features.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
    """

    independent_targets: bool = False
    """Whether every parameter's first axis runs over targets, so that no target's fit depends on another's."""

    seen_before: Seen = Seen()
    """What the weights that it begins from have learnt from."""

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int) -> None:
        super().__init__()
        self.num_features = sum(prod(shape) for shape in feature_shapes.values())
        self.num_targets = num_targets

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        """Mean and scale by layer, by which its features are standardised: the training split's, unless it has its own.

        None where a backbone makes the features.
        """
        if facts.feature_mean is None or facts.feature_scale is None:
            return None
        return facts.feature_mean, facts.feature_scale

    def check(self, facts: Facts) -> None:
        """Raise InputError where the head cannot learn from the data; called before the first image is read.

        Args:
            facts: Without the statistics of features.
        """

    def unmade(self, facts: Facts) -> int:
        """Bytes of the parameters and buffers that `fill` will make, because their size depends on the data."""
        return 0

    def size(self, facts: Facts) -> int:
        """Bytes of all parameters and buffers as they will be."""
        return size_of([*self.parameters(), *self.buffers()]) + self.unmade(facts)

    def fill(self, facts: Facts) -> None:
        """Take what the head needs of the data, before the first batch and once more before the test.

        What it keeps are buffers, so that a checkpoint restores them. Parts that depend on the data are made here.
        """

    @property
    def of_subjects(self) -> bool:
        """Whether it is made for several subjects; a head that is not is made once for each (`SubjectHeads`)."""
        return False

    def read(self, features: Features, subject: int) -> Tensor:
        """Predictions of one subject's own targets, (batch, targets of the subject).

        Args:
            features: By layer, each (batch, *shape).
            subject: As in `Batch`.
        """
        return self(features)

    def findings(self) -> Findings | None:
        """What the trained weights say of each target beside its predictions; None where they say nothing."""
        return None

    def watch(self, features: Features, subject: int) -> None:
        """Look at held-out stimuli of one subject once training has ended, for `attention`."""

    def attention(self) -> Attention | None:
        """Where it looked in all stimuli that any rank watched, which are then forgotten; None where it does not look.

        To be called on every rank.
        """
        return None

    def subject_of(self, weight: str) -> int | None:
        """Whose a weight is alone, by its name in the state dict of the module; None where all subjects share it.

        In a step of another subject such a weight has no gradient, and the optimiser leaves it as it is.
        """
        return None

    @property
    def networks(self) -> dict[str, Tensor | slice]:
        """Targets of each network by its name: networks share no weights."""
        return {ALL: slice(None)}

    def network_of(self, weight: str) -> str:
        """Which network a weight belongs to, by its name in the state dict of the module, backbone and head."""
        return ALL

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """From features by layer, each (batch, *shape), to standardised responses (batch, num_targets)."""


def seen_before_by(module: nn.Module) -> Seen:
    """What the weights that the heads in a module begin from have learnt from."""
    return reduce(or_, (each.seen_before for each in module.modules() if isinstance(each, Head)), Seen())
