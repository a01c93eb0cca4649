"""Preparing single-trial betas of the Natural Scenes Dataset, against `dd` that reads the same files.

Three sessions of 750 trials of both hemispheres at full size (163,842 vertices, 2.9 GB in all), of which some vertices
are kept, as many as a ROI has (2,000 a hemisphere) and a subject's nsdgeneral (37,984 in all): read, standardised
within sessions, written to the cache. The files are put out of
the page cache before each run. Beside it: what a process that is killed in its second session costs.

    uv run python benchmarks/nsd.py [--folder DIR] [--repetitions N] [--targets N…]

Predicted before the first run: reading is by far the most of it, at .8 of dd's rate. Measured on 2 cores beside other
work, where dd has 3.1 GB/s: 1.02 of it for 4,000 targets (2.4 GB/s as the median of rates; .14 GiB), .51 for 37,984
(1.3 GB/s, .53 GiB), where writing what is kept to the disk takes longer than reading and standardising; the three
overlap, but for the first and the last session.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from calcarine.data.sources.nsd.sessions import beta_session
from calcarine.data.trials.prepared import PreparedTrials
from calcarine.data.trials.series import ImageSeries
from calcarine.data.trials.session import Chosen
from calcarine.space import held_at_most
from side_by_side import row

VERTICES, TRIALS, SESSIONS = 163_842, 750, 3
SIDES = ("lh", "rh")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where 6 GB are free; a temporary folder where not given")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--targets", type=int, nargs="+", default=[4_000, 37_984], help="of both hemispheres")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        files = write(folder)
        size = sum(path.stat().st_size for path in files)
        rates: dict[str | int, list[float]] = {name: [] for name in ["dd", *options.targets]}
        peak = dict.fromkeys(options.targets, 0)
        for _ in range(options.repetitions):
            forget(files)
            start = time.perf_counter()
            for path in files:
                subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M"], check=True, capture_output=True)
            rates["dd"].append(size / (time.perf_counter() - start))
            for targets in options.targets:
                shutil.rmtree(folder / "cache", ignore_errors=True)
                forget(files)
                seconds, memory = prepared_in(folder, targets)
                rates[targets].append(size / seconds)
                peak[targets] = max(peak[targets], memory)
        dd = statistics.median(rates["dd"])
        count = f"{len(files)} files of {size / len(files) / 1e6:.0f} MB"
        print(f"{os.cpu_count()} cores, {count}, medians of {options.repetitions}")
        print(f"dd                      {dd / 1e6:8.0f} MB/s")
        for targets in options.targets:
            share = statistics.median(own / beside for own, beside in zip(rates[targets], rates["dd"], strict=True))
            rate = statistics.median(rates[targets])
            gib = peak[targets] / 2**30
            name = f"prepare {targets:7,} targets"
            print(f"{name} {rate / 1e6:8.0f} MB/s, {share:.2f} of dd's, {gib:.2f} GiB at the most")
            row(f"Preparing NSD's betas at {targets:,} targets, share of dd's rate", share, "≥ 0.6")
        print(f"killed in its second session and gone on: {killed(folder, options.targets[-1])}")


def write(folder: Path) -> list[Path]:
    """The files: FreeSurfer's header, then random betas, one trial after another."""
    header = np.array([1, VERTICES, 1, 1, TRIALS, 3], dtype=">i4").tobytes().ljust(284, b"\0")
    block = np.random.default_rng(0).standard_normal((51, VERTICES)).astype(">f4")
    paths = []
    for session in range(1, SESSIONS + 1):
        for side in SIDES:
            path = folder / f"{side}.betas_session{session:02d}.mgh"
            with path.open("wb") as file:
                file.write(header)
                for trial in range(TRIALS):
                    file.write(np.roll(block[trial % 51], trial * session).tobytes())
            paths.append(path)
    return paths


def forget(paths: list[Path]) -> None:
    """Put files out of the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def trials_in(folder: Path, targets: int, cache: str = "cache") -> PreparedTrials:
    rng = np.random.default_rng(1)
    each = np.sort(rng.permutation(VERTICES)[: targets // 2])
    chosen = Chosen(np.concatenate([each, each]), np.repeat(np.array(SIDES), targets // 2))
    sessions = [
        beta_session(
            f"session {number}",
            {side: ImageSeries(folder / f"{side}.betas_session{number:02d}.mgh") for side in SIDES},
            chosen,
        )
        for number in range(1, SESSIONS + 1)
    ]
    return PreparedTrials(folder / cache, sessions, targets, zscore=True)


def _prepare(folder: Path, targets: int, results) -> None:
    start = time.perf_counter()
    trials_in(folder, targets).prepare()
    results.put((time.perf_counter() - start, held_at_most()))


def prepared_in(folder: Path, targets: int) -> tuple[float, int]:
    """Seconds, and bytes of memory at the most, of a process of its own."""
    context = get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_prepare, args=(folder, targets, results))
    process.start()
    found = results.get()
    process.join()
    return found


def killed(folder: Path, targets: int) -> str:
    """Kill a preparation once its first session is marked, go on, and hold the result against the undisturbed one."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import nsd; from pathlib import Path; "
    code += f"nsd.trials_in(Path({str(folder)!r}), {targets}, 'killed').prepare()"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not list(folder.glob("killed/trials/*.partial/done.*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(folder.glob("killed/trials/*.partial/done.*")))
    start = time.perf_counter()
    again = trials_in(folder, targets, "killed")
    again.prepare()
    seconds = time.perf_counter() - start
    equal = np.array_equal(again.load(), trials_in(folder, targets).load())
    return f"{done} of {SESSIONS} sessions were kept, the rest took {seconds:.1f} s, equal to the bit: {equal}"


if __name__ == "__main__":
    main()
