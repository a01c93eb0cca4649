"""What a model says that it will take, against what it takes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from calcarine.errors import InputError
from calcarine.models import (
    BandedRidgeModule,
    ComponentHead,
    EncodingModule,
    FactorizedReadout,
    FullyConnectedHead,
    GaussianReadout,
    LinearHead,
    MlpHead,
    MlpTrunk,
    RandomGroups,
    RidgeModule,
    SimilarityModule,
    TrunkHead,
    VertexDecoder,
)
from calcarine.models.closed_form.gathered import SummedRows, WholeRows
from calcarine.models.demand import size_of, size_of_made, state_share
from calcarine.models.hemispheres import HemisphereHead
from plain_facts import plain_facts
from torch.optim import LBFGS, SGD, Adam, AdamW, RMSprop

TARGETS, FEATURES = 40, {"a": (48,)}
MAPS = {"a": (6, 5, 5)}


def facts(**known):
    sides = torch.tensor([0] * 16 + [1] * 24)
    return plain_facts(
        TARGETS,
        hemispheres=sides,
        coordinates=torch.randn(TARGETS, 3),
        evaluated=["validation", "test"],
        training={"subj01": torch.arange(100)},
        smallest_batch=16,
        **known,
    )


@pytest.mark.parametrize(
    ("optimizer", "share"),
    [(AdamW, 2), (partial(AdamW, amsgrad=True), 3), (Adam, 2), (SGD, 0), (partial(SGD, momentum=0.9), 1), (RMSprop, 1)],
)
def test_state_of_an_optimizer(optimizer, share):
    assert state_share(partial(optimizer, lr=0.1)) == share


def test_an_optimizer_that_asks_for_the_loss_again():
    def one_group(groups):
        return LBFGS(groups[0]["params"])

    assert state_share(one_group) == 2


def test_a_linear_head_by_hand():
    model = EncodingModule(TARGETS, FEATURES, optimizer=partial(AdamW, lr=0.1))
    demand, weights = model.demand(facts()), 4 * TARGETS * 49
    assert (demand.gradients, demand.optimizer, demand.kept) == (weights, 2 * weights, weights)
    buffers = size_of(model.buffers())
    assert demand.weights == demand.made == weights + buffers
    assert demand.last == 4 * weights + buffers
    assert demand.best == weights + buffers
    assert model.demand(plain_facts(TARGETS)).kept == 0  # without a validation split nothing is kept


@pytest.mark.parametrize("readout", [LinearHead, MlpHead, FullyConnectedHead, VertexDecoder])
def test_parts_that_the_data_decide_are_known_before(readout):
    state, known = torch.get_rng_state(), facts(subjects={"a": slice(0, 10), "b": slice(10, TARGETS)})
    for head in (
        TrunkHead(FEATURES, TARGETS, MlpTrunk, readout, subject_layers=True),
        *([] if readout is LinearHead else [HemisphereHead(FEATURES, TARGETS, readout, shared=True)]),
    ):
        before = size_of([*head.parameters(), *head.buffers()])
        unmade, state = head.unmade(known), torch.get_rng_state()
        assert torch.equal(state, torch.get_rng_state())
        head.fill(known)
        after = size_of(
            [*head.parameters(), *(each for name, each in head.named_buffers() if not name.startswith(SIDES))]
        )
        assert unmade == after - before > 0
        assert head.unmade(known) == 0


def within(readout):
    """Heads that make the readout behind a trunk, and in parts."""
    trunk = partial(TrunkHead, trunk=MlpTrunk, readout=readout)
    return [trunk(FEATURES, TARGETS), RandomGroups(FEATURES, TARGETS, readout), RandomGroups(FEATURES, TARGETS, trunk)]


@pytest.mark.parametrize("number", range(3))
def test_what_a_readout_within_a_head_needs_is_asked_for_early(number):
    """Else a ComponentHead would train on no components, and places would be missed once images are encoded."""
    known = facts(subjects={"a": slice(0, 10), "b": slice(10, TARGETS)})
    with pytest.raises(InputError, match=r"set --data\.response_components"):
        within(ComponentHead)[number].check(known)
    nowhere = replace(known, coordinates=torch.full((TARGETS, 3), torch.nan))
    with pytest.raises(InputError, match="VertexDecoder"):
        within(VertexDecoder)[number].check(nowhere)
    within(VertexDecoder)[number].check(known)
    counted = replace(known, response_components=7)
    head = within(partial(ComponentHead, readout=MlpHead))[number]
    head.check(counted)
    before = size_of([*head.parameters(), *head.buffers()])
    unmade = head.unmade(counted)
    head.fill(counted)
    named = head.named_buffers()
    after = size_of([*head.parameters(), *(each for name, each in named if not name.startswith(SIDES))])
    assert unmade == after - before > 0


def test_one_subject_has_no_average():
    head = TrunkHead(FEATURES, TARGETS, MlpTrunk, subject_layers=True, subject_dropout=0.2)
    head.check(facts(subjects={"a": slice(0, 10), "b": slice(10, TARGETS)}))
    with pytest.raises(InputError, match=r"subject_dropout 0\.2: expected several subjects"):
        head.check(facts(subjects={"a": slice(0, TARGETS), "b": slice(TARGETS, TARGETS)}))


SIDES = ("order",)


@pytest.mark.parametrize("readout", [GaussianReadout, FactorizedReadout])
def test_readouts_of_maps_are_known_before(readout):
    made = readout(MAPS, TARGETS)
    assert size_of_made(partial(readout, MAPS, TARGETS)) == size_of([*made.parameters(), *made.buffers()])


def test_a_ridge_gathers_what_it_says():
    model, known = RidgeModule(TARGETS, FEATURES, folds=2), facts()
    demand = model.demand(known)
    rows = model.keep(torch.arange(100) % 2, TARGETS)
    assert isinstance(rows, SummedRows)
    assert size_of(rows.sums()) < demand.gathered
    wide = RidgeModule(TARGETS, FEATURES, folds=5)
    rows = wide.keep(torch.arange(100) % 5, TARGETS)
    assert isinstance(rows, WholeRows)
    rows.update(torch.zeros(100, 48), torch.zeros(100, TARGETS), torch.arange(100))
    assert 4 * 100 * (48 + TARGETS) <= size_of(rows.sums()) < wide.demand(known).gathered
    assert (demand.optimizer, demand.kept, demand.stored) == (0, 0, 0)


@pytest.mark.parametrize("head", [MlpHead, ComponentHead, partial(RandomGroups, readout=MlpHead)])
def test_heads_of_several_subjects_are_known_before(head):
    model, known = (
        EncodingModule(TARGETS, FEATURES, head),
        facts(subjects={"a": slice(0, 10), "b": slice(10, TARGETS)}, response_components=3),
    )
    model.check(known)
    demand = model.demand(known)
    model.take_facts(replace(known, feature_mean={"a": torch.zeros(48)}, feature_scale={"a": torch.ones(48)}))
    model.setup("fit")
    parts = [model.head, model.standardize_features, model.standardize_responses]
    made = sum(size_of([*part.parameters(), *part.buffers()]) for part in parts)
    assert demand.weights == pytest.approx(made, rel=0.03)  # but for orders of targets, which are the data's
    if head is MlpHead:
        assert demand.gradients == pytest.approx(
            size_of(model.parameters()), rel=0.01
        )  # running means are counted, too


def test_what_keeps_training_data_says_so():
    assert SimilarityModule(TARGETS, FEATURES).demand(facts()).stored == 4 * 100 * (48 + TARGETS)


def test_banded_ridge_counts_a_kernel_of_each_band_and_fold():
    shapes = {f"layer{band}": (80,) for band in range(3)}
    narrow, wide = BandedRidgeModule(TARGETS, {"a": (48,)}, folds=5), BandedRidgeModule(TARGETS, shapes, folds=5)
    assert wide.demand(facts()).gathered >= 8 * 3 * 6 * 100**2
    assert narrow.demand(facts()).gathered < wide.demand(facts()).gathered
