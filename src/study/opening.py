"""A worker joins a study: everything that can be checked is checked before the first trial, and the data are read."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import optuna
import yaml
from jsonargparse import ArgumentParser

from ..data.datamodule import EncodingDataModule
from ..errors import InputError
from ..names import VALIDATION
from ..run.flags import parse_flags
from ..run.own_defaults import Config, class_changes, typed_changes, typed_flags
from ..run.training import encode
from .crew import MEMBER
from .ledger.heartbeat import Watch
from .ledger.identity import remember
from .ledger.queue import Queue
from .ledger.storage import file_lock, open_storage, place_of
from .outcome.results import TRIALS
from .per_roi import RoiRows, check_rows
from .search.choosing import make_plan, make_pruner
from .search.flags import check_flags, make_flags, own_values
from .search.options import Options
from .search.space import SearchSpace, read_space
from .session import Session, as_yaml
from .trial import Hook, TrialCLI, Trials

log = logging.getLogger(__name__)


def open_session(options: Options, hooks: Sequence[Hook] = ()) -> Session:
    """Check everything that can be checked before the first trial, read the data, and join the study.

    Raises:
        InputError: A flag, the space, the data or the storage is not what it has to be, or the study is another one.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read_space(options.search)
    modules: dict[str, EncodingDataModule] = {}
    args = [*options.args, f"--runs={options.runs}"]  # whatever a config says
    cli = TrialCLI([*args, *make_flags(space.fixed(), {})], f"{options.study}/trials", 0, modules)
    config = yaml.safe_load(as_yaml(cli.parser, cli.config))
    space = space.scaled(cli.model.head.num_features)
    _check_flags(cli.parser, args, space, config)
    rows = RoiRows(options.folder) if options.per_roi else None
    if rows is not None:
        check_rows(cli.model, space)
    default = own_values(space, config)
    if default is None:
        log.info("the configuration's own values are not in %s: they are no trial", options.search)
    plan = make_plan(options.sampler, space, default)
    if options.sampler == "grid":
        options.trials = min(options.trials, len(plan))
    with file_lock(options.folder / ".data.lock"):  # the first worker extracts, the others find it done
        encode(cli)
    if not len(cli.datamodule.positions(VALIDATION)):
        raise InputError("--data.validation: a study chooses by the validation split, and there is none; give a share")
    pruner = make_pruner(options.pruner, _most_epochs(space, cli.trainer.max_epochs))
    storage = open_storage(options.storage, options.study)
    log.info("study %s is kept in %s", options.study, place_of(options.storage))
    with storage.lock():
        study = optuna.create_study(
            storage=storage.trials,
            study_name=options.study,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        keeps = {"per_roi": options.per_roi, "grid": options.sampler == "grid"}
        remember(study, space.plain(), config, keeps)
        if not study.get_trials(deepcopy=False):
            _begin(options, rows)
    queue = Queue(
        study=study,
        storage=storage,
        asked=options.trials,
        sampler=options.sampler,
        seed=cli.config.seed_everything,
        plan=plan,
        default_first=bool(plan) and plan[0] == default,
        watch=Watch(),
        worker=os.environ.get(MEMBER),
    )
    trials = Trials(
        args=args,
        name=options.study,
        space=space,
        config=config,
        modules=modules,
        hooks=hooks if rows is None else [*hooks, rows],
    )
    return Session(
        options=options, parser=cli.parser, study=study, storage=storage, trials=trials, queue=queue, rows=rows
    )


def _check_flags(parser: ArgumentParser, args: Sequence[str], space: SearchSpace, config: Config) -> None:
    """Refuse what `train.py` would refuse, and say where a class starts from its own defaults."""

    def parsed(flags: Sequence[str]) -> Config:
        return parse_flags(parser, flags).as_dict()

    corners = check_flags(space, config, lambda flags: parsed([*args, *flags]))
    whole = parsed(args)
    asked = typed_flags(args) | set(space.parameters)
    changes = typed_changes(parser, args, whole, space.parameters)
    for corner in corners:
        changes += class_changes(whole, corner, asked)
    for change in dict.fromkeys(changes):
        log.warning("%s", change)


def _most_epochs(space: SearchSpace, max_epochs: int | None) -> int:
    """Most epochs of any trial; below 1 where there is no limit."""
    searched = space.parameters.get("trainer.max_epochs")
    ends = [max_epochs] if searched is None else searched.extremes()
    known = [end if isinstance(end, int) else -1 for end in ends]
    return max(known) if min(known) > 0 else -1


def _begin(options: Options, rows: RoiRows | None) -> None:
    """Make a place for a new study, and say where an earlier one of its name has left something."""
    if (options.folder / TRIALS).exists():
        log.warning(
            "%s has trials of a study that %s does not hold: this one begins anew; a study goes on with the same "
            "--storage", options.folder / TRIALS, place_of(options.storage),
        )  # fmt: skip
    if rows is not None:
        rows.clear()
