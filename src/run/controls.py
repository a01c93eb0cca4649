"""Controls: the same model trained on what should predict less, in folders of their own inside the run's.

A control is a run with other flags. What it shares with the run, the split above all, it reads again from the same
source; what it changes is one thing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from ..arguments import class_path
from ..encoders import Encoder, PixelEncoder, RandomWeights
from ..errors import InputError
from ..evaluation import Control
from ..models import StackedModule
from ..names import BESIDE
from .cli import EncodingCLI
from .inside import run_inside

CONTROLS = "controls"
"""Folder inside the run's, with a folder for each control."""

SHUFFLED = Control("shuffled", "shuffled responses", "what it predicts may be chance")
"""The pairs of stimulus and response are broken in training: what is still predicted is chance, or a leak."""
PIXELS = Control("pixels", "pixels", "its features are not shown to tell more than small pixels do")
RANDOM_WEIGHTS = Control("random_weights", "random weights", "what its weights have learnt is not shown to matter")
ALONE = Control("trained_alone", "training on the image alone", "what its inputs beside the image add is not shown")
"""Another model than the run's own with the mean in place of its inputs beside the image (IMAGE_ALONE)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A control that is to be trained, or why there is none.

    Args:
        control: What it is, of which nothing is predicted yet; its name is its folder's too.
        flags: What it has beside the run's own flags.
    """

    control: Control
    flags: Sequence[str] = ()


def plan_controls(cli: EncodingCLI) -> list[Planned]:
    """Which controls a run can have, before anything is trained.

    Raises:
        InputError: It can have none.
    """
    if cli.config.trainer.fast_dev_run:
        raise InputError(
            "--controls true: a rehearsal has no scores to hold against others; leave out --trainer.fast_dev_run or it"
        )
    plan = [
        _planned(SHUFFLED, _shuffled(cli)),
        _planned(PIXELS, _pixels(cli)),
        _planned(RANDOM_WEIGHTS, _random_weights(cli)),
    ]
    if cli.datamodule.inputs.beside is not None:
        plan.append(_planned(ALONE, _alone(cli)))
    if not any(each.flags for each in plan):
        reasons = "; ".join(f"no {each.control.label}: {each.control.left_out}" for each in plan)
        raise InputError(f"--controls true: expected a run that can be controlled, found {reasons}; leave it out")
    return plan


def _planned(control: Control, found: Sequence[str] | str) -> Planned:
    return Planned(replace(control, left_out=found)) if isinstance(found, str) else Planned(control, found)


def run_controls(cli: EncodingCLI, folder: Path, plan: Sequence[Planned]) -> list[Control]:
    """Train each control, or go on with it, on all ranks; returns what each predicts of the run's held-out stimuli.

    One that the run's other flags do not allow, as a readout of a layer that pixels do not have, is left out too.

    Args:
        cli: The run, trained.
        folder: The run's.
        plan: From `plan_controls`.
    """
    found = []
    for each in plan:
        control = each.control
        if each.flags:
            log.info("control with %s: %s", control.label, " ".join(each.flags))
            predicted = run_inside(cli, folder, CONTROLS, control.name, each.flags)
            if isinstance(predicted, str):
                control = replace(control, left_out=f"its training says {predicted!r}")
            else:
                control = replace(control, splits=predicted)
        if control.left_out:
            log.info("no control with %s: %s", control.label, control.left_out)
        found.append(control)
    return found


def _shuffled(cli: EncodingCLI) -> list[str] | str:
    source = cli.config.data.source
    if "shuffle" not in (source.get("init_args") or {}):
        return f"{_short(source.class_path)} has no setting `shuffle`"
    return "the run's own are shuffled" if cli.datamodule.source.shuffle else ["--data.source.shuffle=true"]


def _pixels(cli: EncodingCLI) -> list[str] | str:
    """A backbone gives way to cached pixels, which the model standardises as it does any features."""
    reader = _reader(cli)
    if reader is not None and all(isinstance(part, PixelEncoder) for part in reader.parts().values()):
        return "they are the run's own features"
    backbone = [] if cli.model.backbone is None else ["--model.backbone=null", "--model.finetuning=null"]
    encoder = ["--data.random_control=false", f"--data.encoder={class_path(PixelEncoder)}"]
    return [*backbone, *encoder, *_before(cli, None)]


def _random_weights(cli: EncodingCLI) -> list[str] | str:
    reader = _reader(cli)
    if reader is None or not reader.fetched:
        return "the run's own features come from no weights that were trained before"
    config = yaml.safe_load(cli.parser.dump(cli.config, skip_link_targets=True))
    frozen = cli.datamodule.inputs.encoder is not None
    part = config["data"]["encoder"] if frozen else config["model"]["init_args"]["backbone"]
    wrapped = json.dumps({"class_path": class_path(RandomWeights), "init_args": {"encoder": part}})
    encoder = f"--data.encoder={wrapped}" if frozen else f"--model.backbone={wrapped}"
    context = cli.datamodule.inputs.beside
    layer = None if context is None else context.layer
    if layer is not None and cli.config.data.random_control:  # which serves each layer twice, with a prefix
        layer = layer.partition(":")[2]
    return ["--data.random_control=false", encoder, *_before(cli, layer)]


def _before(cli: EncodingCLI, layer: str | None) -> list[str]:
    """Flags that give the stimuli before another layer of an encoder's, where the run names one; None is the last."""
    context = cli.datamodule.inputs.beside
    if context is None or context.layer in (None, layer):
        return []
    return [f"--data.beside.layer={'null' if layer is None else layer}"]


def _alone(cli: EncodingCLI) -> list[str] | str:
    model, served = cli.model, list(cli.datamodule.feature_shapes or {})
    image = [layer for layer in served if not layer.startswith(BESIDE)]
    for name, member in model.given.items() if isinstance(model, StackedModule) else ():
        try:
            member.chosen(image, name)
        except InputError:
            return f"the stack's member {name} reads inputs beside the image, by {', '.join(member.layers)}"
    return ["--data.beside=null"]


def _reader(cli: EncodingCLI) -> Encoder | None:
    """What reads the images: the frozen encoder or the model's backbone."""
    return cli.datamodule.inputs.encoder or cli.model.backbone


def _short(path: str) -> str:
    return path.rpartition(".")[2]
