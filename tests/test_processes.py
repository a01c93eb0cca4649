"""Real processes through the real command: several ranks, and kills at bad moments."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from trees import write_folder

REPOSITORY = Path(__file__).resolve().parent.parent
STIMULI = 331  # 67 test stimuli: no number of ranks below 67 divides them


def command(*flags: str) -> list[str]:
    return [
        sys.executable,
        str(REPOSITORY / "train.py"),
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=PixelEncoder",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--trainer.max_epochs=4",
        *flags,
    ]


def run(folder: Path, *flags: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(*flags), cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def scores(run_folder: Path) -> list[dict[str, str]]:
    with (run_folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_folder(folder / "mine", n_stimuli=STIMULI, n_targets=30)
    return folder


@pytest.mark.slow
def test_two_ranks_evaluate_every_stimulus_once_like_one(workplace: Path) -> None:
    """One cache, one run folder, and for the same weights the metrics of one process to 1e-6."""
    text = run(workplace, "--name=two", "--trainer.devices=2", "--trainer.strategy=ddp")
    assert [path.name for path in (workplace / "runs/two").iterdir()] == ["version_0"]
    assert len(list((workplace / "cache/embeddings").iterdir())) == 1
    assert text.count("test correlation") == 1
    two = workplace / "runs/two/version_0"
    predictions = np.load(two / "predictions/test.npy")
    assert predictions.shape == (round(0.2 * STIMULI), 30)
    assert np.isfinite(predictions).all()

    # The same weights in one process: it resumes at the end of training and evaluates only.
    one = "--name=one", f"--ckpt_path={two / 'checkpoints/last.ckpt'}"
    assert "nothing to extract" in run(workplace, *one)
    single = workplace / "runs/one/version_0"
    np.testing.assert_allclose(np.load(single / "predictions/test.npy"), predictions, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(scores(two), scores(single), strict=True):
        for column, value in ours.items():
            if value.replace(".", "").replace("-", "").replace("e", "").isdigit():
                assert float(value) == pytest.approx(float(theirs[column]), rel=1e-6, abs=1e-6), column
            else:
                assert value == theirs[column]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["extraction", "training"])
def test_killed_and_started_again_it_ends_like_an_undisturbed_run(workplace: Path, moment: str) -> None:
    flags = [f"--data.cache_dir={moment}", "--trainer.max_epochs=40", "--early_stopping.patience=40"]
    run(workplace, f"--name={moment}-undisturbed", *flags, "--data.cache_dir=undisturbed")
    killed = workplace / f"runs/{moment}-killed/version_0"
    # A wait until the sign that the moment has come: a first chunk's marker, or a first checkpoint.
    sign = "embeddings/*.partial/done.*" if moment == "extraction" else "checkpoints/last.ckpt"
    watched = workplace / moment if moment == "extraction" else killed
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(f"--name={moment}-killed", *flags), cwd=workplace, env=environment, stderr=subprocess.PIPE
    )
    while not list(watched.glob(sign)):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (killed / "scores.csv").exists()
    run(workplace, f"--name={moment}-killed", "--ckpt_path=last", *flags)
    again = sorted((workplace / f"runs/{moment}-killed").iterdir())[-1]
    undisturbed = workplace / f"runs/{moment}-undisturbed/version_0"
    for name in ("scores.csv", "targets.csv"):
        assert (again / name).read_bytes() == (undisturbed / name).read_bytes()
