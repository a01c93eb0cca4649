"""What ends one rank ends all of them within a minute, in one line, with an exit status that is not 0."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import INPUT, WHEN
from places import REPOSITORY
from trees import write_folder

FIXTURES = Path(__file__).parents[1] / "fixtures"
FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=PixelEncoder",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.strategy=ddp",
    "--checkpoint.every_n_seconds=0",
    "--name=ends",
]
MINUTE = 60
GONE = "gone without a word"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(FIXTURES))
    write_folder(tmp_path / "mine", n_stimuli=61, n_targets=30)
    yield
    assert not list(Path().rglob("*.partial"))


def start(*flags: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, str(REPOSITORY / "train.py"), *FLAGS, *flags]
    # In a session of its own, to which Ctrl-C goes as a terminal's does.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def fault(rank: int, how: str) -> str:
    return f"--trainer.callbacks=[{{class_path: faulty.Fault, init_args: {{rank: {rank}, how: {how}}}}}]"


def end(run: subprocess.Popen[str]) -> tuple[str, float]:
    """What it said, and when all of its processes had ended: they share the pipe."""
    try:
        text, _ = run.communicate(timeout=400)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    return text, time.time()


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error:")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "how", "said", "status"),
    [
        (1, "input", f"rank 1: {INPUT}", {2, -signal.SIGKILL}),
        (1, "killed", f"rank 1 is {GONE}", {1, -signal.SIGKILL}),
        (0, "killed", f"rank 0 is {GONE}", {-signal.SIGKILL}),
        (0, "disk", "checkpoints/last.ckpt: expected space for a checkpoint", {2}),
        # Lightning kills rank 0 where it has not ended yet.
        pytest.param(1, "unheard", f"rank 1: {INPUT}", {2, -signal.SIGKILL}, marks=pytest.mark.long),
    ],
)
def test_a_rank_that_fails_ends_the_other_in_one_line(rank: int, how: str, said: str, status: set[int]) -> None:
    run = start("--trainer.devices=2", fault(rank, how))
    text, ended = end(run)
    assert len(errors(text)) == 1, text
    assert said in errors(text)[0]
    assert "Traceback" not in text
    assert run.returncode in status
    assert ended - float(Path(WHEN).read_text()) < MINUTE


@pytest.mark.slow
@pytest.mark.long
def test_a_fault_of_ours_has_its_traceback_once() -> None:
    run = start("--trainer.devices=3", fault(2, "ours"))
    text, _ = end(run)
    assert not errors(text)
    assert text.count("AssertionError: a fault of ours") == text.count("Traceback") == 1
    assert run.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_an_interrupted_run_of_two_ranks_ends_at_once_and_says_how_to_go_on(number: signal.Signals) -> None:
    run = start("--trainer.devices=2", "--trainer.max_epochs=100000", "--early_stopping.patience=100000")
    while not Path("runs/ends/version_0/checkpoints/last.ckpt").exists():
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.1)
    if number == signal.SIGINT:
        os.killpg(run.pid, number)
    else:
        os.kill(run.pid, number)
    before = time.time()
    text, ended = end(run)
    assert ended - before < MINUTE
    assert run.returncode == 130
    assert text.count("to go on: train.py") == 1
    assert not errors(text)
    assert "Traceback" not in text


def start_nodes(*flags: str, of_second: str) -> list[subprocess.Popen[str]]:
    """Two torchrun nodes on this machine, of which the second has a flag of its own."""
    address = ("-m", "torch.distributed.run", "--nproc_per_node=1", "--nnodes=2", "--master_addr=127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = f"--master_port={free.getsockname()[1]}"
    both = ("--trainer.devices=1", "--trainer.num_nodes=2", *flags)
    own = ((), (of_second,))
    return [start(*both, *own[node], launcher=(*address, port, f"--node_rank={node}")) for node in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "line"), [("killed", f"rank 1 is {GONE}"), ("input", f"rank 1: {INPUT}")])
def test_a_rank_of_one_torchrun_node_that_fails_ends_the_other_node(how: str, line: str) -> None:
    nodes = start_nodes(of_second=fault(1, how))
    said, ended = zip(*(end(node) for node in nodes), strict=True)
    assert [line in each for text in said for each in errors(text)] == [True], said
    assert all(node.returncode for node in nodes)
    assert max(ended) - float(Path(WHEN).read_text()) < MINUTE


@pytest.mark.slow
def test_a_node_that_lacks_the_data_ends_the_other_before_they_have_met() -> None:
    before = time.time()
    nodes = start_nodes(of_second="--data.source.root=absent")
    said, ended = zip(*(end(node) for node in nodes), strict=True)
    assert ["rank 1: --data.source.root absent" in line for text in said for line in errors(text)] == [True], said
    assert all(node.returncode for node in nodes)
    assert max(ended) - before < 2 * MINUTE  # most of which they take to start
    assert not Path("runs").exists()
