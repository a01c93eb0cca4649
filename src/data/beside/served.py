"""From trials and the image's features to layers beside those of the image."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch

from ...errors import InputError
from ...names import PREVIOUS, TRAIN
from ..features.principal_components import PrincipalComponents
from ..features.reduced_rows import reduce_rows
from ..features.share import ALONE, Share
from ..loader import Rows
from ..statistics import in_chunks, mean_and_scale
from ..stimulus_table import StimulusTable
from .context import FLAG, TrialContext
from .previous import PreviousStimuli
from .tables import BesideTables


def check_previous(context: TrialContext, training: int, width: int) -> None:
    """Refuse more components of the stimuli before than the training stimuli span.

    Args:
        context: What is given beside the image.
        training: Training stimuli.
        width: Features of the layer.
    """
    if context.previous and min(context.components, width) > training - 1:
        raise InputError(
            f"{FLAG}.components {context.components}: expected fewer than the {training} training stimuli; ask for "
            "fewer"
        )


def serve(
    context: TrialContext,
    tables: BesideTables,
    table: StimulusTable,
    inputs: Mapping[str, Rows],
    identity: Mapping[str, object],
    folder: Path,
    share: Share = ALONE,
) -> dict[str, Rows]:
    """Layers beside those of the image.

    Args:
        context: What is given.
        tables: What came beside each stimulus.
        table: The stimuli, and what trains.
        inputs: Features of all stimuli by layer.
        identity: What determines these features, as plain JSON types.
        folder: Where components are remembered.
        share: How ranks wait for each other.
    """
    layers: dict[str, Rows] = {}
    if context.previous:
        layer = context.source_layer({name: rows.shape for name, rows in inputs.items()})
        kept = min(context.components, prod(inputs[layer].shape))
        own = {layer: inputs[layer]}
        training = table.positions(TRAIN)
        reduced, _ = reduce_rows(own, PrincipalComponents(kept), training, None, identity, folder, share)
        features = reduced[layer].arrays[0].numpy()
        rows = PreviousStimuli(
            features, tables.trials, tables.shown, tables.starts, context.previous, context.combine == "mean"
        )

        def gathered(positions: np.ndarray) -> np.ndarray:
            out = torch.empty(len(positions), *rows.shape)
            rows.gather(positions, out)
            return out.numpy()

        known = training[tables.known[training]]
        if len(known):
            rows.mean = torch.from_numpy(mean_and_scale(in_chunks(gathered, known, rows.shape[0]))[0])
        layers[PREVIOUS] = rows
    return layers | {layer: Rows([values]) for layer, values in tables.columns.items()}
