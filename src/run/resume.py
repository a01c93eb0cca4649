"""Resuming: which checkpoint goes on, and whether it fits the data."""

import logging
import re
from difflib import get_close_matches
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import EncodingDataModule
from ..errors import InputError
from ..tensor_file import read_tensors
from .checkpoints import CHECKPOINTS, LAST

NEWEST, NEWEST_OR_NEW = "last", "last_or_new"
"""Words for a checkpoint."""

log = logging.getLogger(__name__)


def resume_from(name: str, ckpt_path: str | None, runs: Path) -> tuple[Path | None, int | None]:
    """What to resume from.

    Args:
        name: The runs' name.
        ckpt_path: "last" for the newest run of that name, "last_or_new" where its name may be new, a file, or None to
            start anew.
        runs: Folder of all runs.

    Returns:
        The checkpoint, or None where there is none yet; and the version of the run that goes on, or None for a
        new one.

    Raises:
        InputError: There is no such file, or the name is nearly that of another run.
    """
    if ckpt_path is None:
        return None, None
    if ckpt_path in (NEWEST, NEWEST_OR_NEW):
        versions = [re.fullmatch(r"version_(\d+)", path.name) for path in (runs / name).glob("version_*")]
        newest = max((int(version[1]) for version in versions if version), default=None)
        if newest is None:
            near = _near(runs / name)
            if near and ckpt_path == NEWEST:
                raise InputError(
                    f"--ckpt_path last: no run is called {name}; did you mean {near}? The first start of a run that "
                    f"may be requeued takes --ckpt_path {NEWEST_OR_NEW}"
                )
            log.warning("--ckpt_path %s: there is no run in %s yet, starting one", ckpt_path, runs / name)
            return None, None
        checkpoint = runs / name / f"version_{newest}" / CHECKPOINTS / LAST
        if checkpoint.exists():
            return checkpoint, newest
        # Killed before its first checkpoint. An older run's would be another run's.
        log.info("--ckpt_path last: %s holds no checkpoint yet, starting it again", checkpoint.parent.parent)
        return None, newest
    if not Path(ckpt_path).is_file():
        raise InputError(f"--ckpt_path {ckpt_path}: expected 'last' or a checkpoint file, found no such file")
    return Path(ckpt_path), None


def _near(folder: Path) -> str | None:
    """The run beside a folder that its name may be a slip of; names that differ in numbers alone are an array's."""
    others = [each.name for each in folder.parent.glob("*") if any(each.glob("version_*"))]
    numbers = re.compile(r"\d+")
    shape = numbers.sub("0", folder.name)
    near = get_close_matches(folder.name, (each for each in others if numbers.sub("0", each) != shape), 1, 0.8)
    return near[0] if near else None


class ResumeGuard(Callback):
    """Refuses a checkpoint that cannot go on here, above all one trained on what is now held out.

    Args:
        checkpoint: The file that training resumes from.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        try:
            content = read_tensors(self.checkpoint, mapped=True)
        except InputError as error:
            raise InputError(f"--ckpt_path {error}; name another, or start anew") from error
        if not isinstance(content, dict) or "optimizer_states" not in content:
            raise InputError(
                f"--ckpt_path {self.checkpoint}: expected a checkpoint of training, found weights alone; resume from "
                f"{LAST}"
            )
        data = EncodingDataModule.of(trainer)
        if content.get(type(data).__name__, {}).get("identity") != data.identity:
            raise InputError(
                f"--ckpt_path {self.checkpoint}: it was trained on other stimuli, responses, features or another "
                "split, so test stimuli may have been in training; resume with that run's flags and seed"
            )
