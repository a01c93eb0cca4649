"""The command line of a run: LightningCLI, the links from data to model, and one-line errors."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from ..batch import Facts
from ..bf16 import warn_of_imitated_bf16
from ..data.datamodule import EncodingDataModule
from ..data.demand import DataDemand
from ..errors import InputError, one_line
from ..evaluation import check_min_ceiling
from ..evaluation.figures.mesh import load_meshes
from ..models import ComponentHead, EncodingModule, RoiEarlyStopping
from ..models.closed_form.base import ClosedFormModule
from ..models.closed_form.solved import SolvedModule
from ..models.demand import ModelDemand
from ..models.weight_averaging import AveragedWeights
from ..results.new_run import check_apart, check_name
from ..space import resident
from ..where import DEFAULT_CONFIG, RUNS
from .checkpoints import BackgroundCheckpointIO, LastCheckpoint
from .constructors import as_input
from .epoch_lines import EpochLines
from .flags import MODE, parse_flags
from .folder import ConfigWriter, EpochSeed, HistoryWriter, RunLogger
from .members import MemberTraining, check_one_process
from .needs import Room, check_needs, needs_of
from .own_defaults import typed_changes
from .predictions import PredictionWriter
from .provenance import Provenance, about
from .resume import ResumeGuard, resume_from
from .time_left import TimeLeft
from .together import interrupt_on_sigterm

OWN_AVERAGES = {
    "StochasticWeightAveraging": "StochasticWeightAverage",
    "EMAWeightAveraging": "ExponentialMovingAverage",
    "WeightAveraging": "ExponentialMovingAverage",
}
"""Lightning's averages of weights, which early stopping would not keep, and what does the same here."""
SHARDED = ("fsdp", "deepspeed", "modelparallel")
"""Parts of the names of Lightning's strategies that divide a model's weights or its optimiser's."""

log = logging.getLogger(__name__)


