"""Every file in configs/, through the real command line, on small data in its own format and with random weights."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import write_algonauts, write_folder

from src.cli import build_cli, main

CONFIGS = sorted((Path(__file__).resolve().parent.parent / "configs").glob("*.yaml"))
SMALL: dict[str, dict[str, Any]] = {
    "Simulated": {"images": 60, "test_images": 20, "targets": 20, "image_size": 32},
    "TorchvisionEncoder": {"weights": "random", "image_size": 64},
    "TimmEncoder": {"weights": "random", "image_size": 64},
    "OpenClipEncoder": {"weights": "random", "image_size": 32},
    "PrincipalComponents": {"components": 10},
}
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def small(node: Any) -> Any:
    """The same config with what would be downloaded or take long made small, however deep it stands."""
    if isinstance(node, list):
        return [small(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: small(value) for key, value in node.items()}
    changes = SMALL.get(str(node.get("class_path")).rpartition(".")[2])
    return node if changes is None else {**node, "init_args": {**node.get("init_args", {}), **changes}}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def flags(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that run a config on 60 pictures of noise in its own format."""
    monkeypatch.chdir(tmp_path)
    text = request.param.read_text()
    assert text.startswith("# "), "the first comment says what it is"
    config = small(yaml.safe_load(text))
    source = config["data"]["source"]
    if source.get("init_args", {}).get("root") == "???":
        write = {"src.data.Folder": write_folder, "src.data.Algonauts2023": write_algonauts}[source["class_path"]]
        write(tmp_path / "mine", 60)
        source["init_args"]["root"] = "mine"
    (tmp_path / request.param.name).write_text(yaml.safe_dump(config, sort_keys=False))
    return [f"--config={request.param.name}", "--trainer.max_epochs=2", *QUIET]


def test_every_config_is_valid(flags: list[str]) -> None:
    build_cli(flags)


@pytest.mark.slow
def test_every_config_makes_a_scored_run(flags: list[str]) -> None:
    assert main([*flags, "--name=run"]) == 0
    with Path("runs/run/version_0/scores.csv").open(newline="") as file:
        scores = [row for row in csv.DictReader(file) if row["split"] == "test" and row["roi"] == "all"]
    assert scores
    assert all(int(row["n_scored"]) and row["pearson_mean"] for row in scores)
