"""From a finished run to a package: the model with all weights that it needs, its tables, and its card."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..atomic import whole_folder
from ..errors import InputError, one_line
from ..evaluation.tables import read_scores
from ..models import EncodingModule
from ..models.saved import PART
from ..models.targets import targets_table
from .card import write_card
from .files import CARD, CHECKPOINT, FORMAT, MODEL, NO_LICENCE, RUN, SCORES, TARGETS, WEIGHTS, check_free
from .plain import to_json

SAID = ("model", "data", "data_fingerprint", "calcarine", "commit", "date", "command")
"""Of `run.json`, what the card says."""


def export(run: Path, out: Path, licence: str = NO_LICENCE) -> None:
    """Write a run's trained model as a package.

    Args:
        run: Folder of a finished run; nothing is written into it.
        out: Folder to write; new or empty.
        licence: Under which the model may be used, as its card says.

    Raises:
        InputError: The run is not finished, its model cannot be made from plain types, or the folder has something.
    """
    check_free(out, run)
    scores = read_scores(run / SCORES)
    module = EncodingModule.load_from_checkpoint(run / CHECKPOINT)
    held = module.description(everything=True)
    if "fault" in held:
        raise InputError(f"{run}: its model is not of plain values and classes: {held['fault']}")
    made_by = _read_run(run / RUN)
    content = {PART: held, "state_dict": module.state_dict()}
    module.on_save_checkpoint(findings := {})
    content |= {name: each for name, each in findings.items() if name != PART}
    tensors: dict[str, Any] = {}
    plain = {"format": FORMAT, "licence": licence, "run": made_by, "checkpoint": to_json(content, tensors, "model")}
    with whole_folder(out) as partial:
        save_file(tensors, partial / WEIGHTS)
        (partial / MODEL).write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        targets_table(module.facts).to_csv(partial / TARGETS, index=False)
        for name in (SCORES, "config.yaml", RUN):
            shutil.copyfile(run / name, partial / name)
        write_card(partial / CARD, module, scores, made_by, licence)


def _read_run(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected what made the run, found no such file; run it again to export it") from None
    except ValueError as error:
        raise InputError(f"{path}: expected what made the run, found no JSON ({one_line(error)})") from error
    missing = [name for name in SAID if name not in said] if isinstance(said, dict) else list(SAID)
    if missing:
        raise InputError(f"{path}: expected what made the run, found nothing of {', '.join(missing)}; run it again")
    return said
