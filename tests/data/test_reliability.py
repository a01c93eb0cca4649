"""Reliability and noise ceilings against loops over FORMATS.md's sentences, simulations and a real recording."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.noise_ceiling import ceiling_of_mean, noise_ceiling, noise_ceiling_snr
from calcarine.data.reliability import mean_over_repetitions, split_half_reliability
from calcarine.errors import InputError


def simulated(
    n_stimuli: int, n_repetitions: int, noise: list[float], offset: float = 0.0, missing: float = 0.0
) -> np.ndarray:
    """Signals of variance 1 under noise of these variances; of each stimulus one repetition at least is there."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n_stimuli, 1, len(noise)))
    repeats = offset + signal + np.sqrt(noise) * rng.standard_normal((n_stimuli, n_repetitions, len(noise)))
    gaps = rng.random(repeats.shape) < missing
    gaps[:, 0] = False
    return np.where(gaps, np.nan, repeats)


def reliability_in_words(repeats: np.ndarray) -> list[float]:
    """FORMATS.md's sentence, one target and one split at a time."""
    n_stimuli, n_repetitions, n_targets = repeats.shape
    size = n_repetitions // 2
    splits = {
        frozenset((frozenset(one), frozenset(other)))
        for one in combinations(range(n_repetitions), size)
        for other in combinations(range(n_repetitions), size)
        if not set(one) & set(other)
    }
    found = []
    for target in range(n_targets):
        stepped_up = []
        for one, other in splits:
            pairs = []
            for stimulus in range(n_stimuli):
                halves = [repeats[stimulus, sorted(half), target] for half in (one, other)]
                halves = [half[~np.isnan(half)] for half in halves]
                if all(map(len, halves)):
                    pairs.append([half.mean() for half in halves])
            rho = np.corrcoef(np.array(pairs).T)[0, 1]
            stepped_up.append(2 * rho / (1 + rho))
        found.append(float(np.mean(stepped_up)))
    return found


