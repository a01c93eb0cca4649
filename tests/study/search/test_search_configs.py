"""Every file in configs/search/ beside the config that its first comment names: what it searches is there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from calcarine.run.cli import EncodingCLI
from calcarine.run.flags import parse_flags
from calcarine.study.search.flags import check_flags, make_flags, own_values
from calcarine.study.search.options import DEFAULT_SEARCH, SEARCHES, parse
from calcarine.study.search.space import read_space
from calcarine.study.session import as_yaml

REPOSITORY = SEARCHES.parent.parent


class Parsing(EncodingCLI):
    """Parses, and makes nothing."""

    def before_instantiate_classes(self):
        pass

    def instantiate_classes(self):
        pass


@pytest.fixture(params=sorted(SEARCHES.glob("*.yaml")), ids=lambda path: path.stem)
def command(request, monkeypatch):
    """The command in a file's first comment, as its arguments."""
    monkeypatch.chdir(REPOSITORY)
    comment = re.match("(?:#.*\n)+", request.param.read_text())
    assert comment, "the first comment says what it is"
    lines = "".join(line.lstrip("# ") for line in comment[0].splitlines(keepends=True)).replace("\\\n", "")
    typed = shlex.split(lines[lines.index("uv run tune.py") :])
    options = parse(typed[3:])
    assert options.search.resolve() == request.param
    for number, flag in enumerate(options.args):
        if flag == "--config" and not Path(options.args[number + 1]).exists():
            pytest.skip(f"{options.args[number + 1]} is not there yet")
    return options


def test_what_a_space_searches_is_in_its_config(command):
    space = read_space(command.search).scaled(1000)
    cli = Parsing([*command.args, *make_flags(space.fixed(), {})])
    config = yaml.safe_load(as_yaml(cli.parser, cli.config))
    check_flags(space, config, lambda flags: parse_flags(cli.parser, [*command.args, *flags]))
    assert own_values(space, config) is not None, "the first trial is the config itself, which others are compared with"
    if command.sampler == "grid":
        assert 4 <= len(space.grid()) <= 50


def test_a_bare_command_searches_the_default_config():
    assert parse([]).search == DEFAULT_SEARCH
