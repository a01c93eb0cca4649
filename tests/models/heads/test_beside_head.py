"""BesideHead: the image's head plus a linear one, and the image's alone where nothing is beside it."""

import pytest
import torch
import torch.nn.functional as F
from calcarine.errors import InputError
from calcarine.models import BesideHead, FactorizedReadout, LayerMixture, LayerProjection, MlpHead, TrunkHead
from plain_facts import plain_facts

MAPS = {"early": (5, 8, 8), "late": (5, 4, 4)}
BESIDE = {"beside:previous": (6,), "beside:time": (4,)}


def some_features(shapes, batch=4):
    generator = torch.Generator().manual_seed(1)
    return {layer: torch.randn(batch, *shape, generator=generator) for layer, shape in shapes.items()}


def with_weights(head):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return head.eval()


def test_maps_and_vectors_are_read_apart_and_added():
    head = with_weights(BesideHead(MAPS | BESIDE, 5, image=FactorizedReadout))
    head.fill(plain_facts(5))
    features = some_features(MAPS | BESIDE)
    alone = {layer: features[layer] for layer in MAPS}
    flat = torch.cat([features[layer] for layer in BESIDE], dim=1)
    expected = head.image(alone) + F.linear(flat, head.beside.weight, head.beside.bias)
    torch.testing.assert_close(head(features), expected)
    assert not torch.allclose(head(features), head.image(alone))
    assert BesideHead(MAPS | BESIDE, 5).independent_targets
    assert not BesideHead(MAPS | BESIDE, 5, beside=MlpHead).independent_targets


def test_a_head_of_maps_says_how_it_reads_them() -> None:
    with pytest.raises(InputError, match=r"\(6,\), .*; make it the --model.head.image of a BesideHead"):
        FactorizedReadout(MAPS | BESIDE, 5)
    with pytest.raises(InputError, match=r"; leave out --data\.reduction"):
        FactorizedReadout({"early": (40,)} | BESIDE, 5)


def test_without_inputs_beside_the_image_it_is_the_image_s_head():
    head = with_weights(BesideHead(MAPS, 5, image=FactorizedReadout))
    features = some_features(MAPS)
    assert head.beside is None
    torch.testing.assert_close(head(features), head.image(features))


def test_it_reads_behind_a_trunk_that_keeps_the_layers_apart():
    """As the Memory Encoding Model does: layers brought to one width, mixed for each target, and what came before."""

    def readout(shapes, targets):
        return BesideHead(shapes, targets, image=lambda own, count: LayerMixture(own, count, FactorizedReadout))

    head = TrunkHead(MAPS | BESIDE, 5, trunk=lambda shapes: LayerProjection(shapes, 7), readout=readout)
    head.fill(plain_facts(5))
    with_weights(head)
    features = some_features(MAPS | BESIDE)
    before = head(features)
    torch.testing.assert_close(head.read(features, 0), before)
    features["beside:previous"] = -features["beside:previous"]
    assert not torch.allclose(head(features), before)
    assert set(head.findings().layer_weight) == set(MAPS)


def test_a_head_of_several_subjects_is_refused():
    with pytest.raises(InputError, match=r"--model\.head\.image TrunkHead: expected a head of one subject"):
        BesideHead(MAPS | BESIDE, 5, image=lambda shapes, count: TrunkHead(shapes, count, trunk=LayerProjection))
