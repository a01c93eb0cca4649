"""Weight files from elsewhere: read without trusting them, and fitted to a network or refused in one line."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError, one_line
from ..tensor_file import read_tensors

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, out of whatever wraps them.

    Raises:
        InputError: The file is missing, damaged, holds other objects than tensors and plain types (nothing of
            which is ever run), or no named tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of weights, found {'a folder' if path.is_dir() else 'nothing'}")
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else read_tensors(path)
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    named = content.items() if isinstance(content, Mapping) else ()
    state = {str(key): value for key, value in named if isinstance(value, Tensor)}
    if not state:
        raise InputError(f"{path}: expected a state_dict (tensors by name), found {_describe(content)}")
    return state


def strip_prefix(state: Mapping[str, Tensor], names: Collection[str], path: Path) -> dict[str, Tensor]:
    """Keep the part of a checkpoint that belongs to a network, under the network's own names.

    Wrappers put prefixes before every name ("module.", "model.", "visual."), and bigger models hold more than one
    network. The prefix under which most names match is taken.

    Args:
        state: Tensors by name.
        names: The names of the network's own tensors.
        path: For the error message.

    Raises:
        InputError: Two prefixes match equally well (a momentum copy, as in MoCo checkpoints).
    """
    prefixes: Counter[str] = Counter()
    for key in state:
        start = 0
        while start >= 0:
            if key[start:] in names:
                prefixes[key[:start]] += 1
            start = key.find(".", start) + 1 or -1
    best = prefixes.most_common(2)
    if not best:
        return dict(state)
    if len(best) == 2 and best[0][1] == best[1][1] > 1:
        raise InputError(
            f"{path}: expected one set of weights, found two ('{best[0][0]}…' and '{best[1][0]}…'); "
            "save the one to use to a file of its own"
        )
    prefix = best[0][0]
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


def load_state(network: nn.Module, state: Mapping[str, Tensor], unneeded: Collection[str], path: Path) -> None:
    """Load a checkpoint into a pruned network: everything that runs must be there, and nothing may be left over.

    Args:
        network: Receives the weights.
        state: Tensors by the network's names.
        unneeded: Names of modules that do not run; what the checkpoint holds for them is ignored.
        path: For the error message.

    Raises:
        InputError: A tensor is missing, unexpected, or has another shape.
    """
    own = network.state_dict()
    given = {key: tensor for key, tensor in state.items() if not _below(key, unneeded)}
    fault = misfit(own, given)
    if fault:
        raise InputError(f"{path}: the weights are of another model: {fault}; check the model's name and image_size")
    # Updated in place: the versions of its modules travel with a state_dict, and some modules ask for them.
    own.update((key, tensor) for key, tensor in given.items() if key in own)
    network.load_state_dict(own)


def misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """What of the tensors given does not fit a module's own, by their names; "" where all do."""
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in given if key not in own and not key.endswith("num_batches_tracked")]
    other = [key for key in own if key in given and own[key].shape != given[key].shape]
    faults = []
    if missing:
        faults.append(f"{len(missing)} of {len(own)} tensors missing, first '{missing[0]}'")
    if unexpected:
        faults.append(f"{len(unexpected)} unexpected, first '{unexpected[0]}'")
    if other:
        shapes = f"{tuple(own[other[0]].shape)}, found {tuple(given[other[0]].shape)}"
        faults.append(f"{len(other)} of another shape, first '{other[0]}': expected {shapes}")
    return "; ".join(faults)


def _below(key: str, modules: Collection[str]) -> bool:
    """Whether a tensor belongs to one of these modules."""
    return any(key.startswith(f"{module}.") for module in modules)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected a safetensors file, could not read it: {one_line(error)}") from error


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dict with keys {', '.join(map(str, list(content)[:5]))}" if content else "an empty dict"
    return f"a {type(content).__name__}"