class EncodingCLI(LightningCLI):
    """Parses the flags of one run and instantiates its data, model and trainer.

    `checkpoint` is the file to resume from, or None; `checkpoint_io` writes others.
    """

    def __init__(self, args: Sequence[str] | None) -> None:
        self.args = sys.argv[1:] if args is None else list(args)
        self.checkpoint_io = BackgroundCheckpointIO()
        super().__init__(
            EncodingModule,
            EncodingDataModule,
            args=self.args,
            run=False,
            subclass_mode_model=True,
            auto_configure_optimizers=False,  # optimisers are the model's own arguments
            load_from_checkpoint_support=False,  # config.yaml rebuilds a model; checkpoints hold tensors alone
            save_config_callback=ConfigWriter,
            parser_kwargs={
                "parser_mode": MODE,
                "default_config_files": [str(DEFAULT_CONFIG)],
                "exit_on_error": False,
                "allow_abbrev": False,
            },
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--seed_everything", type=NonNegativeInt, default=0, help="Seed of everything, the split included."
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str, default=None, help="Runs are kept in runs/NAME/version_N.")
        parser.add_argument("--runs", type=Path, default=RUNS, help="Folder of all runs; a new one is made.")
        parser.add_argument(
            "--ckpt_path",
            type=str,
            default=None,
            help="Checkpoint to resume from; 'last' goes on with the newest run of this name, and 'last_or_new' starts "
            "one where the name is new.",
        )
        parser.add_argument(
            "--scale_lr",
            type=bool,
            default=False,
            help="Multiply the learning rate by the batches of --data.batch_size that a step holds: the number of "
            "processes times --trainer.accumulate_grad_batches.",
        )
        parser.add_argument(
            "--controls",
            type=bool,
            default=False,
            help="Train the same model with shuffled responses, with pixels in place of its encoder, and with the "
            "encoder's weights at random, and hold the result against them; see docs/controls.md.",
        )
        parser.add_argument(
            "--learning_curve",
            type=list[PositiveInt] | None,
            default=None,
            help="Train the same model on fewer stimuli too, such as [50,100,200,500], and score each on the run's own "
            "held-out stimuli; where the trunk comes from another run, beside the same from scratch. See "
            "docs/few_stimuli.md.",
        )
        parser.add_argument(
            "--report.fsaverage",
            type=Path | None,
            default=None,
            help="FreeSurfer's subjects/fsaverage, to draw all 163,842 vertices of a hemisphere, and flat maps where "
            "its surf/ has them; none draws a preview on fsaverage5.",
        )
        parser.add_argument(
            "--report.min_ceiling",
            type=float | None,
            default=None,
            help="Noise ceiling below which targets are left out of benchmarks.csv, a share of variance from 0 to 1, "
            "such as 0.1; none leaves out none. scores.csv is of all targets all the same.",
        )
        parser.add_lightning_class_args(RoiEarlyStopping, "early_stopping")
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")
        parser.link_arguments("seed_everything", "data.seed")
        # Read from file headers when the data module exists, before any array is.
        parser.link_arguments("data.num_targets", "model.init_args.num_targets", apply_on="instantiate")
        parser.link_arguments("data.feature_shapes", "model.init_args.feature_shapes", apply_on="instantiate")

    def parse_arguments(self, parser: ArgumentParser, args: Any) -> None:
        self.config = parse_flags(parser, args)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, AttributeError, ImportError) as error:
            fault = as_input(error)
            if fault is None:
                raise
            raise fault from None

        self.model.scale_lr = self.config.scale_lr
        self._check_components()
        for average in self._averages():
            average.check(self.trainer)
        check_one_process(self.trainer, self.model)
        self.datamodule.announce = self.announce

    def before_instantiate_classes(self) -> None:
        _check_trainer(self.config.trainer)
        data = self.config.data
        written = {"--runs": self.config.runs, "--data.cache_dir": data.cache_dir}
        check_apart((data.source.get("init_args") or {}).get("root"), written)
        if self.config.report.fsaverage is not None:
            load_meshes(self.config.report.fsaverage)  # a fault in it would end the run after its training
        check_min_ceiling(self.config.report.min_ceiling, "--report.min_ceiling")
        seed, trainer = self.config.seed_everything, self.config.trainer
        settings = str([self.config.model, data.batch_size, trainer.max_epochs, trainer.precision])
        self.trainer_defaults["callbacks"] = [EpochSeed(seed), *self.place(), MemberTraining(seed, settings)]

    def _check_components(self) -> None:
        """Refuse to find components of responses that nothing predicts."""
        count = self.config.data.response_components
        closed = any(isinstance(each, ClosedFormModule) for each in self.model.modules())
        if count and not closed and ComponentHead.__name__ not in str(self.config.model):
            raise InputError(
                f"--data.response_components {count}: expected a model that predicts components, found "
                f"{type(self.model).__name__} of single targets; set --model.head ComponentHead (and what reads the "
                "features as --model.head.readout), take a closed form such as RidgeModule, or leave it out"
            )

    def _averages(self) -> list[AveragedWeights]:
        return [each for each in self.trainer.callbacks if isinstance(each, AveragedWeights)]  # type: ignore[attr-defined]

    def announce(self, data: DataDemand, facts: Facts) -> None:
        """Say what the run will need, before its first image is read; refuse what cannot be had."""
        _check_curve(self.config.learning_curve, facts)
        trains = self.trainer.lightning_module is not None
        self.tell_needs(data, self.model.demand(facts) if trains else None)
        if trains:
            self.tell_precision()

    def tell_needs(self, data: DataDemand, model: ModelDemand | None, **asked: Any) -> None:
        """The same of a run of these sizes; the other arguments are those of `needs_of`."""
        device = self.trainer.strategy.root_device
        on_gpu = device.type == "cuda"
        given = {
            "on_gpu": on_gpu,
            "averages": any(self._averages()),
            "processes": self.trainer.num_devices,
        }
        needs = needs_of(data, model, resident(), **{**given, **asked})
        gpu = torch.cuda.get_device_properties(device).total_memory if on_gpu else None
        room = Room.here(self.datamodule.inputs.cache.folder, self.config.runs, gpu)
        log.info("%s", needs.told(room))
        check_needs(needs, room, self.config.runs)

    def tell_precision(self) -> None:
        """Warn where the device imitates what --trainer.precision asks for; what is solved never computes in it."""
        parts = [each for each in self.model.modules() if isinstance(each, EncodingModule)]  # a stack's members too
        if not all(isinstance(each, SolvedModule) for each in parts):
            warn_of_imitated_bf16("--trainer.precision", self.trainer.precision, self.trainer.strategy.root_device)

    def place(self) -> list[Callback]:
        """Choose the run's folder; returns what writes into it."""
        files = self.config.get("config") or [DEFAULT_CONFIG]
        name = self.config.name or Path(str(files[-1])).stem
        check_name(name)
        self.config.name = name
        checkpoint, version = resume_from(name, self.config.ckpt_path, self.config.runs)
        return self.write_into(RunLogger(name, version, self.config.runs), checkpoint)

    def write_into(self, logger: RunLogger, checkpoint: Path | None) -> list[Callback]:
        """What writes into the run's folder.

        Args:
            logger: Which has the folder.
            checkpoint: From which the run goes on; None where it starts.
        """
        self.checkpoint = checkpoint
        self.provenance = Provenance(self.args, about(self.config), self.config.seed_everything)
        self.config.ckpt_path = None  # config.yaml says what the run is, not how it was resumed
        self.run_logger = logger
        callbacks: list[Callback] = [] if checkpoint is None else [ResumeGuard(checkpoint)]
        if not self.config.trainer.fast_dev_run:
            callbacks += [HistoryWriter(), PredictionWriter(), self.provenance, TimeLeft()]
        return callbacks if self._shows_bar() else [*callbacks, EpochLines()]

    def _shows_bar(self) -> bool:
        """Whether there is a progress bar: where somebody looks, or asked for one; files are not filled with it."""
        asked = self.config.trainer.enable_progress_bar
        if asked is not None:
            return bool(asked)
        given = self.config.trainer.callbacks or []
        own = any("ProgressBar" in each.class_path for each in (given if isinstance(given, list) else [given]))
        return own or "ipykernel" in sys.modules or sys.stdout.isatty()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        given = self.config_init["trainer"]
        loggers = given.logger if isinstance(given.logger, list) else [given.logger]
        plugins = given.plugins if isinstance(given.plugins, list) else [given.plugins]
        try:
            trainer = super().instantiate_trainer(
                logger=[self.run_logger, *(logger for logger in loggers if isinstance(logger, Logger))],
                plugins=[*(plugin for plugin in plugins if plugin is not None), self.checkpoint_io],
                # In a SLURM job Lightning fits and tests what `hpc_ckpt_N.ckpt` there holds, whoever left it.
                default_root_dir=self.run_logger.root_dir,
                **{"enable_progress_bar": self._shows_bar(), **kwargs},
            )
        except (MisconfigurationException, RuntimeError, ValueError) as error:
            raise InputError(f"--trainer: {one_line(error)}") from error
        interrupt_on_sigterm(trainer)
        return trainer


