"""Visual encoding models with PyTorch Lightning: images in, predicted brain responses out.

`import calcarine as cc` is the Python front door: `cc.train(source=cc.Folder("DIR"), model="ridge")`. Names are
looked up when they are used, so that importing the package itself imports nothing else.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# torch reads it with its first tensor. Large tensors then lie in huge pages, where the system leaves that to programs,
# as Linux does: what is made anew in each step costs a page fault for every 2 MB, not for every 4 KB.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:  # the same names for editors and type checkers
    from .data import *  # noqa: F403
    from .data.datamodule import EncodingDataModule as EncodingDataModule
    from .data.simulation.write import simulate as simulate
    from .encoders import *  # noqa: F403
    from .errors import InputError as InputError
    from .models import *  # noqa: F403
    from .python.finished import Run as Run
    from .python.finished import open_run as open_run
    from .python.train import train as train
    from .python.trained import TrainedModel as TrainedModel
    from .python.trained import load_model as load_model

_ROOMS = (".data", ".encoders", ".models")  # what users name in a config, and `cc.NAME`; the quickest to import first
_OTHERS = {
    "train": ".python.train",
    "open_run": ".python.finished",
    "load_model": ".python.trained",
    "TrainedModel": ".python.trained",
    "Run": ".python.finished",
    "simulate": ".data.simulation.write",
    "EncodingDataModule": ".data.datamodule",
    "InputError": ".errors",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [each for each in __dir__() if not each.startswith("_")]
    if name in _OTHERS:
        return getattr(import_module(_OTHERS[name], __name__), name)
    if name[:1].isupper():  # a class: anything else is asked for by the import of a submodule, which needs no room
        for room in _ROOMS:
            module = import_module(room, __name__)
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*_OTHERS, *(name for room in _ROOMS for name in import_module(room, __name__).__all__)})
