"""From a finished run to a package: the model with all weights that it needs, its tables, and its card."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..atomic import whole_folder
from ..errors import InputError
from ..evaluation.tables import read_scores
from ..models import EncodingModule
from ..models.saved import PART
from ..models.targets import targets_table
from ..results.run_folder import CONFIG, PROVENANCE, SCORES, FinishedRun
from .card import write_card
from .files import CARD, FORMAT, MODEL, NO_LICENCE, TARGETS, WEIGHTS, check_free, checkpoint_of
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
    module = EncodingModule.load_from_checkpoint(checkpoint_of(run))
    held = module.description(everything=True)
    if "fault" in held:
        raise InputError(f"{run}: its model is not of plain values and classes: {held['fault']}")
    made_by = FinishedRun(run).provenance
    missing = [name for name in SAID if name not in made_by]
    if missing:
        raise InputError(
            f"{run / PROVENANCE}: expected what made the run, found nothing of {', '.join(missing)}; run it again"
        )
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    content[PART] = held
    tensors: dict[str, Any] = {}
    plain = {"format": FORMAT, "licence": licence, "run": made_by, "checkpoint": to_json(content, tensors, "model")}
    with whole_folder(out) as partial:
        save_file(tensors, partial / WEIGHTS)
        (partial / MODEL).write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        targets_table(module.facts).to_csv(partial / TARGETS, index=False)
        for name in (SCORES, CONFIG, PROVENANCE):
            shutil.copyfile(run / name, partial / name)
        write_card(partial / CARD, module, scores, made_by, licence)
