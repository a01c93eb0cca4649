"""Where in the image: windows and readouts find the cell whose luminance drives the responses, in maps of any library.

Swin holds its maps with the channels last, ConvNeXt with the channels first.
"""

import pytest
import torch
import torch.nn.functional as F
from calcarine.encoders import TorchvisionEncoder
from calcarine.encoders.pretrained import PretrainedEncoder
from calcarine.models.heads.factorized import FactorizedReadout
from calcarine.models.heads.gaussian import GaussianReadout, centers
from calcarine.models.heads.spatial import SpatialReadout
from calcarine.models.heads.window_pool import WindowPool, candidate_windows
from calcarine.models.regression.ridge import fit_ridge
from calcarine.models.regression.window_ridge import best_windows
from torch import Tensor

CELLS = 8
ROW, COLUMN = 2, 5
PLACE = torch.tensor([(COLUMN + 0.5) / CELLS, (ROW + 0.5) / CELLS])  # x, y in image widths
HALF = 0.5 / CELLS
LAYERS = [
    (TorchvisionEncoder, "swin_t", "features.0"),
    (TorchvisionEncoder, "convnext_tiny", "features.0"),
]


@pytest.fixture(scope="module", params=LAYERS, ids=[layer[1] for layer in LAYERS])
def shown(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Maps (N, C, rows, columns), standardised, and responses (N, 1): the luminance of one cell."""
    kind, model, layer = request.param
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(240, 1, CELLS + 2, CELLS + 2, generator=generator)
    luminance = (F.avg_pool2d(noise, 3, 1) * 255).to(torch.uint8)  # neighbours share some, so that there is a way to it
    images = luminance.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1)
    encoder: PretrainedEncoder = kind(model, "random", layer, image_size=64).eval()
    with torch.no_grad():
        maps = encoder(images)[layer][:, :24]  # as good as all, and quicker
    mean, scale = maps.mean((0, 2, 3), keepdim=True), maps.std((0, 2, 3), keepdim=True)
    response = luminance[:, 0, ROW, COLUMN].float()
    return (maps - mean) / scale, ((response - response.mean()) / response.std())[:, None]


def test_windows_find_the_cell(shown: tuple[Tensor, Tensor]) -> None:
    maps, response = shown
    windows = candidate_windows(CELLS, [0.06])
    pooled = WindowPool({"layer": tuple(maps.shape[1:])}, windows)({"layer": maps})
    fold = torch.arange(len(maps)) % 4
    fits = (fit_ridge(pooled[:, window], response, [1.0, 100.0], fold) for window in range(len(windows)))
    best = best_windows(fits, 1, None)
    assert (windows[best.window[0, 0], :2] - PLACE).abs().max() <= HALF
    assert best.cv_r2.item() > 0.5


@pytest.mark.parametrize("readout", [GaussianReadout, FactorizedReadout])
def test_readouts_find_the_cell(shown: tuple[Tensor, Tensor], readout: type[SpatialReadout]) -> None:
    maps, response = shown
    torch.manual_seed(0)
    head = readout({"layer": tuple(maps.shape[1:])}, 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)
    for _ in range(120):
        optimizer.zero_grad()
        (head({"layer": maps}) - response).square().mean().backward()
        optimizer.step()
    if isinstance(head, FactorizedReadout):
        mask = head.mask.detach()[0]
        row, column = divmod(int(mask.abs().argmax()), mask.shape[1])
        found = torch.tensor([(column + 0.5) / mask.shape[1], (row + 0.5) / mask.shape[0]])
    else:
        assert isinstance(head, GaussianReadout)
        found = centers(head.x, head.y).detach()[0] + 0.5
    assert (found - PLACE).abs().max() <= HALF
