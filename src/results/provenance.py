"""What `run.json` says of whatever makes a run's folder: when and by what it was made, and what came of it."""

from __future__ import annotations

import json
import math
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..evaluation import Summary
from ..evaluation.report import DATA, IMAGES, MODEL
from .run_folder import PROVENANCE

TOLD = ("torch", "lightning", "numpy", "timm", "torchvision", "open_clip_torch")
"""Packages whose versions the report tells; run.json has all."""


def made(command: str, start: float) -> dict[str, Any]:
    """Which command made a run, when, and with which versions.

    Args:
        command: As typed.
        start: When it began, seconds since 1970.
    """
    return {
        "command": command,
        "date": datetime.fromtimestamp(start, UTC).isoformat(timespec="seconds"),
        "wall_time_s": None,
        "calcarine": version("calcarine"),
        "commit": commit(Path(__file__).parents[2]),
        "python": platform.python_version(),
        "packages": packages(),
    }


def result(summary: Summary) -> dict[str, Any]:
    """What came of a run, for `calcarine runs`."""
    return {
        "split": summary.split,
        "correlation": None if math.isnan(summary.correlation) else summary.correlation,
        "ceiling_share": summary.explained,
        "score": summary.score,
        "scoring": summary.scoring.name,
    }


def write_provenance(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `run.json` into a run's folder."""
    with replacing(folder / PROVENANCE) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def facts(content: Mapping[str, Any]) -> dict[str, str]:
    """A run's provenance in short lines, name and value; what it does not have is left out."""
    head, changed = (content["commit"] or "").removesuffix("+"), (content["commit"] or "").endswith("+")
    commit_text = f", commit {head[:9]}{' with changes' if changed else ''}" if head else ""
    versions = {"Python": content["python"]} | {name: content["packages"].get(name) for name in TOLD}
    told = {
        DATA: content["data"],
        IMAGES: content.get("images"),
        MODEL: content["model"],
        "Command": content["command"],
        "Date": content["date"],
        "Made by": f"calcarine {content['calcarine']}{commit_text}",
        "Versions": ", ".join(f"{name} {found}" for name, found in versions.items() if found),
        "Data fingerprint": content.get("data_fingerprint", "")[:12],
        "Device": content.get("device"),
        "Seed": str(content.get("seed", "")),
        "Wall time": f"{content['wall_time_s']:.0f} s",
    }
    return {name: text for name, text in told.items() if text}


def packages() -> dict[str, str]:
    """Version of each package that calcarine requires."""
    names = [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in requires("calcarine") or ()]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit(repository: Path) -> str | None:
    """The commit that is checked out, "+" behind it where files differ; None where there is no repository or git."""
    if not (repository / ".git").exists() or shutil.which("git") is None:
        return None

    def git(*args: str) -> str:
        command = ["git", "-C", str(repository), *args]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    head = git("rev-parse", "HEAD")
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{head}{changed}" if head else None
