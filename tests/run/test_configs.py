"""Every file in configs/, through the real command line, on small data in its own format and with random weights."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from calcarine.where import CONFIGS as CONFIGS_FOLDER
from trees import write_algonauts, write_algonauts2021, write_folder, write_it_spikes

CONFIGS = sorted(CONFIGS_FOLDER.glob("*.yaml"))
SMALL: dict[str, dict[str, Any]] = {
    "Simulated": {"images": 60, "test_images": 20, "targets": 20, "image_size": 32},
    "TorchvisionEncoder": {"weights": "random", "image_size": 64},
    "TimmEncoder": {"weights": "random", "image_size": 64},
    "OpenClipEncoder": {"weights": "random", "image_size": 32},
    "PrincipalComponents": {"components": 10},
    "RecurrentHead": {"hidden_dim": 16, "fully_connected_dim": 16},
}
SMALL_MODELS: dict[object, dict[str, Any]] = {
    "vgg16": {"model": "alexnet", "layers": "features", "pool": "avg"},  # two of its classifiers would take 8 GB
    "samvit_base_patch16.sa1b": {"model": "test_resnet", "layers": "layer2"},  # maps too; its neck is in test_zoo
    "resnet50": {"model": "resnet18"},
    "resnet152": {"model": "resnet18"},
    "densenet169": {"model": "densenet121"},
    "vit_base_patch14_dinov2.lvd142m": {"model": "vit_tiny_patch16_224"},  # 12 blocks too
}
WRITERS: dict[str, Callable[[Path], object]] = {
    "calcarine.data.Folder": lambda root: write_folder(root, 60),
    "calcarine.data.Algonauts2023": lambda root: write_algonauts(root, 60),
    "calcarine.data.Algonauts2021": lambda root: write_algonauts2021(root, 60, frames=16),
    "calcarine.data.ItSpikes": lambda root: write_noise_spikes(root),
}
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def write_noise_spikes(root: Path) -> None:
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    write_it_spikes(root, pixels, {"train": 40, "val": 20, "test": 10})


def small(node: Any) -> Any:
    """The same config with what would be downloaded or take long made small, however deep it stands."""
    if isinstance(node, list):
        return [small(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: small(value) for key, value in node.items()}
    for member in node.get("members", {}).values():
        member["max_epochs"] = 2
    changes = SMALL.get(str(node.get("class_path")).rpartition(".")[2])
    if changes is None:
        return node
    settings = node.get("init_args", {})
    return {**node, "init_args": {**settings, **changes, **SMALL_MODELS.get(settings.get("model"), {})}}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def flags(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that run a config on 60 pictures of noise in its own format."""
    monkeypatch.chdir(tmp_path)
    text = request.param.read_text()
    assert text.startswith("# "), "the first comment says what it is"
    config = small(yaml.safe_load(text))
    source = config["data"]["source"]
    settings = source.get("init_args", {})
    if settings.get("root") == "???":
        WRITERS[source["class_path"]](tmp_path / "mine")
        settings["root"] = "mine"
    if settings.get("root") == ["???", "???"]:
        settings["root"] = ["mine", "other"]
        for name in settings["root"]:
            WRITERS[source["class_path"]](tmp_path / name)
    if isinstance(settings.get("subject"), list):
        settings["subject"] = [1, 2]
        (tmp_path / "mine" / "subj02").symlink_to("subj01")
    (tmp_path / request.param.name).write_text(yaml.safe_dump(config, sort_keys=False))
    return [f"--config={request.param.name}", "--trainer.max_epochs=2", *QUIET]


@pytest.mark.parametrize("flags", CONFIGS[::6], indirect=True, ids=lambda path: path.stem)
def test_some_configs_are_valid(flags: list[str]) -> None:
    """Every one is run below."""
    build_cli(flags)


@pytest.mark.slow
def test_every_config_makes_a_scored_run(flags: list[str]) -> None:
    assert main([*flags, "--name=run"]) == 0
    with Path("runs/run/version_0/scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["roi"] == "all"]
    splits = {row["split"] for row in rows}
    scores = [row for row in rows if row["split"] == ("test" if "test" in splits else "validation")]
    assert scores
    assert all(int(row["n_scored"]) and row["pearson_mean"] for row in scores)


def test_recordings_in_company_are_stacked_as_they_are_alone():
    """The same features, members that are solved, and network, which is trained longer where recordings share it."""
    alone, shared = (
        yaml.safe_load((CONFIGS_FOLDER / f"{name}.yaml").read_text()) for name in ("v4_stack", "v4_shared_stack")
    )
    for each in (alone, shared):
        del each["data"]["source"]["init_args"]["root"]
        members = each["model"]["init_args"]["members"]
        for network in ("network", "patch_network"):
            del members[network]["max_epochs"]
        members["patch_network"]["model"]["init_args"]["head"]["init_args"]["trunk"].pop("init_args", None)  # dropout
    del alone["model"]["init_args"]["members"]["deep_network"]
    assert alone == shared
