"""Layer capture: each trap against a reference forward."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from calcarine.encoders.capture import Tap, run_taps
from calcarine.encoders.tracing import prune, resolve, trace
from calcarine.errors import InputError
from torch import Tensor, nn

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5


class Trap(nn.Module):
    """A network with every habit that breaks naive hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)  # overwrites what `conv` returned; runs twice
        self.residual = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(7, 7)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.lone = Wrapped(lambda x: {"out": x + 1})
        self.pair = Wrapped(lambda x: (x, x))
        self.windows = Wrapped(lambda x: x.reshape(-1, 2, 4))
        self.head = nn.Linear(4, 10)
        self.head_calls = 0

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.conv(images))
        branch = self.residual(maps)
        branch += maps
        tokens = self.relu(branch).flatten(2).mT  # (B, 36, 4)
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = self.lone(tokens)["out"]
        tokens = self.pair(tokens)[0]
        self.windows(tokens)
        self.head_calls += 1
        return self.head(tokens.mean(1))


class Wrapped(nn.Module):
    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Tensor) -> object:
        return self.function(value)


@pytest.fixture
def network() -> Trap:
    torch.manual_seed(0)
    return Trap().eval()


def capture(network: nn.Module, *layers: str, pruned: bool = False) -> dict[str, Tensor]:
    traced = trace(network, IMAGES)
    taps = resolve(network, traced.events, layers, {"embedding": Tap("head", "input")}, "trap")
    if pruned:
        prune(network, traced, taps)
    return run_taps(network, taps, IMAGES)


def test_in_place_activation_and_addition_do_not_reach_the_captured_layer(network: Trap) -> None:
    before_relu = network.conv(IMAGES)
    after_relu = before_relu.relu()
    captured = capture(network, "conv", "residual", "embedding")
    torch.testing.assert_close(captured["conv"], before_relu)
    torch.testing.assert_close(captured["residual"], network.residual(after_relu))
    assert (captured["conv"] < 0).any()


def test_last_layer_is_right_without_a_copy(network: Trap) -> None:
    torch.testing.assert_close(capture(network, "conv")["conv"], network.conv(IMAGES))


def test_layers_come_whatever_the_order_they_are_asked_in(network: Trap) -> None:
    forth, back = capture(network, "conv", "lone", "head"), capture(network, "head", "lone", "conv")
    assert set(forth) == set(back) == {"conv", "lone", "head"}
    for layer in forth:
        torch.testing.assert_close(forth[layer], back[layer], rtol=0, atol=0)


def test_forward_stops_after_the_last_layer(network: Trap) -> None:
    capture(network, "lone")
    assert network.head_calls == 0
    capture(network, "conv", "embedding")
    assert network.head_calls == 1


def test_input_of_a_module_is_a_layer(network: Trap) -> None:
    captured = capture(network, "embedding", "head")
    torch.testing.assert_close(network.head(captured["embedding"]), captured["head"])
    torch.testing.assert_close(captured["head"], network(IMAGES))


def test_the_only_tensor_of_a_tuple_or_dict_is_taken(network: Trap) -> None:
    captured = capture(network, "attention", "lone")
    torch.testing.assert_close(captured["lone"], captured["attention"] + 1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("relu", "runs 2 times"),
        ("unused", "never runs"),
        ("pair", "returns a tuple"),
        ("windows", "one row per image"),
        ("cnov", "did you mean 'conv'"),
        ("", "no layer ''"),
    ],
)
def test_a_layer_that_cannot_be_captured_is_refused_by_name(network: Trap, layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        capture(network, "conv", layer)
    assert f"'{layer}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prune_drops_what_never_runs_and_keeps_what_does(network: Trap) -> None:
    reference = capture(copy.deepcopy(network), "conv", "embedding")
    captured = capture(network, "conv", "embedding", pruned=True)
    for layer, expected in reference.items():
        torch.testing.assert_close(captured[layer], expected, rtol=0, atol=0)
    names = set(network.state_dict())
    assert "attention.out_proj.weight" in names  # used without being called
    assert not {name for name in names if name.startswith(("head", "unused"))}


def test_every_trainable_parameter_gets_a_gradient(network: Trap) -> None:
    network.residual.requires_grad_(False)
    captured = capture(network, "conv", "attention", pruned=True)
    sum(tensor.square().sum() for tensor in captured.values()).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.startswith("residual"), name


def test_gradient_of_a_captured_layer_is_that_of_the_reference(network: Trap) -> None:
    network.conv(IMAGES).square().sum().backward()
    assert network.conv.weight.grad is not None
    expected = network.conv.weight.grad.clone()
    network.zero_grad()
    capture(network, "conv", "lone")["conv"].square().sum().backward()
    torch.testing.assert_close(network.conv.weight.grad, expected)


def test_works_in_inference_mode_and_leaves_no_hook_behind(network: Trap) -> None:
    expected = capture(network, "conv", "lone")
    taps = resolve(network, trace(network, IMAGES).events, ["conv", "lone"], {}, "trap")
    with torch.inference_mode():
        captured = run_taps(network, taps, IMAGES)
    for layer in taps:
        torch.testing.assert_close(captured[layer], expected[layer].detach())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_an_error_inside_the_network_passes_and_removes_the_hooks(network: Trap) -> None:
    taps = resolve(network, trace(network, IMAGES).events, ["head"], {}, "trap")
    with pytest.raises(RuntimeError):
        run_taps(network, taps, torch.zeros(2, 5, 8, 8))
    assert not network.head._forward_hooks


def test_a_layer_that_stops_running_is_named() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.skip = nn.Flatten(), nn.Identity(), False

        def forward(self, images: Tensor) -> Tensor:
            flat = self.first(images)
            return flat if self.skip else self.second(flat)

    network = Sometimes()
    taps = resolve(network, trace(network, IMAGES).events, ["second"], {}, "sometimes")
    network.skip = True
    with pytest.raises(InputError, match="'second' never ran"):
        run_taps(network, taps, IMAGES)


class Data(Trap):
    """Looks at its numbers, so that it cannot be traced without running."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images * (2 if images.sum() > 0 else 1))


def test_a_network_that_looks_at_its_numbers_is_traced_by_running_it() -> None:
    plain, data = Trap().eval(), Data().eval()
    data.residual.requires_grad_(False)
    shadowed, ran = trace(plain, IMAGES), trace(data, IMAGES)
    assert [(event.tap, event.shape) for event in ran.events] == [(event.tap, event.shape) for event in shadowed.events]
    assert (plain.head_calls, data.head_calls) == (0, 1)
    assert not data.residual.weight.requires_grad
    taps = {"conv": Tap("conv"), "lone": Tap("lone")}
    assert prune(data, ran, taps) == prune(plain, shadowed, taps) == ["unused", "head"]


def test_taps_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(Tap("head", "input"))) == Tap("head", "input")
