"""A package's card: what the model is, how it was made, how well it predicts, and how it is used."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..encoders.pretrained import PretrainedEncoder
from ..evaluation.scores import ScoreRow
from ..models import EncodingModule
from ..names import TEST


def write_card(
    path: Path, module: EncodingModule, scores: Sequence[ScoreRow], made_by: Mapping[str, Any], licence: str
) -> None:
    """Write the card, in Markdown.

    Args:
        path: The file.
        module: The model.
        scores: Of its run.
        made_by: The run's `run.json`.
        licence: Under which the model may be used.
    """
    facts = module.facts
    encoder = getattr(facts.intake, "encoder", None) or module.backbone
    rows = [row for row in scores if row.split == TEST] or list(scores)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["code"] = lambda text: " ".join(str(text).replace("|", "\\|").replace("`", "'").split())
    environment.filters["figure"] = lambda value: "–" if value is None or math.isnan(value) else f"{value:.3f}"
    page = environment.get_template("card.md").render(
        model=type(module).__name__,
        head=type(module.head).__name__,
        encoder=None if encoder is None else type(encoder).__name__,
        preprocessing=encoder.preprocessing() if isinstance(encoder, PretrainedEncoder) else None,
        beside=[layer.partition(":")[2] for layer in facts.beside],
        subjects={name: part.stop - part.start for name, part in facts.subjects.items()},
        rois=sorted(facts.rois),
        scores=rows,
        run=made_by,
        licence=licence,
    )
    path.write_text(page, encoding="utf-8")


def _cell(text: object) -> str:
    """Text that stays text in a cell of a table: a folder or a ROI may have any name."""
    return " ".join(str(text).replace("|", "\\|").replace("<", "&lt;").split())
