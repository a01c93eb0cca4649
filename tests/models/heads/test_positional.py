"""Places of targets: relative to their ROI, and encoded so that near and far ones are told apart."""

import math

import numpy as np
import pytest
import torch
from calcarine.data.simulation.cortex import visual_patch
from calcarine.models.heads.positional import LONGEST, SHORTEST, group_centres, places_in_roi, sinusoids


def test_sinusoids_are_those_of_transformers_in_mm() -> None:
    places = torch.tensor([[3.0, -70.5], [0.25, 11.0]])
    encoded = sinusoids(places, 5)
    assert encoded.shape == (2, 2 * 2 * 5)
    for target in range(2):
        for dimension in range(2):
            for step in range(5):
                wavelength = SHORTEST * (LONGEST / SHORTEST) ** (step / 4)
                phase = 2 * math.pi * float(places[target, dimension]) / wavelength
                assert float(encoded[target, 10 * dimension + step]) == pytest.approx(math.sin(phase), abs=1e-6)
                assert float(encoded[target, 10 * dimension + 5 + step]) == pytest.approx(math.cos(phase), abs=1e-6)


def test_places_are_relative_to_the_mean_of_their_group() -> None:
    rng = np.random.default_rng(0)
    coordinates = torch.from_numpy(rng.normal(0, 40, (50, 3)).astype(np.float32))
    groups = torch.from_numpy(rng.integers(0, 4, 50))
    groups[groups == 2] = 3  # a group may be empty
    relative, centres = places_in_roi(coordinates, groups), group_centres(coordinates, groups)
    for group in (0, 1, 3):
        own = groups == group
        torch.testing.assert_close(relative[own], coordinates[own] - coordinates[own].mean(0), atol=1e-4, rtol=0)
        torch.testing.assert_close(centres[own].float(), coordinates[own].mean(0).expand(int(own.sum()), 3))


@pytest.mark.parametrize("millimetres", [1.0, 1.5, 2.0, 4.0, 20.0, 60.0, 150.0])
def test_near_and_far_places_are_told_apart(millimetres: float) -> None:
    """Encodings differ by the displacement alone, so all directions of it stand for all pairs; seed 0."""
    directions = np.random.default_rng(0).standard_normal((2000, 3))
    places = torch.from_numpy(millimetres * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    apart = (sinusoids(places, 8) - sinusoids(torch.zeros(1, 3), 8)).norm(dim=1)
    assert apart.min() > 1.3  # a single pair of sine and cosine spans 2


def test_no_two_vertices_of_the_visual_cortex_are_alike() -> None:
    """At the Natural Scenes Dataset's number of targets, whose closest neighbours are less than a millimetre apart."""
    places = torch.from_numpy(visual_patch("rh", 20_544).coordinates)
    encoded = sinusoids(places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:100]], 8)
    apart = torch.cdist(encoded, sinusoids(places, 8), compute_mode="donot_use_mm_for_euclid_dist")
    assert (apart < 1e-6).sum() == 100  # itself
    nearest = apart.topk(2, largest=False).values[:, 1]
    assert nearest.min() > 0.05
    assert nearest.median() > 0.5
