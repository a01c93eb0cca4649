"""RandomGroups: a head for each of several random groups of targets."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...batch import Facts, FeatureShapes
from ...errors import InputError
from .base import Head
from .linear import LinearHead
from .partitioned import PartitionedHead


class RandomGroups(PartitionedHead):
    """A head of its own for each of some random groups of targets.

    The random ROIs of the Memory Encoding Model (Yang, Gee & Shi 2023): whatever a head shares among targets (a trunk,
    queries, a place network) is learnt from another random part of them in each group. Of runs that differ in `seed`,
    each target has been learnt beside others in each: `calcarine ensemble` of them, or a StackedModule of such members,
    averages over that. Groups are drawn among each subject's targets, and depend on the seed and their number alone.

    Without a backbone each group is a network of its own, and stopped by itself; a backbone is shared by all.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        readout: From features to one group's responses.
        groups: How many, of nearly equal size.
        seed: Of the groups alone; --seed_everything does not change them.

    Raises:
        InputError: A number is out of range, or targets of the readout share nothing; in `check`, a subject has fewer
            targets than groups.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        readout: Callable[[FeatureShapes, int], Head] = LinearHead,
        groups: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(feature_shapes, num_targets, readout)
        for name, (number, least) in {"groups": (groups, 2), "seed": (seed, 0)}.items():
            if number < least:
                raise InputError(f"--model.head.{name} {number}: expected {least} or more")
        self.groups, self.seed = groups, seed
        self.with_backbone = False
        sample = self.sample("")
        if sample.independent_targets:
            raise InputError(
                f"--model.head RandomGroups: every target of {type(sample).__name__} has weights of its own already, "
                "whatever group it is in; set --model.head.readout to a head whose targets share weights"
            )

    @property
    def apart(self) -> bool:
        return not self.with_backbone

    def parts(self, facts: Facts) -> dict[str, Tensor]:
        self.with_backbone = facts.feature_mean is None  # and asked again when features have told theirs
        drawn: list[list[np.ndarray]] = [[] for _ in range(self.groups)]
        for index, (subject, own) in enumerate(facts.subjects.items()):
            count = own.stop - own.start
            if 0 < count < self.groups:
                raise InputError(
                    f"--model.head.groups {self.groups}: expected at most the {count} targets of {subject}; take fewer"
                )
            order = np.random.default_rng((self.seed, index)).permutation(count) + own.start
            for group, part in zip(drawn, np.array_split(order, self.groups), strict=True):
                group.append(part)
        return {
            f"group{number}": torch.from_numpy(np.sort(np.concatenate(parts))) for number, parts in enumerate(drawn)
        }
