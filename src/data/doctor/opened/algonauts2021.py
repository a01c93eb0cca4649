"""The Algonauts 2021 tree, laid open."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ....names import TRAIN, UNASSIGNED, WITHHELD
from ...clips import ClipFiles, list_clips
from ...reliability import mean_over_repetitions
from ...sources.algonauts2021 import RESPONSES, VIDEOS, Algonauts2021, Track, read_repeats
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart

_FRAMES = (16, 8, 4, 2, 1)
"""Of each clip, as the source reads by default, and of one that has not so many."""

_TRACKS: tuple[Track, ...] = ("mini", "full")


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return [root / name for name in (RESPONSES, VIDEOS) if (root / name).exists() or (root / name).is_symlink()]


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One subject of one track after another, those asked for or all that are there."""
    videos = root / VIDEOS
    clips = chart.attempt("pictures", videos, lambda: list_clips(videos)) or []
    galleries: dict[int, list[Block]] = {}
    tracks: list[Track] = [track for track in _TRACKS if (root / RESPONSES / f"{track}_track").is_dir()]
    for track in tracks or list(_TRACKS[:1]):
        folder = root / RESPONSES / f"{track}_track"
        there = [int(path.name[3:]) for path in sorted(folder.glob("sub[0-9][0-9]"))]
        for number in asked.numbers or there or [1]:
            own = folder / f"sub{number:02d}"
            chart.attempt("reading", own, partial(_read, root, number, track))
            tables = _tables(own, chart)
            n_train = min([len(table.array) for table in tables] or [len(clips)])
            if n_train not in galleries:  # subjects saw the same videos: they are decoded once
                galleries[n_train] = _blocks(videos, clips, n_train)
            measured, *withheld = galleries[n_train]
            yield Case(f"{track} track, {own.name}", [Block(measured.gallery, tables), *withheld])


def _read(root: Path, number: int, track: Track) -> None:
    Algonauts2021(root, number, track).read()


def _blocks(folder: Path, clips: list[Path], n_train: int) -> list[Block]:
    """The videos that have responses, and those that are withheld."""

    def gallery(paths: list[Path]) -> Gallery | None:
        most, *fewer = (ClipFiles(paths, frames) for frames in _FRAMES)
        return Gallery(folder, most, fewer) if paths else None

    blocks = [Block(gallery(clips[:n_train]), split=UNASSIGNED)]
    return blocks + ([Block(gallery(clips[n_train:]), split=WITHHELD)] if len(clips) > n_train else [])


def _tables(folder: Path, chart: Chart) -> list[Table]:
    """The mean over repetitions of each ROI's file."""
    tables = []
    for path in sorted(folder.glob("*.pkl")):
        repeats = chart.attempt("reading", path, lambda file=path: read_repeats(file, TRAIN, np.float32))
        if repeats is not None:
            tables.append(Table(path, mean_over_repetitions(repeats, path, allow_gaps=True)))
    return tables