def _check_curve(counts: Sequence[int] | None, facts: Facts) -> None:
    """Refuse a learning curve with more stimuli than there are."""
    fewest = min(facts.training_stimuli, key=facts.training_stimuli.__getitem__)
    most = facts.training_stimuli[fewest]
    if counts and max(counts) > most:
        raise InputError(
            f"--learning_curve {max(counts)}: expected at most the {most} training stimuli of {fewest}; take fewer"
        )


def _check_trainer(trainer: Any) -> None:
    """Refuse what Lightning allows and a run cannot keep its promises with."""
    if trainer.enable_checkpointing is False:
        raise InputError(
            "--trainer.enable_checkpointing false: a run keeps its last and its best checkpoint; to write fewer in "
            "between, set --checkpoint.every_n_seconds"
        )
    limit = trainer.limit_test_batches  # 1.0 is all batches, 1 is one
    if not trainer.fast_dev_run and limit is not None and (isinstance(limit, int) or limit != 1.0):
        raise InputError(
            f"--trainer.limit_test_batches {limit}: every held-out stimulus is evaluated; to try "
            "a run out, set --trainer.fast_dev_run true"
        )
    if str(trainer.precision) in ("16-true", "bf16-true"):
        raise InputError(
            f"--trainer.precision {trainer.precision}: sums and standardisation need more digits; use "
            f"{str(trainer.precision).replace('true', 'mixed')}"
        )
    given = trainer.callbacks or []
    for each in given if isinstance(given, list) else [given]:
        name = str(getattr(each, "class_path", "")).rpartition(".")[2]
        if name in OWN_AVERAGES:
            raise InputError(
                f"--trainer.callbacks {name}: Lightning's, whose averages early stopping does not keep; use "
                f"{OWN_AVERAGES[name]}"
            )
    strategy = str(getattr(trainer.strategy, "class_path", trainer.strategy)).rpartition(".")[2]
    if any(sharded in strategy.lower().replace("_", "") for sharded in SHARDED):
        raise InputError(
            f"--trainer.strategy {strategy}: early stopping, averages and checkpoints are taken from whole "
            "weights, and this divides them among processes; use ddp, and for a large backbone --model.finetuning Lora "
            "or --trainer.precision bf16-mixed (docs/scaling.md says what fits)"
        )
    if any(start in strategy for start in ("spawn", "fork", "notebook")):
        raise InputError(
            f"--trainer.strategy {strategy}: its processes do not hand back the weights of parts that are made "
            "when the data are known; use ddp"
        )
    if trainer.accelerator == "auto" and torch.backends.mps.is_available():
        trainer.accelerator = "cpu"  # metrics are summed in float64, which Apple's GPUs lack


def build_cli(args: Sequence[str] | None = None) -> EncodingCLI:
    """Parse flags and instantiate the data module, the model and the trainer.

    Args:
        args: Flags as typed; None takes them from the command line.

    Raises:
        InputError: A flag, a config file or a value is not valid.
    """
    cli = EncodingCLI(args)
    for change in typed_changes(cli.parser, cli.args, cli.config.as_dict()):
        log.info("%s", change)
    return cli