@pytest.mark.parametrize("n_repetitions", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_reliability_is_the_mean_over_all_equal_splits(n_repetitions: int, missing: float) -> None:
    repeats = simulated(25, n_repetitions, [0.1, 1, 10], missing=missing)
    np.testing.assert_allclose(split_half_reliability(repeats), reliability_in_words(repeats), rtol=1e-10)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    repeats = simulated(12, 4, [1.0] * 150, missing=0.2)
    whole, ceiling = split_half_reliability(repeats), ceiling_of_mean(repeats)
    monkeypatch.setattr("calcarine.data.reliability._READ_VALUES", 1)
    monkeypatch.setattr("calcarine.data.reliability._BLOCK_VALUES", 1)
    np.testing.assert_allclose(split_half_reliability(repeats), whole, rtol=1e-12)
    np.testing.assert_allclose(ceiling_of_mean(repeats), ceiling, rtol=1e-12)  # type: ignore[arg-type]


def test_many_splits_are_drawn_with_a_seed() -> None:
    repeats = simulated(40, 13, [4.0])  # 13 × 462 splits
    one, again, other = (split_half_reliability(repeats, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert one != other
    assert one == pytest.approx(other, abs=0.01)


def test_a_known_signal_is_recovered() -> None:
    noise = [0.25, 1.0, 4.0]
    repeats = simulated(4000, 4, noise, offset=1e6)
    expected = [1 / (1 + variance / 4) for variance in noise]
    np.testing.assert_allclose(split_half_reliability(repeats), expected, atol=0.02)
    np.testing.assert_allclose(ceiling_of_mean(repeats), expected, atol=0.02)  # type: ignore[arg-type]
    np.testing.assert_allclose(noise_ceiling_snr(repeats), 1 / np.sqrt(noise), rtol=0.05)


def test_noise_alone_is_not_reliable() -> None:
    repeats = np.random.default_rng(1).standard_normal((500, 6, 200))
    assert abs(split_half_reliability(repeats).mean()) < 0.02
    ceilings = ceiling_of_mean(repeats)
    assert ceilings is not None
    assert ceilings.min() == 0
    assert ceilings.mean() < 0.07


def test_the_ceiling_stays_right_with_few_and_missing_repetitions() -> None:
    repeats = simulated(4000, 3, [4.0] * 20)
    repeats[2000:, 2] = np.nan
    expected = 1 / (1 + 4 * (0.5 / 3 + 0.5 / 2))
    ceilings = ceiling_of_mean(repeats)
    assert ceilings is not None
    assert ceilings.mean() == pytest.approx(expected, abs=0.01)
    assert split_half_reliability(repeats).mean() == pytest.approx(1 / (1 + 4 / 2), abs=0.01)  # of two repetitions


def test_ncsnr_in_words() -> None:
    repeats = simulated(30, 4, [0.5, 8.0], offset=50, missing=0.4)
    found = noise_ceiling_snr(repeats)
    for target in range(2):
        rows = [row[~np.isnan(row)] for row in repeats[:, :, target]]
        noise = np.mean([row.var(ddof=1) for row in rows if len(row) > 1])
        total = np.concatenate(rows).var(ddof=1)
        assert found[target] == pytest.approx(np.sqrt(max(total - noise, 0) / noise), rel=1e-10)


def test_the_noise_ceiling_is_the_formula_of_the_natural_scenes_dataset() -> None:
    ncsnr = np.array([0.0, 0.3, 1.2, np.inf, np.nan])
    three, two, one = 5, 3, 2
    repetitions = np.repeat([3, 2, 1], [three, two, one])[:, None]
    noise = (three / 3 + two / 2 + one) / (three + two + one)
    expected = [0, 0.09 / (0.09 + noise), 1.44 / (1.44 + noise), 1, np.nan]
    np.testing.assert_allclose(noise_ceiling(ncsnr, repetitions), expected)
    never = np.concatenate([repetitions, [[0]]])  # a stimulus that was never shown is averaged with none
    np.testing.assert_allclose(noise_ceiling(ncsnr, never), expected)


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_known_is_nan() -> None:
    rng = np.random.default_rng(2)
    repeats = np.full((20, 4, 4), 0.1)
    repeats[:, :, 1] = rng.standard_normal((20, 4))
    repeats[:, :, 2] = np.arange(20)[:, None]  # no noise
    repeats[:, :, 3] = np.nan
    reliability, ceiling = split_half_reliability(repeats), ceiling_of_mean(repeats)
    assert ceiling is not None
    assert np.isnan(reliability).tolist() == np.isnan(ceiling).tolist() == [True, False, False, True]
    assert reliability[2] == pytest.approx(1)
    assert ceiling[2] == 1
    assert np.isnan(split_half_reliability(repeats[:, :1])).all()
    assert ceiling_of_mean(repeats[:, :1]) is None


def test_the_real_neurons_are_as_reliable_as_published(shared_data: Path) -> None:
    repeats = np.load(shared_data / "macaque_v4" / "210325" / "responses_repeats.npy", mmap_mode="r")
    reliability, ceiling = split_half_reliability(repeats), ceiling_of_mean(repeats)
    assert ceiling is not None
    assert reliability.mean() == pytest.approx(0.74, abs=0.02)
    assert np.abs(ceiling - reliability).max() < 0.02  # two estimates of one share


def test_the_mean_is_over_what_is_there() -> None:
    repeats = simulated(9, 3, [1.0, 1.0], missing=0.5).astype(np.float32)
    mean = mean_over_repetitions(repeats, Path("r.npy"))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.nanmean(repeats.astype(np.float64), axis=1), rtol=1e-6)
    repeats[4, :, 1] = np.nan
    with pytest.raises(InputError, match=r"^r\.npy: expected .* stimulus 4, target 1 "):
        mean_over_repetitions(repeats, Path("r.npy"))
