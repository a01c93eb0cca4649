"""What calcarine promises of banded ridge on real spikes."""

import csv
from pathlib import Path

import numpy as np
import pytest

from src.cli import main

CONFIG = Path(__file__).resolve().parent.parent / "configs/v4_banded.yaml"
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.mark.slow
@pytest.mark.parametrize(("session", "demanded"), [("201025", 0.52), ("190923", 0.56)])
def test_bands_of_features_predict_real_spikes(
    shared_data: Path, session: str, demanded: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mean over three seeds of the split."""
    monkeypatch.chdir(tmp_path)
    root = f"--data.source.root={shared_data / 'macaque_v4' / session}"
    correlations = []
    for seed in range(3):
        flags = [*QUIET, f"--config={CONFIG}", root, f"--seed_everything={seed}", "--name=spikes"]
        flags.append(f"--data.cache_dir={tmp_path / 'cache'}")
        assert main(flags) == 0
        with Path(f"runs/spikes/version_{seed}/scores.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["split"], row["roi"]) == ("test", "all")]
        correlations.append(float(rows[0]["pearson_mean"]))
    assert np.mean(correlations) >= demanded
