"""Symptom: one thing that was found in data, and what to do about it; and the chart on which they are kept."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from ...errors import InputError, one_line

Severity = Literal["error", "warning", "note"]

T = TypeVar("T")


@dataclass(frozen=True)
class Symptom:
    """One line of what was found.

    Args:
        severity: "error" where a run stops, or learns from the wrong rows; "warning" where it goes on, and something
            is likely a mistake; "note" for what is good to know.
        check: The question that found it, such as "order".
        where: The file or folder, or the flag.
        found: What was found.
        remedy: What to do; "" where nothing is to be done.
    """

    severity: Severity
    check: str
    where: Path | str
    found: str
    remedy: str = ""

    @classmethod
    def of(cls, check: str, error: InputError) -> "Symptom":
        """What a source refuses: its message says the file, what was expected and found, and what to do."""
        message = " ".join(str(error).split())
        where, colon, rest = message.partition(": ")
        if not colon:
            where, rest = "", message
        where, comma, line = where.partition(", line ")
        found, _, remedy = rest.rpartition("; ")
        found, remedy = (found, remedy) if found else (rest, "")
        return cls("error", check, where, f"line {line}: {found}" if comma else found, remedy)

    def file(self, root: Path) -> str:
        """Where, as seen from the root."""
        try:
            return str(Path(self.where).relative_to(root))
        except ValueError:
            return str(self.where)

    def line(self, root: Path) -> str:
        """All of it, on one line."""
        said = "; ".join(part for part in (self.found, self.remedy) if part)
        file = self.file(root)
        return " ".join(f"{self.severity}: {root if file == '.' else file}: {said}".split())


class Chart:
    """What was found so far, each thing once.

    A check that fails on what it meets costs its own answer and no other's.
    """

    def __init__(self) -> None:
        self.symptoms: list[Symptom] = []

    def add(self, symptoms: Iterable[Symptom]) -> None:
        """Keep what a check finds, those before it failed included."""
        for symptom in symptoms:
            if symptom not in self.symptoms:
                self.symptoms.append(symptom)

    def attempt(self, check: str, where: Path, call: Callable[[], T]) -> T | None:
        """What the call returns; None where it raises, and what it raised is on the chart.

        Args:
            check: The question that is asked.
            where: The file or folder that it is asked of.
            call: Asks it.
        """
        try:
            return call()
        except InputError as error:
            self.add([Symptom.of(check, error)])
        except OSError as error:
            found = f"cannot be read ({error.strerror or one_line(error)})"
            self.add(
                [Symptom("error", check, Path(error.filename or where), found, "give yourself the right to read it")]
            )
        except Exception as error:  # files are hostile: whatever else they break must not hide what was found
            found = f"could not be checked ({type(error).__name__}: {one_line(error)})"
            self.add([Symptom("warning", check, where, found, "look at the file; if it is sound, report this line")])
        return None

    def knows(self, where: Path) -> bool:
        """Whether an error in this file is on the chart."""
        return any(each.severity == "error" and str(each.where).startswith(str(where)) for each in self.symptoms)

    def counts(self) -> Counter[str]:
        """How many there are of each severity."""
        return Counter(symptom.severity for symptom in self.symptoms)


def several(count: int, what: str) -> str:
    """A number of things, for a line."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def some(indices: np.ndarray, most: int = 5) -> str:
    """The first of some indices, for a line; rows and targets are counted from 0 throughout."""
    first = ", ".join(map(str, indices[:most].tolist()))
    return f"{first}{', …' if len(indices) > most else ''}" if len(indices) else ""
