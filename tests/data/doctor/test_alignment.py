"""The order of the rows: found where it shows, and never where nothing does."""

import numpy as np
import pytest
from calcarine.data.doctor.alignment import judge, possible_orders
from scipy.ndimage import gaussian_filter1d
from seen import evoked, pictures


def unrelated(seed: int, smooth: float) -> tuple[np.ndarray, np.ndarray]:
    """Features and responses of the same length that share nothing; rows may resemble their neighbours."""
    rng = np.random.default_rng(seed)
    rows, targets, apart = int(rng.integers(40, 110)), int(rng.integers(1, 40)), 200  # far from where a filter ends
    length = rows + 2 * apart
    features = rng.standard_normal((length, 60))
    latent = rng.standard_normal((length, max(1, targets // 4)))
    if smooth:
        features, latent = (gaussian_filter1d(each, smooth, axis=0) for each in (features, latent))
    responses = latent @ rng.standard_normal((latent.shape[1], targets)) / latent.std()
    responses = responses + 0.3 * rng.standard_normal((length, targets))
    return features[apart:-apart], responses[apart:-apart]


def names(rows: int) -> list[str]:
    return [f"image{row + 1}.png" for row in range(rows)]


@pytest.mark.slow
@pytest.mark.parametrize("smooth", [0, 3, 10, 40])
def test_of_200_data_sets_without_relation_none_has_an_order(smooth):
    told = []
    for seed in range(50):
        features, responses = unrelated(seed, smooth)
        told.append(judge(features, responses, possible_orders(names(len(features)))).order)
    assert told == [None] * 50


def test_without_relation_no_order_is_told():
    for seed in range(5):
        features, responses = unrelated(seed, 0)
        assert judge(features, responses, possible_orders(names(len(features)))).order is None


PLANTED = {
    ("as they are", 0): lambda rows: rows,
    ("lag", 1): lambda rows: np.roll(rows, 1, axis=0),
    ("lag", -3): lambda rows: np.roll(rows, -3, axis=0),
    ("reversed", 0): lambda rows: rows[::-1],
    ("text", 0): lambda rows: rows[np.argsort(names(len(rows)), kind="stable")],
}


@pytest.mark.parametrize(("name", "lag"), PLANTED)
def test_a_planted_order_is_found_every_time(name, lag):
    for seed in range(3):
        _, shown = pictures(120, seed)
        responses = evoked(shown, 20, noise=2.0, seed=seed)  # fits of r = 0.35, as those of real targets
        verdict = judge(shown, PLANTED[name, lag](responses), possible_orders(names(120)))
        assert verdict.order is not None
        assert (verdict.order.name, verdict.order.lag, verdict.first) == (name, lag, 0)


def test_a_row_lost_in_the_middle_is_found_where_it_was():
    _, shown = pictures(300)
    responses = evoked(shown, 20, noise=1.0)
    verdict = judge(
        shown, np.concatenate([responses[:120], responses[121:], responses[:1]]), possible_orders(names(300))
    )
    assert verdict.order is not None
    assert verdict.order.lag == -1
    assert abs(verdict.first - 120) <= 10
    assert verdict.fit > 0.3 > 0.1 > abs(verdict.as_they_are)


def test_rows_like_their_neighbours_are_not_told_apart():
    """A video's frames: where all shifts fit alike, nothing is said of the order."""
    rng = np.random.default_rng(0)
    features = gaussian_filter1d(rng.standard_normal((1000, 12)), 30, axis=0)[300:700]
    responses = features @ rng.standard_normal((12, 10))
    verdict = judge(features, np.roll(responses, 2, axis=0), possible_orders(names(400)))
    assert verdict.order is None or verdict.order.lag == 2


def test_gaps_do_not_hide_the_order():
    _, shown = pictures(100)
    responses = evoked(shown, 20)
    responses[np.random.default_rng(0).random(responses.shape) < 0.3] = np.nan
    verdict = judge(shown, np.roll(responses, 1, axis=0), possible_orders(names(100)))
    assert verdict.order is not None
    assert verdict.order.lag == 1


def test_names_with_zeros_before_their_numbers_have_one_order():
    assert "text" not in [order.name for order in possible_orders([f"image{row:03d}.png" for row in range(40)])]
    assert "text" in [order.name for order in possible_orders(names(40))]
