"""The folder of a new run: what it may be called, where it may lie, and which version is free."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import InputError
from .run_folder import FinishedRun


def check_name(name: str) -> None:
    """Raise InputError where a run's name leads out of the folder of all runs."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"--name {name}: expected a name below runs/, found a path out of it")


def check_apart(root: Any, written: Mapping[str, Path]) -> None:
    """Refuse to write into a folder that was named as input.

    Args:
        root: A source's folder, a list of several, or None.
        written: Folders that would be written into, by their flags.

    Raises:
        InputError: One of them lies in the source's.
    """
    for each in root if isinstance(root, list) else [root]:
        for flag, folder in written.items():
            if each is not None and Path(folder).resolve().is_relative_to(Path(str(each)).resolve()):
                raise InputError(
                    f"--data.source.root {each}: expected a folder that is only read, found that {folder} would be "
                    f"written into it; start in another folder, or name one with {flag}"
                )


def check_outside(runs: Sequence[FinishedRun], folder: Path, flag: str) -> None:
    """Refuse to write into a finished run.

    Args:
        runs: Those that were named.
        folder: Where it would be written.
        flag: By which that was said.

    Raises:
        InputError: The folder is one of the runs, or lies in it.
    """
    for run in runs:
        if folder.resolve().is_relative_to(run.folder.resolve()):
            raise InputError(
                f"{flag} {folder}: expected a folder outside the runs, found one in {run.folder}; name another"
            )


def reserve(runs: Path) -> int:
    """Make the folder `version_N` of the next run of a name, and return N.

    Two that start at the same moment, as jobs of a SLURM array do, get two folders.

    Args:
        runs: Folder of the name's runs; it is made.
    """
    versions = [path.name.removeprefix("version_") for path in runs.glob("version_*")]
    version = max((int(each) for each in versions if each.isdecimal()), default=-1) + 1
    while True:
        try:
            (runs / f"version_{version}").mkdir(parents=True)
        except FileExistsError:
            version += 1
        else:
            return version


def discard(folder: Path, runs: Path) -> None:
    """Remove the folder of a run that came to nothing, and those of its name where they hold no other.

    Args:
        folder: The run's, below the folder of all runs.
        runs: Folder of all runs, which may be the user's, and stays.
    """
    shutil.rmtree(folder)
    above = folder.parent
    with suppress(OSError):  # other runs are there
        while runs in above.parents:
            above.rmdir()
            above = above.parent
