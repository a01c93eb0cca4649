"""A picture's SVG in a page: its colours follow the reader's scheme, light or dark."""

import base64
import re
from pathlib import Path

from .figures.drawing import DARK, INK

_POINTS = re.compile(r'<svg[^>]*\bwidth="([0-9.]+)pt"')
_PIXELS_PER_POINT = 96 / 72


def embedded(path: Path) -> tuple[str, int]:
    """A picture as a page embeds it, and its width in the page's pixels.

    Args:
        path: An SVG file of ours: in others' names could stand for other things.
    """
    text = path.read_text(encoding="utf-8")
    width = _POINTS.search(text)
    points = float(width[1]) if width else 0.0
    source = base64.b64encode(_adaptive(text).encode()).decode("ascii")
    return f"data:image/svg+xml;base64,{source}", round(points * _PIXELS_PER_POINT)


def _adaptive(svg: str) -> str:
    """Each of our colours as a variable, which has another value where the reader's scheme is dark."""
    for light in DARK:
        svg = svg.replace(light, f"var(--{light[1:]})")
    here = ";".join(f"--{light[1:]}:{light}" for light in DARK)
    there = ";".join(f"--{light[1:]}:{dark}" for light, dark in DARK.items())
    own = f":root{{{here};fill:var(--{INK[1:]})}}@media (prefers-color-scheme:dark){{:root{{{there}}}}}"
    return svg.replace("</style>", f"{own}</style>", 1)
