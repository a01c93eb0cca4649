"""Finetuning: what of a backbone is trained, when, and how fast.

In training, a module of the backbone that is in evaluation mode is at rest: neither its weights nor its batch norm's
statistics change.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..arguments import KeepsArguments
from ..encoders.capture import did_you_mean
from ..encoders.modes import keeping_modes
from ..encoders.tracing import BATCH, trace
from ..errors import InputError
from ..recipe import Remakable

FEWEST_STAGES = 4
ADAPTER = "lora_"  # what peft's own modules and parameters are called

log = logging.getLogger(__name__)


class Finetuning(KeepsArguments, Remakable, ABC):
    """Policy for the backbone's weights.

    Args:
        rate: The backbone's learning rate as a share of the head's.
    """

    def __init__(self, rate: float = 1.0) -> None:
        if rate < 0:
            raise InputError(f"--model.finetuning.rate {rate:g}: expected a share of the head's rate, 0 or more")
        self.rate = rate

    @abstractmethod
    def prepare(self, backbone: nn.Module) -> None:
        """Make the backbone ready when the model is built: freeze, or insert what is trained in its place."""

    def parameter_groups(self, backbone: nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimiser; "rate" is a group's share of the learning rate."""
        return [{"params": [each for each in backbone.parameters() if each.requires_grad], "rate": self.rate}]

    def check(self, backbone: nn.Module, smallest: int) -> None:
        """Look at the first epoch ahead of it, and leave the backbone as it was.

        Args:
            backbone: Prepared.
            smallest: Stimuli in the smallest batch.

        Raises:
            InputError: Batch norm is trained, and has nothing to be normalised over.
        """
        trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        with keeping_modes(backbone):
            self.train(backbone, 0)
            check_batch_norm(backbone, smallest)
        for parameter in trainable:  # the optimiser is made of them all, those that join later too
            parameter.requires_grad_(True)

    @abstractmethod
    def train(self, backbone: nn.Module, epoch: int) -> None:
        """Put into training mode what is trained in this epoch, and the rest to rest; called at the epoch's start."""


class Full(Finetuning):
    """All of the backbone is trained from the first epoch."""

    def prepare(self, backbone: nn.Module) -> None:
        pass

    def train(self, backbone: nn.Module, epoch: int) -> None:
        backbone.train()


class Frozen(Finetuning):
    """Nothing of the backbone is trained, and its batch norm keeps its statistics.

    The same features through --data.encoder are computed once rather than each epoch; this is for backbones behind
    which something random stands, or whose features do not fit on disk.
    """

    def __init__(self) -> None:
        super().__init__(0.0)

    def prepare(self, backbone: nn.Module) -> None:
        backbone.requires_grad_(False)

    def train(self, backbone: nn.Module, epoch: int) -> None:
        backbone.eval()


class Gradual(Finetuning):
    """The head is trained first, then the backbone's stages join it one by one, the last stage first.

    Stages are the network's parts in their order: a ResNet's stem and its four layers, the blocks of a transformer.
    A network of few parts is opened up, the part with most layers first, until there are at least four stages.

    Args:
        epochs_per_stage: Epochs from one stage's joining to the next one's.
        start: Epoch, counted from 0, in which the last stage joins.
        rate: The backbone's learning rate as a share of the head's.
    """

    def __init__(self, epochs_per_stage: int = 1, start: int = 1, rate: float = 0.1) -> None:
        super().__init__(rate)
        for name, (value, least) in {"epochs_per_stage": (epochs_per_stage, 1), "start": (start, 0)}.items():
            if value < least:
                raise InputError(f"--model.finetuning.{name} {value}: expected {least} or more")
        self.epochs_per_stage = epochs_per_stage
        self.start = start
        self.stages: list[list[nn.Module]] = []
        self.trainable: list[tuple[nn.Module, nn.Parameter]] = []

    def prepare(self, backbone: nn.Module) -> None:
        self.stages = find_stages(backbone)
        self.trainable = [
            (module, parameter)
            for module in backbone.modules()
            for parameter in module.parameters(recurse=False)
            if parameter.requires_grad
        ]

    def train(self, backbone: nn.Module, epoch: int) -> None:
        joined = self._joined(epoch)
        backbone.train(joined == len(self.stages))
        trained = [module for stage in self.stages[len(self.stages) - joined :] for module in stage]
        for module in trained:
            module.train()
        # No gradient is computed at rest. DDP however settles when training starts which gradients it waits for: there
        # all are computed, and `drop_gradients` keeps those at rest from the optimiser.
        always = torch.distributed.is_available() and torch.distributed.is_initialized()
        for module, parameter in self.trainable:
            parameter.requires_grad_(always or module.training)
        if joined != self._joined(epoch - 1):
            log.info("from epoch %d on %d of the backbone's %d stages are trained", epoch, joined, len(self.stages))

    def _joined(self, epoch: int) -> int:
        """Stages that are trained in an epoch; none before the first."""
        joined = 0 if epoch < self.start else 1 + (epoch - self.start) // self.epochs_per_stage
        return min(joined, len(self.stages))


