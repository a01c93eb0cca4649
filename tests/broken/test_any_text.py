"""Any text at all for the pure readers and for the command line: an answer, or one line, and never a traceback."""

import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from broken import refused
from calcarine.commands.main import main
from calcarine.front_door import enter
from calcarine.run.main import answered
from foreign import READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FOUND = settings(
    derandomize=True, database=None, deadline=None, max_examples=40, suppress_health_check=list(HealthCheck)
)
"""The same examples on every machine."""


def some(names: Iterable[str], fast: str) -> list[Any]:
    """All names, of which the fast suite takes one."""
    return [pytest.param(name, marks=[] if name == fast else [pytest.mark.slow]) for name in names]


CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "train",
            "test",
            "lh",
            "rh",
            "V1",
            "0",
            "4",
            "-1",
            "1e400",
            "nan",
            "inf",
            "٣",
            "²",
            "9" * 30,
            "",
            " ",
            "\0",
            '"',
            "image0.png",
            "stimulus",
            "split",
            "target",
            "hemisphere",
            "roi",
            "voxel_id",
            "nc_testset",
            "trial_id",
        ]
    ),
)
TABLES = {
    "split.csv": "stimulus,split",
    "trials.csv": "stimulus,session,speed",
    "rois.csv": "target,hemisphere,roi",
    "table of stimuli": "stimulus,subject",
    "table of trials": "trial_type,session,run,trial_id,stimulus,concept",
    "table of voxels": "voxel_id,nc_singletrial,nc_testset,V1",
    "table of image files": "image_name",
}
SETTINGS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELLS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(CELLS, inner, max_size=3)),
    max_leaves=8,
)


def try_to_read(name: str, file: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, file)
        path.write_bytes(content)
        try:
            READERS[name].read(path)
        except Exception as error:
            refused(error)


@pytest.mark.parametrize("name", some(TABLES, "split.csv"))
@FOUND
@given(data=st.data())
def test_any_table(name: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, max_size=7).map(",".join), max_size=5))
    head = data.draw(st.sampled_from([TABLES[name], "", "\ufeff" + TABLES[name].upper()]) | st.text(max_size=20))
    try_to_read(name, "task_metadata.csv", "\n".join([head, *rows]).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", some(["run.json", "config", "search space", "layers.csv of a run"], "config"))
@FOUND
@given(content=st.binary(max_size=60) | st.text("[]{}:,&*a!?|>-\"'\n 01", max_size=40).map(str.encode))
def test_any_text_of_settings(name: str, content: bytes) -> None:
    file = {"run.json": "run.json", "layers.csv of a run": "layers.csv"}.get(name, "mine.yaml")
    with tempfile.TemporaryDirectory() as folder:
        path = READERS[name].write(Path(folder)) if "run" in name else Path(folder, file)
        path.write_bytes(content)
        try:
            READERS[name].read(path)
        except Exception as error:
            refused(error)


@FOUND
@given(content=SETTINGS)
def test_any_search_space(content: Any) -> None:
    import yaml

    try_to_read("search space", "mine.yaml", yaml.safe_dump({"model.lr": content}).encode())


@pytest.mark.parametrize(
    "name", some(["npy of responses", "npy of ceilings", "npy of labels", "npy of an object"], "npy of responses")
)
@FOUND
@given(
    descr=st.sampled_from(["<f4", ">f8", "|O", "<U3", "|V8", "<c8", "<M8[s]", "?", "f", "", "<f3"]) | SETTINGS,
    shape=st.lists(st.integers(-3, 1 << 66) | st.integers(0, 4), max_size=4).map(tuple) | SETTINGS,
    order=st.booleans() | SETTINGS,
    data=st.binary(max_size=80),
)
def test_any_header(name: str, descr: Any, shape: Any, order: Any, data: bytes) -> None:
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode("latin-1", "replace") + b"\n"
    try_to_read(name, "array.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)


@pytest.mark.parametrize(
    "name", some(["pickle", "npy of responses", "safetensors", "MATLAB 5", "flat patch", "image.png"], "pickle")
)
@FOUND
@given(data=st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    begin = {
        "pickle": [b"\x80\x04}", b"(dp0\n", b"\x80\x02cnumpy\ndtype\n("],
        "safetensors": [struct.pack("<Q", 20), struct.pack("<Q", 2) + b"{}"],
        "flat patch": [struct.pack(">2i", -1, 1)],
        "image.png": [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"GIF89a", b"BM", b"P6 ", b"II*\0", b"\xff\xd8\xff"],
    }
    content = data.draw(st.sampled_from([b"", *begin.get(name, [])])) + data.draw(st.binary(max_size=60))
    try_to_read(name, "weights.safetensors" if name == "safetensors" else "file.mat", content)


WORDS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        [
            "--",
            "-",
            "--out",
            "--truth",
            "--json",
            "--csv",
            "--roi",
            "--images",
            "--debug",
            "--help",
            "-h",
            "--name",
            "=",
            "--x=1",
            "--data.source",
            "--data.source.root",
            "--config",
            "--search",
            "--trials",
            "--model.head",
            "null",
            "[",
            "{",
            "{a: *a}",
            "[1,10]",
            "1e999",
            "Folder",
            "RidgeModule",
            "--trainer.max_epochs",
            "--data.encoder",
            "data",
            ".",
            "/",
            "~",
            "%s",
        ]
    ),
)
WITHOUT_TORCH = ["check", "score", "runs", "compare", "ensemble", "layers", "--debug"]
"""Commands that answer without torch."""


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(args: list[str], capsys: pytest.CaptureFixture[str], run: Callable[[list[str]], int] = main) -> None:
    """An exit status of 0 or 2, and with 2 a line that says why."""
    try:
        status = run(args)
    except SystemExit as end:  # argparse has said it, on two lines
        status = int(end.code or 0)
    said = capsys.readouterr().err
    assert status in (0, 2), args
    assert "--debug" in args or "Traceback" not in said, args
    assert status == 0 or said.strip(), args


@pytest.mark.parametrize("command", some(WITHOUT_TORCH, "score"))
@FOUND
@given(words=st.lists(WORDS, max_size=5))
def test_any_command_line(command: str, words: list[str], empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer([command, *words], capsys)
    assert not list(empty.iterdir()), (command, words)


@FOUND
@given(words=st.lists(WORDS, min_size=1, max_size=4))
def test_any_flags_of_a_run_before_torch_is_imported(
    words: list[str], empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(words, capsys, lambda args: enter(args, answered))
    assert not list(empty.iterdir())
