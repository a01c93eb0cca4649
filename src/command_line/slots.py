"""Which class each slot has, and so which flags there are: the schema, walked along a dotted name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .known import Parameter, same_libraries, schema

LEFT: Parameter = {"kinds": ["any"]}
"""What only the real parser can judge."""


@dataclass
class Slots:
    """The classes that stand so far.

    Args:
        chosen: Class path by slot; None where the slot is empty, and "" where only the real parser knows the class.
    """

    chosen: dict[str, str | None] = field(default_factory=dict)

    def choose(self, slot: str, path: str | None) -> None:
        """Put a class into a slot; another one than before forgets what was chosen below."""
        if path != self.chosen.get(slot, ""):
            self.chosen = {each: below for each, below in self.chosen.items() if not each.startswith(f"{slot}.")}
        self.chosen[slot] = path

    def find(self, parts: Sequence[str]) -> Parameter | None:
        """What is known of a flag; None where there is none."""
        if parts[0] == "trainer" and not same_libraries():
            return LEFT
        flags = schema()["flags"]
        start = 0
        for end in range(1, len(parts) + 1):
            parameter = flags.get(".".join(parts[start:end]))
            if parameter is None:
                continue
            if end == len(parts):
                return parameter
            if "slot" not in parameter:
                return LEFT if {"any", "dict"} & set(parameter["kinds"]) else None
            path = self.chosen_at(parts[:end], parameter)
            if path not in schema()["classes"] or not (path.startswith("calcarine.") or same_libraries()):
                return LEFT
            flags, start = schema()["classes"][path]["flags"], end
        return None

    def chosen_at(self, slot: Sequence[str], parameter: Parameter) -> str:
        """The class that a slot has now; "" where it has none, or one that only the real parser knows."""
        return self.chosen.get(".".join(slot), parameter.get("default")) or ""

    def options(self, parts: Sequence[str]) -> list[str]:
        """The names that may follow these parts, each with what is dotted behind it."""
        prefix = "".join(f"{part}." for part in parts)
        top = [name.removeprefix(prefix) for name in schema()["flags"] if name.startswith(prefix)]
        parameter = self.find(parts) if parts else None
        if parameter is not None and "slot" in parameter:
            path = self.chosen_at(parts, parameter)
            top += schema()["classes"].get(path, {}).get("flags", ())
        return list(dict.fromkeys(name.partition(".")[0] for name in top))

    def all_flags(self) -> Iterator[str]:
        """Every flag that can be typed now, those of the model and the data first."""
        order = ("data", "model", "early_stopping", "trainer")
        top = sorted(schema()["flags"], key=lambda name: (*(name.startswith(each) for each in order),), reverse=True)

        def below(prefix: str, flags: Mapping[str, Parameter]) -> Iterator[str]:
            for name, parameter in flags.items():
                yield prefix + name
                path = self.chosen_at((prefix + name).split("."), parameter) if "slot" in parameter else ""
                yield from below(f"{prefix}{name}.", schema()["classes"].get(path, {}).get("flags", {}))

        yield from below("", {name: schema()["flags"][name] for name in top})
