"""Which row belongs to which stimulus: ridge from simple features to responses, in every order that rows may have."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..stimuli import natural_key

_FOLDS = 5
_COMPONENTS, _ROWS_PER_COMPONENT = 60, 4
_RIDGE = 0.1
"""Penalty, as a share of the components' mean variance; what it is hardly matters with so few components."""

_LAGS = 5
"""Rows early or late that are tried."""

_CONTROLS = 40
"""Permutations of the rows; and as many shifts by more than `_LAGS`, which keep what rows have in common with the next:
a drift of the responses and pictures sorted by kind make all shifts alike."""

_CLEAR, _GAIN, _FAR_GAIN = 6.0, 4.0, 3.0
"""Standard deviations above the controls from which a fit is clear; standard errors from which it gains over the rows
as they are, and from which these gain over shifts by `_LAGS`."""

_PIECES, _LEAST_PIECES = 40, 8
"""Runs of rows whose gains are taken as independent, and the least of them that tell anything."""

_MOST_ALIKE = 0.95
"""Highest correlation of a piece with the next that is reckoned with."""

FEWEST_ROWS = 30


@dataclass(frozen=True)
class Order:
    """How rows may belong to stimuli.

    Args:
        name: "as they are", "lag", "reversed" or "text" (names sorted as text, "image10" before "image2").
        lag: Rows by which each is late; 0 where it is no lag.
        stimulus: Of each row, int64 (rows,); -1 where the row has none.
    """

    name: str
    lag: int
    stimulus: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """What the fits say.

    Args:
        order: The order that fits best; None where none fits better than chance.
        first: The first row from which on it does, 0 for all rows.
        fit: Its mean correlation over these rows.
        as_they_are: That of the rows as they are, over the same rows.
        chance: Mean and standard deviation over the controls, likewise.
    """

    order: Order | None
    first: int
    fit: float
    as_they_are: float
    chance: tuple[float, float]


def possible_orders(names: Sequence[str]) -> list[Order]:
    """Orders of n rows, that of the names first."""
    rows = np.arange(len(names))
    orders = [Order("as they are", 0, rows)]
    for lag in (lag for size in range(1, _LAGS + 1) for lag in (size, -size)):
        stimulus = rows - lag
        stimulus[(stimulus < 0) | (stimulus >= len(rows))] = -1
        orders.append(Order("lag", lag, stimulus))
    orders.append(Order("reversed", 0, rows[::-1].copy()))
    # Told by the names alone, so it is the same whatever the place of the list that the rows were written from.
    by_number = sorted(names, key=natural_key)
    by_text = np.array(sorted(range(len(names)), key=lambda index: names[index]), dtype=np.int64)
    if by_number == list(names) and not np.array_equal(by_text, rows):
        orders.append(Order("text", 0, by_text))
    return orders


def judge(features: np.ndarray, responses: np.ndarray, orders: Sequence[Order], seed: int = 0) -> Verdict:
    """Find the order in which the responses fit the features best.

    A fit is the correlation of cross-validated predictions with the responses, the mean over targets, row by row. The
    best order is clear where it lies six standard deviations above the controls, and where, against the rows as they
    are, its gain over runs of rows is four standard errors above 0. An order may hold from some row on, where one was
    lost in the middle. Of 400 data sets without relation, three in four of them with rows that resemble their
    neighbours, none was told to be in any order.

    Args:
        features: (n, d) of the stimuli.
        responses: (n, targets) of the rows; NaN is not measured.
        orders: The rows as they are first.
        seed: Of the controls.
    """
    basis, responses = _components(features), _standardised(responses)
    as_they_are = _fit(basis, responses, orders[0].stimulus)  # (rows,)
    controls = _controls(basis, responses, seed)
    best, fit, gain, first = orders[0], as_they_are, 0.0, 0
    for order, trained in ((other, trained) for other in orders[1:] for trained in (other, orders[0])):
        other = _fit(basis, responses, order.stimulus, trained.stimulus)
        start, gained = _gain(other - as_they_are)
        clear = gained > max(gain, _GAIN) and _clear(other[start:], [control[:, start:] for control in controls])
        # What goes wrong in the middle was right before.
        if clear and (not start or _clear(as_they_are[:start], [control[:, :start] for control in controls])):
            best, fit, gain, first = order, other, gained, start
    here = [control[:, first:] for control in controls]
    chance = np.concatenate([np.nanmean(each, axis=1) for each in here])
    if best is orders[0]:  # rows that resemble their neighbours fit some rows off nearly as well, which shows no order
        far = [_fit(basis, responses, order.stimulus) for order in orders if abs(order.lag) == _LAGS]
        sure = _clear(fit, here) and all(_standard_errors(_pieces(fit - other)) > _FAR_GAIN for other in far)
    else:
        sure = True
    return Verdict(
        best if sure else None,
        first,
        float(np.nanmean(fit[first:])),
        float(np.nanmean(as_they_are[first:])),
        (float(chance.mean()), float(chance.std())),
    )


