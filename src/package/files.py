"""What a package holds, by name, and where one is made."""

from pathlib import Path

from ..errors import InputError
from ..results.run_folder import CONFIG, MEMBERS, PROVENANCE, SCORES, FinishedRun

MODEL = "model.json"
"""How the model is made, in plain JSON; what makes a folder a package."""
WEIGHTS = "model.safetensors"
"""Every tensor that `model.json` names: the model's, its encoder's, and what is known of the targets."""
TARGETS = "targets.csv"
CARD = "README.md"
CHECKPOINT = Path("checkpoints", "best.ckpt")
"""Of a run, which a package is made of."""
NO_LICENCE = "not stated"
FORMAT = 1
"""To be raised when `model.json` changes; a package of another format is refused."""


def checkpoint_of(run: Path) -> Path:
    """The checkpoint of a run's trained model.

    Raises:
        InputError: The run is an ensemble.
    """
    path = run / CHECKPOINT
    if not path.exists() and all((run / name).is_file() for name in (SCORES, PROVENANCE)):
        members = FinishedRun(run).provenance.get(MEMBERS)
        if isinstance(members, list):
            raise InputError(
                f"{run}: an ensemble has no model of its own; name one of its {len(members)} members, which {CONFIG} "
                "lists"
            )
    return path


def check_free(out: Path, *inputs: Path) -> None:
    """Raises InputError where a folder to write holds something already, or lies in one that is only read."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"--out {out}: expected a new or an empty folder, found one that holds something; name another"
        )
    for each in inputs:
        if out.resolve().is_relative_to(each.resolve()):
            raise InputError(f"--out {out}: lies in {each}, which is read and never written to; name another")
