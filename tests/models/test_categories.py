"""Hybrid networks: categories beside responses, on cached features and through a backbone."""

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from calcarine.batch import Batch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import Encoder
from calcarine.errors import InputError
from calcarine.models import CategoryObjective, EncodingModule, RoiEarlyStopping
from calcarine.run.main import main
from calcarine.where import CONFIGS
from lightning.pytorch import Trainer
from planted import Identity, Planted
from sklearn.metrics import accuracy_score
from torch.optim import AdamW
from trees import write_it_spikes

KINDS = np.array(["apple", "bear", "car", "door"])
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


class Named(Planted):
    """Planted responses to pictures of four kinds, which a linear function of the pixels tells apart.

    Args:
        mixed: Permute the kinds over the pictures: a control.
        unnamed: The first stimuli, whose kind is not known.
    """

    def __init__(self, stimuli: int = 300, mixed: bool = False, unnamed: int = 0, **planted: Any) -> None:
        super().__init__(stimuli, **planted)
        self.mixed, self.unnamed = mixed, unnamed

    def read(self):
        (recording,) = super().read()
        pixels = recording.stimuli.images.transpose(0, 3, 1, 2).reshape(self.stimuli, -1) / 127.5 - 1
        rng = np.random.default_rng(7)
        kinds = KINDS[(pixels @ rng.standard_normal((48, 4))).argmax(1)]
        if self.mixed:
            kinds = rng.permutation(kinds)
        kinds[: self.unnamed] = ""
        return [replace(recording, categories=kinds)]


