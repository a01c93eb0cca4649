"""Every benchmark in turn, and one table of their figures: what `make bench` runs.

    uv run python benchmarks [NAME…]

Each is a process of its own, and prints what it measures. The rows that it prints go into `benchmarks/RESULTS.md`, and
from there into the README, with the date and the machine; those of benchmarks that were not run stay.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmarks/RESULTS.md -->", "<!-- until here -->"
SHARED = {"__main__", "brain", "side_by_side"}


def main() -> None:
    there = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in SHARED)
    wanted = sys.argv[1:] or there
    if unknown := set(wanted) - set(there):
        sys.exit(f"{sorted(unknown)[0]}: expected benchmarks among {', '.join(there)}")
    rows = known()
    for name in wanted:
        print(f"== {name}", flush=True)
        found = [f"| {name} {line}" for line in printed(HERE / f"{name}.py") if line.startswith("|")]
        rows[name] = [f"{line} {datetime.now(UTC):%Y-%m-%d} |" for line in found]
        write(rows)


def printed(script: Path) -> list[str]:
    """Run a script, show what it prints, and return its lines."""
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
    if process.wait() != 0:
        sys.exit(f"{script.name} ended with status {process.returncode}")
    return lines


def known() -> dict[str, list[str]]:
    """Rows of the table as it stands, by benchmark."""
    rows: dict[str, list[str]] = {}
    for line in RESULTS.read_text().splitlines()[4:] if RESULTS.exists() else []:
        rows.setdefault(line.split("|")[1].strip(), []).append(line)
    return rows


def write(rows: dict[str, list[str]]) -> None:
    """Replace the table."""
    machine = f"{os.cpu_count()} threads of {processor()}, torch {version('torch')}, {platform.system()}"
    head = [f"Measured on {machine}, by `make bench`.", "", "| script | figure | measured | aimed at | date |"]
    lines = [*head, "| --- | --- | --- | --- | --- |", *(row for name in sorted(rows) for row in rows[name])]
    RESULTS.write_text("\n".join(lines) + "\n")
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text("\n".join([before + BEGIN, *lines, END + after]))


def processor() -> str:
    """Its name, where the system tells."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
