"""Heads over frames learn clips: framewise what frames show in whatever order, recurrent ones also the order."""

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calcarine.run.main import main
from trees import write_grey_clip

FRAMES, CLIPS, VOXELS = 6, 400, 8
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
HEADS: dict[str, dict[str, Any]] = {
    "lstm": {
        "class_path": "calcarine.models.RecurrentHead",
        "init_args": {"hidden_dim": 32, "fully_connected_dim": 64},
    },
    "framewise": {
        "class_path": "calcarine.models.FramewiseHead",
        "init_args": {
            "head": {"class_path": "calcarine.models.FullyConnectedHead", "init_args": {"hidden_dims": [64, 64]}},
        },
    },
}


def write_tree(root: Path) -> None:
    """Grey clips of seeded levels; voxels of "SUM" follow the squared levels' sum, those of "ORDER" their order alone.

    The weights of "ORDER" are turned round in time: what the frames show in reverse order evokes the opposite, so a
    model that sees frames without their order can predict nothing. Three repetitions, noise of variance 1/4 each.
    """
    rng = np.random.default_rng(0)
    levels = rng.uniform(30, 225, (CLIPS, FRAMES))
    for clip, own in enumerate(levels):
        write_grey_clip(root / "AlgonautsVideos268_All_30fpsmax" / f"{clip + 1:04d}.mp4", own)
    shown = (levels - 127.5) / levels.std()
    ramp = np.linspace(-1, 1, FRAMES)
    signals = {"SUM": np.square(shown).sum(1), "ORDER": shown @ ramp}
    folder = root / "participants_data_v2021/mini_track/sub01"
    folder.mkdir(parents=True)
    for roi, signal in signals.items():
        signal = (signal - signal.mean()) / signal.std()
        gains = rng.uniform(0.5, 1.5, VOXELS) * rng.choice([-1, 1], VOXELS)
        repeats = signal[:, None, None] * gains + rng.standard_normal((CLIPS, 3, VOXELS)) / 2
        (folder / f"{roi}.pkl").write_bytes(pickle.dumps({"train": repeats.astype(np.float32)}))


def rows_of_test(name: str) -> dict[str, dict[str, str]]:
    with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
        return {row["roi"]: row for row in csv.DictReader(file) if row["split"] == "test"}


def run(head: str, *flags: str, name: str) -> dict[str, dict[str, str]]:
    config = {
        "data": {
            "source": {"class_path": "calcarine.data.Algonauts2021", "init_args": {"root": "data", "frames": FRAMES}},
            "encoder": {"class_path": "calcarine.encoders.PixelEncoder", "init_args": {"size": 1}},
            "average_frames": False,
            "batch_size": 32,
        },
        "model": {
            "class_path": "calcarine.models.EncodingModule",
            "init_args": {
                "head": HEADS[head],
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 3e-3, "weight_decay": 0.0}},
                "scheduler": None,
            },
        },
        "early_stopping": {"patience": 8},
        "trainer": {"max_epochs": 40},
    }
    Path(f"{head}.yaml").write_text(yaml.safe_dump(config))
    assert main([f"--config={head}.yaml", f"--name={name}", *flags, *QUIET]) == 0
    return rows_of_test(name)


@pytest.mark.slow
def test_only_the_recurrent_head_learns_the_order_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(Path("data"))
    lstm, framewise = run("lstm", name="lstm"), run("framewise", name="framewise")
    control = run("lstm", "--data.source.shuffle=true", name="control")
    other = run("framewise", "--data.source.shuffle=true", name="framewise_control")
    for real, shuffled, rois in ((lstm, control, ("SUM", "ORDER")), (framewise, other, ("SUM",))):
        for roi in rois:
            assert float(real[roi]["pearson_ci_low"]) > float(shuffled[roi]["pearson_ci_high"])
    assert float(lstm["ORDER"]["pearson_ci_low"]) > 0.5
    assert float(framewise["ORDER"]["pearson_ci_low"]) < 0.1
    assert float(lstm["ORDER"]["pearson_ci_low"]) > float(framewise["ORDER"]["pearson_ci_high"])
