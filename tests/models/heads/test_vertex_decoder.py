"""VertexDecoder: the literal network in less memory, whatever the chunk, and it learns places."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from calcarine.batch import Facts
from calcarine.data.simulation.cortex import visual_patch
from calcarine.errors import InputError
from calcarine.models.heads import vertex_decoder
from calcarine.models.heads.vertex_decoder import VertexDecoder
from plain_facts import plain_facts
from torch import Tensor, nn

SHAPES = {"a": (4,), "b": (2, 3)}


def facts_at(coordinates: Tensor, groups: Tensor | None = None) -> Facts:
    count = len(coordinates)
    groups = torch.zeros(count, dtype=torch.int64) if groups is None else groups
    names = [f"lh.{group}" for group in groups.unique().tolist()]
    return plain_facts(count, groups=groups, group_names=names, coordinates=coordinates)


def random_facts(count: int) -> Facts:
    generator = torch.Generator().manual_seed(1)
    return facts_at(50 * torch.randn(count, 3, generator=generator), torch.arange(count) % 3)


def features(stimuli: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = {layer: torch.randn(stimuli, *shape, generator=generator) for layer, shape in SHAPES.items()}
    return {layer: each.double() for layer, each in drawn.items()}


def layers_of(head: VertexDecoder) -> list[nn.Linear]:
    return [layer for layer in head.layers if isinstance(layer, nn.Linear)]


def norms_of(head: VertexDecoder) -> list[nn.BatchNorm1d]:
    return [norm for norm in head.norms if isinstance(norm, nn.BatchNorm1d)]


def decoder(targets: int = 23, **settings: object) -> VertexDecoder:
    """A decoder in double precision whose every parameter is random; seed 0."""
    torch.manual_seed(0)
    head = VertexDecoder(SHAPES, targets, width=8, frequencies=3, **settings)  # type: ignore[arg-type]
    for norm in norms_of(head):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    head.fill(random_facts(targets))
    return head.double()


class Literal(nn.Module):
    """The network as it is published: the vector and the place are joined for every target."""

    def __init__(self, head: VertexDecoder) -> None:
        super().__init__()
        self.place, self.residual = head.encoding.T[None], head.residual  # (1, encoded, T)
        self.convolutions = nn.ModuleList()
        for layer in layers_of(head):
            convolution = nn.Conv1d(layer.in_features, layer.out_features, 1).double()
            convolution.load_state_dict({"weight": layer.weight[:, :, None], "bias": layer.bias})
            self.convolutions.append(convolution)
        self.norms = deepcopy(head.norms)  # torch's own

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        vector = torch.cat([layer.flatten(1) for layer in features.values()], dim=1)
        place = self.place.expand(len(vector), -1, -1)
        hidden = vector[:, :, None].expand(-1, -1, place.shape[2])  # (B, features, T)
        stream = torch.zeros(())
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            made = convolution(torch.cat([hidden, place], dim=1))
            stream = stream + made if self.residual else made
            hidden = F.leaky_relu(norm(stream))
        return self.convolutions[-1](torch.cat([hidden, place], dim=1)).squeeze(1)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("chunk", [5, 23, 1000])
def test_it_is_the_published_network(chunk: int, residual: bool) -> None:
    head = decoder(chunk=chunk, residual=residual)
    literal = Literal(head)
    for step in range(2):
        inputs, response = features(6, seed=step), torch.randn(6, 23, dtype=torch.float64)
        found, expected = head(inputs), literal(inputs)
        torch.testing.assert_close(found, expected)
        for output, network in ((found, head), (expected, literal)):
            network.zero_grad()
            (output - response).square().mean().backward()
        for layer, convolution in zip(layers_of(head), literal.convolutions, strict=True):
            assert isinstance(convolution.weight.grad, Tensor)
            torch.testing.assert_close(layer.weight.grad, convolution.weight.grad[:, :, 0])
            torch.testing.assert_close(layer.bias.grad, convolution.bias.grad, atol=1e-12, rtol=1e-5)
        for norm, reference in zip(head.norms, literal.norms, strict=True):
            torch.testing.assert_close(norm.weight.grad, reference.weight.grad)
            torch.testing.assert_close(norm.bias.grad, reference.bias.grad)
            torch.testing.assert_close(norm.state_dict(), reference.state_dict())  # running statistics, moved once
    head.eval()
    literal.eval()
    torch.testing.assert_close(head(features(3)), literal(features(3)))


def test_chunks_change_nothing_in_evaluation() -> None:
    whole, parts = decoder(chunk=1000, dropout=0.5).eval(), decoder(chunk=4, dropout=0.5).eval()
    before = {name: value.clone() for name, value in parts.state_dict().items()}
    torch.testing.assert_close(parts(features(6)), whole(features(6)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts(features(6))[2:3], parts({k: v[2:3] for k, v in features(6).items()}))
    torch.testing.assert_close(parts.state_dict(), before, rtol=0, atol=0)


def test_what_is_computed_again_drops_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> list[Tensor]:
        head = decoder(chunk=5, dropout=0.5)
        torch.manual_seed(3)
        head(features(6)).square().mean().backward()
        return [each.grad for each in head.parameters() if each.grad is not None]

    found = gradients()
    kept = lambda function, *inputs, **_: function(*inputs)  # noqa: E731
    monkeypatch.setattr(vertex_decoder, "checkpoint", kept)
    torch.testing.assert_close(found, gradients())


def test_dropout_lies_behind_every_second_layer() -> None:
    head = decoder(dropout=0.2)
    assert [index for index in range(6) if head._drops(index)] == [1, 3, 5]
    zeros = head._block(1, torch.ones(400, 1, 8).double(), torch.ones(23, 8).double(), *torch.ones(2, 8).double())
    assert zeros.std() > 0
    assert not any(head.eval()._drops(index) for index in range(6))


def test_no_stimulus_is_no_fault_and_one_is_enough() -> None:
    """A batch that mixes subjects may hold none of one of them."""
    head = decoder()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    empty = head(features(0))
    assert empty.shape == (0, 23)
    empty.sum().backward()
    assert all(each.grad is not None for each in head.layers.parameters())
    torch.testing.assert_close(head.state_dict(), before, rtol=0, atol=0)
    assert head(features(1)).isfinite().all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_in_mixed_precision_it_is_nearly_the_same(precision: torch.dtype) -> None:
    exact, mixed = decoder(), decoder().float()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision != torch.float32):
        found = mixed({layer: each.float() for layer, each in features(50).items()})
    found.square().mean().backward()
    tolerance = 0.1 if precision == torch.bfloat16 else 1e-4
    expected = exact(features(50))
    assert (found.double() - expected).norm() < tolerance * expected.norm()
    for norm, reference in zip(norms_of(mixed), norms_of(exact), strict=True):
        assert norm.running_var is not None
        assert reference.running_var is not None
        assert norm.running_var.dtype == torch.float32
        torch.testing.assert_close(norm.running_var.double(), reference.running_var, rtol=tolerance, atol=0)


def test_the_centre_tells_rois_apart() -> None:
    """Two targets at one place in their ROIs, beside a third one each that makes the centres differ."""
    places = torch.tensor([[-30.0, -90, 0], [-32, -90, 0], [35, -50, -20], [33, -50, -20]])
    head = decoder(4)
    head.fill(facts_at(places, torch.tensor([0, 0, 1, 1])))
    relative, centres = head.encoding.chunk(2, dim=1)
    torch.testing.assert_close(relative[:2], relative[2:])
    assert not torch.allclose(centres[:2], centres[2:], atol=0.1)


def test_unknown_places_are_one_line() -> None:
    facts = random_facts(23)
    coordinates = facts.coordinates.clone()
    coordinates[[3, 8]] = torch.nan
    with pytest.raises(InputError, match=r"^--model.head VertexDecoder: .* none for 2 of 23; give .*npy") as refusal:
        decoder().fill(replace(facts, coordinates=coordinates))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "number"), [("width", 0), ("frequencies", 1), ("chunk", 0), ("dropout", 1.0), ("dropout", -0.1)]
)
def test_numbers_out_of_range_are_one_line(name: str, number: float) -> None:
    with pytest.raises(InputError, match=rf"^--model.head.{name} {number:g}: expected"):
        VertexDecoder({"a": (4,)}, 3, **{name: number})  # type: ignore[arg-type]


def explained(prediction: Tensor, response: Tensor) -> float:
    """Coefficient of determination over all stimuli and targets."""
    return float(1 - (prediction - response).square().sum() / (response - response.mean()).square().sum())


def trained(head: VertexDecoder, batch, steps: int) -> VertexDecoder:
    """Train on `batch(step)` = features and responses (B, T), with a rate that falls to 0."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for step in range(steps):
        inputs, response = batch(step)
        optimizer.zero_grad()
        (head(inputs) - response).square().mean().backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, *(pytest.param(axis, marks=pytest.mark.slow) for axis in (1, 2))])
