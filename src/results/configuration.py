"""A run's configuration as flags, and what differs between those of several."""

from collections.abc import Mapping, Sequence
from typing import Any

_PLACES = ("name", "runs", "ckpt_path", "config", "controls", "learning_curve", "trainer.default_root_dir")
"""Flags that say where a run is and what stands beside it, not what it is."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config's leaves by dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        leaves |= flat(value, name) if isinstance(value, Mapping) else {name: value}
    return leaves


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The flags that are not the same in all configs, and each config's value; None where it has no such flag."""
    leaves = [_as_flags(config) for config in configs]
    names = dict.fromkeys(name for own in leaves for name in own)
    values = {name: [own.get(name) for own in leaves] for name in names if name not in _PLACES}
    return {name: own for name, own in values.items() if any(value != own[0] for value in own)}


def _as_flags(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves by the names that people type: a class by the flag that takes it, its arguments below it."""
    leaves: dict[str, Any] = {}
    for name, value in flat(config).items():
        parts = [part for part in name.split(".") if part != "init_args"]
        if parts[-1] == "class_path":
            leaves[".".join(parts[:-1])] = str(value).rpartition(".")[2]
        else:
            leaves[".".join(parts)] = value
    return leaves
