"""The scripts of benchmarks/ keep up with the code that they time."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(script.parent)
    runpy.run_path(str(script), run_name="imported")


@pytest.mark.slow
def test_what_a_gpu_is_measured_by_is_rehearsed_without_one() -> None:
    command = [sys.executable, "benchmarks/gpu.py", "linear", "ridge", "finetuning"]
    done = subprocess.run(command, cwd=SCRIPTS[0].parents[1], check=True, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if "rehearsed" in line]
    assert len(said) == (0 if torch.cuda.is_available() else 4)


def test_the_readme_quotes_what_was_measured() -> None:
    root = SCRIPTS[0].parents[1]
    assert (root / "benchmarks/RESULTS.md").read_text() in (root / "README.md").read_text()
