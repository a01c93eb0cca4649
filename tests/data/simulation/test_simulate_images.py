"""Procedural images: natural statistics, and categories that shape alone tells."""

import numpy as np
import pytest
from calcarine.data.simulation.procedural import CATEGORIES, pink_noise, place_objects, render_image

SIZE, COUNT = 96, 250


@pytest.fixture(scope="module")
def table():
    return place_objects(COUNT, (3, 0))


@pytest.fixture(scope="module")
def images(table):
    return np.stack([render_image(table, index, SIZE, (3, 1)) for index in range(COUNT)])


def radial_slope(amplitude: np.ndarray, lowest: int, highest: int) -> float:
    """Slope of log amplitude over log frequency, of a half spectrum (size, size // 2 + 1)."""
    size = len(amplitude)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    rings = np.arange(lowest, highest)
    means = [amplitude[(frequency >= ring - 0.5) & (frequency < ring + 0.5)].mean() for ring in rings]
    return float(np.polyfit(np.log(rings), np.log(means), 1)[0])


def test_amplitude_falls_as_one_over_frequency(images):
    luminance = images.mean(axis=-1) - images.mean()
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    amplitude = np.sqrt(np.square(np.abs(np.fft.rfft2(luminance * window))).mean(axis=0))
    assert -1.3 < radial_slope(amplitude, 3, 32) < -0.9  # natural scenes: about -1.2 to -0.8


def test_pink_noise_is_pink_and_standard():
    rng = np.random.default_rng(0)
    noise = np.stack([pink_noise(SIZE, 0.0, 0.0, rng) for _ in range(50)])
    assert radial_slope(np.abs(np.fft.rfft2(noise)).mean(axis=0), 2, 40) == pytest.approx(-1, abs=0.05)
    assert noise.std(axis=(1, 2)) == pytest.approx(1, abs=1e-5)


def test_grain_is_strongest_across_its_orientation():
    rng = np.random.default_rng(0)
    power = np.mean([np.square(np.abs(np.fft.rfft2(pink_noise(SIZE, 0.8, 0.0, rng)))) for _ in range(50)], axis=0)
    along, across = power[1, 5:15].mean(), power[5:15, 1].mean()  # waves along x, waves along y
    assert np.log(along / across) == pytest.approx(4 * 0.8, abs=0.5)


def test_colours_are_correlated_as_in_natural_scenes(images):
    pixels = images.reshape(-1, 3)[::31].astype(float)
    assert (np.corrcoef(pixels.T) > 0.8).all()
    shares = np.sort(np.linalg.eigvalsh(np.cov(pixels.T)))[::-1]
    shares /= shares.sum()
    assert shares[0] > 0.85
    assert shares[2] < shares[1] < 0.12  # red-green varies least


def test_pixels_are_not_clipped(images):
    assert ((images == 0) | (images == 255)).mean() < 0.005


def test_mean_colour_does_not_tell_the_category(images, table):
    """Linear discrimination from means and deviations of the channels, fitted on one half, tested on the other."""
    colour = np.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)
    colour = np.c_[(colour - colour.mean(axis=0)) / colour.std(axis=0), np.ones(COUNT)]
    shown = np.eye(len(CATEGORIES))[table.category]
    right = []
    for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        weights = np.linalg.lstsq(colour[own], shown[own], rcond=None)[0]
        right.append((colour[other] @ weights).argmax(axis=1) == table.category[other])
    accuracy = np.concatenate(right).mean()
    chance = 1 / len(CATEGORIES)
    assert accuracy < chance + 3 * np.sqrt(chance * (1 - chance) / COUNT)


def test_the_object_is_what_changes_with_the_category(table):
    """The same seed with another object differs there and, but for contrast, nowhere else."""
    index = int(np.argmin(table.size))
    other = np.array(table.category)
    other[index] = (other[index] + 1) % len(CATEGORIES)
    changed = type(table)(other, table.centre, table.size)
    first, second = (render_image(which, index, SIZE, (3, 1)).astype(float) for which in (table, changed))
    rows, columns = np.meshgrid(*[(np.arange(SIZE) + 0.5) / SIZE] * 2, indexing="ij")
    x, y = table.centre[index]
    distance = np.maximum(np.abs(columns - x), np.abs(rows - y)) / table.size[index]
    inside, outside = distance < 0.6, distance > 1.3
    # Contrast scales logits; what is left of them where both are far from white and black is rounding to 8 bits.
    first_logit, second_logit = (np.log((image + 0.5) / (255.5 - image)) for image in (first, second))
    outside = outside[..., None] & (np.maximum(np.abs(first_logit), np.abs(second_logit)) < 2.5)
    contrast = (first_logit[outside] @ second_logit[outside]) / np.square(second_logit[outside]).sum()
    difference = np.abs(first_logit - contrast * second_logit)
    assert outside.mean() > 0.3
    assert difference[outside].max() < 0.05
    assert difference[inside].mean() > 0.3


def test_categories_are_balanced_and_objects_lie_inside(table):
    assert np.bincount(table.category).tolist() == [COUNT // len(CATEGORIES)] * len(CATEGORIES)
    assert (np.abs(table.centre - 0.5) + table.size[:, None] <= 0.53).all()


def test_an_image_depends_on_seed_and_index_alone(table, images):
    assert np.array_equal(render_image(table, 17, SIZE, (3, 1)), images[17])
    assert not np.array_equal(render_image(table, 17, SIZE, (4, 1)), images[17])


def test_sizes_show_the_same_scene(table):
    small = render_image(table, 5, 96, (3, 1)).mean(axis=-1)
    large = render_image(table, 5, 192, (3, 1)).mean(axis=-1).reshape(96, 2, 96, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.6
