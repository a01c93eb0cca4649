"""Held-out stimuli from which a trained trunk has learnt, against what the runs' own splits say."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from calcarine.batch import DIGITS
from calcarine.data.datamodule import EncodingDataModule
from calcarine.data.facts import held_out_seen
from calcarine.models import EncodingModule, MlpTrunk, TrunkHead
from lightning.pytorch import Trainer
from planted import Identity, Planted


def run(
    folder: Path, name: str, split_seed: int, trunk: str = "", subjects: int = 1, hemispheres: bool = False
) -> tuple[dict[str, set[str]], dict[str, tuple[int, int]], list[str]]:
    """The first subject's images in each split, and how many of those the trunk has seen, of how many; `Facts.seen`."""
    data = EncodingDataModule(Planted(60, subjects=subjects), Identity(), cache_dir=folder, split_seed=split_seed)
    given: dict[str, Any] = {"trunk_weights": folder / trunk} if trunk else {}
    head = partial(TrunkHead, trunk=partial(MlpTrunk, dims=[8]), **given)
    model = EncodingModule(data.num_targets, data.feature_shapes, head, hemisphere_networks=hemispheres)
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    before = model.seen_before  # as it is when the data are read: heads of hemispheres are not made yet
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / name, weights_only=True)
    digests = [each[:DIGITS] for each in data.table.digests()]
    images = {
        split: {digests[place] for place in data.table.positions_of(0, split)}
        for split in ("train", "validation", "test")
    }
    assert model.seen_before == before
    told = {each.split: (each.count, each.stimuli) for each in held_out_seen(data.table, before)}
    return images, told, torch.load(folder / name, weights_only=True)["calcarine"]["facts"]["seen"]


@pytest.mark.parametrize("hemispheres", [False, True])
def test_those_that_the_first_run_learnt_from_are_counted_and_one_seed_leaves_none(
    tmp_path: Path, hemispheres: bool
) -> None:
    first, told, _ = run(tmp_path, "first.ckpt", 1, subjects=2)
    assert not told
    assert not run(tmp_path, "same.ckpt", 1, "first.ckpt", hemispheres=hemispheres)[1]
    second, told, _ = run(tmp_path, "second.ckpt", 2, "first.ckpt", hemispheres=hemispheres)
    assert told == {
        "validation": (len(second["validation"] & first["train"]), len(second["validation"])),
        "test": (len(second["test"] - first["test"]), len(second["test"])),
    }
    assert min(count for count, _ in told.values()) > 0


def test_what_a_trunk_has_learnt_from_goes_on_from_run_to_run(tmp_path: Path) -> None:
    first, _, seen = run(tmp_path, "first.ckpt", 1)
    second, _, both = run(tmp_path, "second.ckpt", 2, "first.ckpt")
    assert set(seen) == first["train"] | first["validation"]
    assert set(both) == set(seen) | second["train"] | second["validation"]
    third, told, _ = run(tmp_path, "third.ckpt", 3, "second.ckpt")
    assert told["test"][0] == len(third["test"] & set(both)) > len(third["test"] & set(seen))
    again = EncodingModule.load_from_checkpoint(tmp_path / "second.ckpt")
    assert again.facts.seen == both
    assert set(again.facts.selected) == (first["validation"] | second["validation"]) - first["train"] - second["train"]
