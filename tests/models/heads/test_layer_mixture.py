"""LayerMixture: against readouts mixed by hand, and the planted layer of each target."""

import pytest
import torch
import torch.nn.functional as F
from calcarine.errors import InputError
from calcarine.models import GaussianReadout, LayerMixture, LayerProjection, LinearHead, TrunkHead
from plain_facts import plain_facts

VECTORS = {"early": (6,), "middle": (6,), "late": (6,)}
MAPS = {"early": (5, 8, 8), "late": (5, 4, 4)}


def some_features(shapes, batch=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(batch, *shape, generator=generator) for layer, shape in shapes.items()}


def with_weights(head, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return head.eval()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("selection", ["target", "roi", "all"])
def test_predictions_are_the_layers_own_mixed_by_softmax(shared, selection):
    groups = torch.tensor([0, 0, 1, 1, 1])
    mixture = with_weights(LayerMixture(VECTORS, 5, shared=shared, selection=selection))
    mixture.fill(plain_facts(5, groups=groups))
    features = some_features(VECTORS)
    logits = mixture.logits.detach().clone()
    for own in {"target": [], "roi": [groups == 0, groups == 1], "all": [groups >= 0]}[selection]:
        logits[own] = logits[own].mean(0)
    weight = (10 * logits).softmax(1)
    expected = torch.zeros(4, 5)
    for number, layer in enumerate(VECTORS):
        readout = mixture.readouts[0 if shared else number]
        expected += weight[:, number] * F.linear(features[layer], readout.weight, readout.bias)
    torch.testing.assert_close(mixture(features), expected)
    torch.testing.assert_close(mixture.read(features, torch.zeros(4, dtype=torch.int64)), expected)
    assert mixture.independent_targets == (selection == "target")
    found = mixture.findings()
    torch.testing.assert_close(torch.from_numpy(found.layer_weight["late"]), weight[:, 2])
    assert found.layer.tolist() == weight.argmax(1).tolist()


def test_mixtures_of_all_targets_are_each_subjects_own():
    mixture = with_weights(LayerMixture(VECTORS, 5, selection="all"))
    mixture.fill(plain_facts(5, subjects={"subj01": slice(0, 2), "subj02": slice(2, 5)}))
    rows = mixture.mixture()
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[2], rows[4])
    assert not torch.allclose(rows[1], rows[2])


def test_targets_are_independent_where_their_readouts_are():
    mixture = LayerMixture(MAPS, 7)
    assert mixture.independent_targets
    assert all(len(each) == 7 for each in mixture.state_dict().values())
    assert not LayerMixture(MAPS, 7, readout=GaussianReadout).independent_targets


def test_maps_of_two_grids_share_one_readout_and_its_place():
    mixture = LayerMixture(MAPS, 7, readout=GaussianReadout, shared=True)
    assert len(mixture.readouts) == 1
    assert with_weights(mixture)(some_features(MAPS)).shape == (4, 7)


def test_layers_that_differ_are_brought_to_one_width():
    shapes = {"map": (5, 8, 8), "tokens": (17, 9), "vector": (12,)}
    with pytest.raises(InputError, match=r"shared true.*vector \(12,\).*LayerProjection"):
        LayerMixture(shapes, 3, shared=True)
    with pytest.raises(InputError, match="LinearHead reads by as many weights"):
        LayerMixture(MAPS, 3, shared=True)  # of one number of channels, but a linear head weights every cell
    trunk = LayerProjection(shapes, 4)
    assert trunk.feature_shapes() == {"map": (4, 8, 8), "tokens": (17, 4), "vector": (4,)}
    features = some_features(shapes)
    made = trunk(features)
    assert {layer: tuple(each.shape[1:]) for layer, each in made.items()} == trunk.feature_shapes()
    linear, norm = trunk.projections[0]
    place = norm(linear(features["map"][1, :, 2, 3]))
    torch.testing.assert_close(made["map"][1, :, 2, 3], place)
    with pytest.raises(InputError, match="width 0"):
        LayerProjection(shapes, 0)
    head = TrunkHead({"a": (5, 8, 8), "b": (3, 4, 4)}, 6, lambda shapes: LayerProjection(shapes, 4), LayerMixture)
    head.fill(plain_facts(6, subjects={"subj01": slice(0, 2), "subj02": slice(2, 6)}))
    assert list(head.findings().layer_weight) == ["a", "b"]
    assert len(head.findings().layer) == 6


def learnt_layers(shuffle, targets=60, stimuli=1000, shared=False):
    """Share of the targets whose planted layer is found, and the held-out correlations."""
    torch.manual_seed(0)
    features = {layer: torch.randn(stimuli, 24) for layer in ("a", "b", "c", "d")}
    # Layers of a network are alike: each is half what the one before it is.
    for before, after in (("a", "b"), ("b", "c"), ("c", "d")):
        features[after] = 0.5 * features[before] + 0.75**0.5 * features[after]
    planted = torch.arange(targets) % 4
    signal = torch.stack(list(features.values()))[planted] @ torch.randn(targets, 24, 1) / 24**0.5  # (T, N, 1)
    responses = signal[..., 0].T + torch.randn(stimuli, targets)
    if shuffle:
        responses = responses[torch.randperm(stimuli)]
    mixture = LayerMixture(dict.fromkeys(features, (24,)), targets, LinearHead, shared=shared)
    optimizer = torch.optim.AdamW(mixture.parameters(), lr=3e-3)
    for _ in range(400):
        index = torch.randint(0, 800, (128,))
        loss = (mixture({layer: each[index] for layer, each in features.items()}) - responses[index]).square().sum(1)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    predicted = mixture({layer: each[800:] for layer, each in features.items()}).detach()
    both = torch.stack([predicted, responses[800:]]) - torch.stack([predicted, responses[800:]]).mean(1, keepdim=True)
    correlation = F.cosine_similarity(both[0], both[1], dim=0)
    return float((torch.from_numpy(mixture.findings().layer) == planted).float().mean()), correlation


@pytest.mark.parametrize("shared", [False, True])
def test_the_layer_that_each_target_reads_is_found_and_of_shuffled_responses_nothing(shared):
    found, correlation = learnt_layers(shuffle=False, shared=shared)
    assert found >= 0.95
    assert correlation.mean() > 0.6
    found, correlation = learnt_layers(shuffle=True, shared=shared)
    assert found < 0.5
    assert correlation.mean().abs() < 0.05
