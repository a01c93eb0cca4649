"""Do the rows of the responses belong to the stimuli in the order that they stand in?

Rows that are late by one, or sorted as text where the program sorts by number, give no error and no result: the
commonest silent fault of this field. Responses of the visual system follow simple features of what was seen, so the
right order shows itself.
"""

from collections.abc import Iterator

import numpy as np

from .alignment import FEWEST_ROWS, Order, Verdict, judge, possible_orders
from .case import Block, Case, Table
from .features import simple_features
from .symptom import Symptom

_TARGETS = 300
"""Targets that are asked, drawn at random."""

_LIKE_TEXT = "names sorted as text (image10 before image2)"


def check(case: Case) -> Iterator[Symptom]:
    """Of every table of responses."""
    for block in case.blocks:
        for table in block.tables:
            yield from _of(block, table)


def _of(block: Block, table: Table) -> Iterator[Symptom]:
    measures = table.measures
    targets = np.flatnonzero(~measures.constant & (measures.gaps < len(table.array) / 2))
    gallery = block.gallery
    if gallery is None or not len(targets):
        return
    count = min(len(gallery), len(table.array))
    glimpses = gallery.glimpses[:count]
    if count < FEWEST_ROWS or len(gallery.seen) < 0.9 * len(gallery):
        why = f"{count} rows" if count < FEWEST_ROWS else "too many stimuli that cannot be decoded"
        remedy = "make sure of it yourself: look at the stimuli that drive a target most"
        yield Symptom("note", "order", table.path, f"{why}: their order cannot be verified", remedy)
        return
    drawn = np.sort(np.random.default_rng(0).permutation(targets)[:_TARGETS])
    features = simple_features([each or next(filter(None, glimpses)) for each in glimpses])
    if not features.std(axis=0).any():
        return
    responses = np.array(table.array[:count, drawn], dtype=np.float64)
    responses[~np.isfinite(responses)] = np.nan
    verdict = judge(features, responses, possible_orders(gallery.stimuli.names[:count]))
    yield _said(table, verdict, len(drawn))


def _said(table: Table, verdict: Verdict, targets: int) -> Symptom:
    order, (mean, spread) = verdict.order, verdict.chance
    figures = f"r = {verdict.fit:.3f} of {targets} targets by simple features, controls {mean:.3f} ± {spread:.3f}"
    if order is None:
        found = f"no order of the rows fits the stimuli ({figures}): their order cannot be verified"
        remedy = "make sure of it yourself: rows may be shuffled, or targets follow nothing that simple features see"
        return Symptom("note", "order", table.path, found, remedy)
    if order.name == "as they are":
        return Symptom("note", "order", table.path, f"rows fit the stimuli best in the order they stand in ({figures})")
    since = f" from about row {verdict.first} on" if verdict.first else ""
    found = f"responses fit the stimuli best {_name(order)}{since} ({figures}; as they are {verdict.as_they_are:.3f})"
    return Symptom("error", "order", table.path, found, _remedy(order, bool(verdict.first)))


def _name(order: Order) -> str:
    if order.name == "reversed":
        return "in reverse: the last row belongs to the first stimulus"
    if order.name == "text":
        return f"in the order of {_LIKE_TEXT}"
    size = "one" if abs(order.lag) == 1 else abs(order.lag)
    return f"at lag {order.lag:+d}: rows are {size} {'late' if order.lag > 0 else 'early'}"


def _remedy(order: Order, in_part: bool) -> str:
    if order.name == "reversed":
        return "write the responses again in the order of the names: responses[::-1]"
    if order.name == "text":
        return "put the rows in the order of the names, their numbers by number, or pad the numbers with zeros"
    late, size = order.lag > 0, abs(order.lag)
    if in_part:
        return f"look there for {'a row too many or a lost stimulus' if late else 'a lost row or a stimulus too many'}"
    if late:
        first = "first row belongs" if size == 1 else f"first {size} rows belong"
        return f"the {first} to no stimulus here: take that out, and find what the last stimuli evoked"
    first = "first stimulus has" if size == 1 else f"first {size} stimuli have"
    return f"the {first} no row: find what was evoked there, and take out the rows at the end"
