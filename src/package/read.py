"""From a package to its model: JSON and safetensors alone are read, nothing is unpickled and nothing fetched."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..encoders.hub import weights_follow
from ..errors import InputError, one_line
from ..models import EncodingModule
from .files import FORMAT, MODEL, WEIGHTS
from .plain import from_json


def is_package(folder: Path) -> bool:
    """Whether a folder is one that `calcarine export` wrote."""
    return (folder / MODEL).is_file()


def read_package(folder: Path) -> tuple[EncodingModule, dict[str, Any]]:
    """A package's model, in evaluation mode on the processor, and what the package says of it: licence and run.

    Raises:
        InputError: A file is missing, damaged or of another version, or names a class that is not here.
    """
    try:
        said = json.loads((folder / MODEL).read_text(encoding="utf-8"))
        found = said.get("format") if isinstance(said, dict) else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder / MODEL}: expected a package's description, found {one_line(error)}") from error
    if found != FORMAT:
        raise InputError(f"{folder / MODEL}: expected a package of format {FORMAT}, found {found}; export it again")
    try:
        tensors = load_file(folder / WEIGHTS)
        checkpoint = from_json(said["checkpoint"], tensors)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / WEIGHTS}: expected the package's weights, found {one_line(error)}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder}: {MODEL} and {WEIGHTS} do not belong together ({one_line(error)})") from error
    with weights_follow():  # also where a package that others wrote lacks them
        module = EncodingModule.remade(checkpoint, folder)
    return module, {"licence": said.get("licence"), "run": said.get("run")}
