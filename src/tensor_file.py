"""Reading what `torch.save` wrote: tensors and plain types, and nothing else is ever made or called."""

import pickle
import re
import warnings
import zipfile
from os import PathLike
from pathlib import Path
from typing import IO, Any

import torch

from .errors import InputError, one_line


def read_tensors(path: str | PathLike[str] | IO[bytes], mapped: bool = False) -> Any:
    """The content of a PyTorch file, on the processor.

    Args:
        path: The file.
        mapped: Leave the tensors on disk until they are read; for those who want little of a large file.

    Raises:
        InputError: There is no such file, it is damaged, or it holds other objects than tensors and plain types.
    """
    if isinstance(path, (str, PathLike)):
        if not Path(path).is_file():
            raise InputError(f"{path}: expected a PyTorch file, found no such file; correct the path")
        mapped = mapped and zipfile.is_zipfile(path)
    try:
        _check_stored(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Validating sparse tensor invariants")  # that it is done is no news
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, expected tensors and plain types only, found {_forbidden(error)}; "
            "if you trust it, save its state_dict alone with torch.save or safetensors"
        ) from error
    except Exception as error:  # torch and pickle raise many kinds on a damaged file
        raise InputError(f"{path}: expected a PyTorch file, could not read it: {_said(error)}") from error


def _check_stored(path: str | PathLike[str] | IO[bytes]) -> None:
    """PyTorch compresses nothing; a file that is compressed may be a thousand times larger in memory."""
    if isinstance(path, (str, PathLike)) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is a compressed zip, which torch.save writes never")


def _forbidden(error: Exception) -> str:
    """The class or function that a file would have called, from PyTorch's refusal."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    return named[1] if named else "other objects, or a damaged file"


def _said(error: Exception) -> str:
    """The first sentence of what torch says: the rest guesses why."""
    return one_line(error).split(". ")[0]
