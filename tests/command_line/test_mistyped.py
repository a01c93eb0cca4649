"""What people type first, and the answer: `mistyped.csv`, through the real commands."""

import csv
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from calcarine.command_line.known import SCHEMA, schema
from calcarine.command_line.meant import TUNE
from calcarine.command_line.renamed import current_names
from calcarine.command_line.typed import Typed
from calcarine.commands.main import main as calcarine
from calcarine.run.main import main as train
from calcarine.study.front import main as tune
from calcarine.study.search.options import _parser
from calcarine.where import CONFIGS, DEFAULT_CONFIG
from places import REPOSITORY
from trees import write_algonauts, write_algonauts2021, write_folder

COMMANDS = {"train.py": train, "tune.py": tune, "calcarine encode": lambda args: calcarine(["encode", *args])}
with Path(__file__).with_name("mistyped.csv").open(newline="") as table:
    TABLE = list(csv.DictReader(table))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("data:\n  batch_size: [3\nmodel: 4\n")
    (tmp_path / "typo.yaml").write_text("data:\n  batch_sizes: 7\n")
    (tmp_path / "class.yaml").write_text("model:\n  class_path: Ridge\n")


@pytest.mark.parametrize("row", TABLE, ids=[f"{row['command']} {row['typed']}" for row in TABLE])
def test_the_answer_is_one_line(row: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMANDS[row["command"]](shlex.split(row["typed"])) == 2
    assert capsys.readouterr().err == f"error: {row['answer']}\n"


def test_the_table_is_long_and_nothing_stands_twice() -> None:
    assert len({(row["command"], row["typed"]) for row in TABLE}) == len(TABLE) >= 60


def test_none_of_them_imports_torch(tmp_path: Path) -> None:
    code = (
        "import csv, shlex, sys\n"
        "from calcarine.run.main import main as train\n"
        "from calcarine.study.front import main as tune\n"
        "for row in csv.DictReader(open(sys.argv[1])):\n"
        "    assert (tune if row['command'] == 'tune.py' else train)(shlex.split(row['typed'])) == 2\n"
        "assert not {'torch', 'lightning', 'optuna'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).with_name("mistyped.csv"))], check=True)


@pytest.mark.slow
def test_an_answer_takes_under_half_of_importing_lightning(tmp_path: Path) -> None:
    """And `calcarine --help` well under half of importing torch; medians of interleaved runs, processor time."""
    commands = {
        "lightning": ["-c", "import lightning.pytorch"],
        "torch": ["-c", "import torch"],
        "typo": [str(REPOSITORY / "train.py"), "--model.optimzer.lr", ".1"],
        "help": ["-m", "calcarine", "--help"],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=False)
            took[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in took.items()}
    assert median["typo"] < median["lightning"] / 2, median
    assert median["help"] < median["torch"] / 4, median


def test_the_schema_is_what_the_parser_says() -> None:
    from calcarine.run.schema import Maker

    assert json.loads(json.dumps(Maker().content())) == json.loads(SCHEMA.read_text()), "run make schema"


def test_a_study_has_the_flags_that_a_run_names() -> None:
    own = [flag for action in _parser()._actions for flag in action.option_strings]
    assert sorted(TUNE) == sorted(set(own) - {"-h", "--help", "--runs"})


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_right_is_refused(config: Path) -> None:
    typed = Typed()
    typed.read_config(DEFAULT_CONFIG)
    typed.read_config(config)


def test_another_class_forgets_what_was_chosen_below_it() -> None:
    typed = Typed()
    typed.read_config(DEFAULT_CONFIG)
    assert typed.find(["model", "optimizer", "momentum"]) is not None
    typed.check("--model.optimizer", "Adam")
    assert typed.find(["model", "optimizer", "momentum"]) is None
    typed.check("--model.optimizer", "their.own.Optimizer")  # only the real parser knows it
    assert typed.find(["model", "optimizer", "anything"]) == {"kinds": ["any"]}


def help_of(capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    assert train(args) == 0
    return capsys.readouterr().out.splitlines()


def test_help_fits_a_screen_and_says_where_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of(capsys, "--help")
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 120
    text = "\n".join(lines)
    flags = [word for word in text.replace(",", " ").split() if word.startswith("--") and not word.endswith("...")]
    typed = Typed()
    typed.read_config(DEFAULT_CONFIG)
    known = {
        "--help",
        "--FLAG",
        "--config",
        "--print_config",
        "--data.source.help",
        "--model.head.help",
        "--data.source.root",
    }
    of_other_classes = {"--data.encoder.model", "--model.penalties"}
    for flag in set(flags) - known - of_other_classes:
        assert typed.find(flag.strip("-;]").split(".")) is not None, flag
    for each in ("--help all", "--model.head.help", "--ckpt_path last", "--data.source Folder"):
        assert each in text


def test_help_of_a_class_prints_flags_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of(capsys, "--model.head.help", "MlpHead")
    assert "  --model.head.width N" in lines
    lines = help_of(capsys, "--model.head", "TrunkHead", "--model.head.trunk.help=MlpTrunk")
    assert any(line.startswith("  --model.head.trunk.dims ") for line in lines)
    lines = help_of(capsys, "--data.source.help", "Folder")
    assert any(line.startswith("  --data.source.root ") for line in lines)
    lines = help_of(capsys, "--model.help", "RidgeModule")
    assert any(line.startswith("  --model.penalties ") for line in lines)


def test_help_of_a_flag_alone_lists_its_classes(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {line.split()[0] for line in help_of(capsys, "--model.head.help") if line.startswith("  ")}
    assert listed == set(schema()["slots"]["Head"])
    assert "RidgeModule" in "\n".join(help_of(capsys, "--model.help"))


def test_encode_has_a_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert calcarine(["encode", "--help"]) == 0
    assert "calcarine encode --data.source" in capsys.readouterr().out


def test_old_class_paths_are_read_as_todays() -> None:
    assert current_names("class_path: src.data.Folder") == "class_path: calcarine.data.Folder"
    assert current_names("src.models.heads.linear.LinearHead") == "calcarine.models.LinearHead"
    for own in ("src.models.OwnHead", "src.data.LinearHead", "my.src.data.Folder", "../src/data.Folder"):
        assert current_names(own) == own


def test_a_config_of_the_time_of_src_runs_with_one_line_of_advice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from calcarine.command_line.renamed import _advise
    from calcarine.run.cli import build_cli

    _advise.cache_clear()
    write_folder(tmp_path / "mine", n_stimuli=40)
    config = {
        "data": {
            "source": {"class_path": "src.data.Folder", "init_args": {"root": "mine"}},
            "encoder": {"class_path": "src.encoders.PixelEncoder"},
        },
        "trainer": {"callbacks": [{"class_path": "src.models.ExponentialMovingAverage"}]},
    }
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(config))
    with caplog.at_level("INFO"):
        cli = build_cli(["--config=old.yaml", "--model=src.models.RidgeModule"])
    assert type(cli.model).__name__ == "RidgeModule"
    assert type(cli.datamodule.source).__module__ == "calcarine.data.sources.folder"
    assert [record.message for record in caplog.records if "src." in record.message] == [
        "class paths that begin with src. are read as calcarine.; write calcarine. in your configs and flags"
    ]


WRITERS = {"Folder": write_folder, "Algonauts2023": write_algonauts, "Algonauts2021": write_algonauts2021}


@pytest.mark.parametrize("name", WRITERS)
def test_a_root_without_a_source_is_recognised(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from calcarine.command_line.found_source import with_source

    WRITERS[name](tmp_path / "mine")
    args = ["--data.source.root=mine", "--name=x"]
    with caplog.at_level("INFO"):
        assert with_source(args) == [f"--data.source={name}", *args]
    assert f"--data.source.root mine: read as {name}" in caplog.text
    (tmp_path / "named.yaml").write_text("data: {source: {class_path: calcarine.data.Folder}}\n")
    for named in (["--data.source", "Simulated"], ["--config", "named.yaml"]):
        assert with_source([*named, *args]) == [*named, *args]
    assert with_source([*args, "--data.source", "Folder"]) == ["--data.source=Folder", *args, "--data.source", "Folder"]


def test_a_root_that_several_sources_recognise_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "mine")
    write_algonauts(tmp_path / "mine")
    assert train(["--data.source.root", "mine"]) == 2
    assert "Algonauts2023 and Folder know what is there; say which with --data.source" in capsys.readouterr().err
