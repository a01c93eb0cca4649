"""Commands that are killed and interrupted at random moments: each comes to a clear end, and to its results again.

    uv run python tests/soak/soak.py --minutes 10 [--seed 0] [--only WORKLOAD …]

For each workload an undisturbed run is made once. Then the same command is started over and over, disturbed at a
random moment of a random stage, and given again. A wrong end stops the soak with status 1, and says how to repeat it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported, and for all commands

from ends import WrongEnd
from hindrances import HINDRANCES, MOUNTED, may_mount
from turns import Ended, Turns
from workloads import WORKLOADS, Workload


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all moments; default by the clock")
    parser.add_argument("--minutes", type=float, default=10, help="no turn is begun after these; default %(default)s")
    parser.add_argument("--kills", type=int, default=1000, help="nor after so many disturbances")
    parser.add_argument("--turns", type=int, help="most workloads, each disturbed some times over")
    parser.add_argument("--only", nargs="+", metavar="WORKLOAD", help="these alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first turn")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where it runs, and what the next soak there has not to make again; default a temporary one",
    )
    options = parser.parse_args()
    known = {*HINDRANCES, *(each.name for each in WORKLOADS)}
    if unknown := set(options.only or ()) - known:
        parser.error(f"--only {', '.join(unknown)}: expected some of {', '.join(sorted(known))}")
    base = (options.folder or Path(tempfile.mkdtemp(prefix="soak."))).resolve()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what runs in the background ignore it
    soak = Turns(base, options.seed)
    print(f"seed {options.seed}, in {soak.base}", flush=True)
    ended: list[Ended] = []
    until = time.monotonic() + 60 * options.minutes
    try:
        for turn in itertools.islice(go(soak, options.only, options.first), options.turns):
            for each in turn:
                ended.append(each)
                print(f"{len(ended):3d} {each.workload} | {each.stage} | {each.by} | {each.told}", flush=True)
            if time.monotonic() > until or len(ended) >= options.kills:
                break
    except WrongEnd as error:
        print(f"wrong end: {error}", flush=True)
        return 1
    finally:
        print(table(ended))
    if options.folder is None:
        shutil.rmtree(soak.base)
    return 0


def go(soak: Turns, only: Sequence[str] | None, first: int) -> Iterator[list[Ended]]:
    """Disturb the workloads in turn, the hindrances among them."""
    turns: list[tuple[Workload, str | None]] = [(each, None) for each in WORKLOADS]
    hindered = [each for each in WORKLOADS if each.resumes and each.processes == 1]
    for place, name in enumerate(HINDRANCES):
        if name in MOUNTED and not may_mount():
            print(f"no {name}: only root may mount one", flush=True)
        else:
            turns.append((hindered[place % len(hindered)], name))
    for number in itertools.count(first):
        workload, hindrance = turns[number % len(turns)]
        if not only or (hindrance or workload.name) in only:
            yield soak.turn(workload, number, hindrance)


def table(ended: Sequence[Ended]) -> str:
    """Right ends by workload, stage and blow."""
    counts = Counter((each.workload, each.stage, each.by) for each in ended)
    rows = [f"{name:12} {stage:27} {by:16} {count:5d}" for (name, stage, by), count in sorted(counts.items())]
    return "\n".join([f"{'workload':12} {'stage':27} {'by':16} right", *rows, f"{len(ended)} right ends"])


if __name__ == "__main__":
    sys.exit(main())
