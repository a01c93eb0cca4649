"""From a command to its answer: a warm bare `train.py` against the import of Lightning, `--help` against Python itself.

    uv run python benchmarks/startup.py [--repetitions 5]

Each runs as a process of its own, with as many threads as the environment says. Measured on 2 cores, other work
stopped: 1.72 (18.1 s and 10.4 s), .06 s.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from side_by_side import in_turn, ratio, row, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    python = sys.executable
    command = str(Path(python).parent / "calcarine")
    with tempfile.TemporaryDirectory() as folder:
        call = partial(subprocess.run, check=True, cwd=folder, capture_output=True)
        call([command, "train"])  # fills the cache
        ways = {
            "python": [python, "-c", "pass"],
            "calcarine --help": [command, "--help"],
            "import lightning.pytorch": [python, "-c", "import lightning.pytorch"],
            "calcarine train": [command, "train"],
        }
        seconds = in_turn({name: partial(call, words) for name, words in ways.items()}, options.repetitions)
    told(seconds, "Start", None)
    warm = ratio(seconds, "calcarine train", "import lightning.pytorch")
    row("Warm bare train over import lightning.pytorch", warm, "≤ 1.8")
    beyond = [a - b for a, b in zip(seconds["calcarine --help"], seconds["python"], strict=True)]
    row("calcarine --help beyond bare Python, s", sorted(beyond)[len(beyond) // 2], "≤ 0.1")


if __name__ == "__main__":
    main()
