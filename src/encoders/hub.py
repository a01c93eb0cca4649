"""Published weights: from the libraries' caches, else over the network, and without one a quick, clear refusal."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..errors import InputError, one_line

TIMEOUT = 5  # seconds; the libraries themselves retry for a minute before they give up


_FOLLOW = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Inside, networks are made as their published weights want them, and none are fetched: the caller loads them."""
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


def following() -> bool:
    """Whether the weights of what is made now will be loaded into it."""
    return _FOLLOW.get()


def fetch_published(repository: str | None, file_name: str, url: str | None, what: str) -> Path:
    """The published weights of a model: from the hub, as safetensors where it has them, else from an address.

    Args:
        repository: On the hub, if any.
        file_name: Of the PyTorch file in it.
        url: Original address, if any.
        what: The model as errors name it.

    Raises:
        InputError: Not to be had.
    """
    if repository:
        stem = file_name.rpartition(".")[0].replace("pytorch_model", "model")
        return fetch_hub(repository, [f"{stem}.safetensors", file_name], what)
    if url:
        return fetch_url(url, what)
    raise InputError(f"{what}: no weights are published; use --data.encoder.weights random, or a file")


def fetch_hub(repository: str, file_names: Sequence[str], what: str) -> Path:
    """A file of a Hugging Face repository: the cached one, else downloaded.

    Args:
        repository: Such as "timm/resnet50.a1_in1k".
        file_names: Names under which the weights may lie, best first.
        what: The model as errors name it.

    Raises:
        InputError: Not cached, and the hub cannot be reached or has no such file.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in file_names:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    if constants.HF_HUB_OFFLINE:
        raise not_fetched(what, repository, "HF_HUB_OFFLINE is set")
    check_reachable(constants.ENDPOINT, what, repository)
    for name in file_names:
        try:
            return Path(hf_hub_download(repository, name))
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client raises its HTTP library's errors, which differ by release
            raise not_fetched(what, repository, one_line(error)) from error
    raise not_fetched(what, repository, f"it has no file {' or '.join(file_names)}")


def fetch_url(url: str, what: str) -> Path:
    """A file by its address, kept where torch.hub keeps its own.

    Raises:
        InputError: Not cached, and the address cannot be reached.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    check_reachable(url, what, url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        digest = re.search(r"-([a-f0-9]{8,})\.", path.name)  # torch's convention: the name ends with the hash's start
        torch.hub.download_url_to_file(url, str(path), digest and digest[1])
    except (OSError, RuntimeError) as error:
        raise not_fetched(what, url, one_line(error)) from error
    return path


def check_reachable(address: str, what: str, place: str) -> None:
    """Ask for an address's head, once; proxies from the environment are honoured.

    Raises:
        InputError: No answer within `TIMEOUT` seconds.
    """
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return  # an answer, if an unfriendly one: the download itself will tell
    except (OSError, ValueError) as error:
        raise not_fetched(what, place, one_line(error)) from error


def not_fetched(what: str, place: str, reason: str) -> InputError:
    """The error for weights that are neither cached nor to be had."""
    return InputError(
        f"{what}: its pretrained weights could not be fetched from {place} ({reason}); "
        "download them elsewhere and give the file: --data.encoder.weights FILE"
    )
