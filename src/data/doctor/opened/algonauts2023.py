"""The Algonauts 2023 tree, laid open."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ....names import HEMISPHERES, TEST, UNASSIGNED, WITHHELD
from ....recording import Roi
from ...arrays import open_array
from ...noise_ceiling import ceilings_in
from ...sources.algonauts2023 import Algonauts2023, SubjectTree
from ...sources.algonauts2023_rois import read_rois
from ...stimuli import ImageFiles, list_images
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart

_SUBJECTS = "subj[0-9][0-9]"


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return sorted(root.glob(_SUBJECTS))


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One subject after another, those asked for or all that are there."""
    there = [int(path.name[4:]) for path in own_files(root)]
    own = root / "noise_ceiling"  # where `calcarine simulate` puts them
    ceilings = asked.noise_ceiling or (own if own.is_dir() else None)
    for number in asked.numbers or there or [1]:
        folder = root / f"subj{number:02d}"
        chart.attempt("reading", folder, lambda n=number: Algonauts2023(root, n, noise_ceiling=ceilings).read())
        if folder.is_dir():
            yield _case(folder, ceilings, chart)


def _case(folder: Path, ceilings: Path | None, chart: Chart) -> Case:
    blocks = [_block(folder, "training", UNASSIGNED, chart)]
    if (folder / "test_split").is_dir():
        blocks.append(_block(folder, "test", TEST, chart))
    sizes = {table.hemisphere: table.array.shape[1] for table in blocks[0].tables}
    case = Case(folder.name, blocks, rois_file=folder / "roi_masks")
    if not sizes:
        return case
    case.hemispheres = np.repeat(list(sizes), list(sizes.values()))
    tree = SubjectTree(folder, tuple(side for side in HEMISPHERES if side in sizes))
    case.rois = (
        chart.attempt("rois", case.rois_file, lambda: read_rois(tree.folder / "roi_masks", tree.sizes)) or list[Roi]()
    )
    for hemisphere in tree.hemispheres:
        chart.attempt("rois", case.rois_file, lambda side=hemisphere: tree.read_vertices(side))
    if ceilings is not None:
        counts = {ceilings / folder.name / f"{side}.npy": count for side, count in sizes.items()}
        case.ceilings = chart.attempt("ceilings", ceilings, lambda: ceilings_in(counts)) or {}
    return case


def _block(folder: Path, split: str, name: str, chart: Chart) -> Block:
    """The images of one split, and what was measured where the tree has it."""
    images = folder / f"{split}_split" / f"{split}_images"
    paths: Sequence[Path] = chart.attempt("pictures", images, lambda: list_images(images)) or []
    responses = folder / f"{split}_split" / f"{split}_fmri"
    tables = []
    for side in HEMISPHERES:
        path = responses / f"{side}_{split}_fmri.npy"
        if split == "training" or path.exists():
            array = chart.attempt("reading", path, lambda file=path: open_array(file, ("images", "vertices")))
            tables += [] if array is None else [Table(path, array, side)]
    gallery = Gallery(images, ImageFiles(paths)) if paths else None
    return Block(gallery, tables, WITHHELD if name == TEST and not tables else name)
