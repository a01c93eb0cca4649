"""TrainedTrunk: what a run's checkpoint knows of its trunk."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ...batch import Facts, Features, FeatureShapes, Seen
from ...encoders.checkpoint import misfit
from ...errors import InputError
from ...names import BESIDE
from ...tensor_file import read_tensors
from ..saved import FORMAT, PART
from ..standardize import FeatureStandardizer
from .base import Trunk

_TRUNK, _LAYERS, _STATISTICS = "head.trunk.", "head.subject_layers.", "standardize_features."


class TrainedTrunk:
    """A trunk's weights, and the statistics by which the features that it was trained on were standardised.

    Args:
        path: Checkpoint of the run that trained it.
        feature_shapes: Shape of one stimulus's features by layer, which must be that run's.

    Attributes:
        weights: The trunk's, by the names of its state dict.
        subject_layers: Likewise of the layers through which that run's readouts saw it; nothing where there were none.
        seen: What they have learnt from.

    Raises:
        InputError: The file is no checkpoint of a run with a trunk, its features were others, or they were fitted to
            that run's own stimuli or trials, so that no other run has them.
    """

    def __init__(self, path: Path, feature_shapes: FeatureShapes) -> None:
        self.flag = f"--model.head.trunk_weights {path}"
        checkpoint = read_tensors(path) if path.is_file() else None
        state, held = _part("state_dict", checkpoint), _part(PART, checkpoint)
        self.weights, self.subject_layers = _below(_TRUNK, state), _below(_LAYERS, state)
        if not self.weights:
            found = "a file without one" if path.is_file() else "no such file"
            raise InputError(
                f"{self.flag}: expected a run's checkpoint with a trunk, found {found}; name the "
                "checkpoints/best.ckpt of a run with --model.head TrunkHead"
            )
        if held.get("format") != FORMAT or "intake" not in held:
            raise InputError(
                f"{self.flag}: expected a checkpoint that says how its features were made, found one of another "
                "version, or of parts that no file can name; train the trunk again"
            )
        facts = _part("facts", held)
        selected = frozenset(map(str, facts.get("selected", ())))
        self.seen = Seen(frozenset(map(str, facts.get("seen", ()))) - selected, selected)
        intake = held["intake"] or {}
        if intake.get("projections") or intake.get("fitted"):
            raise InputError(
                f"{self.flag}: expected a trunk on features that every run has, found one on features fitted to that "
                "run's own images (--data.reduction, or an encoder that learns); train it on plain features"
            )
        if intake.get("beside"):
            inputs = ", ".join(layer.removeprefix(BESIDE) for layer in intake["beside"])
            raise InputError(
                f"{self.flag}: expected a trunk on features of the image, found one that reads what that run's data "
                f"had beside it ({inputs}), whose components and scales are its own; train it without --data.beside"
            )
        self.standardize: FeatureStandardizer | None = None
        statistics = _below(_STATISTICS, state)
        if statistics:
            self.standardize = FeatureStandardizer(feature_shapes)
            self._load(self.standardize, statistics, "encoder")

    def load_into(self, trunk: Trunk) -> None:
        """Give a trunk the weights.

        Raises:
            InputError: They are another trunk's.
        """
        self._load(trunk, self.weights, "trunk")

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        """Mean and scale by layer, each (*shape); None for a trunk behind a backbone.

        Raises:
            InputError: The features of these facts are of another kind.
        """
        if (self.standardize is None) != (facts.feature_mean is None) or not facts.standardized:
            raise InputError(
                f"{self.flag}: expected features of the kind that the trunk was trained on, those of "
                f"{'--data.encoder' if self.standardize else '--model.backbone'} without --data.reduction, found "
                "others; set the data's and the backbone's flags as in that run"
            )
        return None if self.standardize is None else self.standardize.statistics()

    def _load(self, module: Trunk | FeatureStandardizer, state: dict[str, Tensor], what: str) -> None:
        fault = misfit(module.state_dict(), state)
        if fault:
            raise InputError(
                f"{self.flag}: the {what} of that run is another: {fault}; take its --data.encoder and "
                "--model.head.trunk"
            )
        if not any(each.is_meta for each in (*module.parameters(), *module.buffers())):  # a sketch holds no numbers
            module.load_state_dict(state)


def _part(name: str, checkpoint: object) -> dict[Any, Any]:
    """What a checkpoint holds by this name; nothing where it is no checkpoint of ours."""
    part = checkpoint.get(name) if isinstance(checkpoint, dict) else None
    return part if isinstance(part, dict) else {}


def _below(prefix: str, state: dict[Any, Any]) -> dict[str, Tensor]:
    """The tensors of one module by its own names."""
    named = {str(name): each for name, each in state.items() if isinstance(each, Tensor)}
    return {name.removeprefix(prefix): each for name, each in named.items() if name.startswith(prefix)}
