"""Which axis is which, and which token lies where: against the libraries' own words, with random weights."""

import re

import pytest
import torch
import torch.nn.functional as F
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.base import prepare_images
from calcarine.encoders.capture import Tap
from calcarine.encoders.layouts import Layout, layout_of
from calcarine.encoders.pretrained import PretrainedEncoder
from calcarine.encoders.token_order import tell_orders, token_orders
from calcarine.errors import InputError
from torch import Tensor, nn

IMAGES = torch.randint(0, 256, (2, 3, 80, 100), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def inputs(encoder: PretrainedEncoder) -> Tensor:
    return prepare_images(IMAGES, encoder.spec.size, encoder.spec.interpolation, encoder.mean, encoder.std)


@pytest.mark.parametrize(
    ("shape", "larger", "text"),
    [
        ((96, 96, 96), (96, 192, 288), "96 × 96 map, 96 channels"),
        ((96, 96, 96), (192, 288, 96), "96 × 96 map, 96 channels"),
        ((8, 8, 2048), (17, 26, 2048), "8 × 8 map, 2048 channels"),  # convolutions without padding
        ((196, 768), (1176, 768), "14 × 14 tokens, 768"),
        ((201, 768), (1181, 768), "14 × 14 tokens + 5, 768"),
        ((9, 64), (29, 64), "2 × 2 tokens + 5, 64"),
        ((9, 64), (54, 64), "3 × 3 tokens, 64"),
        ((64, 9), (64, 54), "3 × 3 tokens, 64"),
        ((3, 197, 197), (3, 1177, 1177), None),  # attention
        ((197, 197), (1177, 1177), None),
        ((3, 197, 64), (3, 1177, 64), None),  # heads
        ((64, 49, 64), (384, 49, 64), None),  # windows
        ((240, 7), (1435, 7), None),  # 239 patches are no square
        ((64, 16), (64, 32), None),  # rows, averaged over columns
        ((512, 1, 1), (512, 1, 1), None),
        ((100, 256), (100, 256), None),  # queries
    ],
)
def test_axes_are_told_by_what_grows(shape: tuple[int, ...], larger: tuple[int, ...], text: str | None) -> None:
    layout = layout_of(shape, larger, (2, 3))
    assert (layout and str(layout)) == text


def test_a_map_whose_columns_come_first_is_turned() -> None:
    layout = layout_of((5, 4, 4), (5, 12, 8), (2, 3))
    assert layout is not None
    maps = torch.rand(2, 5, 4, 4)
    assert torch.equal(layout.serve(maps.mT), maps)


def captured(encoder: PretrainedEncoder, layer: str) -> Tensor:
    """What a module of the network returns for `IMAGES`, before anything is made of it."""
    seen: list[Tensor] = []
    module = encoder.network.get_submodule(layer)
    handle = module.register_forward_hook(lambda _module, _args, output: seen.append(output))
    encoder(IMAGES)
    handle.remove()
    return seen[-1]


@torch.no_grad()
def test_swin_with_as_many_channels_as_rows() -> None:
    encoder = TimmEncoder("swin_tiny_patch4_window7_224", "random", "layers.0", "avg", image_size=384).eval()
    channels_last = captured(encoder, "layers.0")  # (B, H, W, C), as timm documents it
    assert channels_last.shape == (2, 96, 96, 96)
    torch.testing.assert_close(encoder(IMAGES)["layers.0"], channels_last.mean((1, 2)))


@torch.no_grad()
def test_swin_v2_cr_with_as_many_channels_as_rows() -> None:
    encoder = TimmEncoder("swinv2_cr_tiny_384", "random", "stages.0.blocks.1", 2).eval()
    channels_last = captured(encoder, "stages.0.blocks.1")
    assert channels_last.shape == (2, 96, 96, 96)
    expected = F.adaptive_avg_pool2d(channels_last.permute(0, 3, 1, 2), 2)
    torch.testing.assert_close(encoder(IMAGES)["stages.0.blocks.1"], expected)


@torch.no_grad()
def test_swin_of_torchvision_leaves_as_maps_whose_channels_come_first() -> None:
    encoder = TorchvisionEncoder("swin_t", "random", "features.0").eval()
    assert encoder.feature_shapes() == {"features.0": (96, 56, 56)}
    torch.testing.assert_close(encoder(IMAGES)["features.0"], captured(encoder, "features.0").permute(0, 3, 1, 2))


@pytest.mark.slow
@torch.no_grad()
def test_windows_are_served_flat_and_are_never_pooled() -> None:
    layer = "blocks.0.layers.0.layers.window_attention.mlp_layer"
    encoder = TorchvisionEncoder("maxvit_t", "random", [layer, "blocks.0"]).eval()
    assert encoder.feature_shapes() == {layer: (64 * 49 * 64,), "blocks.0": (64, 56, 56)}
    assert torch.equal(encoder(IMAGES)[layer], captured(encoder, layer).flatten(1))
    with pytest.raises(
        InputError, match=rf"pool avg: expected layers with a place.*'{re.escape(layer)}'.*64 × 49 × 64"
    ):
        TorchvisionEncoder("maxvit_t", "random", [layer], "avg")


@pytest.mark.slow
@torch.no_grad()
def test_hiera_is_rolled_up_again() -> None:
    layers = ["blocks.0", "blocks.2", "blocks.9"]
    encoder = TimmEncoder("hiera_tiny_224", "random", layers, pool=2).eval()
    found = encoder(IMAGES)
    import timm

    whole = timm.create_model("hiera_tiny_224").eval()
    whole.load_state_dict(encoder.network.state_dict(), strict=False)
    expected = whole.forward_intermediates(inputs(encoder), indices=[0, 2, 9], coarse=False, intermediates_only=True)
    for layer, maps in zip(layers, expected, strict=True):
        torch.testing.assert_close(found[layer], F.adaptive_avg_pool2d(maps, 2), rtol=1e-4, atol=1e-5)


def test_an_order_that_validation_found_serves_training() -> None:
    encoder = TimmEncoder("hiera_tiny_224", "random", "blocks.0", pool=2)
    with torch.inference_mode():  # as Lightning validates, before the first step
        encoder(IMAGES[:1])
    encoder(IMAGES[:1])["blocks.0"].sum().backward()


@torch.no_grad()
def test_a_module_that_names_its_grid_beside_the_tensor() -> None:
    encoder = TimmEncoder("mvitv2_tiny", "random", "stages.1.blocks.0", pool=2).eval()
    assert str(encoder.layouts["stages.1.blocks.0"]) == "28 × 28 tokens, 192"
    tokens, grid = captured(encoder, "stages.1.blocks.0")
    assert grid == [28, 28]
    expected = F.adaptive_avg_pool2d(tokens.mT.unflatten(2, (28, 28)), 2)
    torch.testing.assert_close(encoder(IMAGES)["stages.1.blocks.0"], expected)


@torch.no_grad()
def test_small_grids_are_not_taken_for_larger_ones() -> None:
    encoder = TimmEncoder("vit_small_patch16_dinov3.lvd1689m", "random", "blocks.3", "avg", image_size=32).eval()
    tokens = captured(encoder, "blocks.3")
    assert tokens.shape[1] == 9  # 2 × 2 patches, a class and four registers
    torch.testing.assert_close(encoder(IMAGES)["blocks.3"], tokens[:, 5:].mean(1))


@torch.no_grad()
def test_tokens_of_open_clip() -> None:
    encoder = OpenClipEncoder("ViT-S-32", "random", "transformer.resblocks.3", 7).eval()
    tokens = captured(encoder, "transformer.resblocks.3")
    torch.testing.assert_close(encoder(IMAGES)["transformer.resblocks.3"], tokens[:, 1:].mT.unflatten(2, (7, 7)))


class Shuffled(nn.Module):
    """Patches of 4 pixels, in an order of its own."""

    def __init__(self, order: Tensor, prefix: int = 0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.order, self.prefix = order, prefix
        self.tokens = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).mT[:, self.order]
        extra = patches.mean(1, keepdim=True).expand(-1, self.prefix, -1)
        return self.tokens(torch.cat([extra, patches], 1))


def order_of(network: Shuffled, side: int) -> tuple[str, Tensor]:
    tokens = side**2 + network.prefix
    layout = Layout("tokens", (0, 1), (tokens, 16), (side, side), (tokens, 16))
    taps = {Tap("tokens"): layout}
    order = token_orders(network, {"tokens": Tap("tokens")}, taps, 4 * side)["tokens"]
    return tell_orders(network, taps, 4 * side)[Tap("tokens")].name, torch.arange(tokens)[order]


@pytest.mark.parametrize("side", [2, 3, 8])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_known_orders_are_found_and_undone(side: int, prefix: int) -> None:
    torch.manual_seed(0)
    places = torch.arange(side**2).view(side, side)
    orders = {"row by row": places.flatten(), "column by column": places.T.flatten()}
    if side == 8:
        orders["unrolled 1 ×"] = places.view(4, 2, 4, 2).permute(1, 3, 0, 2).flatten()
        orders["unrolled 2 ×"] = places.view(2, 2, 2, 2, 2, 2).permute(2, 5, 1, 4, 0, 3).flatten()
    for name, order in orders.items():
        found, index = order_of(Shuffled(order, prefix), side)
        assert (found, index.tolist()) == (name, (prefix + order.argsort()).tolist())


def test_an_unknown_order_is_refused_in_one_line() -> None:
    shuffle = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    network = Shuffled(shuffle).train()
    with pytest.raises(InputError, match=r"layer 'tokens' \(8 × 8 tokens, 16\): its tokens are in no order") as caught:
        order_of(network, 8)
    assert "\n" not in str(caught.value)
    assert network.patches.training  # as it was
