"""StackedModule: several models made one, with weights for each target."""

from functools import partial
from typing import Any

import numpy as np
import torch

from ...batch import Batch, Facts, FeatureShapes
from ...errors import InputError
from ...findings import SHARED
from ..closed_form.solved import SolvedModule
from ..demand import ModelDemand, size_of
from ..encoding import EncodingModule
from .head import StackedHead
from .member import MEMBERS_FLAG, Member


class StackedModule(SolvedModule):
    """Stacked regression (Breiman 1996): members of any kind, solved or trained, combined by weights of each target.

    Weights are learnt from out-of-fold predictions: the training split is dealt into folds, and each stimulus is
    predicted by members that were trained on the other folds. Then every member is trained once on the whole training
    split. So members take `folds` + 1 trainings each, in one process, and no held-out stimulus has a part in it. With
    few stimuli a target's weights are pulled towards those that serve all targets best, as strongly as
    cross-validation says; none is negative.

    What the stack explains, what each member explains alone and what it adds to the others (Lin, Naselaris, Kay &
    Wehbe 2024, Stacked regressions and structured variance partitioning) stands in `members.csv` and `targets.csv`.

    Encoders that learn (PatchEncoder) and reductions are fitted to the images of the whole training split, without
    responses, so they are the same in every fold.

    Args:
        num_targets: Targets to predict; linked from the data.
        feature_shapes: Shape of one stimulus's features by layer; linked from the data.
        members: The models by their names, two or more.
        folds: Folds of the out-of-fold predictions. More cost more time, and members trained on more stimuli.

    Raises:
        InputError: The data serve images, members are fewer than two or no models of features, or the number of folds
            is out of range.
    """

    def __init__(
        self, num_targets: int, feature_shapes: FeatureShapes | None, members: dict[str, Member], folds: int = 5
    ) -> None:
        if feature_shapes is None:
            raise InputError(
                "--data.encoder: StackedModule needs features, and the data serve images; set an encoder, or combine "
                "finished runs with `calcarine ensemble --stack`"
            )
        if len(members) < 2:
            raise InputError(f"{MEMBERS_FLAG}: expected two models or more by name, found {len(members)}")
        if folds < 2:
            raise InputError(f"--model.folds {folds}: expected 2 or more")
        for name in members:
            if not name or set(name) & set("/\\") or name in (".", "..", SHARED):
                raise InputError(
                    f"{MEMBERS_FLAG}: expected names that a folder can have, and none '{SHARED}', found '{name}'"
                )
        self.given = members
        self.folds = folds
        super().__init__(num_targets, feature_shapes, partial(StackedHead, members=members))
        self.shapes = feature_shapes
        self.standardize_features = None  # each member standardises its own
        for name, model in self.stacked.named().items():
            if isinstance(model, StackedModule):
                raise InputError(f"{MEMBERS_FLAG}.{name}: expected a model that is no stack itself; name its members")

    def check(self, facts: Facts) -> None:
        super().check(facts)
        for subject, training in facts.training.items():
            if len(training) < 2 * self.folds:
                raise InputError(
                    f"--model.folds {self.folds}: expected at least {2 * self.folds} training stimuli of {subject}, "
                    f"found {len(training)}"
                )

    def demand(self, facts: Facts) -> ModelDemand:
        made = size_of([*self.parameters(), *self.buffers()])
        members = [model.demand(self.stacked.facts_of(facts, name)) for name, model in self.stacked.named().items()]
        widths = (own.stop - own.start for own in facts.subjects.values())
        out_of_fold = 4 * sum(width * len(own) for width, own in zip(widths, facts.training.values(), strict=True))
        return ModelDemand(
            weights=made + sum(each.weights - each.made for each in members),
            made=made,
            gathered=max(each.trained for each in members),  # one at a time
            stored=sum(each.stored for each in members),
            members=len(members) * out_of_fold * (1 if facts.offset is None else 2)
            + sum(each.best for each in members),
        )

    @property
    def stacked(self) -> StackedHead:
        """The head."""
        assert isinstance(self.head, StackedHead)
        return self.head

    def new_member(self, name: str) -> EncodingModule:
        """One more model of a member, to be trained."""
        return self.given[name].make(self.head.num_targets, self.shapes, name)

    def take_member(self, name: str, checkpoint: dict[str, Any]) -> None:
        """Put a member that was trained on the whole training split in its place."""
        model = self.stacked.named()[name]
        model.load_state_dict(checkpoint["state_dict"])
        model.on_load_checkpoint(checkpoint)

    def combine(self, targets: slice, weights: np.ndarray, intercept: np.ndarray) -> None:
        """Take the weights (M, T) and the intercepts (T,) of some targets, both for predictions in units.

        Predictions and responses alike are m + s z, so for standardised ones the intercept is (b + m (Σw − 1)) / s.
        """
        mean, scale = self.facts.response_mean[targets].double(), self.facts.response_scale[targets].double()
        weight = torch.from_numpy(np.ascontiguousarray(weights))
        self.stacked.weight[:, targets] = weight.float().to(self.stacked.weight.device)
        bias = (torch.from_numpy(intercept) + mean.cpu() * (weight.sum(0) - 1)) / scale.cpu()
        self.stacked.bias[targets] = bias.float().to(self.stacked.bias.device)

    def on_train_start(self) -> None:
        if self.trainer.current_epoch:  # of a run that goes on; the findings are there before the stack's own epoch
            super().on_train_start()

    def on_train_epoch_start(self) -> None:
        if self.findings is None:
            raise InputError("StackedModule: its members are trained by train.py; a trainer alone does not")

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Nothing is left to learn: the members were trained, and weighted, before the first batch."""
        if self.trainer.is_last_batch:
            self.count_as_step()
