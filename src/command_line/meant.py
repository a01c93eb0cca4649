"""What was meant by a flag or a class that there is not."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from .known import schema
from .slots import Slots
from .usual_names import CLASSES, FLAGS

TUNE = ("--search", "--trials", "--study", "--storage", "--workers", "--timeout", "--sampler", "--pruner", "--per_roi")
"""Flags of a study, beside those of a run."""


def no_such_flag(slots: Slots, flag: str, own: Sequence[str] = ()) -> str:
    """Says that there is no such flag, and which was meant.

    Args:
        slots: The classes that stand.
        flag: As typed.
        own: Flags of the command itself beside those of a run.
    """
    name = flag.lstrip("-").replace("-", "_")
    parts = name.split(".")
    closed = _closed_form(slots, parts)
    if closed is not None:
        what = f"{closed} is solved in closed form and has no {parts[1]}"
        return f"{flag}: {what}; leave it out, or name another --model"
    right = FLAGS.get(name) or _corrected(slots, parts) or _usual(slots, parts)
    if right is None and (near := get_close_matches(f"--{name}", TUNE, n=1, cutoff=0.7)):
        if not own:
            return f"{flag}: no such option of a run; tune.py has {near[0]}"
        right = near[0][2:]
    if right is not None:
        return f"{flag}: no such option; did you mean --{right}?"
    return f"{flag}: no such option{_instead(slots, parts)}"


def _closed_form(slots: Slots, parts: Sequence[str]) -> str | None:
    """The closed-form model in force, where an option of trained models was given to it."""
    path = slots.chosen.get("model") or ""
    known = schema()["classes"]
    trained = known["calcarine.models.EncodingModule"]["flags"]
    alone = known.get(path, {}).get("closed_form") and parts[0] == "model" and len(parts) > 1 and parts[1] in trained
    return path.rpartition(".")[2] if alone else None


def _corrected(slots: Slots, parts: Sequence[str]) -> str | None:
    """The flag that this one becomes when each wrong part is replaced by the nearest right one."""
    fixed: list[str] = []
    for part in parts:
        options = slots.options(fixed)
        near = [part] if part in options else get_close_matches(part, options, n=1)
        if not near:
            return None
        fixed += near
    return ".".join(fixed) if slots.find(fixed) is not None else None


def _usual(slots: Slots, parts: Sequence[str]) -> str | None:
    """The flag that people mean by a name without its group, or by one from elsewhere."""
    last = parts[-1]
    if FLAGS.get(last, ".".join(parts)) != ".".join(parts):
        return FLAGS[last]
    if len(parts) > 1:
        return None
    everywhere = list(slots.all_flags())
    by_last = {name.rpartition(".")[2]: name for name in reversed(everywhere)}
    near = get_close_matches(last, by_last, n=1, cutoff=0.75)
    return by_last[near[0]] if near else None


def _instead(slots: Slots, parts: Sequence[str]) -> str:
    """What may stand in the place of an option that is like none: of this class, or of another in its slot."""
    for end in range(len(parts) - 1, 0, -1):
        parameter = slots.find(parts[:end])
        if parameter is None or "slot" not in parameter:
            continue
        group = ".".join(parts[:end])
        path = slots.chosen_at(parts[:end], parameter)
        here = (path or "null").rpartition(".")[2]
        classes = schema()["slots"][parameter["slot"]]
        takers = [
            name for name, each in classes.items() if parts[end] in schema()["classes"].get(each, {}).get("flags", ())
        ]
        if takers:
            have = "has it" if len(takers) == 1 else "have it"
            return f" of {here}; {', '.join(takers[:5])} (--{group}) {have}"
        options = slots.options(parts[:end])
        return f"; expected one of {_flags(group, options)}" if options else ", it takes none"
    options = slots.options(parts[:-1])
    if len(parts) > 1 and options:
        return f"; expected one of {_flags('.'.join(parts[:-1]), options)}"
    return "; --help shows the usual flags, and --help all every one"


def no_such_class(flag: str, name: str, classes: Collection[str]) -> str:
    """Says that no class of a flag has a name, and which was meant.

    Args:
        flag: Its dotted name.
        name: As typed.
        classes: Names of the flag's own classes.
    """
    folded = {each.lower(): each for each in classes}
    plain = name.lower().replace("-", "").replace("_", "")
    if plain in folded:
        return f"no class is called {name}; did you mean {folded[plain]}?"
    usual = [each for each in CLASSES.get(plain, ()) if each in classes]
    if usual:
        return f"no class is called {name}; did you mean {usual[0]}?"
    if near := get_close_matches(plain, folded, n=1):
        return f"no class is called {name}; did you mean {folded[near[0]]}?"
    if "TimmEncoder" in classes and name == name.lower():
        return (
            f"no class is called {name}; did you mean the model, --{flag} TimmEncoder --{flag}.model {name}? "
            "TorchvisionEncoder and OpenClipEncoder have models too"
        )
    return f"no class is called {name}; expected one of {', '.join(list(classes)[:20])}"


def _flags(group: str, options: Sequence[str]) -> str:
    return ", ".join(f"--{group}.{name}" for name in options[:12])


def did_you_mean(near: Sequence[str]) -> str:
    return f"; did you mean {near[0]}?" if near else ""
