"""A head for each random group of targets: in one run what a run of each group is, and an ensemble of several seeds."""

from functools import partial

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import EncodingModule, FullyConnectedHead, LinearHead, MlpTrunk, RandomGroups, RoiEarlyStopping
from calcarine.models.categories import CategoryObjective
from calcarine.models.heads.trunk import TrunkHead
from lightning.pytorch import Trainer
from plain_facts import plain_facts
from planted import Identity, Planted
from several import DISJOINT, Several
from torch.optim import AdamW

FC = partial(FullyConnectedHead, hidden_dims=[12])
TWO = {"one": slice(0, 9), "two": slice(9, 20)}


def fit(folder, source, head, epochs=6, **model):
    data = EncodingDataModule(source, Identity(), cache_dir=folder / "cache", batch_size=32)
    torch.manual_seed(0)
    module = EncodingModule(
        data.num_targets, data.feature_shapes, head, optimizer=partial(AdamW, lr=3e-3), scheduler=None, **model
    )
    stopping = RoiEarlyStopping(3)
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[stopping], accelerator="cpu",
    )  # fmt: skip
    trainer.fit(module, data)
    return module, data, trainer, stopping


def test_groups_are_a_partition_that_the_seed_alone_decides():
    facts = plain_facts(20, subjects=TWO)
    drawn = {seed: RandomGroups({"a": (2,)}, 20, FC, 3, seed).parts(facts) for seed in (0, 1)}
    for parts in drawn.values():
        assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(20))
        assert [int((own < 9).sum()) for own in parts.values()] == [3, 3, 3]  # of each subject nearly as many
        assert all(torch.equal(own, own.sort().values) for own in parts.values())
    torch.manual_seed(5)
    again = RandomGroups({"a": (2,)}, 20, FC, 3, 0).parts(facts)
    assert all(torch.equal(own, again[name]) for name, own in drawn[0].items())
    assert any(not torch.equal(own, drawn[1][name]) for name, own in drawn[0].items())


def test_each_group_gets_the_weights_that_it_gets_in_a_run_of_its_own(tmp_path):
    noise = np.linspace(0.2, 4, 40)
    grouped, *_, stopping = fit(tmp_path, Planted(noise=noise), partial(RandomGroups, readout=FC, groups=2), l1=1e-3)
    state = grouped.state_dict()
    assert len(stopping.best_epoch) == 2
    for name, targets in grouped.head.targets.items():
        alone, *_ = fit(tmp_path, Planted(noise=noise, targets=targets.numpy()), FC, l1=1e-3)
        for weight, value in alone.trained_state().items():
            theirs = state[weight.replace("head.", f"head.heads.{name}.")]
            torch.testing.assert_close(theirs, value, rtol=1e-4, atol=1e-6, msg=weight)


@pytest.mark.parametrize("readout", [FC, partial(TrunkHead, trunk=MlpTrunk)], ids=["own", "shared"])
def test_of_several_subjects_each_has_its_own_targets_of_each_group(readout, tmp_path):
    module, data, trainer, _ = fit(tmp_path, Several(DISJOINT), partial(RandomGroups, readout=readout, groups=3), 2)
    trainer.test(module, data, verbose=False)
    features = {"pixels": torch.randn(4, 48)}
    module.eval()
    whole = module.head(features)
    for index, own in enumerate(data.facts.subjects.values()):
        torch.testing.assert_close(module.head.read(features, index), whole[:, own])
    for name, targets in module.head.targets.items():
        torch.testing.assert_close(module.head.own(name)(features), whole[:, targets])


def test_behind_a_backbone_all_groups_are_one_network():
    head = RandomGroups({"a": (2,)}, 20, FC, 3)
    head.fill(plain_facts(20, feature_mean=None, feature_scale=None))
    assert list(head.networks) == ["all"]
    assert head.network_of("backbone.stem.weight") == "all"
    head.fill(plain_facts(20, feature_mean={"a": torch.zeros(2)}, feature_scale={"a": torch.ones(2)}))
    assert list(head.networks) == ["group0", "group1", "group2"]


def test_runs_of_several_seeds_make_an_ensemble_that_beats_each(tmp_path):
    """Each shares other targets' noise, which the mean of their predictions averages out."""
    predictions, scores = [], []
    for seed in range(4):
        head = partial(RandomGroups, readout=FC, groups=4, seed=seed)
        module, data, *_ = fit(tmp_path, Planted(noise=2.0), head, 20)
        images = np.stack([data.recordings[0].stimuli.read(int(each)) for each in data.positions("test")])
        predictions.append(module.predict(images).numpy())
    measured = data.recordings[0].responses.gather(data.positions("test"))
    scores = [mean_correlation(each, measured) for each in predictions]
    assert mean_correlation(np.mean(predictions, 0), measured) > max(scores), scores


def mean_correlation(predicted, measured):
    return np.mean([np.corrcoef(p, m)[0, 1] for p, m in zip(predicted.T, measured.T, strict=True)])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"readout": LinearHead}, "every target of LinearHead has weights of its own already"),
        ({"groups": 1}, "--model.head.groups 1: expected 2 or more"),
        ({"seed": -1}, "--model.head.seed -1: expected 0 or more"),
        ({"groups": 10}, "expected at most the 9 targets of one"),
    ],
)
def test_what_cannot_be_is_one_line(options, line):
    with pytest.raises(InputError, match=line):
        RandomGroups({"a": (2,)}, 20, **{"readout": FC, **options}).check(plain_facts(20, subjects=TWO))


def test_groups_and_categories_are_refused():
    with pytest.raises(InputError, match="needs one network; leave out RandomGroups"):
        EncodingModule(20, {"a": (2,)}, partial(RandomGroups, readout=FC), categories=CategoryObjective())
