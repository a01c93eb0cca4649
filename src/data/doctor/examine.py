"""Examine a folder: what it is, and every question asked of it, whatever the others met."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from operator import is_
from pathlib import Path

from ...errors import InputError
from ..sources.algonauts2021 import Algonauts2021
from ..sources.algonauts2023 import Algonauts2023
from ..sources.base import Source, known_formats, layouts
from ..sources.betas.source import Betas
from ..sources.brain_score import BrainScore
from ..sources.folder import Folder
from ..sources.it_spikes import ItSpikes
from ..sources.nsd.source import NSD
from ..sources.nwb import Nwb
from ..sources.things_fmri import ThingsFmri
from ..sources.tvsd import TVSD
from . import ceilings, drift, duplicates, files, numbers, order, pictures, places, repeats, rois, room, scale, splits
from . import summary as counts
from .case import Asked, Case
from .gallery import Gallery
from .opened import algonauts2021, algonauts2023, betas, brain_score, folder, it_spikes, nsd, nwb, things_fmri, tvsd
from .symptom import Chart, Symptom


@dataclass(frozen=True)
class Format:
    """How a format is laid open.

    Args:
        own_files: The files and folders below a root that are read.
        cases: What can be opened of each subject; what cannot be is on the chart.
        flags: Those of `Asked` that its source has.
    """

    own_files: Callable[[Path], list[Path]]
    cases: Callable[[Path, Asked, Chart], Iterator[Case]]
    flags: tuple[str, ...] = ()


FORMATS: dict[type[Source], Format] = {
    Folder: Format(folder.own_files, folder.cases, ("noise_ceiling", "missing", "unlisted")),
    Algonauts2023: Format(algonauts2023.own_files, algonauts2023.cases, ("subjects", "noise_ceiling")),
    Algonauts2021: Format(algonauts2021.own_files, algonauts2021.cases, ("subjects",)),
    ItSpikes: Format(it_spikes.own_files, it_spikes.cases),
    NSD: Format(nsd.own_files, nsd.cases, ("subjects",)),
    Betas: Format(betas.own_files, betas.cases, ("subjects", "images", "noise_ceiling", "source")),
    BrainScore: Format(brain_score.own_files, brain_score.cases, ("images",)),
    Nwb: Format(nwb.own_files, nwb.cases, ("images",)),
    TVSD: Format(tvsd.own_files, tvsd.cases, ("images",)),
    ThingsFmri: Format(things_fmri.own_files, things_fmri.cases, ("subjects", "images")),
}


@dataclass
class Examination:
    """What was found in one root.

    Args:
        root: The folder or file.
        format: Name of the source that reads it; "" where none does.
        chart: What was found.
    """

    root: Path
    format: str = ""
    chart: Chart = field(default_factory=Chart)


def examine(root: Path, format: str | None = None, asked: Asked | None = None) -> list[Examination]:
    """Ask everything of a root; of a folder of several recordings, of each of them. Nothing is written.

    Args:
        root: A folder, or a file where the format is one.
        format: Name of its source; by what the root holds where not given.
        asked: What the user adds.

    Returns:
        One examination for each recording's root.

    Raises:
        InputError: There is no such root or format, or the format has no such flag.
    """
    asked = asked or Asked()
    if not root.exists():
        raise InputError(f"{root}: expected a folder or a file of data, found none; correct the path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' own words on damaged files; what matters of them is a symptom
        source = _named(format) if format else None
        roots = [(root, source)] if source else _recognised(root)
        return [_examined(each, source, asked) for each, source in roots] or [_unknown(root)]


def _named(name: str) -> type[Source]:
    there = {source.__name__: source for source in FORMATS}
    if name not in there:
        raise InputError(f"--format {name}: expected one of {', '.join(there)}, found none of them; correct the name")
    return there[name]


def _recognised(root: Path) -> list[tuple[Path, type[Source]]]:
    """The root, or the folders in it that each are a recording's own."""
    own = [source for source in FORMATS if source.recognises(root)]
    if len(own) > 1:
        names = " and ".join(source.__name__ for source in own)
        raise InputError(f"{root}: expected data of one format, found {names}; say which with --format")
    if own or not root.is_dir():
        return [(root, source) for source in own]
    within = [path for path in sorted(root.iterdir()) if path.is_dir() and Folder.recognises(path)]
    return [(path, Folder) for path in within]


def _unknown(root: Path) -> Examination:
    """What could be meant by a root that no source recognises."""
    examination = Examination(root)
    found = f"no format that is read: {layouts()}"
    near = [path for path in (root.parent, *_folders(root)) if any(each.recognises(path) for each in known_formats())]
    remedy = (
        f"give {near[0]}" if near else "correct the path, or say which with --format, and what is missing is listed"
    )
    examination.chart.add([Symptom("error", "format", root, found, remedy)])
    return examination


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _examined(root: Path, source: type[Source], asked: Asked) -> Examination:
    examination, reader = Examination(root, source.__name__), FORMATS[source]
    for flag in (each.name for each in fields(Asked)):
        if getattr(asked, flag) != getattr(Asked(), flag) and flag not in reader.flags:
            typed = {"subjects": "subject", "source": f"data.source.{next(iter(asked.source), '')}"}.get(flag, flag)
            raise InputError(f"--{typed}: expected a flag of {source.__name__}, which has none such; leave it out")
    chart, own = examination.chart, reader.own_files(root)
    blocking = chart.attempt("files", root, lambda: files.blocking(own))
    if blocking:
        chart.add(blocking)
        return examination
    chart.attempt("files", root, lambda: chart.add(files.check(own)))
    chart.attempt("reading", root, lambda: _ask_all(root, source, asked, chart))
    return examination


def _ask_all(root: Path, source: type[Source], asked: Asked, chart: Chart) -> None:
    """Every question of every case, one case in memory at a time; of stimuli that it shares with the last, once."""
    before: Sequence[Gallery] = ()
    for case in FORMATS[source].cases(root, asked, chart):
        own = [block.gallery for block in case.blocks if block.gallery is not None]
        if len(own) != len(before) or not all(map(is_, own, before)):
            before = own
            for gallery in own:
                _ask(chart, "pictures", gallery.place, partial(pictures.check, gallery))
            _ask(chart, "duplicates", root, partial(duplicates.check, case))
        place = case.tables[0].path if case.tables else root
        questions: dict[str, Callable[[], Iterable[Symptom]]] = {
            "summary": partial(counts.check, case, source.__name__, root, chart),
            "splits": partial(splits.check, case, asked),
            "numbers": partial(numbers.check, case, asked),
            "scale": partial(scale.check, case),
            "order": partial(order.check, case),
            "drift": partial(drift.check, case),
            "repeats": partial(repeats.check, case),
            "rois": partial(rois.check, case),
            "places": partial(places.check, case),
            "ceilings": partial(ceilings.check, case),
            "room": partial(room.check, case, root),
        }
        for name, question in questions.items():
            _ask(chart, name, place, question)


def _ask(chart: Chart, name: str, place: Path, question: Callable[[], Iterable[Symptom]]) -> None:
    chart.attempt(name, place, lambda: chart.add(question()))
