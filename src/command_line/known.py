"""The schema that the package carries: what can be said of flags and classes without importing torch."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("schema.json")
"""Written by `schema.py`."""
OUTSIDE = ("jsonargparse", "lightning", "torch")
"""Libraries whose flags and classes it holds."""

Parameter = Mapping[str, Any]
"""What is known of a flag: the kinds and choices of its value, the slot whose classes it takes, default and help."""


@cache
def schema() -> Mapping[str, Any]:
    """Flags by name; slots: the paths of their classes by name; classes by path."""
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


@cache
def same_libraries() -> bool:
    """Whether the libraries are those that the schema was made with; others may have other classes."""
    return all(version(name) == made for name, made in schema()["made_with"].items())
