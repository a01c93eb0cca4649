"""Run: what a finished run left in its folder, as tables and pictures."""

from __future__ import annotations

import base64
import functools
import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..errors import InputError
from .trained import Shown, TrainedModel, load_model

WORDS = ("split", "subject", "hemisphere", "roi", "rois", "layer", "band")
"""Columns of text, in any table: a ROI may be called NA."""


class Run:
    """A finished run; notebooks show its scores.

    Args:
        folder: RUNS/NAME/version_N.

    Raises:
        InputError: It is no folder of a finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "scores.csv").is_file():
            raise InputError(f"{self.folder}: expected the folder of a finished run, found no scores.csv in it")

    @property
    def scores(self) -> pd.DataFrame:
        """`scores.csv`: a row for each split, subject, hemisphere and ROI; roi "all" is all targets."""
        return self.table("scores")

    @property
    def targets(self) -> pd.DataFrame:
        """`targets.csv`: a row for each split and target."""
        return self.table("targets")

    @property
    def history(self) -> pd.DataFrame:
        """`history.csv`: losses and correlation by epoch."""
        return self.table("history").set_index("epoch")

    def table(self, name: str) -> pd.DataFrame:
        """Any table of the folder by its file's name: "layers", "bands" of the models that have them.

        Raises:
            InputError: The run has no such table.
        """
        path = self.folder / f"{name}.csv"
        if not path.is_file():
            have = ", ".join(sorted(each.stem for each in self.folder.glob("*.csv")))
            raise InputError(f"{path}: this run has no such table, it has {have}")
        figures = [column for column in pd.read_csv(path, nrows=0) if column not in WORDS]
        return pd.read_csv(path, keep_default_na=False, na_values=dict.fromkeys(figures, ("", "nan")))

    @property
    def config(self) -> dict[str, Any]:
        """`config.yaml`: every setting of the run."""
        return yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))

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
