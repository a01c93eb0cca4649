"""The responses that a run was evaluated on, read again through the run's own source."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import data
from ..data.test_sets import with_test_sets
from ..errors import InputError
from ..recording import Recording
from .run_folder import CONFIG, FinishedRun

_PACKAGES = ("calcarine", "src")  # what configs of today and of earlier versions call the package


def read_recordings(run: FinishedRun, test_sets: bool = False) -> Sequence[Recording]:
    """The recordings of a run, one per subject.

    Args:
        run: The run.
        test_sets: Whether the stimuli of its test sets shall be behind their own, as they were when it was evaluated.

    Raises:
        InputError: Its configuration names no source of calcarine, or what it read is no longer there.
    """
    settings = run.config.get("data")
    settings = settings if isinstance(settings, dict) else {}
    path, cache = run.folder / CONFIG, Path(str(settings.get("cache_dir") or "cache"))
    named = settings.get("test_sets") if test_sets else None
    source = make_source(path, settings.get("source"))
    sets = {name: make_source(path, each) for name, each in (named if isinstance(named, dict) else {}).items()}
    for each in (source, *sets.values()):
        each.keep_in(cache)
    try:
        return with_test_sets(source.read(), sets)
    except InputError as error:
        raise _gone(path, error) from error


def read_each(runs: Sequence[FinishedRun], test_sets: bool = False) -> list[Sequence[Recording]]:
    """The recordings of each run; what several share is read once.

    Args:
        runs: The runs.
        test_sets: As in `read_recordings`.

    Raises:
        InputError: As in `read_recordings`.
    """
    known: dict[str, Sequence[Recording]] = {}
    found = []
    for run in runs:
        data = run.config.get("data")
        read = (
            {name: data.get(name) for name in ("source", "test_sets", "cache_dir")} if isinstance(data, dict) else data
        )
        settings = json.dumps(read, sort_keys=True, default=str)
        if settings not in known:
            known[settings] = read_recordings(run, test_sets)
        found.append(known[settings])
    return found


def make_source(path: Path, settings: Any) -> data.Source:
    """The source that a configuration names; only calcarine's own are made, since the file may come from anywhere.

    Args:
        path: The configuration, for messages.
        settings: What it has under `data.source`.

    Raises:
        InputError: It names no source of calcarine, or with arguments that are not its own, or there are no such data.
    """
    class_path = settings.get("class_path") if isinstance(settings, dict) else None
    package, _, name = str(class_path).rpartition(".")
    kind = getattr(data, name, None) if name in data.__all__ and package.split(".")[0] in _PACKAGES else None
    if not (isinstance(kind, type) and issubclass(kind, data.Source)):
        raise InputError(
            f"{path}: expected data.source to be one of calcarine's, which reads the responses again, found "
            f"{class_path}; take runs of those"
        )
    arguments = settings.get("init_args") or {}
    try:
        return kind(**arguments)
    except InputError as error:
        raise _gone(path, error) from error
    except TypeError as error:
        raise InputError(f"{path}: {name} has other arguments in this version ({error}); train it anew") from error


def _gone(path: Path, error: InputError) -> InputError:
    return InputError(f"{path}: the run's responses cannot be read again, where it was trained or here: {error}")
