"""What every test shares: one thread for each of two workers, no network, and the place of the real recordings."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what runs in the background ignore it

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real recordings in ../shared/data")
    return SHARED_DATA


DRAWN = ("evaluation", "study/outcome", "docs", "packaging")
"""Folders of tests that look at figures."""


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave blank pictures, which take no seconds to draw, but where a test looks at them or takes long anyway."""
    where = request.path.relative_to(Path(__file__).parent).as_posix()
    if where.startswith(DRAWN) or request.node.get_closest_marker("slow"):
        return
    import matplotlib.backends.backend_agg as agg
    import matplotlib.backends.backend_svg as svg
    from PIL import Image

    def print_png(canvas: object, path: Path, **_: object) -> None:
        Image.new("RGB", (8, 8), "white").save(path, format="png")

    def print_svg(canvas: object, path: Path, **_: object) -> None:
        Path(path).write_text('<svg width="8pt" height="8pt"><style></style></svg>')

    monkeypatch.setattr(agg.FigureCanvasAgg, "print_png", print_png)
    monkeypatch.setattr(svg.FigureCanvasSVG, "print_svg", print_svg)
