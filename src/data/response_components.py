"""Principal components of the training responses, in which targets vary together."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..batch import Facts
from ..errors import InputError
from ..names import TRAIN
from .features.components import LARGEST, fit_components
from .features.matrix import NARROWEST, PIECE, PiecewiseMatrix
from .stimulus_table import StimulusTable

log = logging.getLogger(__name__)


class StandardizedResponses(PiecewiseMatrix):
    """Responses of one recording, standardised, a row for each stimulus; where none was measured the mean, 0.

    Args:
        respond: From positions (n,) to responses, float32 (n, T).
        positions: Of the stimuli, int64 (N,).
        mean: Of each target, float32 (T,).
        scale: Its standard deviation, float32 (T,).
    """

    def __init__(
        self, respond: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, mean: Tensor, scale: Tensor
    ) -> None:
        self._respond, self._positions = respond, positions
        self._mean, self._scale = mean.numpy(), scale.numpy()
        self.shape = (len(positions), len(mean))

    def by_rows(self) -> Iterator[Tensor]:
        for rows in self._pieces():
            yield torch.from_numpy(self._standardized(rows, slice(None)))

    def by_columns(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows are stored whole, so each piece of columns reads all of them again: of a whole brain five times."""
        for columns in self.columns_of_pieces():
            piece = np.empty((self.shape[0], columns.stop - columns.start), dtype=np.float32)
            for rows in self._pieces():
                piece[rows] = self._standardized(rows, columns)
            yield columns, torch.from_numpy(piece)

    def _pieces(self) -> Iterator[slice]:
        step = self.rows_at_once()
        return (slice(start, start + step) for start in range(0, self.shape[0], step))

    def _standardized(self, rows: slice, columns: slice) -> np.ndarray:
        values = self._respond(self._positions[rows])[:, columns]
        return np.nan_to_num((values - self._mean[columns]) / self._scale[columns], copy=False, nan=0.0)


def check_components(table: StimulusTable, count: int) -> None:
    """Refuse more components than some recording's training responses have.

    Raises:
        InputError: They are fewer.
    """
    for index, recording in enumerate(table.recordings):
        stimuli, targets = len(table.positions_of(index, TRAIN)), recording.num_targets
        most = min(stimuli - 1, targets)
        if targets and count > most:
            raise InputError(
                f"--data.response_components {count}: expected at most {most}, which {stimuli} training stimuli and "
                f"{targets} targets of {recording.subject} have; ask for fewer"
            )


def component_bytes(table: StimulusTable) -> int:
    """Bytes of memory that finding components takes of the largest recording: 1.5 GB of 9,000 stimuli × 39,548 targets.

    A symmetric matrix and its copy, two pieces of whole columns, and two of whole rows.
    """
    most = 0
    for index, recording in enumerate(table.recordings):
        stimuli, targets = len(table.positions_of(index, TRAIN)), recording.num_targets
        side = min(stimuli, targets, LARGEST)
        columns = min(targets, max(NARROWEST, PIECE // max(stimuli, 1)))
        rows = min(stimuli, max(1, PIECE // max(targets, 1)))
        most = max(most, 2 * 4 * (side**2 + stimuli * columns + rows * targets))
    return most


def with_response_components(facts: Facts, table: StimulusTable) -> Facts:
    """The facts with as many principal components of each recording's training responses as they say.

    Of standardised responses, so that no target counts for more because of its units. Exact where stimuli or targets
    are at most 12,000, and beyond that randomised (Halko et al. 2011); memory grows with the smaller, squared.

    Args:
        facts: Of the table's training split.
        table: All stimuli and their responses.
    """
    count = facts.response_components
    if not count or facts.measured is None:
        return facts
    basis = torch.zeros(count, len(facts.groups))
    share = torch.full((len(facts.groups),), torch.nan)
    for index, recording in enumerate(table.recordings):
        own, training = table.targets_of(index), table.positions_of(index, TRAIN)
        most = min(len(training) - 1, own.stop - own.start)  # fewer in a fold of the training split
        if most < 1:
            continue
        mean, scale = facts.response_mean[own], facts.response_scale[own]
        responses = StandardizedResponses(partial(table.respond, index), training, mean, scale)
        found = fit_components(responses, min(count, most))
        kept = len(found.scatter)
        basis[:kept, own] = (found.basis * (found.scatter / len(training)).sqrt().float()).T
        variance = basis[:, own].square().sum(0)  # that they keep, of 1 where every stimulus was measured
        share[own] = torch.where(variance > 0, variance * len(training) / facts.measured[own], torch.nan)
        explained = float(found.scatter.sum()) / found.total if kept else 0.0
        log.info(
            "response components of %s: %d of %d, with %.1f %% of the variance of its %d training responses",
            recording.subject, kept, count, 100 * explained, len(training),
        )  # fmt: skip
    return replace(facts, response_basis=basis, response_share=share)
