"""ComponentHead: predicts principal components of the responses in place of single targets."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Findings
from ..demand import sketched
from .base import Head
from .linear import LinearHead


class ComponentHead(Head):
    """Any readout of the principal components of the training responses, mapped back to targets by a fixed basis.

    Targets are many and their signal is shared: what they have in common is predicted, and the noise of each alone is
    left out of what is learnt. The readout has K outputs, so it takes K / num_targets of the weights. The loss is that
    of the targets. What the components lack of a target's variance cannot be predicted: `component_share` of
    targets.csv says how much they keep.

    The components are those of `--data.response_components K`, of standardised responses; each is predicted in its own
    standard deviations. They have no place on cortex: a readout that needs one goes without. Each subject has its own,
    which a `TrunkHead` around such readouts can read from what subjects share.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        readout: From features to components.

    Raises:
        InputError: In `check`, the data give no components.
    """

    basis: Tensor
    share: Tensor

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        readout: Callable[[FeatureShapes, int], Head] = LinearHead,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.shapes, self.make_readout = feature_shapes, readout
        self.random_state = torch.get_rng_state()  # whenever the readout is made, it starts alike
        self.made = nn.ModuleList()  # one, as soon as the number of components is known
        self.register_buffer("basis", torch.empty(0, num_targets))
        self.register_buffer("share", torch.full((num_targets,), torch.nan))

    @property
    def readout(self) -> Head:
        """From features to components."""
        head = self.made[0]
        assert isinstance(head, Head)
        return head

    def check(self, facts: Facts) -> None:
        if not facts.response_components:
            raise InputError(
                "--model.head ComponentHead: expected principal components of the responses, found none; set "
                "--data.response_components"
            )
        self._make(facts)
        self.readout.check(facts.of_components())

    def unmade(self, facts: Facts) -> int:
        if len(self.made):
            return 0
        count = facts.response_components
        readout = sketched(partial(self.make_readout, self.shapes, count))
        return readout.size(facts.of_components()) + 4 * count * self.num_targets

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        self._make(facts)
        return self.readout.feature_statistics(facts.of_components())

    def fill(self, facts: Facts) -> None:
        self._make(facts)
        if not len(self.basis):  # once: what a checkpoint restores stays, though it be found anew with other digits
            device = self.basis.device
            empty = torch.zeros(facts.response_components, self.num_targets)
            self.basis = (empty if facts.response_basis is None else facts.response_basis).to(device)
            if facts.response_share is not None:
                self.share.copy_(facts.response_share)
        self.readout.fill(facts.of_components())

    def findings(self) -> Findings:
        return Findings(component_share=self.share.float().cpu().numpy())

    def forward(self, features: Features) -> Tensor:
        components = self.readout(features)  # (batch, K), each in its standard deviations
        return components @ self.basis.to(components.dtype)  # (batch, num_targets)

    def _make(self, facts: Facts) -> None:
        if len(self.made):
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random_state)
            self.made.append(self.make_readout(self.shapes, facts.response_components))
        self.made.to(self.basis.device)
