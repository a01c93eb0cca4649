"""Spatial readouts: against dense weights, in chunks, on planted receptive fields."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from calcarine.errors import InputError
from calcarine.models import FactorizedReadout, GaussianMaskReadout, GaussianReadout, RetinotopicReadout
from calcarine.models.heads import chunks
from calcarine.models.heads.gaussian import centers

READOUTS = [
    FactorizedReadout,
    GaussianReadout,
    GaussianMaskReadout,
    partial(RetinotopicReadout, from_cortex=False, jitter=0.1),
]
SHAPES = {"fine": (5, 8, 8), "coarse": (3, 5, 4)}
WIDTHS = (0.15, 0.3, 0.6)  # of the masks that a target has by default


def some_readout(kind, targets=7, seed=0):
    """One with weights, and places beside the middle."""
    torch.manual_seed(seed)
    readout = kind(SHAPES, targets).double().eval()
    with torch.no_grad():
        for parameter in readout.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return readout


def some_features(batch=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randn(batch, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for layer, shape in SHAPES.items()
    }


def dense_masks(readout, layer):
    """What each cell of a layer counts for each target, (targets, looks, rows, columns), cell by cell."""
    rows, columns = SHAPES[layer][1:]
    if isinstance(readout, FactorizedReadout):
        mask = F.interpolate(readout.mask[None], size=(rows, columns), mode="bilinear", antialias=True)[0]
        return mask[:, None] / (rows * columns)
    masks = torch.zeros(len(readout.x), rows, columns, dtype=torch.float64)
    for target in range(len(readout.x)):
        x, y = (math.tanh(2 * each.item()) / 2 + 0.5 for each in (readout.x[target], readout.y[target]))
        for row in range(rows):
            for column in range(columns):
                down, across = (row + 0.5) / rows - y, (column + 0.5) / columns - x
                if isinstance(readout, (GaussianReadout, RetinotopicReadout)):  # bilinear
                    masks[target, row, column] = max(0, 1 - abs(down) * rows) * max(0, 1 - abs(across) * columns)
                else:
                    width = WIDTHS[target % 3] * math.exp(readout.log_spread[target].item())
                    masks[target, row, column] = math.exp(-(down**2 + across**2) / (2 * width**2))
        masks[target] /= masks[target].sum()
    return masks.unflatten(0, (readout.num_targets, -1))


@pytest.mark.parametrize("kind", READOUTS)
def test_it_is_the_linear_readout_with_weights_where_times_what(kind):
    readout, features = some_readout(kind), some_features()
    expected = readout.bias.expand(4, -1)
    looks = 3 if kind is GaussianMaskReadout else 1
    weights = dict(zip(SHAPES, readout.weight.split([5 * looks, 3 * looks], dim=1), strict=True))
    for layer, maps in features.items():
        weight = weights[layer].unflatten(1, (-1, looks))
        dense = torch.einsum("tck,tkhw->tchw", weight, dense_masks(readout, layer))
        expected = expected + torch.einsum("bchw,tchw->bt", maps, dense)
    torch.testing.assert_close(readout(features), expected)


@pytest.mark.parametrize("kind", READOUTS[:3])
def test_targets_in_chunks_give_what_all_at_once_give(kind, monkeypatch):
    readout, features = some_readout(kind), some_features()
    readout.train()

    def passed():
        torch.manual_seed(3)  # the points of the sampled Gaussian
        prediction = readout(features)
        return [
            prediction,
            *torch.autograd.grad(prediction.square().sum(), [*readout.parameters(), *features.values()]),
        ]

    whole = passed()
    monkeypatch.setattr(chunks, "HELD_AT_ONCE", 2 * readout.held(list(features.values())))  # two targets
    for one, other in zip(whole, passed(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", READOUTS)
def test_gradients_are_right(kind):
    readout, features = some_readout(kind, targets=3), some_features(batch=2)
    readout.train()
    names = [name for name, _ in readout.named_parameters()]

    def predict(*values):
        torch.manual_seed(0)
        return torch.func.functional_call(readout, dict(zip(names, values, strict=True)), (features,))

    assert torch.autograd.gradcheck(predict, list(readout.parameters()))


def test_a_gaussian_is_sampled_with_its_covariance_in_training_and_is_its_mean_in_evaluation():
    torch.manual_seed(0)
    readout = GaussianReadout({"map": (1, 8, 8)}, 2, width=0.1)
    with torch.no_grad():
        readout.x.copy_(torch.tensor([0.4, -0.2]).atanh() / 2)
        readout.shear.fill_(1.0)
        readout.spread_y.fill_(2.0)
    points = readout.places(20_000) / 2  # in image widths
    torch.testing.assert_close(points.mean(1), torch.tensor([[0.2, 0.0], [-0.1, 0.0]]), atol=5e-3, rtol=0)
    root = torch.tensor([[0.1, 0.0], [0.1, 0.2]])
    torch.testing.assert_close(torch.cov(points[0].T), root @ root.T, atol=2e-3, rtol=0)
    torch.testing.assert_close(readout.eval().places(3)[0], torch.tensor([[0.4, 0.0]] * 3))


@pytest.mark.parametrize("kind", READOUTS)
def test_it_starts_at_the_mean_and_is_penalised_for_what_it_weights(kind):
    readout = kind(SHAPES, 6)
    features = {layer: maps.float() for layer, maps in some_features().items()}
    assert torch.equal(readout(features), torch.zeros(4, 6))
    penalised = {name for name, each in readout.named_parameters() if each.ndim > 1}  # by --model.l1
    assert penalised == ({"weight", "mask"} if kind is FactorizedReadout else {"weight"})
    assert readout({layer: maps[:0] for layer, maps in features.items()}).shape == (0, 6)


CENTERS = torch.tensor([[2, 3], [7, 6], [5, 1], [8, 8], [4, 4], [1, 7]])  # row and column, of 10


def learnt_centers(kind, shuffle):
    """Row and column that each target's readout found, in cells, of maps as smooth as those of photographs."""
    torch.manual_seed(0)
    maps = F.avg_pool2d(torch.randn(600, 4, 14, 14), 5, stride=1) * 5  # (600, 4, 10, 10)
    weights = torch.randn(len(CENTERS), 4)
    local = maps[:, :, CENTERS[:, 0], CENTERS[:, 1]]  # (600, 4, targets)
    responses = torch.einsum("bct,tc->bt", local, weights)
    responses = responses / responses.std(0) + 0.5 * torch.randn(600, len(CENTERS))
    if shuffle:
        responses = responses[torch.randperm(600)]
    readout = kind({"map": (4, 10, 10)}, len(CENTERS))
    optimizer = torch.optim.Adam(readout.parameters(), lr=0.02)
    for _ in range(400):
        index = torch.randint(0, 600, (128,))
        loss = F.mse_loss(readout({"map": maps[index]}), responses[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if isinstance(readout, FactorizedReadout):
        cell = F.avg_pool2d(readout.mask.detach()[:, None], 3, stride=1, padding=1).flatten(1).abs().argmax(1)
        return torch.stack([cell // 10, cell % 10], dim=1).float()
    narrowest = centers(readout.y, readout.x).detach().unflatten(0, (len(CENTERS), -1))[:, 0]
    return narrowest * 10 + 4.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", READOUTS)
def test_a_planted_receptive_field_is_found_and_of_shuffled_responses_none_is(kind):
    found = (learnt_centers(kind, shuffle=False) - CENTERS).abs().amax(1)
    assert (found <= 1).all(), found
    assert ((learnt_centers(kind, shuffle=True) - CENTERS).abs().amax(1) > 1).sum() >= 4


@pytest.mark.parametrize("kind", READOUTS)
def test_a_layer_that_is_no_map_is_named(kind):
    with pytest.raises(InputError, match=r"components \(100,\)"):
        kind({"map": (3, 8, 8), "components": (100,)}, 5)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (GaussianReadout, {"width": 0.0}, "width 0"),
        (GaussianMaskReadout, {"widths": [0.15, 0.0]}, r"widths: .* \[0.15, 0.0\]"),
        (GaussianMaskReadout, {"widths": []}, r"widths: .* \[\]"),
    ],
)
def test_a_width_is_above_zero(kind, given, said):
    with pytest.raises(InputError, match=said):
        kind(SHAPES, 5, **given)
