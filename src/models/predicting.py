"""PredictingModule: what a trained model does without its data: it is loaded, and it predicts new images."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import IO, Any, Self

import torch
from lightning.fabric.utilities.types import _MAP_LOCATION_TYPE, _PATH
from lightning.pytorch import LightningModule
from torch import Tensor

from ..arguments import KeepsArguments
from ..batch import Batch, Facts, Seen
from ..encoders.modes import keeping_modes
from ..errors import InputError, one_line
from ..recipe import Remakable
from .heads.base import seen_before_by
from .new_stimuli import Images, as_stimuli, named_targets, runs_of_one_size
from .saved import PART, describe, make_model, read_checkpoint


class PredictingModule(KeepsArguments, Remakable, LightningModule):
    """Base of all models: from new images to responses, and from a checkpoint to the model."""

    facts: Facts
    precision: str = "32-true"
    """Lightning's word for that in which it was trained, and predicts."""

    @abstractmethod
    def predict_batch(self, batch: Batch) -> Tensor:
        """Predictions of every target in the recording's units, (batch, num_targets), whoever saw the stimulus."""

    def take_facts(self, facts: Facts) -> None:
        """Called by the data module, before `setup`."""
        self.facts = facts.with_seen(self.seen_before)

    @property
    def seen_before(self) -> Seen:
        """What the weights that it begins from have learnt from."""
        return seen_before_by(self)

    @torch.no_grad()
    def predict(
        self, images: Images, subject: str | None = None, roi: str | None = None, batch_size: int | None = None
    ) -> Tensor:
        """Predicted responses to new images, or clips.

        They go the way that the training stimuli went: through the frozen encoder and the reduction that was fitted
        then, or through the backbone.

        Args:
            images: uint8, colours first or last: an array or tensor (n, 3, height, width) or (n, height, width, 3), of
                clips with frames after n; or a list of such without n, which may differ in size.
            subject: Predict this subject's targets; without, all subjects'.
            roi: Predict these targets: a ROI's whole name, such as "lh.V1v", or how it ends, "V1v".
            batch_size: Images at a time; without, as many as in training, so that the run's own test images have the
                run's own predictions.

        Returns:
            float32 (n, targets) in the recording's units, or float64 where these have an offset that float32 cannot
            hold beside their spread; `targets(subject, roi)` says which each column is.

        Raises:
            InputError: The images are none, or there is no such subject or ROI.
        """
        columns = self.targets(subject, roi)
        if not len(images):
            raise InputError("images: expected at least one, found none")
        return torch.cat(list(self.predictions(images, columns, batch_size)))

    @torch.no_grad()
    def predictions(self, images: Images, columns: Tensor, batch_size: int | None = None) -> Iterator[Tensor]:
        """What `predict` returns, batch by batch, of some targets: no more than a batch of images is held.

        Args:
            images: As there.
            columns: Targets, int64 (n,).
            batch_size: As there.

        Raises:
            InputError: The images are none.
        """
        intake = self.facts.intake
        if intake is None:
            raise InputError(
                "predict: the model was given no way from images to features; train it through a data module"
            )
        size = (self.facts.batch_size or 64) if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"batch_size {size}: expected 1 or more")
        for stimuli, alike in runs_of_one_size(as_stimuli(images), size):
            full = size if alike else len(stimuli)
            with keeping_modes(self):
                self.eval()
                features, pixels = intake(stimuli, self.device, batch_size if alike else full)
                nobody = torch.zeros(len(stimuli), dtype=torch.int64, device=self.device)
                responses = torch.empty(len(stimuli), 0, device=self.device)
                batch = Batch(nobody, 0, responses, features, pixels).padded(full)
                with self._autocast():  # features are made as they were for training, outside of it
                    predicted = self.predict_batch(batch)[: len(stimuli)].float().cpu()[:, columns]
            yield predicted if self.facts.offset is None else predicted.double() + self.facts.offset[columns].cpu()

    def targets(self, subject: str | None = None, roi: str | None = None) -> Tensor:
        """Which targets `predict` predicts, of all that the model has, rising, int64 (n,).

        Raises:
            InputError: There is no such subject or ROI.
        """
        return named_targets(self.facts, subject, roi)

    def _autocast(self) -> AbstractContextManager[object]:
        half = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(self.precision)
        if half is None or (half == torch.float16 and self.device.type == "cpu"):
            return nullcontext()
        return torch.autocast(self.device.type, half)

    def setup(self, stage: str) -> None:
        with suppress(RuntimeError):  # set up by hand, without a trainer
            self.precision = str(self.trainer.precision)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[PART] = self.description()

    def description(self, everything: bool = False) -> dict[str, Any]:
        """What makes the model again beside its weights, in tensors and plain types.

        Args:
            everything: Hold an encoder's weights though they were fetched.
        """
        return {**describe(self, self.facts, everything), "precision": self.precision}

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
        module = cls.remade(checkpoint, checkpoint_path, strict is not False, kwargs)
        return module.to(map_location if isinstance(map_location, (str, torch.device)) else "cpu")

    @classmethod
    def remade(
        cls, checkpoint: dict[str, Any], place: object, strict: bool = True, changed: Mapping[str, Any] | None = None
    ) -> Self:
        """The trained model from what a checkpoint holds, in evaluation mode.

        Args:
            checkpoint: Its description under `calcarine`, and the weights under `state_dict`.
            place: Where that was found, for people.
            strict: Whether the weights have to be exactly the model's.
            changed: Arguments of the constructor in place of those in training.

        Raises:
            InputError: It cannot be made here, or its weights are others.
        """
        try:
            module, facts = make_model(checkpoint[PART], cls, changed or {})
            module.take_facts(facts)
            module.precision = checkpoint[PART].get("precision", module.precision)
            module.setup("predict")  # makes the parts whose size the facts decide
            module.load_state_dict(checkpoint["state_dict"], strict=strict)
        except (InputError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{place}: {one_line(error)}") from error
        module.on_load_checkpoint(checkpoint)
        return module.eval()
