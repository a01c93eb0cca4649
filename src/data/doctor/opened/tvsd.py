"""The THINGS ventral stream spiking dataset, laid open."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....names import TEST, UNASSIGNED
from ...sources.things_images import FOLDER, things_folder
from ...sources.tvsd import IMAGES, MONKEYS, RESPONSES, Monkey, MonkeyFiles, ceiling_of_reliability
from ...stimuli import ImageFiles
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    files = [root / f"monkey{monkey}" / name for monkey in MONKEYS for name in (RESPONSES, IMAGES)]
    return [path for path in (*files, root / FOLDER) if path.exists() or path.is_symlink()]


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One monkey after another."""
    images = chart.attempt("pictures", root / FOLDER, lambda: things_folder(root, asked.images))
    for monkey in MONKEYS:
        there = (root / f"monkey{monkey}").is_dir()
        case = _case(root, monkey, images or root / FOLDER, chart) if there else None
        if case is not None:
            yield case


def _case(root: Path, monkey: Monkey, images: Path, chart: Chart) -> Case | None:
    path = root / f"monkey{monkey}" / RESPONSES
    files = chart.attempt("reading", path, lambda: MonkeyFiles(root, monkey, images))
    activity = chart.attempt("reading", path, files.read_activity) if files else None
    if files is None or activity is None:
        return None
    counts = (len(activity.train), len(activity.test))
    shown = chart.attempt("pictures", files.image_list, lambda: files.read_images(counts))
    galleries = [Gallery(images, ImageFiles(paths)) for paths in shown] if shown else [None, None]
    parts = ((activity.train, "train_MUA", UNASSIGNED), (activity.test, "test_MUA", TEST))
    case = Case(
        files.name,
        [
            Block(gallery, [Table(path / name, array)], split)
            for gallery, (array, name, split) in zip(galleries, parts, strict=True)
        ],
        rois=files.rois(),
        rois_file=path,
        repeats=activity.repeats,
        repeats_file=path / "test_MUA_reps",
    )
    if activity.reliability is not None:
        there = (~np.isnan(activity.repeats)).sum(axis=1)
        case.ceilings = {path / "reliab": ceiling_of_reliability(activity.reliability, there)}
    return case
