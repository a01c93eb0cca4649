"""TrialContext: which inputs a model has beside the image, and what shape they have."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Literal

from ...arguments import KeepsArguments
from ...errors import InputError
from ...names import BESIDE, PREVIOUS
from ...trial_order import TIME

if TYPE_CHECKING:  # torch is imported where it is used, because `calcarine.data` must be light to import
    from ...batch import FeatureShapes
    from ..sources.base import Source

TIMES, BEHAVIOUR = f"{BESIDE}time", f"{BESIDE}behaviour"
"""Layers beside PREVIOUS: the time of the trial, and what the subject did in it."""

FLAG = "--data.beside"

MOST_PREVIOUS = 1000
"""No session in a scanner has more trials; the inputs of a model are as many times the components."""

VERSION = 2
"""To be raised when the numbers change: a resumed run must have the same."""


class TrialContext(KeepsArguments):
    """What a model is given beside the image, of sources that tell the order of trials, as Yang, Gee & Shi (2023) did.

    It becomes layers "beside:previous", "beside:time" and "beside:behaviour" beside those of the encoder, which heads
    and closed-form models read as any other; a banded ridge has a band of each. Where responses are averaged over
    trials, so are they.

    They mean nothing for new images, for which their training mean stands in their place. A score that they are part
    of says how well this experiment is predicted, not how well images are; so the report gives it without them too.

    Args:
        previous: How many stimuli before a trial are remembered, within its session and run; 0 for none. Fewer than
            the longest of these has trials.
        components: Principal components of each of them, fitted on the training split.
        layer: Of the encoder, whose features they have; the last one where not given, of several encoders of the
            first, and no layer of a spread over frames.
        combine: Give them one after another, each with weights of its own, or their mean.
        time: Give the trial's session, run and place in the session, and how often its image had been shown before.
        behaviour: Give all that the source tells of the subject's behaviour, or these columns of it.
    """

    def __init__(
        self,
        previous: int = 32,
        components: int = 32,
        layer: str | None = None,
        combine: Literal["each", "mean"] = "each",
        time: bool = True,
        behaviour: bool | list[str] = False,
    ) -> None:
        for name, value, least in (("previous", previous, 0), ("components", components, 1)):
            if value < least:
                raise InputError(f"{FLAG}.{name} {value}: expected {least} or more")
        if previous > MOST_PREVIOUS:
            raise InputError(f"{FLAG}.previous {previous}: expected at most {MOST_PREVIOUS:,}; ask for fewer")
        if not (previous or time or behaviour):
            raise InputError(
                f"{FLAG}: expected something beside the image, found previous 0, time false and behaviour false; leave "
                "it out"
            )
        self.previous, self.components, self.layer = previous, components, layer
        self.combine: Literal["each", "mean"] = combine
        self.time = time
        self.behaviour = behaviour

    def columns(self, source: Source) -> list[str]:
        """The columns of behaviour that are given.

        Raises:
            InputError: The source does not tell the order of trials, or has no such column.
        """
        told = source.trial_columns()
        if told is None:
            raise InputError(
                f"{FLAG}: expected a source that tells the order of its trials (NSD, Betas, ThingsFmri, Nwb, or a "
                f"Folder with trials.csv), found {type(source).__name__} without; leave it out"
            )
        if not self.behaviour:
            return []
        wanted = list(told) if self.behaviour is True else list(self.behaviour)
        missing = [name for name in wanted if name not in told]
        if missing or not wanted:
            raise InputError(
                f"{FLAG}.behaviour: expected {missing[0] if missing else 'columns of numbers'} in the record of "
                f"behaviour, found {', '.join(told) or 'none'}; name some of these, or set it to false"
            )
        if len(set(wanted)) < len(wanted):
            raise InputError(f"{FLAG}.behaviour {wanted}: expected each column once; leave out what is named twice")
        return wanted

    def source_layer(self, shapes: FeatureShapes) -> str:
        """The encoder's layer whose features the stimuli before have.

        Raises:
            InputError: There is no such layer.
        """
        if self.layer is None:
            from ...encoders.intake import spread_of

            spreads = [spread_of(layer) for layer in shapes]
            own = [layer for layer in shapes if layer not in spreads]
            first, colon, _ = own[0].partition(":")
            return [layer for layer in own if not colon or layer.startswith(first + colon)][-1]
        if self.layer not in shapes:
            raise InputError(
                f"{FLAG}.layer {self.layer}: expected a layer that --data.encoder serves, found {', '.join(shapes)}; "
                "name one of these"
            )
        return self.layer

    def shapes(self, encoded: FeatureShapes, columns: Sequence[str]) -> FeatureShapes:
        """Shapes of what is given beside the image, by layer.

        Args:
            encoded: Shapes of the features of the image, as they are served.
            columns: Of behaviour.

        Raises:
            InputError: There is no such layer, or one of the image has the name of one beside it.
        """
        taken = [layer for layer in encoded if layer.startswith(BESIDE)]
        if taken:
            raise InputError(f"--data.encoder: layer {taken[0]} has the name of an input beside the image; rename it")
        shapes: FeatureShapes = {}
        if self.previous:
            width = min(self.components, prod(encoded[self.source_layer(encoded)]))
            shapes[PREVIOUS] = (width * (1 if self.combine == "mean" else self.previous),)
        if self.time:
            shapes[TIMES] = (len(TIME),)
        if columns:
            shapes[BEHAVIOUR] = (len(columns),)
        return shapes

    def identity(self) -> list[object]:
        """What determines the numbers beside the trials and the features, as plain JSON types."""
        return [VERSION, self.previous, self.components, self.layer, self.combine, self.time]
