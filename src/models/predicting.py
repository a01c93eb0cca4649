"""PredictingModule: what a trained model does without its data: it is loaded, and it predicts new images."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import IO, Any, Self

import numpy as np
import torch
from lightning.fabric.utilities.types import _MAP_LOCATION_TYPE, _PATH
from lightning.pytorch import LightningModule
from torch import Tensor

from ..arguments import KeepsArguments
from ..batch import Batch, Facts
from ..encoders.intake import same_sized
from ..encoders.modes import keeping_modes
from ..errors import InputError, one_line
from ..recipe import Remakable
from .new_stimuli import Images, as_stimuli, named_subjects, named_targets
from .saved import PART, describe, make_model, read_checkpoint


class PredictingModule(KeepsArguments, Remakable, LightningModule):
    """Base of all models: from new images to responses, and from a checkpoint to the model."""

    facts: Facts

    @abstractmethod
    def predict_batch(self, batch: Batch) -> Tensor:
        """Predictions in the recording's units, (batch, num_targets)."""

    def take_facts(self, facts: Facts) -> None:
        """Called by the data module, before `setup`."""
        self.facts = facts

    @torch.no_grad()
    def predict(
        self, images: Images, subject: str | None = None, roi: str | None = None, batch_size: int = 64
    ) -> Tensor:
        """Predicted responses to new images, or clips.

        They go the way that the training stimuli went: through the frozen encoder and the reduction that was fitted
        then, or through the backbone.

        Args:
            images: uint8, colours first or last: an array or tensor (n, 3, height, width) or (n, height, width, 3), of
                clips with frames after n; or a list of such without n, which may differ in size.
            subject: Predict this subject's targets; without, all subjects'.
            roi: Predict these targets: a ROI's whole name, such as "lh.V1v", or how it ends, "V1v".
            batch_size: Images encoded at a time.

        Returns:
            float32 (n, targets) in the recording's units, or float64 where these have an offset that float32 cannot
            hold beside their spread; `targets(subject, roi)` says which each column is.

        Raises:
            InputError: The images are none, or there is no such subject or ROI.
        """
        columns = self.targets(subject, roi)
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size}: expected 1 or more")
        stimuli = as_stimuli(images)
        if not len(stimuli):
            raise InputError("images: expected at least one, found none")
        with keeping_modes(self):
            self.eval()
            predicted = self._predicted(stimuli, subject, batch_size)
        known = self.targets(subject)
        chosen = torch.cat(predicted)[:, torch.searchsorted(known, columns)]
        return chosen if self.facts.offset is None else chosen.double() + self.facts.offset[columns].cpu()

    def _predicted(self, images: Sequence[np.ndarray], subject: str | None, batch_size: int) -> list[Tensor]:
        """Predictions of a subject's, or all, targets, float32 (n, targets), in pieces of images."""
        if self.facts.intake is None:
            raise InputError(
                "predict: the model was given no way from images to features; train it through a data module"
            )
        predicted = []
        for stimuli in same_sized(images, batch_size):
            features, pixels = self.facts.intake(stimuli, self.device)
            every = []
            for index, own in named_subjects(self.facts, subject).items():
                of = torch.full((len(stimuli),), index, device=self.device)
                batch = Batch(torch.arange(len(stimuli)), of, torch.empty(len(stimuli), 0), features, pixels)
                every.append(self.predict_batch(batch)[:, own])
            predicted.append(torch.cat(every, dim=1).float().cpu())
        return predicted

    def targets(self, subject: str | None = None, roi: str | None = None) -> Tensor:
        """Which targets `predict` predicts, of all that the model has, rising, int64 (n,).

        Raises:
            InputError: There is no such subject or ROI.
        """
        return named_targets(self.facts, subject, roi)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[PART] = describe(self, self.facts)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: _PATH | IO[bytes],
        map_location: _MAP_LOCATION_TYPE = None,
        hparams_file: _PATH | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """The trained model, ready to predict, from a run's checkpoint alone.

        An encoder whose weights were fetched is made as in training, its weights from the libraries' caches or over
        the network, and has to be the same. What training needs alone, the optimiser and its schedule, is not held.

        Args:
            checkpoint_path: `runs/NAME/version_N/checkpoints/best.ckpt`.
            map_location: Device of the model; the processor where not given.
            hparams_file: Lightning's, not used: the checkpoint holds the arguments.
            strict: False admits weights that the checkpoint lacks or the model has not.
            weights_only: Lightning's, not used: nothing but tensors and plain types is ever read.
            kwargs: Arguments of the constructor in place of those in training.

        Raises:
            InputError: The file is no checkpoint of such a model, or its encoder is not to be had.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        try:
            module, facts = make_model(checkpoint[PART], cls, kwargs)
            module.take_facts(facts)
            module.setup("predict")  # makes the parts whose size the facts decide
            module.load_state_dict(checkpoint["state_dict"], strict=strict is not False)
        except (InputError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{checkpoint_path}: {one_line(error)}") from error
        module.on_load_checkpoint(checkpoint)
        return module.eval().to(map_location if isinstance(map_location, (str, torch.device)) else "cpu")
