"""SubjectLayers: behind a shared trunk a linear layer of each subject's own, and the average subject's."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...encoders.checkpoint import misfit
from ...errors import InputError

_GOLDEN = (5**0.5 - 1) / 2
_START, _DIFFERENCES = "start_", "differences."


class SubjectLayers(nn.Module):
    """Maps the channels of each layer linearly: what all subjects start from, plus a difference of each one's own.

    They start from the identity, or from the average subject of an earlier run. The average subject is the mean of all
    subjects. A difference starts at 0, to which weight decay draws it back: who has few stimuli stays near to the
    average subject.

    Subject dropout: in some steps of training, the average subject stands in for the step's own. So the trunk learns a
    representation that serves whoever comes, and readouts keep to one basis, without which a mean of layers says
    nothing. In such a step the subject's own share of the average is trained; the other subjects' stays as it is. A
    linear layer for each subject is that of Défossez et al. (2023, Nature Machine Intelligence 5).

    Which steps these are depends on the seed and on how many steps were made, so that all ranks agree, and a resumed
    run goes on as an undisturbed one. They are drawn evenly (multiples of the golden ratio, modulo 1): any stretch of
    steps, and of every second or third step, has its share of them.

    Args:
        feature_shapes: Shape of one stimulus's representation by layer: (channels,), (tokens, channels), or
            (channels, rows, columns).
        subjects: Numbers of those that have layers, as in `Batch`; whoever else is read is the average subject.
        dropout: Share of the steps, 0 to 1, in which the average subject stands in.
        seed: Of these steps.
    """

    steps: Tensor

    def __init__(self, feature_shapes: FeatureShapes, subjects: Sequence[int], dropout: float, seed: int) -> None:
        super().__init__()
        self.names = list(feature_shapes)
        self.dropout = dropout
        self.first = float(np.random.default_rng(seed).random())
        widths = [shape[0] if len(shape) == 3 else shape[-1] for shape in feature_shapes.values()]
        for index, width in enumerate(widths):
            self.register_buffer(f"{_START}{index}", torch.eye(width))
        self.differences = nn.ModuleDict(
            {str(subject): nn.ParameterList(torch.zeros(width, width) for width in widths) for subject in subjects}
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Features, subject: int) -> Features:
        """What a subject's readout is given, by layer as it came.

        Args:
            features: The trunk's, by layer, each (batch, *shape).
            subject: As in `Batch`.
        """
        replaced = self._draw() if self.training and self.dropout and len(self.differences) > 1 else None
        return {name: _mapped(features[name], self._weight(i, subject, replaced)) for i, name in enumerate(self.names)}

    def start_from(self, state: Mapping[str, Tensor], source: str) -> None:
        """Start from the average subject of another run.

        Args:
            state: That run's layers, by the names of their state dict.
            source: What brought them, for the error message.

        Raises:
            InputError: They are of another width.
        """
        starts = {name: each for name, each in self.named_buffers() if name.startswith(_START)}
        averages = {name: each for name, each in state.items() if name.startswith(_START)}
        fault = misfit(starts, averages)
        if fault:
            raise InputError(f"{source}: that run's subject layers are others: {fault}; take its --model.head.trunk")
        for name, start in starts.items():
            ending = "." + name.removeprefix(_START)
            own = [each for key, each in state.items() if key.startswith(_DIFFERENCES) and key.endswith(ending)]
            start.copy_(averages[name] + torch.stack(own).mean(0))

    def _weight(self, index: int, subject: int, replaced: Tensor | None) -> Tensor:
        """A subject's layer (channels, channels), or where `replaced` is true the average subject's."""
        start = self.get_buffer(f"{_START}{index}")
        key = str(subject)
        if key in self.differences and replaced is None:
            return start + self._difference(key, index)
        # In a step nothing of another subject has a gradient.
        parts = [
            self._difference(each, index) if each == key else self._difference(each, index).detach()
            for each in self.differences
        ]
        average = torch.stack(parts).mean(0)
        if key not in self.differences or replaced is None:
            return start + average
        return start + torch.where(replaced, average, self._difference(key, index))

    def _difference(self, subject: str, index: int) -> Tensor:
        own = self.differences[subject]
        assert isinstance(own, nn.ParameterList)
        return own[index]

    def _draw(self) -> Tensor:
        """Whether the average subject stands in for a step's own, bool (); on the device, for which nobody waits."""
        place = (self.first + self.steps.double() * _GOLDEN) % 1
        self.steps += 1
        return place < self.dropout


def _mapped(features: Tensor, weight: Tensor) -> Tensor:
    """Features (batch, channels), (batch, tokens, channels) or (batch, channels, rows, columns), linearly mapped."""
    if features.ndim == 4:
        return nn.functional.conv2d(features, weight[:, :, None, None])
    return features @ weight.T
