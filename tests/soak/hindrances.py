"""What else befalls a command: a disk that fills up, a cache that may only be read, another one at the same moment."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calcarine.front_door import DONE
from ends import PATIENCE, Results, check, check_refused, check_results, check_whole, results_of, run_to_end
from victim import Victim
from workloads import RESUMED, Workload

ENOUGH = 2**30


def may_mount() -> bool:
    """Whether this process may mount: only so are there small disks, and some that root cannot write to."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and shutil.which("umount") is not None


def full_disk(workload: Workload, folder: Path, expected: Results, chance: random.Random) -> str:
    """All that the command writes goes to a disk that is too small for it, by chance by how much.

    Args:
        workload: The command.
        folder: Its working folder.
        expected: What it comes to undisturbed.
        chance: Of the moment.
    """
    places = {name: folder / name for name in ("cache", "runs")}
    needs = chance.randrange(2**18, 24 * 2**20)
    with _disk(folder / "disk", needs):
        for name, place in places.items():
            (folder / "disk" / name).mkdir()
            place.symlink_to(Path("disk", name))
        victim = Victim(workload.words(), folder, forked=True)
        check(victim.end(PATIENCE) is not None, f"had not ended: {victim.said()[-3000:]}")
        enough = victim.status == DONE
        if not enough:
            check_refused(victim)
        check_whole(folder / "disk")
        _mount(f"remount,size={ENOUGH}", folder / "disk")
        run_to_end(workload.words(*([RESUMED] if workload.resumes else [])), folder)
        check_results(workload, folder, expected)
    said = next((line for line in victim.said().splitlines() if line.startswith("error: ")), "")
    return f"{needs / 2**20:.1f} MB " + ("were enough" if enough else f"were too few ({said[:120]}), then right")


def read_only_cache(workload: Workload, folder: Path, expected: Results, chance: random.Random) -> str:
    """The cache may only be read: a whole one serves, an empty one is refused in a line."""
    whole = chance.random() < 0.5
    (folder / "cache").mkdir()
    with _disk(folder / "cache", ENOUGH):
        if whole:
            run_to_end(workload.words(), folder)
            shutil.rmtree(folder / "runs")
        _mount("remount,ro", folder / "cache")
        if whole:
            run_to_end(workload.words(), folder)
            check_results(workload, folder, expected)
            return "a whole one served"
        victim = Victim(workload.words(), folder, forked=True)
        check(victim.end(PATIENCE) is not None, f"had not ended: {victim.said()[-3000:]}")
        check_refused(victim)
        check(not any(folder.glob("runs/*")), "it left an empty run")
        return "an empty one was refused"


def two_at_once(workload: Workload, folder: Path, expected: Results, chance: random.Random) -> str:
    """Two of the same command at the same moment, or nearly, in one folder: both come to the same results."""
    both = [Victim(workload.words(), folder, forked=True)]
    apart = chance.choice([0.0, chance.uniform(0, 2)])
    time.sleep(apart)
    both.append(Victim(workload.words(), folder, forked=True))
    for victim in both:
        check(victim.end(PATIENCE) is not None, f"had not ended: {victim.said()[-3000:]}")
        check(victim.status == DONE, f"status {victim.status}: {victim.said()[-3000:]}")
    check_results(workload, folder, expected)
    versions = sorted(folder.glob("runs/*/version_*"))
    check(len(versions) == 2, f"expected two runs, found {versions}")
    shutil.rmtree(versions[1])
    check(results_of(workload, folder) == expected, "one of them came to other results")
    return f"{apart:.1f} s apart, both right"


HINDRANCES = {"full disk": full_disk, "read-only cache": read_only_cache, "two at once": two_at_once}
MOUNTED = ("full disk", "read-only cache")
"""Those that take a disk of their own."""


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[None]:
    """A disk of its own at a folder, in memory."""
    folder.mkdir(exist_ok=True)
    _mount(f"size={size}", folder, "-t", "tmpfs", "tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(options: str, folder: Path, *what: str) -> None:
    subprocess.run(["mount", "-o", options, *what, str(folder)], check=True, capture_output=True)