def _components(features: np.ndarray) -> np.ndarray:
    """Principal components of the standardised features, (n, p), at least four rows for each, of mean variance 1."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    scale = centred.std(axis=0)
    centred = centred[:, scale > 0] / scale[scale > 0]
    variances, axes = np.linalg.eigh(centred.T @ centred)
    most = min(_COMPONENTS, len(features) // _ROWS_PER_COMPONENT, int((variances > 1e-8 * variances.max()).sum()))
    basis = centred @ axes[:, ::-1][:, :most]
    return basis / np.sqrt(np.square(basis).mean())


def _standardised(responses: np.ndarray) -> np.ndarray:
    """Targets of mean 0 and variance 1, (n, targets), what was not measured at the mean."""
    values = responses.astype(np.float64)
    values -= np.nanmean(values, axis=0)
    return np.nan_to_num(values / np.nanstd(values, axis=0))


def _fit(
    basis: np.ndarray, responses: np.ndarray, stimulus: np.ndarray, trained: np.ndarray | None = None
) -> np.ndarray:
    """How well each row is predicted by the folds that it is not in, (rows,); NaN where it has no stimulus.

    Prediction and response of a target are standardised within the fold, so that the mean over rows is the mean
    correlation over targets.

    Args:
        basis: Features (n, p).
        responses: (rows, targets).
        stimulus: Of each row (rows,), -1 where it has none.
        trained: The stimulus of each row in training, where that is another.
    """
    trained = stimulus if trained is None else trained
    match = np.full(len(responses), np.nan)
    bounds = np.linspace(0, len(responses), _FOLDS + 1).astype(int)
    folds = [np.arange(start, end) for start, end in pairwise(bounds)]
    used = [fold[trained[fold] >= 0] for fold in folds]
    grams = [basis[trained[rows]].T @ basis[trained[rows]] for rows in used]
    products = [basis[trained[rows]].T @ responses[rows] for rows in used]
    penalty = _RIDGE * len(responses) * np.eye(basis.shape[1])
    for fold, gram, product in zip(folds, grams, products, strict=True):
        weights = np.linalg.solve(sum(grams) - gram + penalty, sum(products) - product)
        rows = fold[stimulus[fold] >= 0]
        match[rows] = (_unit(basis[stimulus[rows]] @ weights) * _unit(responses[rows])).mean(axis=1)
    return match


def _unit(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1; 0 where they do not vary."""
    centred = values - values.mean(axis=0)
    deviation = np.sqrt(np.square(centred).mean(axis=0))
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)


def _controls(basis: np.ndarray, responses: np.ndarray, seed: int) -> list[np.ndarray]:
    """Fits of permuted rows, and of rows shifted in a circle, each (controls, rows)."""
    rng, rows = np.random.default_rng(seed), np.arange(len(responses))
    shifts = np.arange(_LAGS + 1, len(rows) - _LAGS)
    orders = [rng.permutation(rows) for _ in range(_CONTROLS)]
    turned = [np.roll(rows, shift) for shift in rng.choice(shifts, min(_CONTROLS, len(shifts)), replace=False)]
    return [np.stack([_fit(basis, responses, order) for order in family]) for family in (orders, turned)]


def _clear(fit: np.ndarray, controls: Sequence[np.ndarray]) -> bool:
    """Whether a fit over some rows (rows,) lies far above those of either kind of control over the same rows."""
    own = np.nanmean(fit)
    means = [np.nanmean(each, axis=1) for each in controls]
    return all(own > mean.mean() + _CLEAR * mean.std() and own > mean.max() for mean in means)


def _gain(gains: np.ndarray) -> tuple[int, float]:
    """From which row on an order gains most over the rows as they are, and by how many standard errors.

    Args:
        gains: Of each row (rows,); NaN where one of the two has no stimulus.
    """
    pieces = _pieces(gains)
    from_here_on = np.cumsum(pieces[::-1])[::-1][: max(len(pieces) - _LEAST_PIECES, 0) + 1]
    start = int(from_here_on.argmax())
    start = 0 if start < len(pieces) // 20 else start
    return start * (len(gains) // len(pieces)), _standard_errors(pieces[start:])


def _pieces(gains: np.ndarray) -> np.ndarray:
    """Means over runs of rows: neighbours are not independent."""
    length = max(1, len(gains) // _PIECES)
    return np.nan_to_num(gains[: len(gains) // length * length]).reshape(-1, length).mean(axis=1)


def _standard_errors(pieces: np.ndarray) -> float:
    """How far the mean is above 0; pieces that resemble the next count for fewer."""
    away = pieces - pieces.mean()
    variance = float(np.square(away).mean())
    if variance == 0:
        return 0.0
    alike = min(max(float((away[1:] * away[:-1]).mean()) / variance, 0.0), _MOST_ALIKE)
    effective = (len(pieces) - 1) * (1 - alike) / (1 + alike)
    return float(pieces.mean() / np.sqrt(variance / effective))
