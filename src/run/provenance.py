"""`run.json`: what made a run, written when training begins and completed when it has been evaluated."""

from __future__ import annotations

import json
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import EncodingDataModule
from ..encoders import Encoder
from ..evaluation import Summary
from ..evaluation.report import DATA, MODEL
from ..results.provenance import facts, made, result, write_provenance
from ..results.run_folder import PROVENANCE
from .folder import folder_of


class Provenance(Callback):
    """Writes `run.json` into the run's folder; a resumed run keeps what stood there as "before".

    Args:
        args: Flags as typed.
        about: What the run is of, from `about`.
        seed: The run's seed.
    """

    def __init__(self, args: Sequence[str], about: Mapping[str, str], seed: int) -> None:
        self.args, self.about, self.seed = args, about, seed
        self.start = time.time()
        self.content: dict[str, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, pl_module)  # of a model that was assembled, not trained

    def end(self, folder: Path) -> dict[str, str]:
        """Add the wall time, once: controls take time of their own; returns what the report shows, name and value."""
        if self.content["wall_time_s"] is None:
            self.content["wall_time_s"] = round(time.time() - self.start, 1)
        write_provenance(folder, self.content)
        return facts(self.content)

    def conclude(self, folder: Path, summary: Summary) -> None:
        """Add what came of it, for `calcarine runs`."""
        self.content["result"] = result(summary)
        write_provenance(folder, self.content)

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = folder_of(trainer)
        if self.content or not trainer.is_global_zero:
            return
        data = EncodingDataModule.of(trainer)
        self.content = made(shlex.join(["train.py", *self.args]), self.start) | {
            "device": device(trainer),
            "seed": self.seed,
            "data": self.about[DATA],
            "model": self.about[MODEL],
            "images": images(data.inputs.encoder, pl_module),
            "data_fingerprint": data.identity,
        }
        if (folder / PROVENANCE).exists():
            self.content["before"] = _earlier(folder / PROVENANCE)
        write_provenance(folder, self.content)


def _earlier(path: Path) -> object:
    """What an interrupted run said of itself; a word where that is damaged, for training need not end by it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return "unreadable"


def about(config: Namespace) -> dict[str, str]:
    """What a run is of, in a few words: its source and encoder, and its model, by the facts of a report."""
    data, model = config.data, config.model

    def named(part: Namespace | None, *settings: str) -> str:
        if part is None:
            return ""
        arguments = part.get("init_args") or Namespace()
        values = (arguments.get(name) for name in settings)
        shown = (each for each in values if each is not None)
        told = (", ".join(map(str, each)) if isinstance(each, (list, tuple)) else str(each) for each in shown)
        return " ".join([part.class_path.rpartition(".")[2], *told])

    encoder = named(data.encoder, "model") or "images as they are"
    arguments = model.get("init_args") or Namespace()
    parts = (named(arguments.get("backbone"), "model"), named(arguments.get("head")))
    inside = ", ".join(filter(None, parts))
    return {
        DATA: f"{named(data.source, 'root')}, {encoder}",
        MODEL: named(model) + (f" ({inside})" if inside else ""),
    }


def images(encoder: Encoder | None, model: LightningModule) -> str:
    """What is done to an image before a network sees it, by the encoder or the model's backbone; for people."""
    reader = encoder if encoder is not None else getattr(model, "backbone", None)
    parts = reader.parts() if isinstance(reader, Encoder) else {}
    told = {name: part.preprocessing() for name, part in parts.items()}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{name}: {way}" for name, way in told.items()) or "as they are"


def device(trainer: Trainer) -> str:
    """What the run computes on, and how many of it."""
    root = trainer.strategy.root_device
    name = torch.cuda.get_device_name(root) if root.type == "cuda" else f"{root.type} ({platform.machine()})"
    return f"{name}, {trainer.world_size} processes" if trainer.world_size > 1 else name
