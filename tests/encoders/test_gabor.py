"""GaborEncoder: tuning, invariances, settings."""

import json
import math

import numpy as np
import pytest
import torch
from calcarine.encoders import GaborEncoder, gabor
from calcarine.encoders.gabor import gabor_kernels
from calcarine.errors import InputError
from scipy.signal import convolve2d
from torch import Tensor

FREQUENCIES = (2, 4, 8, 16, 32)
SIZE = 128


def grating(frequency: float, degrees: float, amplitude: float = 0.3, phase: float = 0.0) -> Tensor:
    """Grey grating, uint8 (1, 3, SIZE, SIZE); 0 degrees is vertical bars."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    angle = math.radians(degrees)
    wave = torch.cos(2 * math.pi * frequency * (columns * math.cos(angle) + rows * math.sin(angle)) + phase)
    return ((0.5 + amplitude * wave) * 255).round().to(torch.uint8).expand(1, 3, SIZE, SIZE)


def centre(encoder: GaborEncoder, images: Tensor) -> Tensor:
    """Luminance energy at the image's centre, (5 frequencies, 8 orientations)."""
    return encoder(images)["luminance"][0, :, 2, 2].reshape(5, 8)


@pytest.mark.parametrize("frequency", FREQUENCIES)
@pytest.mark.parametrize("orientation", [0, 3, 4])
def test_a_grating_drives_its_own_channel_most(frequency: int, orientation: int) -> None:
    energy = centre(GaborEncoder(), grating(frequency, orientation * 22.5))
    assert energy.argmax() == FREQUENCIES.index(frequency) * 8 + orientation
    assert 0.2 < energy.max() < 0.33  # its amplitude is 0.3


def test_energy_ignores_phase_and_follows_contrast() -> None:
    encoder = GaborEncoder()
    energies = torch.stack([centre(encoder, grating(8, 45, phase=phase))[2, 2] for phase in np.linspace(0, 6, 9)])
    assert energies.std() / energies.mean() < 0.03
    strong, weak = (centre(encoder, grating(8, 45, amplitude))[2, 2] for amplitude in (0.4, 0.1))
    torch.testing.assert_close(strong / weak, torch.tensor(4.0), rtol=0.03, atol=0)


def test_energy_is_that_of_a_plain_convolution() -> None:
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoder = GaborEncoder(frequencies=[8], orientations=3, opponent_frequencies=[8], opponent_orientations=3, grid=32)
    red, green, blue = image[0].double().numpy() / 255 - 0.5
    planes = [0.299 * red + 0.587 * green + 0.114 * blue, red - green, blue - (red + green) / 2]
    kernels = gabor_kernels(3)[:, 0].double().numpy()
    expected = [
        np.hypot(*(convolve2d(plane, kernel[::-1, ::-1], mode="same") for kernel in kernels[2 * i : 2 * i + 2]))
        for plane in planes
        for i in range(3)
    ]
    found = encoder(image)
    maps = torch.cat([found["luminance"], found["opponent"]], dim=1)[0].double().numpy()
    np.testing.assert_allclose(maps, np.stack(expected), atol=1e-4)


def test_energy_has_a_place() -> None:
    image = torch.full((1, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    image[..., 96:, :32] = grating(16, 0)[..., 96:, :32]
    maps = GaborEncoder(grid=4)(image)["luminance"][0].reshape(5, 8, 4, 4)[3, 0]
    assert maps.argmax() == 3 * 4  # bottom left
    assert maps[:2, 2:].max() < 0.01


def test_colour_lands_in_the_opponent_channels() -> None:
    image = torch.full((1, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    wave = (grating(4, 0)[0, 0].float() - 128).round()
    image[0, 0] = (128 + wave).to(torch.uint8)  # red up, green down, at about equal luminance
    image[0, 1] = (128 - wave * 0.299 / 0.587).to(torch.uint8)
    features = GaborEncoder()(image)
    red_green, blue_yellow = features["opponent"][0].reshape(2, 3, 4, 5, 5)[:, :, :, 2, 2]
    assert red_green[1, 0] > 10 * features["luminance"].max()
    assert red_green[1, 0] > 4 * blue_yellow.max()
    bluish = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    bluish[:, 2] = 255
    colour = GaborEncoder()(bluish)["colour"][0].mean((1, 2))
    torch.testing.assert_close(colour, torch.tensor([0.114 - 0.5, 0, 1.0]), atol=1e-5, rtol=0)


def test_a_uniform_image_has_no_energy_inside_and_finite_gradients() -> None:
    encoder = GaborEncoder()
    encoder.channel_weights.requires_grad_(True)  # as if the input were learnt
    grey = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
    energy = encoder(grey)["luminance"]
    assert energy[0, 8:, 2, 2].max() < 1e-3
    energy.sum().backward()
    assert encoder.channel_weights.grad is not None
    assert encoder.channel_weights.grad.isfinite().all()


def test_shapes_do_not_depend_on_the_images_size() -> None:
    encoder = GaborEncoder()
    shapes = encoder.feature_shapes()
    assert shapes == {"luminance": (40, 5, 5), "opponent": (24, 5, 5), "colour": (3, 8, 8)}
    for height, width in ((425, 425), (60, 90)):
        features = encoder(torch.zeros(2, 3, height, width, dtype=torch.uint8))
        assert {layer: tuple(tensor.shape[1:]) for layer, tensor in features.items()} == shapes
    maps = GaborEncoder(grid=28, colour_grid=28).feature_shapes()
    assert maps == {"luminance": (40, 28, 28), "opponent": (24, 28, 28), "colour": (3, 28, 28)}


def test_fingerprint_is_json_and_follows_the_settings() -> None:
    fingerprint = GaborEncoder().fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert fingerprint == GaborEncoder(frequencies=[2, 4, 8, 16, 32]).fingerprint()
    assert fingerprint != GaborEncoder(grid=6).fingerprint()


@pytest.mark.parametrize(
    ("constant", "value"), [("SIGMA", 0.6), ("PIXELS_PER_CYCLE", 5), ("CHANNELS", ((0.3, 0.6, 0.1),) * 3)]
)
def test_fingerprint_follows_the_constants(constant: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    before = GaborEncoder().fingerprint()
    monkeypatch.setattr(gabor, constant, value)
    assert GaborEncoder().fingerprint() != before


@pytest.mark.parametrize("wrong", [{"grid": 0}, {"frequencies": []}, {"frequencies": [0.1]}, {"orientations": 0}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=rf"--data\.encoder\.{next(iter(wrong))}: expected .* found .*; leave it out"):
        GaborEncoder(**wrong)
