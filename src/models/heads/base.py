"""Head: features → responses."""

from abc import ABC, abstractmethod
from math import prod

from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...findings import Attention, Findings
from ...recipe import Remakable


class Head(Remakable, nn.Module, ABC):
    """Predicts the responses of all targets from features.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
    """

    independent_targets: bool = False
    """Whether every parameter's first axis runs over targets, so that no target's fit depends on another's."""

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

    def fill(self, facts: Facts) -> None:
        """Take what the head needs of the data, before the first batch and once more before the test.

        What it keeps are buffers, so that a checkpoint restores them. Parts that depend on the data are made here.
        """

    def read(self, features: Features, subject: Tensor) -> Tensor:
        """Predictions (batch, num_targets) for stimuli of these recordings, int64 (batch,).

        A target of another recording than the stimulus's may be given any finite number: nothing is measured there.
        """
        return self(features)

    def findings(self) -> Findings | None:
        """What the trained weights say of each target beside its predictions; None where they say nothing."""
        return None

    def watch(self, features: Features) -> None:
        """Look at held-out stimuli once training has ended, for `attention`."""

    def attention(self) -> Attention | None:
        """Where it looked in all stimuli that any rank watched, which are then forgotten; None where it does not look.

        To be called on every rank.
        """
        return None

    @property
    def networks(self) -> list[Tensor | slice]:
        """Targets of each network: networks share no weights."""
        return [slice(None)]

    def network_of(self, weight: str) -> int:
        """Which network a weight belongs to, by its name in the state dict of the module, backbone and head."""
        return 0

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """From features by layer, each (batch, *shape), to standardised responses (batch, num_targets)."""
