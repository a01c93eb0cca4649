"""A user's folder, laid open."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...arrays import open_array
from ...noise_ceiling import ceilings_in
from ...reliability import mean_over_repetitions
from ...sources.folder import CEILINGS, Folder, read_coordinates
from ...sources.folder_responses import IMAGED, find_imaged
from ...sources.folder_tables import read_rois, read_splits
from ...sources.folder_trials import TRIALS, read_order
from ...stimuli import IMAGE_SUFFIXES, ImageFiles, list_images, natural_key
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart

OWN_FILES = ("images", "responses.npy", "responses_repeats.npy", "split.csv", "rois.csv", "coordinates.npy", CEILINGS,
             TRIALS, *IMAGED)  # fmt: skip


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return [root / name for name in OWN_FILES if (root / name).exists() or (root / name).is_symlink()]


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """The one recording that the folder holds."""
    chart.attempt("reading", root, lambda: Folder(root, asked.noise_ceiling, asked.unlisted, asked.missing).read())
    images = _images(root / "images", chart)
    gallery = Gallery(root / "images", ImageFiles(images)) if images else None
    repeats_file = root / "responses_repeats.npy"
    repeats = None
    if repeats_file.exists():
        axes = ("stimuli", "repetitions", "targets")
        repeats = chart.attempt("reading", repeats_file, lambda: open_array(repeats_file, axes))
    table = _table(root, repeats, chart, asked)
    case = Case(
        root.resolve().name,
        [Block(gallery, [table] if table else [])],
        splits_file=root / "split.csv",
        rois_file=root / "rois.csv",
        coordinates_file=root / "coordinates.npy",
        repeats=repeats,
        repeats_file=repeats_file,
    )
    if images and case.splits_file.exists():
        names = [path.name for path in images]
        case.splits = chart.attempt("splits", case.splits_file, lambda: read_splits(case.splits_file, names, "drop"))
    trials = root / TRIALS
    if images and trials.exists():
        every = np.arange(len(images))
        chart.attempt("reading", trials, lambda: read_order(trials, [path.name for path in images], every))
    if case.num_targets:
        _open_targets(case, root, asked, chart)
    yield case


def _open_targets(case: Case, root: Path, asked: Asked, chart: Chart) -> None:
    """ROIs, places and ceilings of the targets."""
    tables = chart.attempt("rois", case.rois_file, lambda: read_rois(case.rois_file, case.num_targets))
    if tables is not None:
        case.hemispheres, case.rois = tables
    path = case.coordinates_file
    case.coordinates = chart.attempt("places", path, lambda: read_coordinates(path, case.num_targets))
    ceilings = asked.noise_ceiling or root / CEILINGS
    if ceilings.is_dir():
        ceilings /= CEILINGS
    if ceilings.exists():
        case.ceilings = chart.attempt("ceilings", ceilings, lambda: ceilings_in({ceilings: case.num_targets})) or {}


def _images(folder: Path, chart: Chart) -> list[Path]:
    """The images in the order of the rows; those that can be images where anything else lies among them."""
    images = chart.attempt("pictures", folder, lambda: list_images(folder))
    if images is not None:
        return images
    there = chart.attempt("pictures", folder, lambda: list(folder.iterdir())) if folder.is_dir() else []
    images = [path for path in there or [] if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted((path for path in images if not path.name.startswith(".")), key=lambda path: natural_key(path.name))


def _table(root: Path, repeats: np.ndarray | None, chart: Chart, asked: Asked) -> Table | None:
    """The responses, or else the mean over the repetitions that are there."""
    path = root / "responses.npy"
    if any((root / name).exists() for name in IMAGED) and not path.exists():
        imaged = chart.attempt("reading", root, lambda: find_imaged(root))
        values = chart.attempt("reading", root, lambda: imaged.read(asked.missing == "allow")) if imaged else None
        return Table(imaged.path, values) if imaged and values is not None else None
    if path.exists() or repeats is None:
        array = chart.attempt("reading", path, lambda: open_array(path, ("stimuli", "targets")))
        return None if array is None else Table(path, array)
    path = root / "responses_repeats.npy"
    return Table(path, mean_over_repetitions(repeats, path, allow_gaps=True))
