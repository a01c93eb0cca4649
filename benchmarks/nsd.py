"""Preparing single-trial betas of the Natural Scenes Dataset, against `dd` that reads the same files.

Three sessions of 750 trials of both hemispheres at full size (163,842 vertices, 2.9 GB in all), of which a subject's
nsdgeneral (37,984 vertices) is kept: read, standardised within sessions, written to the cache. The files are put out of
the page cache before each run. Beside it: what a process that is killed in its second session costs.

    uv run python benchmarks/nsd.py [--folder DIR] [--repetitions N]

Predicted before the first run: reading is by far the most of it, at .8 of dd's rate. Measured on 2 cores, where dd has
1.9 GB/s: .41 of it (766 MB/s) in .51 GiB. Writing what is kept to the disk (.7 s a session) takes longer than reading
(.4 s from the page cache) and standardising (.4 s); the three overlap, but for the first and the last session.
"""

import argparse
import os
import resource
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
from calcarine.data.sources.nsd.labels import Chosen
from calcarine.data.sources.nsd.sessions import BetaSession
from calcarine.data.trials.prepared import PreparedTrials
from calcarine.data.trials.series import ImageSeries

VERTICES, TRIALS, SESSIONS, KEPT = 163_842, 750, 3, 37_984
SIDES = ("lh", "rh")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where 6 GB are free; a temporary folder where not given")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        files = write(folder)
        size = sum(path.stat().st_size for path in files)
        rates: dict[str, list[float]] = {"dd": [], "prepare": []}
        peak = 0
        for _ in range(options.repetitions):
            forget(files)
            start = time.perf_counter()
            for path in files:
                subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M"], check=True, capture_output=True)
            rates["dd"].append(size / (time.perf_counter() - start))
            shutil.rmtree(folder / "cache", ignore_errors=True)
            forget(files)
            seconds, memory = prepared_in(folder)
            rates["prepare"].append(size / seconds)
            peak = max(peak, memory)
        dd, prepare = (statistics.median(rates[name]) for name in ("dd", "prepare"))
        count = f"{len(files)} files of {size / len(files) / 1e6:.0f} MB"
        print(f"{os.cpu_count()} cores, {count}, medians of {options.repetitions}")
        print(f"dd       {dd / 1e6:8.0f} MB/s")
        print(f"prepare  {prepare / 1e6:8.0f} MB/s, {prepare / dd:.2f} of dd's, {peak / 2**20:.2f} GiB at the most")
        print(f"killed in its second session and gone on: {killed(folder)}")


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


def trials_in(folder: Path, cache: str = "cache") -> PreparedTrials:
    rng = np.random.default_rng(1)
    each = np.sort(rng.permutation(VERTICES)[: KEPT // 2])
    chosen = Chosen(np.concatenate([each, each]), np.repeat(np.array(SIDES), KEPT // 2))
    sessions = [
        BetaSession(
            f"session {number}",
            {side: ImageSeries(folder / f"{side}.betas_session{number:02d}.mgh") for side in SIDES},
            chosen,
        )
        for number in range(1, SESSIONS + 1)
    ]
    return PreparedTrials(folder / cache, sessions, KEPT, zscore=True)


def _prepare(folder: Path, results) -> None:
    start = time.perf_counter()
    trials_in(folder).prepare()
    results.put((time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def prepared_in(folder: Path) -> tuple[float, int]:
    """Seconds, and KiB of memory at the most, of a process of its own."""
    context = get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_prepare, args=(folder, results))
    process.start()
    found = results.get()
    process.join()
    return found


def killed(folder: Path) -> str:
    """Kill a preparation once its first session is marked, go on, and hold the result against the undisturbed one."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import nsd; from pathlib import Path; "
    code += f"nsd.trials_in(Path({str(folder)!r}), 'killed').prepare()"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not list(folder.glob("killed/trials/*.partial/done.*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(folder.glob("killed/trials/*.partial/done.*")))
    start = time.perf_counter()
    again = trials_in(folder, "killed")
    again.prepare()
    seconds = time.perf_counter() - start
    equal = np.array_equal(again.load(), trials_in(folder).load())
    return f"{done} of {SESSIONS} sessions were kept, the rest took {seconds:.1f} s, equal to the bit: {equal}"


if __name__ == "__main__":
    main()
