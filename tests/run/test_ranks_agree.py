"""Two torchrun nodes, and three ranks of one, train and score as one process does; every stimulus is served once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ranked import BATCH, Found, fit_all, models, quiet_trainer, unflat

SCRIPT = Path(__file__).parents[1] / "fixtures" / "ranked.py"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    return fit_all(tmp_path_factory.mktemp("alone"), quiet_trainer)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def torchrun(folder: Path, per_node: int, nodes: int) -> list[dict[str, Found]]:
    """What each rank found, of nodes that are all this machine."""
    address = ["--master_addr=127.0.0.1", f"--master_port={free_port()}"]
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={per_node}", f"--nnodes={nodes}"),
                *(f"--node_rank={node}", *address, str(SCRIPT), str(folder), str(per_node), str(nodes)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        for node in range(nodes)
    ]
    for node in started:
        text, _ = node.communicate(timeout=300)
        assert node.returncode == 0, text
    return [unflat(np.load(folder / f"rank{rank}.npz")) for rank in range(per_node * nodes)]


@pytest.mark.slow
@pytest.mark.parametrize(("per_node", "nodes"), [(1, 2), pytest.param(3, 1, marks=pytest.mark.long)])
def test_ranks_fit_and_score_as_one_process_does(
    tmp_path: Path, alone: dict[str, Found], per_node: int, nodes: int
) -> None:
    ranks = torchrun(tmp_path, per_node, nodes)
    assert BATCH % len(ranks) == 0  # or one process has other steps
    for name, own in alone.items():
        for key, value in own.items():
            there = [rank[name][key] for rank in ranks]
            if key.startswith("served"):
                assert len(np.unique(np.concatenate(there))) == len(np.unique(value)), (name, key)
                np.testing.assert_array_equal(np.sort(np.concatenate(there)), np.sort(value), (name, key))
                continue
            tolerance = 1e-6 if name == "other weights" else 1e-5
            for each in there:
                np.testing.assert_allclose(each, value, rtol=tolerance, atol=tolerance, err_msg=f"{name}: {key}")
    assert set(models()) < set(alone)
