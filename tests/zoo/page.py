"""docs/layouts.md: what the zoo's walks found. `cd tests && python -m zoo.page` walks anew and writes it."""

from collections import Counter
from pathlib import Path

from .families import Member, members
from .walk import Walk, walk

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"
HEAD = """# What layers hold

One small model of every family of timm, torchvision and open_clip, with random weights: how many of its modules are \
maps, tokens, vectors, or flat (no place in the image is known of them), which axis their channels are on, and how \
tokens are ordered. Every layer leaves an encoder as (channels, rows, columns), (tokens, channels) or one row, \
whatever stands here; `calcarine layers LIBRARY:MODEL` says it of each layer of any model. The numbers are counts of \
modules. A family with a dash was not looked at, for the reason given. `cd tests && python -m zoo.page` \
makes this page, and `tests/zoo` checks it.
"""
COLUMNS = ("family", "model", "pixels", "maps: channels first", "last", "tokens", "others", "order", "vectors", "flat")


def line(member: Member, found: Walk | None) -> str:
    """A family's line of the table."""
    if found is None:
        cells = [member.family, f"`{member.model}`", "–", member.skipped, *[""] * 6]
    else:
        kinds = Counter(layout.kind for layout in found.layouts.values())
        last = sum(layout.kind == "map" and layout.axes[0] == 2 for layout in found.layouts.values())
        others = sorted({layout.prefix for layout in found.layouts.values() if layout.kind == "tokens"})
        counts = [kinds["map"] - last, last, kinds["tokens"], ", ".join(map(str, others))]
        cells = [member.family, f"`{member.model}`", found.size, *counts, ", ".join(sorted(found.orders))]
        cells += [kinds["vector"], kinds["flat"]]
    return f"| {' | '.join(str(cell) or ' ' for cell in cells)} |"


def page(lines: dict[Member, str], layers: int) -> str:
    """The whole page."""
    walked = sum(not member.skipped for member in lines)
    parts = [HEAD, f"{layers:,} layers in {walked} families of {len(lines)}.\n"]
    for library in dict.fromkeys(member.library for member in lines):
        own = [member for member in lines if member.library == library]
        parts += [f"## {library} {own[0].version}\n", f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"]
        parts[-1] = "\n".join([parts[-1], *(lines[member] for member in own)]) + "\n"
    return "\n".join(parts)


def write(found: dict[Member, Walk | None]) -> None:
    """Make the page of what was found of all members."""
    layers = sum(len(walked.layouts) for walked in found.values() if walked)
    PAGE.write_text(page({member: line(member, walked) for member, walked in found.items()}, layers))


if __name__ == "__main__":
    write({member: None if member.skipped else walk(member) for member in members()})
