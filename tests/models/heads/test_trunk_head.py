from pathlib import Path

import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import EncodingModule, LinearHead, MlpHead, MlpTrunk, TrunkHead
from calcarine.models.trunks.base import Trunk
from lightning.pytorch import Trainer
from planted import Identity, Planted
from torch import nn
from torch.nn.utils import parameters_to_vector

QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


class NormTrunk(Trunk):
    """A trunk with batch norm and dropout, which a frozen one must leave as they are."""

    def __init__(self, feature_shapes):
        super().__init__(feature_shapes)
        self.layers = nn.Sequential(nn.Linear(48, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

    def feature_shapes(self):
        return {"trunk": (8,)}

    def forward(self, features):
        return {"trunk": self.layers(features["pixels"])}


def planted_data(tmp_path, subjects=2, seed=0, **flags):
    source = Planted(stimuli=60, subjects=subjects, seed=seed)
    return EncodingDataModule(source, Identity(), cache_dir=tmp_path / "cache", **flags)


def trunk_model(data, trunk=NormTrunk, readout=LinearHead, **flags):
    return EncodingModule(
        data.num_targets,
        data.feature_shapes,
        lambda shapes, targets: TrunkHead(shapes, targets, trunk, readout, **flags),
    )


def train(data, model, epochs=2):
    trainer = Trainer(max_epochs=epochs, **QUIET)
    trainer.fit(model, data)
    return trainer


def filled(tmp_path, readout=LinearHead, subjects=2):
    """A head that knows its data, with readouts that predict something."""
    data = planted_data(tmp_path, subjects)
    data.setup()
    head = trunk_model(data, readout=readout).head
    torch.manual_seed(0)
    head.fill(data.facts)
    for parameter in head.readouts.parameters():
        nn.init.normal_(parameter)
    return head


def pixels(count, seed=0):
    return {"pixels": torch.randn(count, 48, generator=torch.Generator().manual_seed(seed))}


def test_a_batch_is_read_out_by_its_own_subject_alone(tmp_path):
    head = filled(tmp_path, subjects=3).eval()
    asked = []
    for index, readout in enumerate(head.readouts):
        readout.register_forward_hook(lambda *_, index=index: asked.append(index))
    features = pixels(7)
    predicted = [head.read(features, subject) for subject in range(3)]
    assert asked == [0, 1, 2]
    assert torch.equal(torch.cat(predicted, dim=1), head(features))


@pytest.mark.parametrize("stimuli", [4, 0])
def test_other_readouts_have_no_gradient_and_its_own_has_one_also_without_a_stimulus(tmp_path, stimuli):
    """DDP waits for ever for a parameter that only some ranks give a gradient."""
    head = filled(tmp_path)
    head.read(pixels(stimuli), 1).sum().backward()
    assert all(each.grad is None for each in head.readouts[0].parameters())
    assert all(each.grad is not None for part in (head.trunk, head.readouts[1]) for each in part.parameters())
    assert [head.subject_of(f"head.{name}") for name in ("trunk.layers.0.weight", "readouts.1.bias")] == [None, 1]
    assert all(buffer.isfinite().all() for buffer in head.buffers())


@pytest.mark.parametrize("own", [0, 1, 2])
def test_a_readout_with_batch_norm_takes_few_stimuli(tmp_path, own):
    head = filled(tmp_path, readout=lambda shapes, targets: MlpHead(shapes, targets, width=6, blocks=1))
    before = head.readouts[1].state_dict()["layers.0.1.running_mean"].clone()
    head.train().trunk.eval()
    predicted = head.read(pixels(own), 1)
    predicted.sum().backward()
    assert predicted.isfinite().all()
    moved = not torch.equal(head.readouts[1].state_dict()["layers.0.1.running_mean"], before)
    assert moved == (own == 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a run on two subjects, and its model."""
    folder = tmp_path_factory.mktemp("trained")
    data = planted_data(folder, seed=1)
    model = trunk_model(data)
    train(data, model).save_checkpoint(folder / "best.ckpt", weights_only=True)
    return folder / "best.ckpt", model


def test_a_frozen_trunk_computes_what_it_did_in_its_own_run(tmp_path, trained):
    path, before = trained
    data = planted_data(tmp_path, subjects=1)
    model = trunk_model(data, trunk_weights=path, freeze_trunk=True)
    train(data, model)
    for name, tensor in before.head.trunk.state_dict().items():
        assert torch.equal(model.head.trunk.state_dict()[name], tensor), name
    for mean, of_run in zip(model.standardize_features.buffers(), before.standardize_features.buffers(), strict=True):
        assert torch.equal(mean, of_run)
    raw = {"pixels": torch.rand(5, 48) * 255}
    outcomes = [each.train().standardize_features(raw) for each in (before.eval(), model)]
    before.eval()
    for ours, theirs in zip(
        model.head.trunk(outcomes[1]).values(), before.head.trunk(outcomes[0]).values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert model.head.readouts[0].weight.any()


def test_a_trunk_that_is_not_frozen_goes_on_from_the_weights(tmp_path, trained):
    path, before = trained
    data = planted_data(tmp_path, subjects=1)
    model = trunk_model(data, trunk_weights=path)
    start = parameters_to_vector(model.head.trunk.parameters()).clone()
    assert torch.equal(start, parameters_to_vector(before.head.trunk.parameters()))
    train(data, model)
    assert not torch.equal(start, parameters_to_vector(model.head.trunk.parameters()))
    assert not torch.equal(model.standardize_features.get_buffer("mean_0"), data.facts.feature_mean["pixels"])


def test_a_trunk_that_was_brought_can_be_brought_on(tmp_path, trained):
    """The second run's checkpoint holds the statistics that its trunk goes by, which are the first run's."""
    path, first = trained
    data = planted_data(tmp_path, subjects=1)
    train(data, trunk_model(data, trunk_weights=path, freeze_trunk=True)).save_checkpoint(tmp_path / "second.ckpt")
    data = planted_data(tmp_path, subjects=1, seed=7)
    model = trunk_model(data, trunk_weights=tmp_path / "second.ckpt", freeze_trunk=True)
    train(data, model)
    for name, tensor in first.standardize_features.state_dict().items():
        assert torch.equal(model.standardize_features.state_dict()[name], tensor)
    assert torch.equal(
        parameters_to_vector(model.head.trunk.parameters()), parameters_to_vector(first.head.trunk.parameters())
    )


def edited(path, tmp_path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "other.ckpt")
    return tmp_path / "other.ckpt"


def without_trunk(content):
    content["state_dict"] = {
        name: each for name, each in content["state_dict"].items() if not name.startswith("head.trunk.")
    }


FAULTS = {
    "no trunk": (without_trunk, "expected a run's checkpoint with a trunk, found a file without one"),
    "another width": (
        lambda content: content["state_dict"].update({"head.trunk.layers.0.weight": torch.zeros(9, 48)}),
        "the trunk of that run is another: 1 of another shape, first 'layers.0.weight': expected .8, 48., found .9, 48",
    ),
    "more layers": (
        lambda content: content["state_dict"].update({"head.trunk.layers.5.weight": torch.zeros(1)}),
        "the trunk of that run is another: 1 unexpected, first 'layers.5.weight'; take its --data.encoder",
    ),
    "other features": (
        lambda content: content["state_dict"].update({"standardize_features.mean_0": torch.zeros(7)}),
        "the encoder of that run is another: 1 of another shape, first 'mean_0': expected .48,., found .7,.; take",
    ),
    "an older version": (
        lambda content: content.pop("calcarine"),
        "expected a checkpoint that says how its features were made, found one of another version",
    ),
    "fitted features": (
        lambda content: content["calcarine"]["intake"].update(projections={"pixels": {"mean": torch.zeros(3)}}),
        "expected a trunk on features that every run has, found one on features fitted to that run's own images",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(tmp_path, trained, fault):
    change, message = FAULTS[fault]
    data = planted_data(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        trunk_model(data, trunk_weights=edited(trained[0], tmp_path, change))
    assert "--model.head.trunk_weights" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("weights")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": [1, 2]}, tmp_path / "other.pt")
    torch.save({"state_dict": Path("head.trunk.weights")}, tmp_path / "object.pt")
    data = planted_data(tmp_path)
    for name, message in (
        ("none.ckpt", "found no such file"),
        ("notes.txt", r"notes\.txt: (refused, )?expected"),
        ("list.pt", "found a file without one"),
        ("other.pt", "found a file without one"),
        ("object.pt", "refused, expected tensors and plain types only"),
    ):
        with pytest.raises(InputError, match=message) as error:
            trunk_model(data, trunk_weights=tmp_path / name)
        assert "\n" not in str(error.value)


def test_features_of_another_kind_are_refused(tmp_path, trained):
    def behind_a_backbone(content):
        del content["state_dict"]["standardize_features.mean_0"]
        del content["state_dict"]["standardize_features.scale_0"]

    data = planted_data(tmp_path)
    model = trunk_model(data, trunk_weights=edited(trained[0], tmp_path, behind_a_backbone))
    with pytest.raises(InputError, match=r"those of --model\.backbone without --data\.reduction, found others"):
        train(data, model)


def test_freezing_what_nothing_trained_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--model\.head\.freeze_trunk true: expected --model\.head\.trunk_weights"):
        trunk_model(planted_data(tmp_path), freeze_trunk=True)


def test_subjects_may_differ_in_targets_and_learn_together(tmp_path):
    """A shared trunk explains a planted signal in both, and nothing of shuffled responses."""
    scores = {}
    for shuffle in (False, True):
        source = Planted(stimuli=300, subjects=2, noise=0.2, shuffle=shuffle)
        data = EncodingDataModule(source, Identity(), cache_dir=tmp_path / "cache", seed=0)
        torch.manual_seed(0)
        model = EncodingModule(
            data.num_targets,
            data.feature_shapes,
            lambda shapes, targets: TrunkHead(shapes, targets, lambda shapes: MlpTrunk(shapes, [48])),
            optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, fused=True),
            scheduler=None,
        )
        trainer = train(data, model, epochs=12)
        scores[shuffle] = trainer.test(model, data, verbose=False)[0]["test/pearson"]
    assert scores[False] > 0.5
    assert abs(scores[True]) < 0.1
