"""Do the rows of the responses belong to the stimuli in the order that they stand in?

Rows that are late by one, or sorted as text where the program sorts by number, give no error and no result: the
commonest silent fault of this field. Responses of the visual system follow simple features of what was seen, so the
right order shows itself.
"""

from collections.abc import Iterator

from .alignment import FEWEST_ROWS, Order, Verdict, judge, possible_orders
from .case import Case, Side
from .gallery import Gallery
from .symptom import Symptom

_TARGETS = 300
"""Targets that are asked, drawn at random."""

_MOST_SEEN = 0.9
"""Share of the stimuli that must be decoded for the order to be asked."""

_LIKE_TEXT = "names sorted as text (image10 before image2)"


def check(case: Case) -> Iterator[Symptom]:
    """Of the responses to each block of stimuli, hemisphere by hemisphere where they lie in files of their own."""
    for block in case.blocks:
        for side in block.sides():
            yield from _of(block.gallery, side)


def _of(gallery: Gallery | None, side: Side) -> Iterator[Symptom]:
    if gallery is None:
        return
    count = min(len(gallery), side.rows)
    if count < FEWEST_ROWS or len(gallery.seen) < _MOST_SEEN * len(gallery):
        why = f"only {count} rows" if count < FEWEST_ROWS else "too many stimuli cannot be decoded"
        remedy = "make sure of it yourself: look at the stimuli that drive a target most"
        yield Symptom("note", "order", side.path, f"{why}: the order of the rows cannot be verified", remedy)
        return
    responses, features = side.standardised(_TARGETS)[:count], gallery.features[:count]
    if responses.size and features.std(axis=0).any():
        verdict = judge(features, responses, possible_orders(gallery.stimuli.names[:count]))
        yield _said(side, verdict, responses.shape[1])


def _said(side: Side, verdict: Verdict, targets: int) -> Symptom:
    order, (mean, spread) = verdict.order, verdict.chance
    figures = f"r = {verdict.fit:.3f} of {targets} targets by simple features, controls {mean:.3f} ± {spread:.3f}"
    if order is None:
        found = f"no order of the rows clearly fits the stimuli ({figures}): their order cannot be verified"
        remedy = "make sure of it yourself: rows may be shuffled, or targets follow nothing that simple features see"
        return Symptom("note", "order", side.path, found, remedy)
    if order.name == "as they are":
        return Symptom("note", "order", side.path, f"rows fit the stimuli best in the order they stand in ({figures})")
    since = f" from about row {verdict.first} on" if verdict.first else ""
    found = f"responses fit the stimuli best {_name(order)}{since} ({figures}; as they are {verdict.as_they_are:.3f})"
    return Symptom("error", "order", side.path, found, _remedy(order, bool(verdict.first)))


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
