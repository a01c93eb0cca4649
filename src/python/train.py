"""`calcarine.train`: a run of `train.py`, asked for in Python."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from ..data import Reduction, Source, TrialContext
from ..encoders import Encoder
from ..errors import InputError
from ..models import EncodingModule
from ..run.cli import build_cli
from ..run.folder import folder_of
from ..run.main import quieten
from ..run.stages import run as run_stages
from ..where import RUNS
from .finished import Run
from .parts import as_config

MODELS: dict[str, tuple[str, ...]] = {
    "linear": ("--model=EncodingModule", "--model.head=LinearHead"),
    "ridge": ("--model=RidgeModule",),
    "banded": ("--model=BandedRidgeModule",),
    "elastic_net": ("--model=ElasticNetModule",),
    "layer_selection": ("--model=LayerSelectionModule",),
    "similarity": ("--model=SimilarityModule",),
    "windowed": ("--model=WindowedModule",),
}
"""Short names of models, and the flags that they stand for."""


class Unset(Enum):
    """An argument that was not given, where None means something."""

    UNSET = "as the config says"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET

Flags = Mapping[str, Any] | Sequence[str]


def train(
    source: Source | type[Source] | str | None = None,
    encoder: Encoder | type[Encoder] | str | Literal[Unset.UNSET] | None = UNSET,
    model: str | type[EncodingModule] | Callable[..., EncodingModule] | None = None,
    *,
    reduction: Reduction | None = None,
    beside: TrialContext | None = None,
    batch_size: int | None = None,
    validation: float | None = None,
    test: float | None = None,
    max_epochs: int | None = None,
    seed: int | None = None,
    name: str | None = None,
    runs: str | Path = RUNS,
    cache_dir: str | Path | None = None,
    config: str | Path | Sequence[str | Path] = (),
    flags: Flags = (),
) -> Run:
    """Train a model, evaluate it on held-out stimuli, and write the run's folder, as `train.py` does.

    What is given becomes flags of `train.py`, and what is left out is as in the configs, or in the default run: Gabor
    features of a simulated subject and a linear head. So `RUN/config.yaml` repeats the run on the command line. Parts
    are given as objects; the run makes its own from the same arguments, so one object may serve several runs.

    What is made when the data are known, a model, a head, a trunk or an optimiser, is given as a class, or as a
    `functools.partial` of one with its options: `partial(cc.RidgeModule, penalties=[1, 10, 100])`.

    Args:
        source: What to read: `cc.Folder("DIR")`.
        encoder: From images to features: `cc.TimmEncoder("resnet50", layers=["layer3"])`. None for a model with a
            backbone of its own.
        model: "ridge", "banded", "linear", "elastic_net", "layer_selection", "similarity" or "windowed"; or the class
            of a model, or a partial of it.
        reduction: Fewer features: `cc.PrincipalComponents(100)`.
        beside: What the model is given beside the image: `cc.TrialContext(previous=8)`.
        batch_size: Stimuli per batch.
        validation: Share of the stimuli held out for early stopping, where the format has no validation split.
        test: Share held out for the final scores, where the format has no test split.
        max_epochs: Most epochs of a model that is trained by gradient descent.
        seed: Of everything, a seeded split included.
        name: The run's folder is RUNS/NAME/version_N; without, the last config's name, or "default".
        runs: Folder of all runs.
        cache_dir: Folder of the embedding cache.
        config: One or several files of flags, such as those in `configs/`; later ones win, and what else is given
            here wins over all.
        flags: Any other flags of `train.py`: `{"trainer.precision": "bf16-mixed"}`, or as typed:
            `["--trainer.precision=bf16-mixed"]`.

    Returns:
        The finished run.

    Raises:
        InputError: An argument, a flag or a file is not what it has to be.
    """
    configs = [config] if isinstance(config, str | Path) else list(config)
    args = [f"--config={each}" for each in configs]
    parts: dict[str, object] = {"data.source": source, "data.reduction": reduction, "data.beside": beside}
    values: dict[str, object] = {
        "data.batch_size": batch_size,
        "data.validation": validation,
        "data.test": test,
        "data.cache_dir": cache_dir,
        "trainer.max_epochs": max_epochs,
        "seed_everything": seed,
        "name": name,
        "runs": runs,
    }
    args += [as_flag(flag, value) for flag, value in (parts | values).items() if value is not None]
    if encoder is not UNSET:
        args.append(as_flag("data.encoder", encoder))
    args += [*_model_flags(model), *_other_flags(flags)]
    quieten()
    logging.getLogger("calcarine").debug("train.py %s", " ".join(args))
    cli = build_cli(args)
    if cli.config.trainer.fast_dev_run:
        raise InputError("flags: trainer.fast_dev_run leaves no run to return; try it out with train.py")
    run_stages(cli)
    return Run(folder_of(cli.trainer))


def as_flag(flag: str, value: object) -> str:
    """A value given in Python, as it is typed on the command line."""
    plain = as_config(value, f"--{flag}")
    return f"--{flag}={plain if isinstance(plain, str) else json.dumps(plain)}"


def _model_flags(model: object) -> list[str]:
    """A model's class, then each of its options: those that a config sets beneath stay."""
    if model is None:
        return []
    if isinstance(model, str):
        return list(MODELS.get(model, (f"--model={model}",)))
    plain = as_config(model, "--model")
    if not isinstance(plain, dict) or "class_path" not in plain:
        raise InputError(f"--model: expected a name, a class or partial(CLASS, …), found {model!r}")
    return [f"--model={plain['class_path']}", *(as_flag(f"model.{k}", v) for k, v in plain["init_args"].items())]


def _other_flags(flags: Flags) -> list[str]:
    if isinstance(flags, Mapping):
        return [as_flag(str(flag).removeprefix("--"), value) for flag, value in flags.items()]
    if isinstance(flags, str):
        raise InputError(f"flags: expected a list of flags or a dictionary, found the text {flags!r}")
    return list(flags)
