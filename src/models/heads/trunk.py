"""TrunkHead: one trunk for all, and what is each subject's own behind it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Attention, Findings
from ..demand import size_of_made, sketched
from ..trunks.base import Trunk
from ..trunks.trained import TrainedTrunk
from .base import Head
from .linear import LinearHead
from .subject_layers import SubjectLayers


class TrunkHead(Head):
    """Features go through a trunk, and from there each subject's responses are read out by a head of its own.

    A batch is of one subject: it trains the trunk and that subject's readout, and leaves the others as they are. All
    weights come from one epoch: a readout kept from another epoch than the trunk would read a representation that it
    has never seen.

    A new subject takes the trunk that others have trained: `trunk_weights` brings the trunk's weights, and the mean
    and scale by which its features were standardised, which are used in place of the new data's own. With
    `subject_layers` there is a linear layer of each subject's own between the trunk and its readout (`SubjectLayers`),
    and the new subject's starts as the average subject's.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets of all subjects.
        trunk: What all subjects share.
        readout: From the trunk's representation to one subject's responses.
        trunk_weights: Checkpoint of a run with the same trunk on the same features, from which it starts
            (runs/NAME/version_N/checkpoints/best.ckpt).
        freeze_trunk: Train what is a subject's own alone; the trunk computes what it did in that run, batch norm and
            dropout included.
        subject_layers: Put a linear layer of each subject's own between the trunk and its readout. It starts as the
            average subject's, the mean over those of the run that trained the trunk, or else at the identity.
        subject_dropout: Share of the steps of training in which the average subject's layer stands in for the step's
            own, such as 0.2; of several subjects.

    Raises:
        InputError: The file is no checkpoint of such a run, or a trunk is to be frozen that nothing has trained, or a
            share is out of range; in `check`, subjects are too few for it, or a readout cannot read what there is.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        trunk: Callable[[FeatureShapes], Trunk],
        readout: Callable[[FeatureShapes, int], Head] = LinearHead,
        trunk_weights: Path | None = None,
        freeze_trunk: bool = False,
        subject_layers: bool = False,
        subject_dropout: float = 0.0,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        if not 0 <= subject_dropout <= 1:
            raise InputError(f"--model.head.subject_dropout {subject_dropout:g}: expected a share from 0 to 1")
        if subject_dropout and not subject_layers:
            raise InputError(
                f"--model.head.subject_dropout {subject_dropout:g}: expected --model.head.subject_layers true, whose "
                "mean is the average subject, found none; add it, or leave this out"
            )
        if freeze_trunk and trunk_weights is None:
            raise InputError(
                "--model.head.freeze_trunk true: expected --model.head.trunk_weights too, because a trunk that nothing "
                "has trained is noise"
            )
        self.trunk = trunk(feature_shapes)
        self.trained: TrainedTrunk | None = None
        if trunk_weights is not None:
            self.trained = TrainedTrunk(Path(trunk_weights), feature_shapes)
            self.trained.load_into(self.trunk)
            self.seen_before = self.trained.seen
            if self.trained.subject_layers and not subject_layers:
                raise InputError(
                    f"{self.trained.flag}: expected --model.head.subject_layers true, because that run's readouts saw "
                    "its trunk through such layers; add it"
                )
        self.freeze_trunk = freeze_trunk
        if freeze_trunk:
            self.trunk.requires_grad_(False).eval()
        self.make_readout = readout
        self.random_state = torch.get_rng_state()  # readouts start alike on any number of ranks
        self.readouts = nn.ModuleList()
        self.has_subject_layers, self.subject_dropout = subject_layers, subject_dropout
        self.subject_layers: SubjectLayers | None = None

    @classmethod
    def for_saved_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        return {name: each for name, each in arguments.items() if name not in ("trunk_weights", "freeze_trunk")}

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        if self.trained is not None:
            return self.trained.feature_statistics(facts)
        statistics = super().feature_statistics(facts)
        return None if statistics is None else self.trunk.feature_statistics(*statistics)

    def check(self, facts: Facts) -> None:
        sketches = self._sketches(facts)
        for readout, own in sketches:
            readout.check(own)
        if self.subject_dropout and len(sketches) < 2:
            raise InputError(
                f"--model.head.subject_dropout {self.subject_dropout:g}: expected several subjects, whose mean stands "
                "in for one of them, found one; leave it out"
            )

    def unmade(self, facts: Facts) -> int:
        if len(self.readouts):
            return 0
        readouts = sum(readout.size(own) for readout, own in self._sketches(facts))
        return readouts + (size_of_made(partial(self._make_layers, facts)) if self.has_subject_layers else 0)

    def fill(self, facts: Facts) -> None:
        targets = list(facts.subjects.values())
        if not len(self.readouts):
            shapes = self.trunk.feature_shapes()
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self.random_state)
                for part in targets:  # a hemisphere may have none of a subject's
                    make = self.make_readout if part.stop > part.start else LinearHead
                    self.readouts.append(make(shapes, part.stop - part.start))
            if self.has_subject_layers:
                self.subject_layers = self._make_layers(facts)
                if self.trained is not None and self.trained.subject_layers:
                    self.subject_layers.start_from(self.trained.subject_layers, self.trained.flag)
        for readout, part in zip(self.readouts, targets, strict=True):
            assert isinstance(readout, Head)
            readout.fill(facts.of(part))

    def findings(self) -> Findings | None:
        found = [each.findings() for each in self.readouts if isinstance(each, Head) and each.num_targets]
        known = [each for each in found if each is not None]
        return Findings.joined(known) if known and len(known) == len(found) else None

    def watch(self, features: Features, subject: int) -> None:
        readout = self.readouts[subject]
        assert isinstance(readout, Head)
        readout.watch(self._seen(self.trunk(features), subject), subject)

    def attention(self) -> Attention | None:
        found = [readout.attention() for readout in self.readouts if isinstance(readout, Head)]
        known = [each for each in found if each is not None]
        return Attention.joined(known) if known else None

    def train(self, mode: bool = True) -> "TrunkHead":
        """As every module's, but a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.freeze_trunk:
            self.trunk.eval()
        return self

    def forward(self, features: Features) -> Tensor:
        shared = self.trunk(features)
        predicted = [readout(self._seen(shared, subject)) for subject, readout in enumerate(self.readouts)]
        return torch.cat(predicted, dim=1)  # (batch, num_targets)

    @property
    def of_subjects(self) -> bool:
        return True

    def read(self, features: Features, subject: int) -> Tensor:
        return self.readouts[subject](self._seen(self.trunk(features), subject))

    def subject_of(self, weight: str) -> int | None:
        match weight.split("."):
            case [_, "readouts", subject, *_] | [_, "subject_layers", "differences", subject, *_]:
                return int(subject)
        return None

    def _sketches(self, facts: Facts) -> list[tuple[Head, Facts]]:
        """Of each subject that has targets a readout without memory, and the subject's facts."""
        shapes = self.trunk.feature_shapes()
        parts = [part for part in facts.subjects.values() if part.stop > part.start]
        return [(sketched(partial(self.make_readout, shapes, p.stop - p.start)), facts.of(p)) for p in parts]

    def _make_layers(self, facts: Facts) -> SubjectLayers:
        subjects = [index for index, part in enumerate(facts.subjects.values()) if part.stop > part.start]
        return SubjectLayers(self.trunk.feature_shapes(), subjects, self.subject_dropout, facts.seed)

    def _seen(self, shared: Features, subject: int) -> Features:
        """What a subject's readout is given of the trunk's representation."""
        return shared if self.subject_layers is None else self.subject_layers(shared, subject)
