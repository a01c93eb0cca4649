"""`calcarine probe`: what drives each ROI of a trained model, and which part of an image does; a folder with a page."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..models import EncodingModule
from .masks import GRID, what_is_lost
from .page import Part, write_report
from .responding import differentiable, respond
from .synthesis import Prior, synthesise

ENDS = {"most": 1, "least": -1}
"""Which way a stimulus drives, by name."""


@dataclass(frozen=True)
class Settings:
    """What is done.

    Args:
        ranked: Images shown from each end.
        synthesised: Images made of each set and each way, from starts of their own.
        steps: Of the gradient ascent.
        prior: What these images are like.
        masked: Most driving images of each set that are covered part by part.
    """

    ranked: int = 8
    synthesised: int = 1
    steps: int = 200
    prior: Prior = field(default_factory=Prior)
    masked: int = 3


def probe(
    module: EncodingModule, images: Sequence[np.ndarray], names: Sequence[str], sets: Mapping[str, Tensor],
    settings: Settings, out: Path, title: str,
) -> None:  # fmt: skip
    """Write `report.html`, `driving.csv`, `synthesised/` and `masks.csv`.

    Args:
        module: The model.
        images: uint8 (height, width, 3) each, decoded when they are asked for.
        names: Of the images.
        sets: Targets by the name of their set.
        settings: What is done.
        out: An empty folder.
        title: Of the page.

    Raises:
        InputError: An image cannot be read, or the model reads clips.
    """
    responses = respond(module, tqdm(images, "showing images", unit="image"), sets)  # type: ignore[arg-type]
    _write_driving(out / "driving.csv", responses, names, list(sets))
    made = _synthesise(module, sets, settings, out / "synthesised")
    covered = _cover(module, images, names, sets, responses, settings.masked, out / "masks.csv")
    parts = []
    for index, (name, targets) in enumerate(sets.items()):
        order = np.argsort(-responses[:, index], kind="stable")
        shown = {"most": order[: settings.ranked], "least": order[::-1][: settings.ranked]}
        driving = {
            end: [(str(names[row]), float(responses[row, index]), images[row]) for row in map(int, rows)]
            for end, rows in shown.items()
        }
        parts.append(Part(name, len(targets), driving, made[name], covered[name]))
    write_report(out / "report.html", title, len(names), parts)


def _write_driving(path: Path, responses: np.ndarray, names: Sequence[str], sets: Sequence[str]) -> None:
    """A row of each set and image, the most driving first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["roi", "rank", "stimulus", "response"])
        for index, name in enumerate(sets):
            for rank, row in enumerate(np.argsort(-responses[:, index], kind="stable").tolist(), start=1):
                writer.writerow([name, rank, names[row], f"{responses[row, index]:.6g}"])


def _synthesise(
    module: EncodingModule, sets: Mapping[str, Tensor], settings: Settings, folder: Path
) -> dict[str, dict[str, list[tuple[float, np.ndarray]]]]:
    """Response to each made image, as it is on disk, and the image; by set, and which way it drives."""
    made: dict[str, dict[str, list[tuple[float, np.ndarray]]]] = {name: {end: [] for end in ENDS} for name in sets}
    if not settings.synthesised:
        return made
    folder.mkdir()
    todo = [(name, end, seed) for name in sets for end in ENDS for seed in range(settings.synthesised)]
    for name, end, seed in tqdm(todo, "making images", unit="image"):
        through = differentiable(module, sets[name])
        image = synthesise(through, ENDS[end], settings.prior, settings.steps, seed=seed, device=module.device)
        Image.fromarray(image).save(folder / f"{_stem(list(sets), name)}_{end}_{seed}.png")
        response = respond(module, image[None], {name: sets[name]})[0, 0]
        made[name][end].append((float(response), image))
    return made


def _stem(names: Sequence[str], name: str) -> str:
    """A ROI's name as that of a file; one that a file cannot have has its number beside it."""
    stem = re.sub(r"[^\w.\- ]|^\.+", "_", name)
    return stem if stem == name else f"{stem}_{names.index(name)}"


def _cover(
    module: EncodingModule,
    images: Sequence[np.ndarray],
    names: Sequence[str],
    sets: Mapping[str, Tensor],
    responses: np.ndarray,
    count: int,
    path: Path,
) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
    """Name, picture, and what is lost at each place (grid, grid), of each set's most driving images."""
    found: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {name: [] for name in sets}
    if not count:
        return found
    best = {name: np.argsort(-responses[:, index], kind="stable")[:count] for index, name in enumerate(sets)}
    by_image: dict[int, list[str]] = {}
    for name, rows in best.items():
        for row in rows.tolist():
            by_image.setdefault(row, []).append(name)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["roi", "stimulus", "row", "column", "lost"])
        for row, wanted in tqdm(by_image.items(), "covering images", unit="image"):
            image = images[row]
            lost = what_is_lost(module, image, {name: sets[name] for name in wanted})
            for name, grid in zip(wanted, lost, strict=True):
                found[name].append((names[row], image, grid))
                for place, value in zip(np.ndindex(GRID, GRID), grid.ravel().tolist(), strict=True):
                    writer.writerow([name, names[row], *place, f"{value:.6g}"])
    for name, rows in best.items():  # the most driving first
        ranks = {names[row]: rank for rank, row in enumerate(rows.tolist())}
        found[name].sort(key=lambda each: ranks[each[0]])
    return found
