import numpy as np
import pytest
from calcarine.data.statistics import in_chunks, mean_and_scale


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("sizes", [(200,), (1, 199), (50, 1, 149)])
def test_merging_chunks_equals_numpy(offset, sizes):
    rows = np.random.default_rng(0).standard_normal((200, 4, 3)).astype(np.float32) + np.float32(offset)
    mean, scale = mean_and_scale(np.split(rows, np.cumsum(sizes)[:-1]))
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(scale, exact.std(0), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e4 + 0.1])
def test_a_constant_column_has_scale_one(value):
    rows = np.full((30, 1), value, dtype=np.float32)
    assert mean_and_scale([rows[:7], rows[7:]])[1] == 1


def test_in_chunks_keeps_order_and_budget():
    rows = np.random.default_rng(0).standard_normal((25, 4))
    pieces = list(in_chunks(lambda index: rows[index], np.arange(25)[::-1], width=4, budget=12))
    assert max(piece.size for piece in pieces) <= 12
    assert np.array_equal(np.concatenate(pieces), rows[::-1])


def test_a_common_scale_is_the_root_of_the_mean_variance_of_what_varies():
    rows = np.random.default_rng(0).standard_normal((90, 3)) * [1.0, 3.0, 0.0] + 5
    scale = mean_and_scale([rows[:40], rows[40:]], common=True)[1]
    assert scale[2] == 1
    np.testing.assert_allclose(scale[:2], np.sqrt(rows[:, :2].var(0).mean()), rtol=1e-6)
