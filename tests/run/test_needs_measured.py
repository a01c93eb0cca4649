"""The memory that a run says it needs, against the most that the system saw it hold."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calcarine.commands.main import main as calcarine
from places import REPOSITORY

TARGETS, IMAGES = 8_000, 1_200
RUNS = {
    "linear": ["--trainer.max_epochs=3"],
    "ridge": ["--model=RidgeModule"],
    "adamw": [
        f"--config={REPOSITORY}/configs/clip_roi_linear.yaml",
        "--data.encoder=TorchvisionEncoder",
        "--data.encoder.model=resnet18",
        "--data.encoder.weights=random",
        "--data.encoder.layers=[layer4]",
        "--data.encoder.pool=2",
        "--data.encoder.image_size=64",
        "--trainer.max_epochs=3",
    ],
}
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """One subject of the Algonauts 2023 challenge, simulated."""
    root = tmp_path_factory.mktemp("measured")
    assert calcarine(["simulate", str(root / "tree"), f"--targets={TARGETS}", f"--images={IMAGES}"]) == 0
    return root


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", RUNS)
def test_memory_is_what_was_said(name, tree):
    flags = ["--data.source=Algonauts2023", "--data.source.root=tree", "--trainer.accelerator=cpu", f"--name={name}"]
    command = [sys.executable, str(REPOSITORY / "train.py"), *RUNS[name], *flags]
    with (tree / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tree, stdout=log, stderr=log)
        held = peak_of(process)
    told = (tree / f"{name}.log").read_text()
    assert process.returncode == 0, told[-2000:]
    number, unit = re.search(r"^needs: memory ([\d.]+) (\w+),", told, re.MULTILINE).groups()
    said = float(number) * UNITS[unit]
    assert held == pytest.approx(said, rel=0.3), f"said {said / 1e9:.2f} GB, held {held / 1e9:.2f} GB"


def peak_of(process: subprocess.Popen) -> int:
    """Most bytes that a process held for itself, pages of files aside, looked at twenty times a second."""
    most, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = status.read_text().splitlines()
        most = max(most, *(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
        time.sleep(0.05)
    return most
