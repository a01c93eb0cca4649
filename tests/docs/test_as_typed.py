"""What the documentation has people type does what it says: Python of docs/python.md, commands of docs/tutorial.md."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from calcarine.commands.main import main
from trees import write_folder

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Blocks of code that are to be run: `python` and `console`; others want weights or data that are not here."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_python_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "DIR", n_stimuli=100, n_targets=10)
    typed = blocks("python.md", "python")
    assert len(typed) >= 5
    names: dict[str, object] = {}
    for block in typed:
        exec(block, names)
    assert Path("runs/deeper/version_0/report.html").exists()
    assert names["run"].config["model"]["init_args"]["penalties"] == [1e2, 1e4, 1e6]


@pytest.mark.slow
def test_the_tutorial_as_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("tutorial.md", "console") for line in block.splitlines()]
    assert len(commands) >= 6
    for command in commands:
        program, *arguments = shlex.split(command)
        if program == "ls":
            continue
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        assert main(arguments) == 0, command
    correlations = dict(
        re.findall(r"^runs/(\w+)/version_0: test correlation (-?[\d.]+)", capsys.readouterr().out, re.M)
    )
    assert correlations["first"] == correlations["again"]
    assert float(correlations["first"]) > 0.2
    assert abs(float(correlations["control"])) < 0.1
