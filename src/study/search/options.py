"""The command line of `tune.py`: a study's own flags, and any of `train.py`'s."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...command_line.words import shipped
from ...errors import InputError
from ...where import RUNS, SEARCHES
from .choosing import PRUNERS, SAMPLERS, PrunerName, SamplerName

DEFAULT_SEARCH = SEARCHES / "default.yaml"
SMALL_STUDY, STUDY = 12, 50
"""Trials where none are asked for: of a bare `tune.py`, and of others."""


@dataclass
class Options:
    """What a study is asked to be.

    Args:
        args: Flags of `train.py`, as typed.
        search: The search space's file.
        trials: Finished trials that the study shall have.
        study: Its name.
        runs: Folder of all runs and studies.
        storage: Where it is kept.
        workers: Processes that this one starts; None makes it the worker itself.
        member: This process was started by another, which speaks for it.
        timeout: Seconds after which no further trial is begun.
        sampler: How values are chosen.
        pruner: How trials that fall behind are found.
        per_roi: Keep each ROI's best rows of all trials, and make one model of them.
    """

    args: list[str]
    search: Path
    trials: int
    study: str
    runs: Path
    storage: str
    workers: int | None
    member: bool
    timeout: float | None
    sampler: SamplerName
    pruner: PrunerName
    per_roi: bool

    @property
    def folder(self) -> Path:
        """The study's own."""
        return self.runs / self.study


def parse(argv: Sequence[str], member: bool = False) -> Options:
    """Read a command line; it exits for --help.

    Args:
        argv: As typed.
        member: The process was started by another of the same command.

    Raises:
        InputError: A flag of the study is not valid. Those of `train.py` are checked by its own parser, later.
    """
    try:
        known, args = _parser().parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise InputError(f"{error.argument_name}: {error.message}") from None
    for flag in ("--name", "--ckpt_path"):
        if any(each.partition("=")[0] == flag for each in args):
            raise InputError(f"{flag}: a study has trials instead of a run; name it with --study")
    for flag, value in (("--trials", known.trials), ("--workers", known.workers), ("--timeout", known.timeout)):
        if value is not None and not value > 0:  # NaN neither
            raise InputError(f"{flag} {value}: expected more than 0")
    search = known.search or DEFAULT_SEARCH
    study = known.study or f"study_{search.stem}"
    if Path(study).is_absolute() or ".." in Path(study).parts:
        raise InputError(f"--study {study}: expected a name below runs/, found a path out of it")
    bare = known.search is None
    return Options(
        args=args if known.runs is None else [*args, f"--runs={known.runs}"],
        search=search,
        trials=known.trials or (SMALL_STUDY if bare else STUDY),
        study=study,
        runs=known.runs or RUNS,
        storage=known.storage or f"sqlite:///{(known.runs or RUNS) / study}/study.db",
        workers=None if member else known.workers,
        member=member,
        timeout=known.timeout,
        sampler=known.sampler,
        pruner=known.pruner or ("none" if known.per_roi else "hyperband"),
        per_roi=known.per_roi,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tune.py",
        description="Searches train.py's flags for the best validation correlation. Every flag of train.py passes "
        "through to the trials; `train.py --help` lists them.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "--search", type=lambda path: Path(shipped(path)), metavar="FILE", help="YAML of flags and what they may be"
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="finished trials that the study shall have, over all its workers"
    )
    parser.add_argument("--study", metavar="NAME", help="the same name goes on with the same study")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="where studies and their runs are kept; default ./runs"
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE, journal:///FILE (shared disks) or postgresql://USER@HOST/DB (many machines); "
        "runs/STUDY/study.db without",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes on this machine, spread over its GPUs")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds after which no further trial is begun")
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe", help="how values are chosen; default tpe")
    parser.add_argument(
        "--pruner",
        choices=PRUNERS,
        help="how trials that fall behind end; default hyperband, none with --per_roi: a trial that falls behind on "
        "the mean may be one ROI's best",
    )
    parser.add_argument(
        "--per_roi", action="store_true", help="assemble one model of the rows that are each ROI's best on validation"
    )
    return parser
