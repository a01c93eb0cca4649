"""What a checkpoint holds beside the weights, so that it alone makes the model again."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeVar

from ..batch import Facts
from ..encoders.hub import weights_follow
from ..encoders.intake import StimulusIntake
from ..errors import InputError, one_line
from ..recipe import ARGUMENTS, CLASS, Remakable, find_class, make, recipe_of
from ..tensor_file import read_tensors

PART = "calcarine"
"""Its name in the checkpoint."""
FORMAT = 1
"""To be raised when what is held changes; a checkpoint of another format is refused."""

Model = TypeVar("Model", bound=Remakable)


def describe(model: Remakable, facts: Facts, everything: bool = False) -> dict[str, Any]:
    """The classes and arguments of a model and of the frozen encoder before it, and the facts, in plain types.

    Where one of them was given what is not plain, such as a function in Python, that is said in its place.

    Args:
        model: The model.
        facts: Of its training data.
        everything: Hold an encoder's weights though they were fetched.
    """
    held = {"format": FORMAT, "facts": facts.to_plain()}
    try:
        held["intake"] = None if facts.intake is None else facts.intake.to_plain(everything)
        held["recipe"] = recipe_of(model, weights_saved=True)
    except TypeError as error:
        held["fault"] = one_line(error)
    return held


def read_checkpoint(path: str | PathLike[str] | IO[bytes]) -> dict[str, Any]:
    """A checkpoint of ours; nothing of it is trusted but tensors and plain types.

    Raises:
        InputError: There is none, it holds other things, or no model that it could make again.
    """
    if isinstance(path, (str, PathLike)) and not Path(path).is_file():
        raise InputError(f"{path}: expected a checkpoint, found no such file; name runs/NAME/version_N/checkpoints/…")
    checkpoint = read_tensors(path)
    held = checkpoint.get(PART) if isinstance(checkpoint, Mapping) else None
    if not isinstance(held, Mapping) or held.get("format") != FORMAT:
        found = f"format {held.get('format')}" if isinstance(held, Mapping) else "one of another version or program"
        raise InputError(
            f"{path}: expected a checkpoint that holds how its model was made (format {FORMAT}), found {found}; train "
            "again, or load it with the version that wrote it"
        )
    if "fault" in held:
        raise InputError(
            f"{path}: expected a model of plain values and classes with their arguments, and this one was not: "
            f"{held['fault']}; make the model as it was made in training, and give it this file's state_dict"
        )
    return dict(checkpoint)


def make_model(held: Mapping[str, Any], kind: type[Model], changed: Mapping[str, Any]) -> tuple[Model, Facts]:
    """The model without its weights, and its facts, from what `describe` said.

    Args:
        held: That part of the checkpoint.
        kind: What the model has to be.
        changed: Arguments of its constructor to use in place of those of the recipe.

    Raises:
        InputError: It is something else, or cannot be made.
    """
    recipe = held["recipe"]
    own = find_class(recipe[CLASS])
    if not issubclass(own, kind):
        raise InputError(f"expected a checkpoint of a {kind.__name__}, found one of a {own.__name__}")
    with weights_follow():
        arguments = {name: make(value) for name, value in recipe[ARGUMENTS].items()}
        model = own(**{**arguments, **changed})
    intake = None if held["intake"] is None else StimulusIntake.from_plain(held["intake"])
    return model, Facts.from_plain(held["facts"], intake)
