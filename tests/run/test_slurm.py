"""The scripts for SLURM, started as SLURM starts them: its variables and signals, and stand-ins for its commands."""

import csv
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from slurm import PIDS, REQUEUED, SCRIPTS, install, submit
from storages import postgresql
from trees import write_folder

FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=PixelEncoder",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
EPOCHS = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    install(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=61, n_targets=30)
    return tmp_path


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda each: each.name)
def test_scripts_are_sound_and_ask_for_what_they_use(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    asked = {each.partition("=")[0] for each in re.findall(r"^#SBATCH --(\S+)", text, re.MULTILINE)}
    if "SLURM_NTASKS_PER_NODE" in text:
        assert "ntasks-per-node" in asked  # SLURM sets the variable only then
    assert {"cpus-per-task", "time", "output"} <= asked


def test_a_script_without_what_it_needs_says_so(cluster: Path) -> None:
    for script, said in (("several_nodes.sh", "expected --name"), ("tune_array.sh", "CALCARINE_STORAGE")):
        job = submit(cluster, script)
        text, _ = job.communicate(timeout=30)
        assert said in text
        assert job.returncode


@pytest.mark.slow
def test_two_nodes_whose_time_is_over_are_queued_again_once_and_go_on(cluster: Path) -> None:
    (cluster / "hpc_ckpt_1.ckpt").write_bytes(b"another run's, which Lightning would fit and test")
    flags = [*FLAGS, "--name=mine", f"--trainer.max_epochs={EPOCHS}", f"--early_stopping.patience={EPOCHS}"]
    first = submit(cluster, "several_nodes.sh", *flags, nodes=2)
    run = cluster / "runs/mine/version_0"
    while not (run / "checkpoints/last.ckpt").exists():
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    for pid in (cluster / PIDS).read_text().split():
        os.kill(int(pid), signal.SIGUSR1)
    text, _ = first.communicate(timeout=100)
    assert (cluster / REQUEUED).read_text().split("\n") == [f"requeue {os.getpid() % 9000 + 100}", ""]
    assert text.count("is queued again, and goes on") == 1, text
    assert not (run / "scores.csv").exists()

    again = submit(cluster, "several_nodes.sh", *flags, nodes=2)
    text, _ = again.communicate(timeout=400)
    assert again.returncode == 0, text
    assert text.count("test correlation") == 1
    assert f"{run.relative_to(cluster)}: test correlation" in text
    with (run / "history.csv").open(newline="") as file:
        assert [int(float(row["epoch"])) for row in csv.DictReader(file)] == list(range(EPOCHS))
    assert [each.name for each in cluster.glob("hpc_ckpt*")] == ["hpc_ckpt_1.ckpt"]


@pytest.mark.slow
def test_extraction_is_divided_and_a_training_finds_it(cluster: Path) -> None:
    job = submit(cluster, "extract.sh", *FLAGS, tasks=2)
    text, _ = job.communicate(timeout=400)
    assert job.returncode == 0, text
    assert len(list((cluster / "cache/embeddings").iterdir())) == 1
    job = submit(cluster, "one_node.sh", *FLAGS, "--trainer.fast_dev_run=true", tasks=2)
    text, _ = job.communicate(timeout=400)
    assert job.returncode == 0, text
    assert "nothing to extract" in text


@pytest.mark.slow
def test_processes_that_do_not_meet_are_refused_rather_than_waited_for(cluster: Path) -> None:
    job = submit(cluster, "one_node.sh", *FLAGS, "--trainer.devices=1", "--trainer.strategy=auto", tasks=2)
    text, _ = job.communicate(timeout=400)
    assert job.returncode, text
    assert text.count("expected as many processes as srun has, 2, found 1") == 1
    assert not (cluster / "runs").exists()


@pytest.mark.slow
def test_tasks_of_an_array_are_workers_of_one_study_on_postgresql(cluster: Path) -> None:
    (cluster / "search.yaml").write_text("model.optimizer.lr: {type: float, low: 1.0e-5, high: 1.0e-3, log: true}\n")
    flags = [*FLAGS, "--study=mine", "--search=search.yaml", "--trials=2", "--trainer.max_epochs=2"]
    with postgresql() as url:
        tasks = [
            submit(
                cluster,
                "tune_array.sh",
                *flags,
                CALCARINE_STORAGE=url,
                SLURM_ARRAY_JOB_ID="77",
                SLURM_ARRAY_TASK_ID=str(task),
            )
            for task in range(2)
        ]
        for job in tasks:
            text, _ = job.communicate(timeout=300)
            assert job.returncode == 0, text
    with (cluster / "runs/mine/trials.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["COMPLETE", "COMPLETE"]
