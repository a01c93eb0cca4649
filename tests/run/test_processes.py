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
from calcarine.run.main import main
from places import REPOSITORY
from trees import write_folder, write_images

STIMULI = 331  # 66 test stimuli, 33 validation stimuli: two ranks cannot share the latter evenly
FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=PixelEncoder",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def start(*flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(REPOSITORY / "train.py"), *FLAGS, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def scores(run: Path) -> list[dict[str, str]]:
    with (run / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=STIMULI, n_targets=30)
    return tmp_path


@pytest.mark.slow
def test_two_ranks_evaluate_every_stimulus_once_like_one(caplog: pytest.LogCaptureFixture) -> None:
    """One cache, one run folder, and for the same weights the metrics of one process to 1e-6."""
    flags = ["--trainer.max_epochs=4"]
    ranks = start(*flags, "--name=two", "--trainer.devices=2", "--trainer.strategy=ddp")
    text, _ = ranks.communicate(timeout=300)
    assert ranks.returncode == 0, text
    assert text.count("test correlation") == 1
    assert [path.name for path in Path("runs/two").iterdir()] == ["version_0"]
    assert len(list(Path("cache/embeddings").iterdir())) == 1
    two = Path("runs/two/version_0")
    writers = {path.name.split(".")[-2] for path in Path("runs").rglob("events.*")}  # their process numbers
    assert writers == {str(ranks.pid)}
    assert text.count("epoch 3:") == 1
    assert "Warning" not in text
    predictions = {split: np.load(two / f"predictions/{split}.npy") for split in ("validation", "test")}
    assert [len(array) for array in predictions.values()] == [33, 66]
    assert all(np.isfinite(array).all() for array in predictions.values())

    # The same weights in one process: it resumes at the end of training and evaluates only.
    with caplog.at_level("INFO"):
        assert main([*FLAGS, *flags, "--name=one", f"--ckpt_path={two / 'checkpoints/last.ckpt'}"]) == 0
    assert "nothing to extract" in caplog.text
    one = Path("runs/one/version_0")
    for split, array in predictions.items():
        np.testing.assert_allclose(np.load(one / f"predictions/{split}.npy"), array, rtol=1e-5, atol=1e-5)
    names = ("split", "subject", "hemisphere", "roi")
    for ours, theirs in zip(scores(two), scores(one), strict=True):
        for column, value in ours.items():
            if column in names or not value:
                assert value == theirs[column]
            else:
                assert float(value) == pytest.approx(float(theirs[column]), rel=1e-6, abs=1e-6), column


@pytest.mark.slow
def test_two_ranks_share_a_trunk_of_subjects_of_whom_a_batch_may_hold_none(workplace: Path) -> None:
    """A readout without a stimulus on one rank does not keep the other one waiting."""
    write_folder(workplace / "other", n_stimuli=12, n_targets=3)
    write_images(workplace / "other" / "images", [f"image{i}.png" for i in range(1, 13)], seed=9)  # others than mine's
    ranks = start(
        "--data.source.root=[mine,other]",
        "--data.batch_size=4",
        "--model.head=TrunkHead",
        "--model.head.trunk=MlpTrunk",
        "--model.head.trunk.dims=[8]",
        "--model.head.readout=MlpHead",  # with batch norm, which cannot take one stimulus
        "--trainer.max_epochs=1",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--name=shared",
    )
    text, _ = ranks.communicate(timeout=300)
    assert ranks.returncode == 0, text
    assert {row["subject"] for row in scores(Path("runs/shared/version_0"))} == {"mine", "other"}
    for split in ("validation", "test"):
        for subject, targets in (("mine", 30), ("other", 3)):
            predicted = np.load(f"runs/shared/version_0/predictions/{subject}/{split}.npy")
            assert predicted.shape[1] == targets
            assert np.isfinite(predicted).all()


@pytest.mark.slow
def test_killed_and_started_again_it_ends_like_an_undisturbed_run() -> None:
    flags = ["--trainer.max_epochs=40", "--early_stopping.patience=40", "--data.encode_batch_size=1"]
    assert main([*FLAGS, *flags, "--name=undisturbed", "--data.cache_dir=undisturbed"]) == 0
    # Killed once it has left this sign: a first chunk in the cache, then a first checkpoint of training.
    for name, sign in (
        ("extraction", "extraction/embeddings/*.partial/done.*"),
        ("training", "runs/training/version_0/checkpoints/last.ckpt"),
    ):
        victim = start(*flags, f"--name={name}", f"--data.cache_dir={name}")
        while not list(Path().glob(sign)):
            assert victim.poll() is None, victim.communicate()[0]
            time.sleep(0.001)
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        assert not list(Path("runs", name).glob("*/scores.csv"))
        assert main([*FLAGS, *flags, f"--name={name}", f"--data.cache_dir={name}", "--ckpt_path=last"]) == 0
        again = sorted(Path("runs", name).iterdir())[-1]
        for file in ("scores.csv", "targets.csv"):
            assert (again / file).read_bytes() == Path("runs/undisturbed/version_0", file).read_bytes()
