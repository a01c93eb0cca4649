"""The search space: a YAML file of dotted `train.py` flags, each with what it may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ...errors import InputError, one_line
from ...yaml_text import read_yaml

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Value = bool | int | float | str | None

INPUT_DIM = "input_dim"
KEYS = ("type", "low", "high", "log", "step", "choices", "when", "times")
TYPES = ("float", "int", "categorical")


@dataclass(frozen=True)
class Parameter:
    """What one flag may be.

    Args:
        flag: Dotted name of the flag, without dashes; a last part that is a number is a place in a list.
        type: "float", "int" or "categorical".
        low: Smallest value of a number.
        high: Largest.
        log: Numbers are drawn by their logarithm.
        step: Distance between values; none for a float without.
        choices: Values of a categorical.
        when: Flags of the space and the values that they must have for this one to be searched.
        times: "input_dim": low and high are shares of the number of features that the head is given.
    """

    flag: str
    type: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: Sequence[Value] = ()
    when: Mapping[str, Value] = field(default_factory=dict)
    times: str | None = None

    def distribution(self) -> BaseDistribution:
        """As Optuna draws from it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.type == "categorical":
            return CategoricalDistribution(self.choices)
        if self.type == "int":
            return IntDistribution(round(self.low), round(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def scaled(self, input_dim: int) -> Parameter:
        """The same with shares of the input dimension resolved."""
        if self.times is None:
            return self
        low, high = (max(round(share * input_dim), 1) for share in (self.low, self.high))
        return Parameter(self.flag, self.type, low, high, self.log, self.step, when=self.when)

    def extremes(self) -> list[Value]:
        """Every choice, or the ends of the range."""
        if self.type == "categorical":
            return list(self.choices)
        return [round(end) if self.type == "int" else end for end in dict.fromkeys((self.low, self.high))]

    def grid(self) -> list[Value]:
        """Every value.

        Raises:
            InputError: They are not finitely many, or not meant to be counted.
        """
        if self.type == "categorical":
            return list(self.choices)
        step = self.step or (1 if self.type == "int" and not self.log else None)
        if step is None:
            raise InputError(f"--sampler grid: {self.flag} has no finite grid; give it choices, or a step")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        values = [self.low + step * index for index in range(count)]
        return [round(value) for value in values] if self.type == "int" else list(values)


@dataclass(frozen=True)
class SearchSpace:
    """Parameters by flag; one that depends on another comes after it."""

    parameters: Mapping[str, Parameter]

    def scaled(self, input_dim: int) -> SearchSpace:
        """The same with shares of the input dimension resolved."""
        return SearchSpace({flag: each.scaled(input_dim) for flag, each in self.parameters.items()})

    def suggest(self, trial: BaseTrial) -> dict[str, Value]:
        """Draw a value for each flag that is active; draws nothing twice for one trial."""
        values: dict[str, Value] = {}
        for flag, parameter in self.parameters.items():
            if not self.active(parameter, values):
                continue
            if parameter.type == "categorical":
                values[flag] = trial.suggest_categorical(flag, parameter.choices)
            elif parameter.type == "int":
                low, high = round(parameter.low), round(parameter.high)
                values[flag] = trial.suggest_int(flag, low, high, step=int(parameter.step or 1), log=parameter.log)
            else:
                values[flag] = trial.suggest_float(
                    flag, parameter.low, parameter.high, step=parameter.step, log=parameter.log
                )
        return values

    def active(self, parameter: Parameter, values: Mapping[str, Value]) -> bool:
        """Whether a parameter is searched beside these values of the parameters before it."""
        return all(flag in values and values[flag] == value for flag, value in parameter.when.items())

    def only_active(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Those of some values that a trial would have."""
        kept: dict[str, Value] = {}
        for flag, parameter in self.parameters.items():
            if flag in values and self.active(parameter, kept):
                kept[flag] = values[flag]
        return kept

    def fixed(self) -> dict[str, Value]:
        """What every trial has: the only choices of unconditional parameters."""
        alone = (each for each in self.parameters.values() if len(each.choices) == 1 and not each.when)
        return {each.flag: each.choices[0] for each in alone}

    def grid(self) -> list[dict[str, Value]]:
        """Every combination once, in the order of the file.

        Raises:
            InputError: A parameter has no finite grid.
        """
        everything = product(*(parameter.grid() for parameter in self.parameters.values()))
        combinations = (self.only_active(dict(zip(self.parameters, values, strict=True))) for values in everything)
        return [dict(items) for items in dict.fromkeys(tuple(combination.items()) for combination in combinations)]

    def contains(self, values: Mapping[str, Value]) -> bool:
        """Whether a trial could have these values, one for each active flag."""
        for flag, parameter in self.parameters.items():
            if not self.active(parameter, values):
                continue
            value = values.get(flag)
            if parameter.type == "categorical":
                if value not in parameter.choices:
                    return False
            else:
                number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
                if math.isnan(number) or not parameter.distribution()._contains(number):
                    return False
        return True

    def plain(self) -> dict[str, dict[str, object]]:
        """Plain types, for the storage."""
        default = Parameter("", "")
        return {
            flag: {
                key: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
                for key in KEYS
                if (value := getattr(each, key)) != getattr(default, key) or key == "type"
            }
            for flag, each in self.parameters.items()
        }


def read_space(path: Path) -> SearchSpace:
    """Read a search space.

    Raises:
        InputError: There is no such file, or it is not a search space.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--search {path}: expected a YAML file of flags, found no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--search {path}: expected YAML, found what cannot be read ({one_line(error)})") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"--search {path}: expected flags and what they may be, found {type(content).__name__}")
    parameters = {str(flag): _parameter(f"--search {path}: {flag}", str(flag), each) for flag, each in content.items()}
    for flag, parameter in parameters.items():
        _check_conditions(f"--search {path}: {flag}", parameter, parameters)
    return SearchSpace({each.flag: each for each in _in_order(path, parameters)})


def _parameter(where: str, flag: str, content: object) -> Parameter:
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected {{type: …}}, found {content!r}")
    for key in content:
        if key not in KEYS:
            raise InputError(f"{where}: expected {', '.join(KEYS)}, found {key!r}")
    kind = content.get("type")
    if kind not in TYPES:
        raise InputError(f"{where}: expected a type of {', '.join(TYPES)}, found {kind!r}")
    when = content.get("when", {})
    if not isinstance(when, dict):
        raise InputError(f"{where}: expected when: {{flag: value}}, found {when!r}")
    when = {str(name): _scalar(where, value) for name, value in when.items()}
    if kind == "categorical":
        return Parameter(flag, kind, choices=_choices(where, content), when=when)
    if "choices" in content:
        raise InputError(f"{where}: expected low and high of type {kind}, found choices; use type: categorical")
    low, high = (_number(where, content, name) for name in ("low", "high"))
    log, times = content.get("log", False), content.get("times")
    step = _number(where, content, "step") if content.get("step") is not None else None
    if not isinstance(log, bool):
        raise InputError(f"{where}: expected log: true or false, found {log!r}")
    if times not in (None, INPUT_DIM):
        raise InputError(f"{where}: expected times: {INPUT_DIM}, found {times!r}")
    if times is not None and (kind != "int" or low <= 0):
        raise InputError(f"{where}: expected an int with low above 0 beside times: {INPUT_DIM}")
    if not low <= high:
        raise InputError(f"{where}: expected low below high, found an empty range from {low:g} to {high:g}")
    if kind == "int" and times is None and not (low.is_integer() and high.is_integer()):
        raise InputError(f"{where}: expected whole numbers, found {low:g} to {high:g}")
    if log and low <= 0:
        raise InputError(f"{where}: expected low above 0 beside log: true, found {low:g}")
    if step is not None and (step <= 0 or log or (kind == "int" and not step.is_integer())):
        raise InputError(f"{where}: expected a step above 0, whole for an int, and no log beside it, found {step:g}")
    return Parameter(flag, kind, low, high, log, step, when=when, times=times)


def _number(where: str, content: Mapping[str, object], name: str) -> float:
    value = content.get(name)
    if isinstance(value, str):  # YAML reads 1e-5 as text, 1.0e-5 as a number
        value = _scalar(where, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{where}: expected a number as {name}, found {value!r}")
    return float(value)


def _choices(where: str, content: Mapping[str, object]) -> tuple[Value, ...]:
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices:
        raise InputError(f"{where}: expected choices: [VALUE, …], found {choices!r}")
    for unused in ("low", "high", "log", "step", "times"):
        if unused in content:
            raise InputError(f"{where}: expected choices alone for a categorical, found {unused}")
    return tuple(_scalar(where, choice) for choice in choices)


def _scalar(where: str, value: object) -> Value:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise InputError(f"{where}: expected a number, a word, true, false or null, found {value!r}; write a list as text")


def _check_conditions(where: str, parameter: Parameter, parameters: Mapping[str, Parameter]) -> None:
    for flag, value in parameter.when.items():
        if flag not in parameters:
            raise InputError(f"{where}: expected when to name a flag of this file, found {flag}")
        choices = parameters[flag].choices
        if value not in choices:
            raise InputError(
                f"{where}: expected when to name a choice of {flag} ({choices or 'none'}), found {value!r}"
            )


def _in_order(path: Path, parameters: Mapping[str, Parameter]) -> Iterator[Parameter]:
    """Each after those that it depends on, else in the file's order."""
    left, placed = dict(parameters), set[str]()
    while left:
        ready = next((each for each in left.values() if placed >= set(each.when)), None)
        if ready is None:
            raise InputError(f"--search {path}: the conditions of {' and '.join(left)} wait for each other")
        placed.add(ready.flag)
        yield left.pop(ready.flag)
