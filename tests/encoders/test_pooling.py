"""Pooling of maps and tokens whose axes are known."""

import pytest
import torch
import torch.nn.functional as F
from calcarine.encoders.layouts import Layout, layout_of
from calcarine.encoders.pooling import pool_features

GROWTH = (2, 3)


def known(shape: tuple[int, ...], larger: tuple[int, ...]) -> Layout:
    layout = layout_of(shape, larger, GROWTH)
    assert layout is not None
    return layout


@pytest.mark.parametrize("channels", [5, 6])
def test_maps_are_pooled_over_rows_and_columns_wherever_the_channels_are(channels: int) -> None:
    maps = torch.rand(2, channels, 6, 6)
    first = known((channels, 6, 6), (channels, 12, 18))
    last = known((6, 6, channels), (12, 18, channels))
    for layout, captured in ((first, maps), (last, maps.permute(0, 2, 3, 1))):
        served = layout.serve(captured)
        torch.testing.assert_close(served, maps)
        torch.testing.assert_close(pool_features(served, layout, "avg"), maps.mean((2, 3)))
        torch.testing.assert_close(pool_features(served, layout, "max"), maps.flatten(2).max(2).values)
        torch.testing.assert_close(pool_features(served, layout, 3), F.avg_pool2d(maps, 2))
        assert pool_features(served, layout, None) is served


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("side", [2, 16])
def test_pooling_of_tokens_leaves_class_and_register_tokens_out(prefix: int, side: int) -> None:
    maps = torch.rand(2, 7, side, side)
    patches = maps.flatten(2).mT  # (2, side², 7)
    tokens = torch.cat([torch.full((2, prefix, 7), 9.0), patches], dim=1)
    layout = known((prefix + side**2, 7), (prefix + 6 * side**2, 7))
    assert (layout.grid, layout.prefix) == ((side, side), prefix)
    torch.testing.assert_close(pool_features(tokens, layout, "avg"), patches.mean(1))
    torch.testing.assert_close(pool_features(tokens, layout, "max"), patches.max(1).values)
    torch.testing.assert_close(pool_features(tokens, layout, 2), F.avg_pool2d(maps, side // 2))


def test_tokens_are_pooled_in_the_order_that_was_found() -> None:
    maps = torch.rand(2, 7, 4, 4)
    shuffle = torch.randperm(16)
    tokens = torch.cat([torch.zeros(2, 1, 7), maps.flatten(2).mT[:, shuffle]], dim=1)
    layout = known((17, 7), (97, 7))
    torch.testing.assert_close(pool_features(tokens, layout, 2, 1 + shuffle.argsort()), F.avg_pool2d(maps, 2))


def test_vectors_stay_as_they_are() -> None:
    vectors = torch.rand(2, 5)
    assert pool_features(vectors, Layout("vector", (), (5,)), "avg") is vectors
