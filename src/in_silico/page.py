"""The page of `calcarine probe`: for each ROI what drives it most and least, what was made to, and where it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..evaluation.pictures import embedded_jpeg
from ..evaluation.report import write_page

TEMPLATE = Path(__file__).parent / "templates" / "probe.html"
SIDE = 112
"""Pixels of a picture's longer side."""
HIDDEN = 0.85
"""How dark a part is shown that carries nothing."""


@dataclass(frozen=True)
class Part:
    """One set of targets.

    Args:
        name: Its name.
        targets: How many.
        driving: Name, response and picture of images by end, "most" and "least", each from its end.
        made: Response and picture of made images by end.
        covered: Name, picture, and what is lost where each place is covered (grid, grid).
    """

    name: str
    targets: int
    driving: Mapping[str, Sequence[tuple[str, float, np.ndarray]]]
    made: Mapping[str, Sequence[tuple[float, np.ndarray]]]
    covered: Sequence[tuple[str, np.ndarray, np.ndarray]]


def write_report(path: Path, title: str, images: int, parts: Sequence[Part]) -> None:
    """Write the page.

    Args:
        path: The file.
        title: Its heading.
        images: How many were shown.
        parts: In their order on the page.
    """
    write_page(path, TEMPLATE, title=title, images=images, parts=[_content(each) for each in parts])


def _content(part: Part) -> dict[str, object]:
    return {
        "name": part.name,
        "targets": part.targets,
        "driving": {
            end: [(name, response, _picture(image)) for name, response, image in shown]
            for end, shown in part.driving.items()
        },
        "made": {end: [(response, _picture(image)) for response, image in shown] for end, shown in part.made.items()},
        "covered": [(name, _picture(image), _picture(lit(image, lost))) for name, image, lost in part.covered],
    }


def _picture(image: np.ndarray) -> str:
    return embedded_jpeg(Image.fromarray(image), SIDE)


def lit(image: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """An image, uint8 (height, width, 3), dark but for what carries the response.

    Args:
        image: uint8 (height, width, 3).
        lost: What is lost where each place is covered, (grid, grid); where something is gained it stays dark.
    """
    share = np.maximum(lost, 0) / max(float(lost.max()), 1e-12)
    height, width = image.shape[:2]
    light = np.asarray(
        Image.fromarray(share.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    )  # (height, width), mode F
    return (image * (1 - HIDDEN * (1 - light[..., None]))).round().astype(np.uint8)