class Mixing(Encoder):
    """A small trainable backbone of 4 × 4 images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(48, 32)

    def forward(self, images):
        return {"mixed": self.linear(images.float().flatten(1) / 127.5 - 1).tanh()}

    def feature_shapes(self):
        return {"mixed": (32,)}

    def settings(self):
        return {}


def fit(
    tmp_path: Path,
    source: Planted,
    weight: float = 1.0,
    epochs: int = 20,
    backbone: bool = False,
    ckpt_path: Path | None = None,
    **flags: Any,
) -> tuple[EncodingModule, EncodingDataModule, Trainer, RoiEarlyStopping]:
    torch.manual_seed(0)
    encoder = None if backbone else Identity()
    data = EncodingDataModule(source, encoder, cache_dir=tmp_path / "cache", batch_size=32)
    model = EncodingModule(
        data.num_targets,
        data.feature_shapes,
        backbone=Mixing() if backbone else None,
        categories=CategoryObjective(weight),
        optimizer=lambda params: AdamW(params, lr=1e-2),
        scheduler=None,
    )
    stopping = RoiEarlyStopping(**flags)
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[stopping],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return model, data, trainer, stopping


def filled(facts_of: Named, features: int, tmp_path: Path) -> tuple[CategoryObjective, EncodingDataModule]:
    data = EncodingDataModule(facts_of, Identity(), cache_dir=tmp_path / "cache")
    data.setup()
    objective = CategoryObjective(weight=0.5)
    objective.fill(data.facts, features)
    return objective, data


def batch_of(category: torch.Tensor) -> Batch:
    count = len(category)
    return Batch(torch.arange(count), 0, torch.zeros(count, 1), category=category)


def test_loss_is_the_weighted_cross_entropy_of_known_categories(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective, _ = filled(Named(60), 6, tmp_path)
    features = {"a": torch.randn(5, 2, 2, requires_grad=True), "b": torch.randn(5, 2)}
    category = torch.tensor([3, -1, 0, 1, -1])
    flat = torch.cat([features["a"].flatten(1), features["b"]], 1)
    evidence = flat @ objective.readout.weight.T + objective.readout.bias
    expected = 0.5 * F.cross_entropy(evidence[[0, 2, 3]], category[[0, 2, 3]])
    torch.testing.assert_close(objective.loss(features, batch_of(category)), expected)
    nothing = objective.loss(features, batch_of(torch.full((5,), -1)))
    nothing.backward()
    assert nothing.item() == 0
    assert torch.equal(features["a"].grad, torch.zeros(5, 2, 2))


def test_evidence_is_averaged_over_the_frames_of_a_clip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective, _ = filled(Named(60), 6, tmp_path)
    frames = torch.randn(4, 3, 6)  # clips, frames, features
    torch.testing.assert_close(objective({"a": frames.flatten(0, 1)}, 4), objective.readout(frames).mean(1))


@pytest.mark.parametrize("size", [1, 7, 50])
def test_accuracy_is_exact_however_a_split_is_batched(size: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    objective, _ = filled(Named(60), 6, tmp_path)
    features, category = torch.randn(50, 6), torch.randint(-1, 4, (50,))
    with torch.no_grad():
        for rows in torch.arange(50).split(size):
            objective.update("test", {"a": features[rows]}, batch_of(category[rows]))
    known = category >= 0
    expected = accuracy_score(category[known], objective.readout(features).argmax(1)[known])
    assert {name: value.item() for name, value in objective.accuracies().items()} == {
        "test/category_accuracy": pytest.approx(expected, abs=1e-6)
    }
    assert objective.accuracies() == {}
    objective.update("test", {"a": features[:2]}, batch_of(torch.tensor([-1, -1])))
    assert objective.accuracies()["test/category_accuracy"].isnan()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [False, True])
def test_categories_are_learnt_and_a_control_is_at_chance(backbone: bool, tmp_path: Path) -> None:
    shares, correlations = {}, {}
    for mixed in (False, True):
        source = Named(500, mixed=mixed, unnamed=30)
        model, data, trainer, _ = fit(tmp_path, source, epochs=12, backbone=backbone)
        (validation, *rest) = trainer.test(model, data, verbose=False)
        scores = {key: value for part in (validation, *rest) for key, value in part.items()}
        shares[mixed] = scores["test/category_accuracy"]
        correlations[mixed] = scores["test/pearson"]
        assert 0 <= scores["validation/category_accuracy"] <= 1
    chance = max(np.unique(Named(500).read()[0].categories, return_counts=True)[1]) / 500
    assert shares[False] > 0.7
    assert shares[True] < chance + 0.15  # 100 stimuli: three standard errors
    assert min(correlations.values()) > 0.7


def test_on_cached_features_the_responses_do_not_mind(tmp_path: Path) -> None:
    runs = [fit(tmp_path, Named(120), weight, epochs=5, per_roi=False)[0] for weight in (0.0, 5.0)]
    assert torch.equal(runs[0].head.weight, runs[1].head.weight)
    assert not torch.equal(*(run.categories.readout.weight for run in runs))


def test_both_tasks_shape_a_backbone(tmp_path: Path) -> None:
    weights = [fit(tmp_path, Named(120), weight, 3, backbone=True)[0].backbone.linear.weight for weight in (0.0, 5.0)]
    assert not torch.equal(*weights)


@pytest.mark.parametrize("backbone", [False, True])
def test_what_is_restored_is_one_epoch_of_everything(backbone: bool, tmp_path: Path) -> None:
    source = Named(120, noise=4.0)
    model, _, trainer, stopping = fit(tmp_path, source, epochs=30, backbone=backbone, patience=3)
    assert len(stopping.best_epoch) == 1
    best = int(stopping.best_epoch)
    assert best < trainer.current_epoch - 1, "it must stop for this test to mean anything"
    upto, *_ = fit(tmp_path, source, epochs=best + 1, backbone=backbone, patience=100)
    for name, tensor in model.trained_state().items():
        assert torch.equal(tensor, upto.trained_state()[name]), name
    assert "categories.readout.weight" in model.trained_state()


def test_a_resumed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    whole, *_ = fit(tmp_path, Named(120), epochs=8, backbone=True)
    _, _, trainer, _ = fit(tmp_path, Named(120), epochs=3, backbone=True)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, *_ = fit(tmp_path, Named(120), epochs=8, backbone=True, ckpt_path=tmp_path / "half.ckpt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_what_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--model\.categories: expected stimuli with categories") as caught:
        fit(tmp_path, Planted(60))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"--model\.categories\.weight -1"):
        CategoryObjective(-1)
    with pytest.raises(InputError, match=r"--model\.categories: needs one network"):
        EncodingModule(2, {"a": (3,)}, hemisphere_networks=True, categories=CategoryObjective())


def write_gratings(root: Path, mixed: bool) -> None:
    """The IT file with pictures of four kinds, gratings of four orientations, and 20 neurons that are tuned to them.

    Args:
        root: Folder of the file, which is made.
        mixed: Permute the names over the training pictures: a control.
    """
    import h5py

    counts = {"train": 400, "val": 100, "test": 60}
    total = sum(counts.values())
    rng = np.random.default_rng(3)
    kind, phase = rng.integers(0, 4, total), rng.random(total) * 2 * np.pi
    down, right = np.mgrid[:32, :32] / 5
    angle = (kind * np.pi / 4)[:, None, None]
    waves = np.cos(down * np.cos(angle) + right * np.sin(angle) + phase[:, None, None])
    noise = rng.standard_normal((total, 32, 32, 3))
    pixels = np.clip(128 + 40 * waves[..., None] + 20 * noise, 0, 255).astype(np.uint8)
    spikes = rng.standard_normal((4, 20))[kind] + 0.5 * rng.standard_normal((total, 20))
    names = KINDS.astype("S")[kind]
    names[: counts["train"]] = rng.permutation(names[: counts["train"]]) if mixed else names[: counts["train"]]
    root.mkdir()
    first = 0
    with h5py.File(write_it_spikes(root, pixels, counts, n_targets=20), "r+") as file:
        for split, count in counts.items():
            del file[f"object_{split}"]
            file[f"object_{split}"] = names[first : first + count]
            if split != "test":
                file[f"spikes_{split}"][:] = spikes[first : first + count]
            first += count


@pytest.mark.slow
def test_it_hybrid_names_objects_and_predicts_spikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Seed 0; in the control both names and spikes are permuted over the training pictures."""
    config = yaml.safe_load((CONFIGS / "it_hybrid.yaml").read_text())
    backbone = {"model": "resnet18", "weights": "random", "image_size": 32}
    config["model"]["init_args"]["backbone"]["init_args"] |= backbone
    config["model"]["init_args"]["finetuning"]["init_args"]["rate"] = 1.0  # nothing is pretrained
    monkeypatch.chdir(tmp_path)
    Path("hybrid.yaml").write_text(yaml.safe_dump(config))
    shares, correlations = {}, {}
    for name, mixed in (("real", False), ("control", True)):
        write_gratings(Path(name), mixed)
        source = [f"--data.source.root={name}", f"--data.source.shuffle={str(mixed).lower()}"]
        caplog.clear()
        assert main([*QUIET, "--config=hybrid.yaml", f"--name={name}", "--trainer.max_epochs=6", *source]) == 0
        said = re.findall(r"Category named rightly, (\w+): ([\d.]+)% of stimuli, among 4", caplog.text)
        shares[name] = {split: float(share) / 100 for split, share in said}
        with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
            (row,) = [row for row in csv.DictReader(file) if (row["roi"], row["hemisphere"]) == ("all", "both")]
        correlations[name] = float(row["pearson_mean"])
    assert set(shares["real"]) == {"validation", "withheld"}
    assert min(shares["real"].values()) > 0.8
    assert max(shares["control"].values()) < 0.45
    assert correlations["real"] > 0.7
    assert abs(correlations["control"]) < 0.2
    assert "Category named rightly, withheld" in Path("runs/real/version_0/report.html").read_text()
