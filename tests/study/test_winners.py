"""The search over the parts of challenge winners, small: both kinds of head, frozen and fine-tuned, come to values."""

import csv
from pathlib import Path

import pytest
from calcarine.study.front import main
from calcarine.where import CONFIGS
from trees import write_algonauts

SMALL = {"vit_base_patch14_dinov2.lvd142m": "vit_tiny_patch16_224", "choices: [224]": "choices: [64]"}


@pytest.mark.slow
def test_each_part_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_algonauts(tmp_path / "mine", 60)
    space = (CONFIGS / "search/winners.yaml").read_text()
    for large, small in SMALL.items():
        assert large in space
        space = space.replace(large, small)
    space += "model.backbone.weights: {type: categorical, choices: [random], when: {data.encoder: null}}\n"
    Path("space.yaml").write_text(space)
    flags = [
        f"--config={CONFIGS / 'mem_like.yaml'}",
        "--search=space.yaml",
        "--study=mine",
        "--trials=5",
        "--sampler=random",
        "--pruner=none",
        "--data.source.root=mine",
        "--data.source.subject=1",
        "--data.encoder.model=vit_tiny_patch16_224",
        "--data.encoder.weights=random",
        "--data.encoder.image_size=64",
        "--trainer.accelerator=cpu",
        "--trainer.max_epochs=1",
    ]
    assert main(flags) == 0
    with Path("runs/mine/trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["state"] for row in rows} == {"COMPLETE"}
    assert rows[0]["data.encoder.layers"] == "[blocks.2, blocks.5, blocks.8, blocks.11]"  # the configuration itself
    assert {row["data.encoder"] for row in rows} == {"TimmEncoder", ""}
    assert {row["model.head"] for row in rows} == {"TrunkHead", "QueryDecoder"}
    assert {row["model.finetuning"] for row in rows} == {"Lora", ""}
    assert "Score against time" in Path("runs/mine/report.html").read_text()
