"""CompressiveTrunk: from maps of any size to one vector."""

import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.heads.trunk import TrunkHead
from calcarine.models.trunks.compressive import CompressiveTrunk
from torch import nn


def test_maps_of_segment_anything_take_four_stages() -> None:
    trunk = CompressiveTrunk({"neck": (256, 64, 64)})
    convolutions = [each for each in trunk.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 4
    assert trunk.vector[0].in_features == 64 * 4 * 4  # type: ignore[union-attr]
    assert sum(each.numel() for each in trunk.parameters()) < 1_000_000
    assert trunk({"neck": torch.randn(2, 256, 64, 64)})["compressed"].shape == (2, 512)


@pytest.mark.parametrize(
    "shapes",
    [{"a": (3, 64, 64)}, {"a": (5, 7, 30)}, {"a": (2, 1, 1)}, {"a": (3, 5, 4)}, {"a": (8, 4, 4), "b": (4, 14, 14)}],
)
def test_maps_of_any_size(shapes: dict[str, tuple[int, ...]]) -> None:
    trunk = CompressiveTrunk(shapes, channels=6, width=10)
    made = trunk({layer: torch.randn(3, *shape) for layer, shape in shapes.items()})
    assert {layer: tuple(each.shape[1:]) for layer, each in made.items()} == trunk.feature_shapes()


@pytest.mark.parametrize("layer", ["a", "b"])
def test_every_place_of_every_layer_reaches_the_vector(layer: str) -> None:
    shapes = {"a": (2, 9, 9), "b": (3, 20, 12)}
    torch.manual_seed(0)
    trunk = CompressiveTrunk(shapes, channels=16, width=64).eval()
    maps = {name: torch.randn(1, *shape, requires_grad=True) for name, shape in shapes.items()}
    trunk(maps)["compressed"].sum().backward()
    gradient = maps[layer].grad
    assert gradient is not None
    assert (gradient != 0).all()


def test_vectors_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"CompressiveTrunk: expected maps .*, found a \(5,\)"):
        TrunkHead({"a": (5,)}, 3, CompressiveTrunk)


@pytest.mark.parametrize("name", ["channels", "width"])
def test_sizes_below_1_are_one_line(name: str) -> None:
    with pytest.raises(InputError, match=rf"^--model.head.trunk.{name} 0: expected 1 or more"):
        CompressiveTrunk({"a": (2, 8, 8)}, **{name: 0})
