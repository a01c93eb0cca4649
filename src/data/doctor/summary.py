"""What is it, how much of it, and does every stimulus have its row?"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...names import TEST, TRAIN, VALIDATION, WITHHELD
from .case import Block, Case
from .symptom import Chart, Symptom

_WORDS = {TRAIN: "to train", VALIDATION: "to validate", TEST: "to test", WITHHELD: "withheld"}


def check(case: Case, format: str, root: Path, chart: Chart) -> Iterator[Symptom]:
    """Counts and shapes; and rows that are not as many as the stimuli."""
    yield Symptom("note", "summary", root, f"{format}, {case.subject}: {_counted(case)}")
    for block in case.blocks:
        yield from _rows(block, chart)


def _counted(case: Case) -> str:
    parts = []
    for block in case.blocks:
        if block.gallery is not None:
            kind = "clips" if block.gallery.stimuli.frames else "images"
            sizes = Counter(glimpse.size for glimpse in block.gallery.glimpses if glimpse is not None)
            size = " of {} × {} pixels".format(*sizes.most_common(1)[0][0]) if sizes else ""
            split = f" ({_WORDS[block.split]})" if block.split in _WORDS else ""
            parts.append(f"{len(block.gallery):,} {kind}{size}{split}")
    if case.splits is not None:
        counts = Counter(case.splits.tolist())
        parts.append(", ".join(f"{counts[split]:,} {word}" for split, word in _WORDS.items() if counts[split]))
    types = ", ".join(sorted({str(table.array.dtype) for table in case.tables}))
    parts.append(f"{case.num_targets:,} targets ({types})" if case.num_targets else "no responses that can be read")
    named = sum(len(roi.targets) > 0 for roi in case.rois)
    there = {
        f"{named} ROIs": named > 0,
        "coordinates": case.coordinates is not None,
        "noise ceilings": bool(case.ceilings),
        "repetitions": case.repeats is not None,
    }
    return ", ".join([*parts, *(what for what, known in there.items() if known)])


def _rows(block: Block, chart: Chart) -> Iterator[Symptom]:
    stimuli = len(block.gallery) if block.gallery else 0
    for table in block.tables:
        rows, targets = table.array.shape
        if not stimuli or rows == stimuli:
            continue
        if targets == stimuli:
            found = f"shape ({rows}, {targets}) for {stimuli} stimuli: responses look transposed"
            remedy = "write them as (stimuli, targets): numpy.save(path, responses.T)"
            yield Symptom("error", "summary", table.path, found, remedy)
        elif not chart.knows(table.path):
            remedy = "add or remove stimuli, or write the responses again"
            yield Symptom("error", "summary", table.path, f"{rows} rows for {stimuli} stimuli", remedy)
