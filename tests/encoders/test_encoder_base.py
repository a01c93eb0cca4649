"""The conversion of images, pixels, shapes and fingerprints."""

import numpy as np
import pytest
import torch
from calcarine.batch import Features
from calcarine.encoders import Encoder, PixelEncoder, base
from calcarine.encoders.base import prepare_images
from calcarine.errors import InputError
from PIL import Image


@pytest.fixture
def image() -> torch.Tensor:
    """Smooth structure with an edge, uint8 (1, 3, 90, 120)."""
    rows, columns = np.mgrid[:90, :120]
    planes = [128 + 100 * np.sin(rows / 9), 255.0 * (columns > 60), 128 + 100 * np.cos((rows + columns) / 7)]
    return torch.from_numpy(np.stack(planes).round().astype(np.uint8))[None]


@pytest.mark.parametrize(("interpolation", "filter_"), [("bilinear", "BILINEAR"), ("bicubic", "BICUBIC")])
@pytest.mark.parametrize("size", [32, 200])
def test_resizing_is_that_of_pillow(image: torch.Tensor, interpolation: str, filter_: str, size: int) -> None:
    picture = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((size, size), Image.Resampling[filter_])) / 255  # (size, size, 3)
    found = prepare_images(image, size, interpolation)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() < 1.5 / 255  # Pillow rounds to 8 bits after each axis


def test_the_whole_image_is_kept(image: torch.Tensor) -> None:
    marked = torch.zeros_like(image)
    marked[..., :, :10] = 255  # the left edge of a wide image: a centre crop would lose it
    assert prepare_images(marked, 30)[..., :2].mean() > 0.9


def test_normalisation(image: torch.Tensor) -> None:
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    plain = prepare_images(image, 16)
    torch.testing.assert_close(prepare_images(image, 16, mean=mean, std=std), (plain - mean) / std)


@pytest.mark.parametrize("wrong", [torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)])
def test_other_images_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(TypeError, match="uint8 images"):
        prepare_images(wrong, 8)


def test_pixels(image: torch.Tensor) -> None:
    colour = PixelEncoder(size=12)(image)["pixels"]
    assert colour.shape == (1, 3, 12, 12)
    assert colour.min() >= 0
    assert colour.max() <= 1
    grey = PixelEncoder(size=12, grayscale=True)(image)["pixels"]
    torch.testing.assert_close(grey[0, 0], 0.299 * colour[0, 0] + 0.587 * colour[0, 1] + 0.114 * colour[0, 2])
    assert PixelEncoder(size=12).feature_shapes() == {"pixels": (3, 12, 12)}
    with pytest.raises(InputError, match=r"--data\.encoder\.size: expected at least 1 pixel, found 0"):
        PixelEncoder(size=0)


class Learnt(Encoder):
    """A trainable encoder with batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Dropout(0.5))

    def forward(self, images: torch.Tensor) -> Features:
        return {"net": self.net(prepare_images(images, 8))}

    def settings(self) -> dict[str, object]:
        return {"size": 8}


def test_feature_shapes_changes_nothing() -> None:
    encoder = Learnt().train()
    encoder.net[1].eval()  # a frozen batch norm
    modes = [module.training for module in encoder.modules()]
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert encoder.feature_shapes() == {"net": (2, 6, 6)}
    assert [module.training for module in encoder.modules()] == modes
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_fingerprint_follows_settings_and_weights() -> None:
    encoder = Learnt()
    before = encoder.fingerprint()
    assert before == encoder.fingerprint()
    with torch.no_grad():
        encoder.net[0].weight[0, 0, 0, 0] += 1e-6
    assert encoder.fingerprint() != before
    assert PixelEncoder(8).fingerprint() == PixelEncoder(8).fingerprint()
    assert PixelEncoder(8).fingerprint() != PixelEncoder(9).fingerprint()


def test_fingerprint_follows_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PixelEncoder().fingerprint()
    monkeypatch.setattr(base, "VERSION", before["version"] + 1)  # type: ignore[operator]
    assert PixelEncoder().fingerprint() != before


def test_fingerprint_leaves_out_what_changes_no_feature() -> None:
    encoder = Learnt()
    before = encoder.fingerprint()
    encoder.net[1].num_batches_tracked += 1
    assert encoder.fingerprint() == before
