"""GaborEncoder: energy of energy, and which layers are served."""

import numpy as np
import pytest
import torch
from calcarine.encoders import GaborEncoder
from calcarine.encoders.gabor import gabor_kernels
from calcarine.errors import InputError
from scipy.signal import convolve2d
from torch import Tensor

SIZE = 128
ALL = ["luminance", "opponent", "colour", "second_order"]


def modulated(carrier: float, envelope: float, vertical: bool) -> Tensor:
    """A vertical grating (carrier) whose contrast waxes and wanes along one axis, uint8 (1, 3, SIZE, SIZE)."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    contrast = 0.5 + 0.5 * torch.cos(2 * torch.pi * envelope * (columns if vertical else rows))
    image = 0.5 + 0.4 * contrast * torch.cos(2 * torch.pi * carrier * columns)
    return (image * 255).round().to(torch.uint8).expand(1, 3, SIZE, SIZE)


def noise(count: int = 2, size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("vertical", [True, False])
@pytest.mark.parametrize(("carrier", "envelope"), [(16, 2), (32, 4)])
def test_modulated_contrast_drives_its_own_channel_most(carrier: int, envelope: int, vertical: bool) -> None:
    encoder = GaborEncoder(second_order_frequencies=[1, 2, 4], second_order_orientations=4)
    energy = encoder(modulated(carrier, envelope, vertical))["second_order"][0, :, 2, 2]
    pairs = [(first, second) for first in (2, 4, 8, 16, 32) for second in (1, 2, 4) if second < first]
    assert len(energy) == len(pairs) * 8 * 4
    pair, orientation, again = np.unravel_index(int(energy.argmax()), (len(pairs), 8, 4))
    assert pairs[pair] == (carrier, envelope)
    assert orientation == 0  # of the carrier
    assert again == (0 if vertical else 2)  # of the envelope
    steady = encoder(modulated(carrier, 0, vertical))["second_order"][0, :, 2, 2].reshape(len(pairs), 8, 4)
    assert steady[pair, orientation, again] < 0.1 * energy.max()


def test_energy_of_energy_is_that_of_two_plain_convolutions() -> None:
    image = noise(1, 32)
    encoder = GaborEncoder([8], orientations=3, grid=16, second_order_frequencies=[4], second_order_orientations=2)
    grey = (image[0].double().numpy() / 255 - 0.5).transpose(1, 2, 0) @ [0.299, 0.587, 0.114]

    def energies(plane: np.ndarray, orientations: int) -> list[np.ndarray]:
        kernels = gabor_kernels(orientations)[:, 0].double().numpy()[:, ::-1, ::-1]
        filtered = [convolve2d(plane, kernel, mode="valid") for kernel in kernels]
        return [np.sqrt(even**2 + odd**2) for even, odd in zip(filtered[::2], filtered[1::2], strict=True)]

    expected = []
    for first in energies(np.pad(grey, 6), 3):
        halved = torch.nn.functional.interpolate(
            torch.from_numpy(first)[None, None], (16, 16), None, "bilinear", antialias=True
        )[0, 0].numpy()
        expected += energies(np.pad(halved, 6, mode="edge"), 2)
    found = encoder(image)["second_order"][0].double().numpy()
    np.testing.assert_allclose(found, np.stack(expected), atol=2e-4)  # the root's floor of 1e-8


def test_layers_that_are_asked_for_have_the_same_numbers_as_among_all() -> None:
    every = GaborEncoder(second_order_frequencies=[1, 2], grid=28, colour_grid=28)
    assert every.layers == ALL
    expected = every(noise())
    assert list(expected) == ALL
    for layer in ALL:
        encoder = GaborEncoder(second_order_frequencies=[1, 2], grid=28, colour_grid=28, layers=[layer])
        found = encoder(noise())
        assert list(found) == [layer]
        assert torch.equal(found[layer], expected[layer])
        assert encoder.feature_shapes() == {layer: tuple(expected[layer].shape[1:])}
        assert encoder.fingerprint() != every.fingerprint()
    default = GaborEncoder()(noise())
    assert list(default) == ALL[:3]
    assert {tuple(maps.shape[2:]) for maps in expected.values()} == {(28, 28)}


@pytest.mark.parametrize("value", [0, 255])
def test_uniform_images_have_finite_energy(value: int) -> None:
    encoder = GaborEncoder(second_order_frequencies=[0.5, 1])
    features = encoder(torch.full((1, 3, 9, 7), value, dtype=torch.uint8))
    assert all(maps.isfinite().all() for maps in features.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"second_order_frequencies": [32]},
        {"second_order_frequencies": [float("nan")]},
        {"second_order_orientations": 0},
        {"layers": []},
        {"layers": ["second_order"]},
        {"layers": ["luminanse"]},
    ],
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=rf"--data\.encoder\.{next(iter(wrong))}: expected .* found .*; leave"):
        GaborEncoder(**wrong)
