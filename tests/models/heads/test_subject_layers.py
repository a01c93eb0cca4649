"""A linear layer of each subject's own behind a shared trunk, the average subject, and what a new subject gains."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alike import Alike, Values
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import EncodingModule, MlpTrunk, RoiEarlyStopping, TrunkHead
from calcarine.models.heads.subject_layers import SubjectLayers
from lightning.pytorch import Trainer, seed_everything
from torch import nn

Trunk = partial(MlpTrunk, dims=[64, 32])
SHAPES = {"a": (3,), "b": (5, 4), "c": (2, 6, 7)}


def layers(dropout: float = 0.0, subjects: Sequence[int] = (0, 1, 2), seed: int = 0) -> SubjectLayers:
    """Of three subjects, each with a difference of its own."""
    made = SubjectLayers(SHAPES, subjects, dropout, seed)
    generator = torch.Generator().manual_seed(1)
    for each in made.differences.parameters():
        nn.init.normal_(each, std=0.3, generator=generator)
    return made


def features(count: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: torch.randn(count, *shape, generator=generator) for name, shape in SHAPES.items()}


def data_of(folder: Path, **settings: Any) -> EncodingDataModule:
    own = {name: settings.pop(name) for name in ("training_stimuli", "batch_size") if name in settings}
    return EncodingDataModule(Alike(**settings), Values(), cache_dir=folder / "cache", validation=0.2, **own)


def fit(
    data: EncodingDataModule, epochs: int, head: Any = TrunkHead, patience: int = 8, **flags: Any
) -> tuple[EncodingModule, Trainer]:
    seed_everything(0, verbose=False)
    model = EncodingModule(
        data.num_targets,
        data.feature_shapes,
        partial(head, trunk=Trunk, **flags),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, fused=True),
        scheduler=None,
    )
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[RoiEarlyStopping(patience)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, data)
    return model, trainer


def correlation(model: EncodingModule, trainer: Trainer) -> float:
    return trainer.test(model, trainer.datamodule, verbose=False)[0]["test/pearson"]


def test_each_subject_maps_the_channels_of_every_kind_of_layer_and_everybody_else_is_the_mean() -> None:
    made, given = layers(), features()
    own = [[torch.eye(len(each)) + each for each in made.differences[str(s)]] for s in range(3)]
    average = [torch.stack(each).mean(0) for each in zip(*own, strict=True)]
    for subject, weights in [*enumerate(own), (7, average)]:
        found = made(given, subject)
        for name, weight, form in zip("abc", weights, ("bc,dc->bd", "btc,dc->btd", "bcxy,dc->bdxy"), strict=True):
            torch.testing.assert_close(found[name], torch.einsum(form, given[name], weight), msg=name)


def test_they_start_as_nothing_at_all() -> None:
    given = features()
    for subject in (0, 1, 9):
        found = SubjectLayers(SHAPES, (0, 1), 0.5, 0)(given, subject)
        assert all(torch.equal(found[name], each) for name, each in given.items())


def test_in_a_dropped_step_the_average_is_read_and_only_the_own_share_of_it_is_trained() -> None:
    made, given = layers(dropout=1.0), features()
    found = made(given, 1)
    expected = made.eval()(given, 9)
    assert all(torch.equal(found[name], expected[name]) for name in SHAPES)
    found["a"].sum().backward()
    gradients = [made.differences[str(subject)][0].grad for subject in range(3)]
    assert gradients[0] is None
    assert gradients[2] is None
    torch.testing.assert_close(gradients[1], given["a"].sum(0).expand(3, 3) / 3)


def test_which_steps_are_dropped_goes_by_the_seed_and_the_step_alone() -> None:
    def drawn(made: SubjectLayers, steps: int) -> list[bool]:
        return [bool(made._draw()) for _ in range(steps)]

    whole = drawn(layers(0.3), 300)
    torch.manual_seed(5)
    first = layers(0.3)
    assert drawn(first, 100) == whole[:100]
    resumed = layers(0.3)
    resumed.load_state_dict(first.state_dict())
    assert drawn(resumed, 200) == whole[100:]
    assert drawn(layers(0.3, seed=1), 300) != whole
    for every in (1, 2, 3):
        for start in range(every):
            assert abs(np.mean(whole[start::every]) - 0.3) < 0.04


def test_a_step_of_validation_draws_nothing() -> None:
    made = layers(0.5).eval()
    made(features(), 0)
    assert made.steps == 0
    alone = layers(0.5, subjects=(0,)).train()
    alone(features(), 0)
    assert alone.steps == 0  # the average of one is that one


class Plain(TrunkHead):
    """The same in bare torch, without subject dropout: features @ (1 + difference)ᵀ."""

    def read(self, features: Any, subject: int) -> torch.Tensor:
        shared = self.trunk(features)["trunk"]
        assert self.subject_layers is not None
        (difference,) = self.subject_layers.differences[str(subject)]
        return self.readouts[subject]({"trunk": shared @ (torch.eye(len(difference)) + difference).T})


def test_without_dropout_training_is_that_of_bare_layers_to_the_bit(tmp_path: Path) -> None:
    source: dict[str, Any] = {"subject": [1, 2], "stimuli": 60}
    states = [
        fit(data_of(tmp_path, **source), 3, head, subject_layers=True, subject_dropout=0.0)[0].state_dict()
        for head in (TrunkHead, Plain)
    ]
    assert any(each.any() for name, each in states[0].items() if "differences" in name)
    assert all(torch.equal(each, states[1][name]) for name, each in states[0].items())
    dropped = fit(data_of(tmp_path, **source), 3, subject_layers=True, subject_dropout=0.5)[0].state_dict()
    assert not torch.equal(dropped["head.trunk.blocks.0.0.weight"], states[0]["head.trunk.blocks.0.0.weight"])


def read_through(model: EncodingModule, loader: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the only subject's readout would be given of all stimuli, float64 (n, 32), and the responses."""
    seen, measured = [], []
    for batch in loader:
        with torch.no_grad():
            shared = model.head.trunk(model._features(batch))
            seen.append(model.head.subject_layers(shared, 0)["trunk"].double().numpy())
        measured.append(batch.response.double().numpy().copy())
    return np.concatenate(seen), np.concatenate(measured)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a run on three subjects, with subject layers and subject dropout."""
    folder = tmp_path_factory.mktemp("three")
    data = data_of(folder, subject=[1, 2, 3])
    model, trainer = fit(data, 25, subject_layers=True, subject_dropout=0.3)
    assert correlation(model, trainer) > 0.6
    trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
    return folder / "best.ckpt"


def test_a_new_subject_starts_as_the_average_of_those_before(tmp_path: Path, three: Path) -> None:
    state = torch.load(three, weights_only=True)["state_dict"]
    names = [f"head.subject_layers.differences.{subject}.0" for subject in range(3)]
    average = torch.eye(32) + sum(state[name] for name in names) / 3
    data = data_of(tmp_path, subject=[4], stimuli=60)
    model, trainer = fit(data, 3, trunk_weights=three, freeze_trunk=True, subject_layers=True)
    layer = model.head.subject_layers
    torch.testing.assert_close(layer.get_buffer("start_0"), average)
    assert layer.differences["0"][0].any()
    trainer.save_checkpoint(tmp_path / "fourth.ckpt", weights_only=True)
    again = EncodingModule.load_from_checkpoint(tmp_path / "fourth.ckpt")
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in model.state_dict().items())


def test_the_average_subject_tells_more_than_none_and_random_ones_before_anything_of_it_is_trained(
    tmp_path: Path, three: Path
) -> None:
    """What 20 stimuli of a new subject explain by ridge on the frozen representation, through either layer."""
    data = data_of(tmp_path, subject=[4], training_stimuli=20)
    model, _ = fit(data, 1, trunk_weights=three, freeze_trunk=True, subject_layers=True)  # its readout starts at 0
    model.eval()
    start = model.head.subject_layers.get_buffer("start_0")
    generator = torch.Generator().manual_seed(0)
    scores = []
    for weight in [start.clone(), torch.eye(32), *torch.randn(5, 32, 32, generator=generator) / 32**0.5]:
        start.copy_(weight)
        (x, y), (seen, measured) = (
            read_through(model, loader) for loader in (data.train_dataloader(), data.test_dataloader()["test"])
        )
        assert len(x) == 20
        centre = x.mean(0)
        x = x - centre
        weights = np.linalg.solve(x.T @ x + 5 * np.eye(32), x.T @ (y - y.mean(0)))
        pairs = zip(((seen - centre) @ weights).T, measured.T, strict=True)
        scores.append(np.mean([np.corrcoef(predicted, each)[0, 1] for predicted, each in pairs]))
    average, none, *random = scores
    assert average > none, scores
    assert average > max(random) + 0.05, scores


def test_a_trunk_of_three_helps_a_fourth_of_whom_there_are_fifty_stimuli(tmp_path: Path, three: Path) -> None:
    """And helps nobody whose responses are shuffled; nothing explains those."""
    scores = {}
    for shuffle in (False, True):
        source: dict[str, Any] = {"subject": [4], "stimuli": 200, "shuffle": shuffle, "training_stimuli": 50}
        adapted = {"trunk_weights": three, "freeze_trunk": True}
        for name, flags in (("adapted", adapted), ("scratch", {})):
            data = data_of(tmp_path, **source, batch_size=16)
            scores[name, shuffle] = correlation(*fit(data, 60, subject_layers=True, **flags))
    assert scores["adapted", False] > scores["scratch", False] + 0.2, scores
    # By chance all targets are predicted a little, or all wrongly: they share 12 codes.
    assert all(abs(scores[name, True]) < 0.2 for name in ("adapted", "scratch")), scores


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"subject_layers": True, "subject_dropout": 1.5}, r"subject_dropout 1\.5: expected a share from 0 to 1"),
        ({"subject_dropout": 0.2}, r"subject_dropout 0\.2: expected --model\.head\.subject_layers true"),
    ],
)
def test_what_cannot_be_is_one_line(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrunkHead({"pixels": (24,)}, 3, Trunk, **flags)


def test_a_trunk_that_was_read_through_layers_is_not_read_without(three: Path) -> None:
    with pytest.raises(InputError, match=r"best\.ckpt: expected --model\.head\.subject_layers true") as error:
        TrunkHead({"pixels": (24,)}, 3, Trunk, trunk_weights=three)
    assert "\n" not in str(error.value)