def test_it_learns_the_place_of_targets_that_it_has_not_seen(axis: int) -> None:
    """The published sanity check, on folded cortex: trained on half of the targets, tested on the others; seed 0."""
    torch.manual_seed(0)
    places = torch.from_numpy(visual_patch("lh", 2000).coordinates)
    places = places[torch.randperm(2000)]
    places = places - places.mean(0)
    wanted = places[:, axis] / places[:, axis].std()
    head = VertexDecoder({"a": (8,)}, 1000, width=32)
    head.fill(facts_at(places[:1000]))
    trained(head, lambda step: ({"a": torch.randn(1, 8)}, wanted[:1000].expand(1, -1)), 100)
    head.fill(facts_at(places[1000:]))
    test = {"a": torch.randn(20, 8)}
    with torch.no_grad():
        assert explained(head(test), wanted[1000:].expand(20, -1)) >= 0.95
        head.encoding.copy_(head.encoding[torch.randperm(1000)])
        assert explained(head(test), wanted[1000:].expand(20, -1)) < 0.2


@pytest.mark.slow
def test_it_learns_responses_that_a_place_multiplies() -> None:
    """A target answers with a gain that the stimulus sets times its place, on stimuli held out; seed 0."""
    torch.manual_seed(0)
    places = torch.from_numpy(visual_patch("lh", 200).coordinates)
    places = (places - places.mean(0)) / places.std(0)
    head = VertexDecoder({"a": (8,)}, 200, width=32, residual=True)
    head.fill(facts_at(40 * places))

    def batch(stimuli: int) -> tuple[dict[str, Tensor], Tensor]:
        vector = torch.randn(stimuli, 8)
        return {"a": vector}, (vector[:, :3] @ places.T)

    trained(head, lambda step: batch(32), 200)
    inputs, response = batch(100)
    with torch.no_grad():
        assert explained(head(inputs), response) >= 0.95
        head.encoding.copy_(head.encoding[torch.randperm(200)])
        assert explained(head(inputs), response) < 0.2
