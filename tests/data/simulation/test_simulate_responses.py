"""Planted responses: each model does what its truth says."""

import numpy as np
import pytest
from calcarine.data.simulation.cortex import visual_patch
from calcarine.data.simulation.planted import FREQUENCIES, ORIENTATIONS, WORKING_SIZE, Signals, Truth, luminance, plant
from calcarine.data.simulation.procedural import CATEGORIES, ObjectTable, place_objects, render_image
from scipy.ndimage import convolve1d

COUNT = 40


@pytest.fixture(scope="module")
def truth() -> Truth:
    return plant([visual_patch("lh", 420), visual_patch("rh", 440)], (5, 2))


@pytest.fixture(scope="module")
def signals(truth) -> Signals:
    return Signals(truth)


@pytest.fixture(scope="module")
def objects() -> ObjectTable:
    return place_objects(COUNT, (5, 0))


@pytest.fixture(scope="module")
def scenes(objects) -> np.ndarray:
    return np.stack([luminance(render_image(objects, index, 96, (5, 1))) for index in range(COUNT)])


def grating(frequency: float, orientation: float, phase: float = 0.3) -> np.ndarray:
    """Bars at an orientation (degrees anticlockwise from the horizontal), luminance 0 to 1."""
    rows, columns = np.meshgrid(*[(np.arange(WORKING_SIZE) + 0.5) / WORKING_SIZE] * 2, indexing="ij")
    angle = np.radians(orientation)
    across = columns * np.sin(angle) + rows * np.cos(angle)  # rows run downwards
    return (0.5 + 0.4 * np.cos(2 * np.pi * frequency * across + phase)).astype(np.float32)


def subset(objects: ObjectTable, index: slice) -> ObjectTable:
    return ObjectTable(objects.category[index], objects.centre[index], objects.size[index])


def test_gabor_targets_prefer_their_grating(truth, signals, objects):
    grid = [(frequency, orientation) for frequency in FREQUENCIES for orientation in ORIENTATIONS]
    stimuli = np.stack([grating(*cell) for cell in grid])
    gabor = np.flatnonzero(truth.model == "gabor")
    best = signals(stimuli, subset(objects, slice(0, len(grid))))[:, gabor].argmax(axis=0)
    planted = list(zip(truth.frequency[gabor], truth.orientation[gabor], strict=True))
    assert [grid[index] for index in best] == planted


def test_gabor_amplitude_is_nearly_phase_invariant(truth, signals, objects):
    phases = np.stack([grating(8, 45, phase) for phase in np.linspace(0, 2 * np.pi, 8, endpoint=False)])
    tuned = (truth.model == "gabor") & (truth.frequency == 8) & (truth.orientation == 45)
    responses = signals(phases, subset(objects, slice(0, 8)))[:, tuned]
    assert (responses.std(axis=0) / responses.mean(axis=0)).max() < 0.1


def test_gabor_agrees_with_convolution(truth, signals, objects, scenes):
    """An independent reference: separable convolution in space, at full resolution."""
    target = int(np.flatnonzero((truth.model == "gabor") & (truth.frequency == 8))[3])
    deviation = 1 / (2 * np.pi * 0.35 * 8) * WORKING_SIZE
    reach = np.arange(-30, 31)
    amplitudes = []
    for orientation in ORIENTATIONS:
        angle, envelope = np.radians(orientation), np.exp(-(reach**2) / (2 * deviation**2))
        wave = 2j * np.pi * 8 / WORKING_SIZE * reach
        along_rows, along_columns = envelope * np.exp(wave * np.cos(angle)), envelope * np.exp(wave * np.sin(angle))
        filtered = convolve1d(scenes, along_rows, axis=1, mode="mirror")
        amplitudes.append(np.abs(convolve1d(filtered, along_columns, axis=2, mode="mirror")))
    amplitude = amplitudes[int(np.flatnonzero(truth.orientation[target] == ORIENTATIONS)[0])]
    amplitude = amplitude - 0.4 * np.mean(amplitudes, axis=0)
    place = (np.arange(WORKING_SIZE) + 0.5) / WORKING_SIZE
    x, y = (np.exp(-np.square((place - centre) / truth.size[target]) / 2) for centre in truth.centre[target])
    expected = np.einsum("nij,i,j->n", amplitude, y, x)
    assert np.corrcoef(expected, signals(scenes, objects)[:, target])[0, 1] > 0.99


def test_nothing_outside_the_receptive_field_matters(truth, signals, objects, scenes):
    """A patch of noise moves only the targets whose field, with the Gabor's own envelope, reaches it."""
    changed = scenes.copy()
    changed[:, 36:60, 0:14] = np.random.default_rng(0).random((COUNT, 24, 14))  # left of the fixation point
    before, after = signals(scenes, objects), signals(changed, objects)
    moved = np.abs(after - before).mean(axis=0) / before.std(axis=0)
    with np.errstate(invalid="ignore"):
        envelope = 1 / (2 * np.pi * 0.35 * truth.frequency)
    # Distance of the field's centre from the patch along each axis; fields are truncated squares of 3 deviations.
    patch = np.array([[0, 14], [36, 60]]) / WORKING_SIZE
    apart = np.maximum(patch[:, 0] - truth.centre, truth.centre - patch[:, 1]).max(axis=1)
    image_model = truth.model != "category"
    outside = image_model & (apart > 3 * truth.size + 3.5 * envelope)
    inside = image_model & (apart < 0.5 * truth.size)
    assert outside.sum() > 10
    assert inside.sum() > 10
    assert moved[outside].max() < 0.02
    assert moved[inside].min() > 0.1
    assert (moved[~image_model] == 0).all()


def test_texture_needs_two_orientations_together(truth, signals, objects):
    """Two gratings that alternate in space covary negatively, two that come and go together positively."""
    target = int(np.flatnonzero((truth.model == "texture") & (truth.frequency == 16))[0])
    first, second = (
        grating(16, angle) - 0.5 for angle in (truth.orientation[target], truth.second_orientation[target])
    )
    rows = (np.arange(WORKING_SIZE) // 16 % 2)[:, None]
    stimuli = 0.5 + np.stack([(first + second) * rows / 2, first * rows / 2 + second * (1 - rows) / 2])
    together, apart = signals(stimuli.astype(np.float32), subset(objects, slice(0, 2)))[:, target]
    assert together > 0 > apart


def test_category_targets_follow_their_tuning(truth, signals, scenes):
    count = len(CATEGORIES)
    table = ObjectTable(np.arange(count), np.full((count, 2), 0.5), np.full(count, 0.3))
    responses = signals(scenes[:count], table)
    category = truth.model == "category"
    ratio = responses[:, category] / truth.tuning[category].T
    assert ratio == pytest.approx(np.broadcast_to(ratio[0], ratio.shape), rel=1e-5)
    assert truth.tuning[category].max(axis=1) == pytest.approx(1)


def test_ceilings_are_in_range_and_early_ones_higher(truth):
    early, other = (truth.noise_ceiling[mask] for mask in (truth.model == "gabor", truth.model != "gabor"))
    assert early.min() >= 0.65
    assert early.max() <= 0.9
    assert other.mean() < early.mean()


def test_truth_survives_a_file(truth, tmp_path):
    truth.write(tmp_path / "truth.npz")
    again = Truth.read(tmp_path / "truth.npz")
    for name, value in vars(truth).items():
        np.testing.assert_array_equal(getattr(again, name), value)
