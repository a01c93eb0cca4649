"""Run: a finished run with its model and its pictures, as notebooks show them."""

from __future__ import annotations

import base64
import functools
import html
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..results.run_folder import FinishedRun
from .trained import Shown, TrainedModel, load_model


class Run(FinishedRun):
    """A finished run; notebooks show its scores.

    Args:
        folder: RUNS/NAME/version_N.

    Raises:
        InputError: It is no folder of a finished run.
    """

    @functools.cached_property
    def model(self) -> TrainedModel:
        """The trained model, loaded when it is first asked for."""
        return load_model(self.folder)

    def predict(self, images: Shown, roi: str | None = None, subject: str | None = None) -> np.ndarray:
        """Predicted responses to new images, (images, targets): see `TrainedModel.predict`."""
        return self.model.predict(images, roi, subject)

    @property
    def report(self) -> Report:
        """`report.html`, which notebooks show inline; `str(run.report)` is its path."""
        return Report(self.folder / "report.html")

    @property
    def figures(self) -> Figures:
        """The figures by name, which notebooks show inline: all, or one, `run.figures["pearson_per_roi"]`."""
        return Figures(self.folder / "figures")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        return f"<p><code>{html.escape(str(self.folder))}</code></p>{self.scores.to_html(index=False, na_rep='')}"


class ShownFile:
    """A file that notebooks show; `str` and `open` take it as its path.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


class Report(ShownFile):
    """A self-contained page of HTML."""

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" title="Report" style="width: 100%; height: 80vh; border: 0"></iframe>'


class Picture(ShownFile):
    """A PNG file."""

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


class Figures(Mapping[str, Picture]):
    """The pictures in a folder by their names.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.pictures = {path.stem: Picture(path) for path in sorted(folder.glob("*.png"))}

    def __getitem__(self, name: str) -> Picture:
        return self.pictures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def __repr__(self) -> str:
        return f"Figures({', '.join(self)})"

    def _repr_html_(self) -> str:
        encoded = {name: base64.b64encode(each._repr_png_()).decode() for name, each in self.items()}
        return "".join(
            f'<img alt="{html.escape(name)}" src="data:image/png;base64,{png}">' for name, png in encoded.items()
        )


def open_run(folder: str | Path) -> Run:
    """A run that was made before, here or with `train.py`: `cc.open_run("runs/default/version_0")`.

    Raises:
        InputError: It is no folder of a finished run.
    """
    return Run(folder)
