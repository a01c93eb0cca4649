"""One network per hemisphere is, in one run, what a run per hemisphere is."""

from functools import partial

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.encoders import Encoder
from calcarine.errors import InputError
from calcarine.models import (
    EncodingModule,
    Frozen,
    FullyConnectedHead,
    LinearHead,
    RoiEarlyStopping,
)
from calcarine.models.hemispheres import HemisphereEncoder, HemisphereFinetuning, HemisphereHead
from lightning.pytorch import Trainer
from plain_facts import plain_facts
from planted import Identity, Planted
from torch import nn
from torch.optim import AdamW

FC = partial(FullyConnectedHead, hidden_dims=[12], batch_norm=True)
SIDES = {"lh": range(16), "rh": range(16, 40)}
NOISE = np.repeat([1.0, 4.0], [16, 24])


class Convolution(Encoder):
    """A backbone with weights and running statistics, one layer (6,)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 6))

    def forward(self, images):
        return {"out": self.layers(nn.functional.interpolate(images.float(), 4) / 128 - 1)}

    def settings(self):
        return {}


def fit(tmp_path, targets=None, backbone=False, epochs=40, ckpt_path=None, **options):
    encoder = None if backbone else Identity()
    source = Planted(noise=NOISE, targets=targets)
    data = EncodingDataModule(source, encoder, cache_dir=tmp_path / "cache", batch_size=32)
    torch.manual_seed(0)
    options = {"head": LinearHead if backbone else FC, "backbone": Convolution() if backbone else None, **options}
    optimizer = partial(AdamW, lr=3e-3)
    model = EncodingModule(data.num_targets, data.feature_shapes, optimizer=optimizer, **options)
    stopping = RoiEarlyStopping(3)
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[stopping], accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return model, data, trainer, stopping


@pytest.mark.parametrize("backbone", [False, True])
def test_each_hemisphere_gets_the_weights_that_it_gets_in_a_run_of_its_own(tmp_path, backbone):
    both, *_, stopping = fit(tmp_path, backbone=backbone, l1=1e-3, hemisphere_networks=True)
    assert stopping.best_epoch[0] != stopping.best_epoch[1], "they must stop apart for this test to mean anything"
    state = both.state_dict()
    for side, targets in SIDES.items():
        alone, *_ = fit(tmp_path, list(targets), backbone, l1=1e-3)
        own = alone.trained_state()
        assert len(own) > 2
        for name, value in own.items():
            part, _, rest = name.partition(".")
            theirs = state[f"{part}.{'heads' if part == 'head' else 'encoders'}.{side}.{rest}"]
            assert torch.equal(theirs, value), name


def test_a_resumed_run_ends_like_an_undisturbed_one(tmp_path):
    options = {"backbone": True, "hemisphere_networks": True}
    whole, *_ = fit(tmp_path, epochs=12, **options)
    *_, trainer, _ = fit(tmp_path, epochs=4, **options)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, *_ = fit(tmp_path, epochs=12, ckpt_path=tmp_path / "half.ckpt", **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def facts(hemispheres, subjects):
    count = len(hemispheres)
    numbers = torch.arange(count)
    return plain_facts(
        count,
        response_mean=numbers.float(),
        groups=numbers // 2,
        group_names=[f"g{i}" for i in range(count)],
        rois={"even": numbers[::2], "first": numbers[:1]},
        subjects=subjects,
        hemispheres=torch.tensor(hemispheres),
        noise_ceiling=torch.full((count,), 0.5),
    )


class Told(LinearHead):
    """Keeps the facts that it is given."""

    independent_targets = False

    def fill(self, facts):
        self.facts = facts


def test_each_head_predicts_its_own_targets_wherever_they_stand():
    """Two subjects, their hemispheres one after another or mixed."""
    head = HemisphereHead({"lh:a": (2, 3), "rh:a": (2, 3)}, 7, Told, shared=False)
    head.fill(facts([0, 1, 1, 1, 0, 1, 0], {"one": slice(0, 3), "two": slice(3, 7)}))
    left, right = head.heads["lh"], head.heads["rh"]
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    features = {layer: torch.randn(5, 2, 3) for layer in ("lh:a", "rh:a")}
    whole = head(features)
    assert torch.equal(whole[:, [0, 4, 6]], left({"a": features["lh:a"]}))
    assert torch.equal(whole[:, [1, 2, 3, 5]], right({"a": features["rh:a"]}))
    assert torch.equal(head.read(features, 0), whole[:, :3])
    assert torch.equal(head.read(features, 1), whole[:, 3:])
    assert [each.facts.response_mean.tolist() for each in left.own.values()] == [[0], [4, 6]]
    assert [each.facts.response_mean.tolist() for each in right.own.values()] == [[1, 2], [3, 5]]
    assert [head.subject_of(f"head.heads.{side}.heads.{index}.weight") for side, index in (("lh", 0), ("rh", 1))] == [
        0,
        1,
    ]


def test_the_facts_of_some_targets_are_numbered_anew():
    whole = facts([0, 1, 1, 1, 0, 1, 0], {"one": slice(0, 3), "two": slice(3, 7)})
    left, right = (whole.of((whole.hemispheres == side).nonzero().squeeze(1)) for side in (0, 1))
    assert left.response_mean.tolist() == [0, 4, 6]
    assert left.subjects == {"one": slice(0, 1), "two": slice(1, 3)}
    assert right.subjects == {"one": slice(0, 2), "two": slice(2, 4)}
    assert {name: own.tolist() for name, own in left.rois.items()} == {"even": [0, 1, 2], "first": [0]}
    assert {name: own.tolist() for name, own in right.rois.items()} == {"even": [1]}
    assert [left.group_names[group] for group in left.groups] == ["g0", "g2", "g3"]


def test_the_facts_of_a_recording_are_those_of_its_targets():
    """Subjects keep their order, by which batches name them, also where they have none of the targets."""
    whole = facts([0, 1, 1, 1, 0, 1, 0], {"one": slice(0, 3), "two": slice(3, 7)})
    own = whole.of(slice(3, 7))
    assert own.response_mean.tolist() == [3, 4, 5, 6]
    assert own.groups.tolist() == [0, 1, 1, 2]
    assert own.group_names == ["g1", "g2", "g3"]
    assert {name: targets.tolist() for name, targets in own.rois.items()} == {"even": [1, 3]}
    assert own.subjects == {"one": slice(0, 0), "two": slice(0, 4)}
    assert own.hemispheres.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("hemispheres", [[0, 0, 0], [0, 1, -1]])
def test_targets_of_one_hemisphere_or_of_none_are_refused(hemispheres):
    head = HemisphereHead({"a": (2,)}, 3, FC, shared=True)
    with pytest.raises(InputError, match=r"--model\.hemisphere_networks true: .* found [23] left|1 left"):
        head.fill(facts(hemispheres, {"one": slice(0, 3)}))


def test_heads_whose_targets_share_nothing_are_refused():
    with pytest.raises(InputError, match="every target of LinearHead has weights of its own already"):
        EncodingModule(4, {"a": (2,)}, hemisphere_networks=True)


def test_the_copies_of_a_backbone_start_alike_and_follow_the_policy_each():
    torch.manual_seed(0)
    backbone, policy = HemisphereEncoder(Convolution()), HemisphereFinetuning(Frozen())
    assert backbone.feature_shapes() == {"lh:out": (6,), "rh:out": (6,)}
    left, right = backbone.encoders["lh"], backbone.encoders["rh"]
    for one, other in zip(left.parameters(), right.parameters(), strict=True):
        assert one is not other
        assert torch.equal(one, other)
    policy.prepare(backbone)
    policy.train(backbone, 0)
    assert not any(each.requires_grad for each in backbone.parameters())
    assert not left.training
    assert not right.training
    assert [group for group in policy.parameter_groups(backbone) if group["params"]] == []
