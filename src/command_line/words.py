"""The command line as words: flags with their values, and config files with their content."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import InputError, one_line
from ..where import CONFIGS
from ..yaml_text import read_yaml
from .renamed import current_names

CONFIG = ("-c", "--config")
BARE = ("-h", "--help", "--print_config")
"""Flags that may stand without a value."""


def pairs(args: Sequence[str], program: str = "train.py") -> Iterator[tuple[str, str | None]]:
    """Each flag with its value; None where it stands alone.

    Raises:
        InputError: A word stands where a flag has to, or a flag lacks its value.
    """
    rest = list(args)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if not flag.startswith("-"):
            raise InputError(_stray(flag + equals + value, program))
        if equals:
            yield flag, value
        elif flag in BARE or flag.endswith(".help"):
            yield flag, None
        elif rest and not rest[0].startswith("--"):
            yield flag, rest.pop(0)
        else:
            yield flag, None


def shipped(path: str) -> str:
    """A config's place: as typed where it is there, else among those that travel with the package.

    So `--config configs/v4_ridge.yaml` works from any folder once calcarine is installed.
    """
    name = path.removeprefix("configs/")
    return path if Path(path).exists() or not (CONFIGS / name).is_file() else str(CONFIGS / name)


def with_shipped(args: Sequence[str]) -> list[str]:
    """The flags with their configs' places."""
    words = list(args)
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if equals and flag in CONFIG:
            words[index] = f"{flag}={shipped(value)}"
        elif index and words[index - 1] in CONFIG:
            words[index] = shipped(word)
    return words


def _stray(word: str, program: str) -> str:
    """A word that belongs to no flag."""
    name = word.partition("=")[0]
    if word in ("help", "h", "?"):
        return f"{word}: did you mean {program} --help?"
    if word in ("fit", "train", "test", "validate", "run", "predict", "evaluate"):
        return f"{word}: {program} takes no such word, it trains, predicts and evaluates in one; leave it out"
    if word.endswith((".yaml", ".yml")):
        return f"{word}: did you mean --config {word}?"
    if "=" in word and name.replace(".", "").isidentifier():
        return f"{word}: a flag begins with two dashes; did you mean --{word}?"
    if Path(word).exists():
        return f"{word}: did you mean --data.source.root {word}?"
    return f"{word}: expected a flag that begins with --, found a word alone; a list is written in brackets, [1,10]"


def existing_config(value: str | None) -> Path:
    """A config file that is there.

    Raises:
        InputError: It is not.
    """
    path = Path(value or "")
    if path.is_file() or (value or "").lstrip().startswith("{"):
        return path
    known = {each.stem: f"configs/{each.name}" for each in CONFIGS.glob("*.yaml")}
    known |= {each.stem: str(each) for each in path.parent.glob("*.yaml")}
    near = "".join(f"; did you mean {known[stem]}?" for stem in get_close_matches(path.stem, known, n=1))
    raise InputError(
        f"--config: {value}: expected a YAML file, found none{near}"
        if value
        else "--config: expected a YAML file, found nothing; name one"
    )


def config_of(path: Path) -> Mapping[str, Any]:
    """A config file's content.

    Raises:
        InputError: It is no YAML of settings; the line names the file and where in it.
    """
    import yaml

    try:
        content = read_yaml(current_names(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        fault = getattr(error, "problem", None) or one_line(error)
        raise InputError(f"--config {path}{where}: expected YAML, found a fault in it ({fault}); correct it") from error
    if not isinstance(content, Mapping):
        raise InputError(
            f"--config {path}: expected settings such as `data: {{batch_size: 64}}`, found none; correct it"
        )
    return content
