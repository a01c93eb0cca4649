"""Windows: where they lie, and what pooling under them gives, against a plain loop."""

import math

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models.heads.window_pool import WindowPool, candidate_windows, window_weights


def test_candidates_are_the_whole_image_and_a_grid_of_each_width():
    windows = candidate_windows(2, [0.1, 0.3])
    assert windows.shape == (9, 3)
    assert windows[0].tolist() == [0.5, 0.5, math.inf]
    expected = [(x, y, width) for width in (0.1, 0.3) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    np.testing.assert_allclose(windows[1:], expected)


@pytest.mark.parametrize("shape", [(7, 7), (5, 9)])
def test_pooling_is_the_weighted_mean_of_a_naive_loop(shape):
    windows = candidate_windows(3, [0.15])
    features = {"a.map": torch.randn(4, 6, *shape), "vector": torch.randn(4, 5), "fine": torch.randn(4, 2, 12, 12)}
    pooled = WindowPool({layer: tuple(value.shape[1:]) for layer, value in features.items()}, windows)(features)
    assert pooled.shape == (4, 10, 13)
    for number, (x, y, width) in enumerate(windows.tolist()):
        for maps, found in ((features["a.map"], pooled[:, number, :6]), (features["fine"], pooled[:, number, 11:])):
            rows, columns = maps.shape[2:]
            total, mean = 0.0, torch.zeros(maps.shape[:2])
            for i in range(rows):
                for j in range(columns):
                    distance = math.hypot((j + 0.5) / columns - x, (i + 0.5) / rows - y)
                    weight = math.exp(-(distance**2) / (2 * width**2))
                    total += weight
                    mean += weight * maps[:, :, i, j]
            torch.testing.assert_close(found, mean / total, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(pooled[:, number, 6:11], features["vector"])


def test_a_window_far_narrower_than_a_cell_is_its_nearest_cell():
    weights = window_weights(torch.tensor([[0.31, 0.9, 1e-4]], dtype=torch.float64), 5, 5)
    assert weights.sum() == 1
    assert weights.view(5, 5)[4, 1] == 1


def test_features_without_a_map_are_refused():
    with pytest.raises(InputError, match=r"--data\.encoder: .* map .* found pixels \(48,\)"):
        WindowPool({"pixels": (48,)}, candidate_windows(2, [0.1]))
