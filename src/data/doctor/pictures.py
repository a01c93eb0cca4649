"""Can every stimulus be decoded, and do they look alike?"""

from collections import Counter
from collections.abc import Iterator

from .gallery import Gallery
from .glimpse import Glimpse
from .symptom import Symptom, several

_MOST_FAULTS = 20
"""Stimuli that get a line of their own."""

_ODD = 0.02
"""Share of stimuli up to which those of another size are likely a mistake."""


def check(gallery: Gallery) -> Iterator[Symptom]:
    """Stimuli that cannot be decoded, show nothing, or are of another size than the rest."""
    yield from gallery.faults[:_MOST_FAULTS]
    if len(gallery.faults) > _MOST_FAULTS:
        found = f"{len(gallery.faults)} stimuli in all cannot be decoded"
        yield Symptom("error", "pictures", gallery.place, found, "copy the folder again")
    if gallery.short:
        short = sorted(gallery.short)
        found = f"{several(len(short), 'clip')} with fewer frames than are read by default ({gallery.named(short)})"
        yield Symptom("note", "pictures", gallery.place, found, gallery.short[short[0]].remedy)
    seen = {index: glimpse for index, glimpse in enumerate(gallery.glimpses) if glimpse is not None}
    flat = [index for index, glimpse in seen.items() if glimpse.flat]
    if flat:
        found = f"{len(flat)} of {len(gallery)} stimuli of one colour throughout ({gallery.named(flat)})"
        remedy = "look at them: where a picture was lost, copy it again"
        yield Symptom("warning", "pictures", gallery.place, found, remedy)
    yield from _sizes(gallery, seen)


def _sizes(gallery: Gallery, seen: dict[int, Glimpse]) -> Iterator[Symptom]:
    sizes = Counter(glimpse.size for glimpse in seen.values())
    if len(sizes) < 2:
        return
    (width, height), most = sizes.most_common(1)[0]
    odd = [index for index, glimpse in seen.items() if glimpse.size != (width, height)]
    if len(odd) <= max(1, _ODD * len(seen)) < most:
        found = (
            f"{len(odd)} of {len(seen)} stimuli of another size than {width} × {height} pixels ({gallery.named(odd)})"
        )
        remedy = "see whether these are the pictures that were shown; every size is squeezed to the encoder's square"
        yield Symptom("warning", "pictures", gallery.place, found, remedy)
        return
    found = f"{len(sizes)} sizes of stimuli, the most frequent {width} × {height} pixels ({most} of {len(seen)})"
    yield Symptom(
        "note", "pictures", gallery.place, found, "each is squeezed to the encoder's square, whatever its shape"
    )
