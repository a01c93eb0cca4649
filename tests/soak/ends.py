"""What a right end is: of a command that was disturbed, of the files that it left, and of the same command again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from calcarine.front_door import DONE, INTERRUPTED, WRONG_INPUT
from victim import MINUTE, Blow, Victim
from whole import broken, partial
from workloads import Workload

PATIENCE = 10 * MINUTE
"""Seconds that an undisturbed command may take."""
MOST_LINES = 6
"""That an interrupted command may say of its end."""

Results = dict[str, bytes]
"""Content of a workload's results, by place."""


class WrongEnd(Exception):
    """What was expected and what was found, in lines."""


def check(right: bool, what: str) -> None:
    if not right:
        raise WrongEnd(what)


def check_blow(victim: Victim, blow: Blow, hit: str, goes_on: bool, said: str) -> None:
    """Whether a command ended as it should by a blow.

    Args:
        victim: The command, ended.
        blow: By what.
        hit: Which of its processes was.
        goes_on: Whether the others take over the work of the one that was hit.
        said: What it has said since.
    """
    status = victim.status
    for word in ("Traceback", "Exception ignored", "Error:"):
        check(word not in said, f"it said {said[-3000:]!r}")
    if goes_on:
        check(status == DONE, f"expected status 0 of those that are left, found {status}: {said[-1000:]!r}")
    elif blow.kills and hit == "main":
        check(status == -blow.signals[0], f"expected status {-blow.signals[0]}, found {status}")
    elif blow.kills:
        check(status != DONE, f"expected another status than 0: {said[-1000:]!r}")
        check(said.count("error: ") == 1, f"expected one line, found {said[-1000:]!r}")
    else:
        # A second signal may meet Python while it leaves, which then dies of it: a shell calls that 130, too.
        right = {INTERRUPTED, *(-each for each in blow.signals[1:])}
        check(status in right, f"expected status {INTERRUPTED}, found {status}: {said[-1000:]!r}")
        lines = [line for line in said.splitlines() if line.strip() and not re.match(r"epoch \d|.*\|.*\[", line)]
        check(len(lines) <= MOST_LINES, f"expected a few lines, found {said!r}")


def check_refused(victim: Victim) -> None:
    """Whether a command that is hindered has said by what, in one line."""
    said, status = victim.said(), victim.status
    check(status == WRONG_INPUT, f"expected status {WRONG_INPUT}, found {status}: {said[-3000:]}")
    check("Traceback" not in said, said[-3000:])
    check(sum(line.startswith("error: ") for line in said.splitlines()) == 1, f"expected one line: {said[-3000:]}")


def check_whole(folder: Path) -> None:
    """Whether every file with a final name is whole."""
    faults = broken(folder)
    check(not faults, "\n".join(["broken files:", *faults]))


def check_listed(folder: Path) -> None:
    """Whether `calcarine runs` reads whatever is there."""
    if (folder / "runs").is_dir() and any((folder / "runs").iterdir()):
        run_to_end(["runs", "runs"], folder)


def check_results(workload: Workload, folder: Path, expected: Results) -> None:
    """Whether a command has come to what an undisturbed one comes to, and has put the cache in order."""
    check_whole(folder)
    found = results_of(workload, folder)
    check(set(found) == set(expected), f"results {sorted(set(found) ^ set(expected))} are not those expected")
    differing = [name for name in expected if found[name] != expected[name]]
    check(not differing, f"{differing} differ from those of an undisturbed run")
    left = [name for name in partial(folder) if name.startswith(("cache/embeddings", "cache/trials"))]
    check(not left, f"left behind in the end: {left}")


def run_to_end(words: Sequence[str], folder: Path, forked: bool = True) -> None:
    """Run a command undisturbed, into the folder's log; raise WrongEnd where it does not end well."""
    victim = Victim(words, folder, forked)
    took = victim.end(PATIENCE)
    told = f"{' '.join(words)}: {victim.said()[-3000:]}"
    check(took is not None, f"had not ended after {PATIENCE:.0f} s: {told}")
    check(victim.status == DONE, f"ended with status {victim.status}: {told}")
    check("Traceback" not in victim.said(), told)


def results_of(workload: Workload, folder: Path) -> Results:
    """What a workload came to; of several versions of a run, the last that holds it."""
    found: Results = {}
    for pattern in workload.results:
        paths = sorted(folder.glob(pattern), key=_by_number)
        check(bool(paths), f"no {pattern}")
        for path in paths:
            place = re.sub(r"version_\d+", "version_N", str(path.relative_to(folder)))
            found[place] = workload.read(path)
    return found


def is_done(workload: Workload, folder: Path, expected: Results) -> bool:
    """Whether a command has done all that it does."""
    try:
        return results_of(workload, folder) == expected
    except WrongEnd:
        return False


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]
