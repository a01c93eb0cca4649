"""From a trial's values to `train.py` flags, and back from a config to the values that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import InputError
from ...run.own_defaults import Config, as_typed
from .space import SearchSpace, Value


def find(config: Config, flag: str) -> Any:
    """What a config has at a flag's short or long name; a class is its own name without modules.

    Raises:
        KeyError: The config has nothing there.
    """
    node: Any = config
    for part in flag.split("."):
        if part.isdigit() and not isinstance(node, Mapping):
            places = node if isinstance(node, list) else [node] * (int(part) + 1)  # one value for all places
            node = places[int(part)] if int(part) < len(places) else _missing(flag)
        elif not isinstance(node, Mapping):
            _missing(flag)
        elif part in node:
            node = node[part]
        else:  # a short name leaves "init_args" out
            arguments = node.get("init_args") or {}
            node = arguments[part] if part in arguments else _missing(flag)
    return node["class_path"].rpartition(".")[2] if isinstance(node, Mapping) and "class_path" in node else node


def _missing(flag: str) -> Any:
    raise KeyError(flag)


def make_flags(values: Mapping[str, Value], config: Config, searched: Iterable[str] = ()) -> list[str]:
    """Flags for `train.py`, a class before its own options.

    Args:
        values: By flag; those that name places in a list are joined with the config's own list.
        config: The config beneath, for the rest of such a list.
        searched: All flags of the space: a list has the places of those that are not active now, too.

    Raises:
        InputError: A place is not in the list and not the next after it.
    """
    whole: dict[str, Any] = {}
    for flag, value in values.items():
        name, _, place = flag.rpartition(".")
        if not place.isdigit():
            whole[flag] = value
            continue
        if name not in whole:
            whole[name] = _list_at(config, name, {*searched, *values})
        if int(place) >= len(whole[name]):
            raise InputError(f"--search: {flag}: expected a place in a list of {len(whole[name])}, found {place}")
        whole[name][int(place)] = value
    return [f"--{flag}={as_typed(value)}" for flag, value in sorted(whole.items(), key=lambda item: item[0].count("."))]


def _list_at(config: Config, name: str, flags: Iterable[str]) -> list[Any]:
    """The config's list; where it has one value for all, that value as often as places are asked for."""
    try:
        base = find(config, name)
    except KeyError:
        base = []
    if isinstance(base, list):
        return list(base)
    return [base] * (1 + max(int(flag.rpartition(".")[2]) for flag in flags if flag.rpartition(".")[0] == name))


def own_values(space: SearchSpace, config: Config) -> dict[str, Value] | None:
    """The values that the config itself has; None where the space does not hold them."""
    values: dict[str, Value] = {}
    for flag, parameter in space.parameters.items():
        if not space.active(parameter, values):
            continue
        try:
            value = find(config, flag)
        except KeyError:
            return None
        value = as_typed(value) if isinstance(value, list) else value  # choices name lists as text
        if parameter.type == "categorical":
            equal = [choice for choice in parameter.choices if _same(choice, value)]
            if not equal:
                return None
            value = equal[0]
        values[flag] = value
    return values if space.contains(values) else None


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def check_flags(space: SearchSpace, config: Config, parse: Callable[[Sequence[str]], Config]) -> list[Config]:
    """Refuse what `train.py` would refuse: each choice and each end of a range goes through its parser.

    Args:
        space: With shares of the input dimension resolved.
        config: The config beneath.
        parse: Parses flags on top of that config; raises InputError with a line about the flag.

    Returns:
        What was parsed: configs in which every choice and every end stands at least once.

    Raises:
        InputError: A flag is unknown or a value is not of its kind.
    """
    return [parse(make_flags(values, config, space.parameters)) for values in corners(space)]


def corners(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Few combinations in which every choice and every end of a range stands at least once."""
    left = {(flag, repr(value)) for flag, each in space.parameters.items() for value in each.extremes()}
    for flag, parameter in space.parameters.items():
        for index, value in enumerate(parameter.extremes()):
            if (flag, repr(value)) not in left:
                continue
            wished = {other: each.extremes()[index % len(each.extremes())] for other, each in space.parameters.items()}
            values = space.only_active({**wished, flag: value, **_needed(space, flag)})
            left -= {(other, repr(each)) for other, each in values.items()}
            yield values


def _needed(space: SearchSpace, flag: str) -> dict[str, Value]:
    """The values of others without which a flag is not searched."""
    needed: dict[str, Value] = {}
    for parent, value in space.parameters[flag].when.items():
        needed |= {parent: value, **_needed(space, parent)}
    return needed
