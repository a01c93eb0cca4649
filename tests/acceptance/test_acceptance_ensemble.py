"""What calcarine promises of stacks: on real spikes, better than the best member; on shuffled ones, nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calcarine.commands.main import main as calcarine
from calcarine.run.main import main
from calcarine.where import CONFIGS

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
MEMBERS = (("v4_windowed", 0), ("v4_cnn", 0), ("v4_cnn", 10), ("v4_gabor", 0))


def correlation_of(run: str) -> float:
    table = pd.read_csv(Path(run) / "scores.csv", keep_default_na=False)
    (row,) = table[(table["split"] == "test") & (table["roi"] == "all") & (table["hemisphere"] == "both")].itertuples()
    return float(row.pearson_mean)


def train(root: Path, config: str, seed: int, *flags: str) -> str:
    """A member, on split 0 unless flags say otherwise; the run's folder."""
    name = f"{config}_{seed}"
    held_out = ["--data.split_seed=0", "--data.validation=0.1", f"--seed_everything={seed}"]
    given = [f"--config={CONFIGS / f'{config}.yaml'}", f"--data.source.root={root}", f"--name={name}"]
    assert main([*QUIET, *given, *held_out, *flags]) == 0
    return f"runs/{name}/version_0"


@pytest.mark.slow
@pytest.mark.long
def test_a_stack_predicts_real_spikes(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One split of the three that docs/after_training.md speaks of; its two networks take minutes each."""
    monkeypatch.chdir(tmp_path)
    runs = [train(shared_data / "macaque_v4/190923", config, seed) for config, seed in MEMBERS]
    assert calcarine(["ensemble", *runs, "--stack"]) == 0
    reached = correlation_of("runs/ensemble/version_0")
    assert reached >= max(map(correlation_of, runs))
    assert reached >= 0.60


@pytest.mark.slow
def test_a_stack_of_shuffled_responses_predicts_nothing(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one shuffle a stack of few members may correlate by chance, as one feature does with all neurons."""
    monkeypatch.chdir(tmp_path)
    root = shared_data / "macaque_v4/190923"
    reached = []
    for split in range(3):
        shuffled = ["--data.source.shuffle=true", f"--data.split_seed={split}"]
        runs = [train(root, "v4_gabor", 10 * split + seed, *shuffled, "--trainer.max_epochs=3") for seed in (0, 1)]
        runs.append(train(root, "v4_ridge", split, *shuffled))
        assert calcarine(["ensemble", *runs, "--stack"]) == 0
        reached.append(correlation_of(f"runs/ensemble/version_{split}"))
    assert np.abs(np.mean(reached)) <= 0.05