class Lora(Finetuning):
    """Low-rank adapters beside the backbone's weights are trained (Hu et al. 2022); all else is at rest.

    Args:
        rank: Rank of each adapter.
        alpha: Adapters are scaled by alpha / rank.
        dropout: Share of an adapter's inputs that training drops.
        modules: The linear and convolutional modules that get an adapter, by the ends of their names, such as
            [qkv, proj]; without, all.
        rate: The adapters' learning rate as a share of the head's.
    """

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        modules: Sequence[str] | None = None,
        rate: float = 1.0,
    ) -> None:
        super().__init__(rate)
        if rank < 1:
            raise InputError(f"--model.finetuning.rank {rank}: expected 1 or more")
        if alpha <= 0:
            raise InputError(f"--model.finetuning.alpha {alpha:g}: expected a number above 0")
        if not 0 <= dropout < 1:
            raise InputError(f"--model.finetuning.dropout {dropout:g}: expected a share from 0 to below 1")
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.modules = modules

    def prepare(self, backbone: nn.Module) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        names = self._adapted(backbone)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # declared an integer, used as a number
            lora_dropout=self.dropout,
            target_modules="|".join(map(re.escape, names)),  # a list would match ends of names too
        )
        backbone.requires_grad_(False)
        inject_adapter_in_model(config, backbone)

    def train(self, backbone: nn.Module, epoch: int) -> None:
        backbone.eval()
        for name, module in backbone.named_modules():
            if ADAPTER in name:
                module.train()

    def _adapted(self, backbone: nn.Module) -> list[str]:
        """Names of the modules that get an adapter.

        One whose weight is used without its being called, as attention does with its output's, can have none: the
        adapter would never run. Nor can a convolution in more groups than the rank divides into.
        """
        events = trace(backbone.eval(), torch.zeros(BATCH, 3, 64, 64, dtype=torch.uint8)).events
        backbone.train()  # as any new module
        ran = {event.tap.module for event in events}
        possible = [
            name
            for name, module in backbone.named_modules()
            if name in ran
            and isinstance(module, (nn.Linear, nn.Conv2d))
            and module.weight.requires_grad
            and self.rank % getattr(module, "groups", 1) == 0
        ]
        chosen = [name for name in possible if self.modules is None or any(_ends(name, end) for end in self.modules)]
        unmatched = [end for end in self.modules or () if not any(_ends(name, end) for name in possible)]
        if unmatched:
            near = did_you_mean(unmatched[0], {name.rpartition(".")[2] for name in possible})
            raise InputError(
                f"--model.finetuning.modules {unmatched[0]}: expected the end of the name of a linear or convolutional "
                f"module that runs, and whose groups divide the rank, found none{near}"
            )
        if not chosen:
            raise InputError(
                f"--model.finetuning Lora: expected linear or convolutional modules in the backbone, found none in "
                f"{type(backbone).__name__}; choose another --model.backbone"
            )
        return chosen


def find_stages(network: nn.Module) -> list[list[nn.Module]]:
    """A network's stages in the order in which their modules are declared; frozen parts have none.

    Parts that hold no matrix or filter, such as a norm, belong to the stage before them.
    """
    parts = [network] if _layers(network) else []
    while True:
        stages: list[list[nn.Module]] = []
        for part in parts:
            if stages and all(parameter.ndim < 2 for parameter in part.parameters()):
                stages[-1].append(part)
            else:
                stages.append([part])
        largest = max(parts, key=_layers, default=network)
        inner = [child for child in largest.children() if _layers(child)]
        if len(stages) >= FEWEST_STAGES or not inner:
            return stages
        at = parts.index(largest)
        parts[at : at + 1] = inner


def drop_gradients(backbone: nn.Module) -> None:
    """Drop the gradients of what is at rest, so that no optimiser moves it, by momentum or weight decay either."""
    for module in backbone.modules():
        if not module.training:
            for parameter in module.parameters(recurse=False):
                parameter.grad = None


def check_batch_norm(backbone: nn.Module, smallest: int) -> None:
    """Raises InputError where batch norm is trained and the smallest batch has nothing to be normalised over."""
    if smallest < 2 and any(isinstance(each, _BatchNorm) and each.training for each in backbone.modules()):
        raise InputError(
            "--data.batch_size: expected 2 stimuli or more in every process's batches, which the backbone's batch norm "
            f"needs, found a batch of {smallest}; raise it, or set --model.finetuning Frozen or Lora"
        )


def _layers(module: nn.Module) -> int:
    """Modules within that have trainable parameters of their own."""
    return sum(any(own.requires_grad for own in each.parameters(recurse=False)) for each in module.modules())


def _ends(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")
