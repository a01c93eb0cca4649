"""One turn of the soak: a workload is hit at random moments, given again each time, and comes to its results."""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import calcarine.run.stages  # noqa: F401 what takes seconds to import, and is the copies' then
from ends import (
    PATIENCE,
    Results,
    WrongEnd,
    check,
    check_blow,
    check_listed,
    check_results,
    check_whole,
    is_done,
    results_of,
    run_to_end,
)
from hindrances import HINDRANCES
from victim import BLOWS, MINUTE, ONE_KILLED, Blow, Victim, stages_begun
from workloads import RESUMED, SHARED, Workload

STARTED = 0.1
"""Share of the commands that start as users start them; the others begin in a copy of this process."""
MOST_BLOWS = 5
"""That a workload is dealt, one after the other, before it may come to its end."""


@dataclass
class Reference:
    """An undisturbed run of a workload.

    Args:
        results: Content of its files, by their places.
        times: When each stage began, in seconds from the start, and when all was over.
    """

    results: Results
    times: dict[str, float]

    def moment(self, chance: random.Random) -> tuple[str, float]:
        """A stage, each as likely, and seconds after its beginning."""
        begins = list(self.times.values())
        place = chance.randrange(len(begins) - 1)
        span = begins[place + 1] - begins[place]
        if place == len(begins) - 2:
            span /= 2  # a command that is faster this time would be over
        return list(self.times)[place], chance.uniform(0, max(span, 0.05))


@dataclass(frozen=True)
class Ended:
    """A right end.

    Args:
        workload: Of what.
        stage: Where it was hit.
        by: What befell it.
        told: How it ended, for people.
    """

    workload: str
    stage: str
    by: str
    told: str


@dataclass
class Turns:
    """Turns of workloads, below one folder.

    Args:
        base: The folder.
        seed: Of all moments.
    """

    base: Path
    seed: int
    references: dict[str, Reference] = field(default_factory=dict)

    @property
    def shared(self) -> Path:
        return self.base / "shared"

    def place(self, workload: Workload, name: str) -> Path:
        """A new working folder, with what the workload reads."""
        folder = self.base / workload.name.replace(" ", "_") / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for place, text in workload.files.items():
            (folder / place).write_text(text)
        for place, source in workload.reads.items():
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).symlink_to(self._shared(source))
        return folder

    def _shared(self, source: str) -> Path:
        """What is made once, at the first call, unless an earlier soak has made it."""
        made = next(place for place in SHARED if source.startswith(place))
        done = self.shared / f".made.{made.replace('/', '.')}"
        if not done.exists():
            self.shared.mkdir(parents=True, exist_ok=True)
            run_to_end(SHARED[made], self.shared)
            done.touch()
        return self.shared / source

    def reference(self, workload: Workload) -> Reference:
        """The undisturbed run, made at the first call, unless an earlier soak has."""
        if workload.name not in self.references:
            folder = self.base / workload.name.replace(" ", "_") / "undisturbed"
            times = folder / ".times"
            if not times.exists():
                folder = self.place(workload, folder.name)
                times.write_text(json.dumps(undisturbed(workload, folder)))
            self.references[workload.name] = Reference(results_of(workload, folder), json.loads(times.read_text()))
        return self.references[workload.name]

    def turn(self, workload: Workload, number: int, hindrance: str | None = None) -> list[Ended]:
        """Disturb one workload, some times over, and let it come to its end.

        Args:
            workload: Which.
            number: Of the turn, by which all that is left to chance is drawn.
            hindrance: By what; None is by blows.
        """
        expected = self.reference(workload).results
        chance = random.Random(f"{self.seed} {number}")
        folder = self.place(workload, f"{number}")
        try:
            if hindrance is None:
                ended = self._blows(workload, folder, chance)
            else:
                told = HINDRANCES[hindrance](workload, folder, expected, chance)
                ended = [Ended(workload.name, "all", hindrance, told)]
        except WrongEnd as error:
            raise WrongEnd(
                f"{workload.name}: {error}\nkept: {folder}\nto repeat: --seed {self.seed} --first {number} --turns 1"
            ) from error
        shutil.rmtree(folder)
        return ended

    def _blows(self, workload: Workload, folder: Path, chance: random.Random) -> list[Ended]:
        expected = self.reference(workload).results
        again: list[str] = []
        ended: list[Ended] = []
        done = False
        for _ in range(chance.randint(2, MOST_BLOWS)):
            each = self._blow(workload, folder, again, chance)
            if each is not None:
                ended.append(each)
            done = each is None or (workload.once and is_done(workload, folder, expected))
            if done:
                break
            again = [RESUMED] if workload.resumes and chance.random() < 0.75 else []
        if not done:
            run_to_end(workload.words(*again), folder, forked=workload.processes == 1)
        try:
            check_results(workload, folder, expected)
        except WrongEnd as error:
            blows = "; ".join(f"{each.by} in {each.stage}, {each.told}" for each in ended)
            raise WrongEnd(f"after {blows}, again {again}: {error}") from error
        return ended

    def _blow(self, workload: Workload, folder: Path, again: list[str], chance: random.Random) -> Ended | None:
        """Start a workload, and hit it; None where it was over before."""
        blow = chance.choice([*BLOWS, ONE_KILLED] if workload.processes > 1 else BLOWS)
        stage, moment = self.reference(workload).moment(chance)
        starts = workload.processes > 1 or chance.random() < STARTED
        victim = Victim(workload.words(*again), folder, forked=not starts)
        wait_for(victim, folder, workload, stage, moment)
        if victim.over:
            check(victim.end(MINUTE) is not None and victim.status == 0, f"by itself: {victim.said()[-3000:]}")
            return None
        hit_in, before = stages_begun(folder, workload.stages, victim.since)[-1], len(victim.said())
        hit = victim.strike(blow, chance)
        goes_on = workload.survives and hit != "main"
        took = victim.end(PATIENCE if goes_on else MINUTE)
        said = victim.said()[before:]
        try:
            check(took is not None, f"after a minute some of it was still there; it had said {said!r}")
            if leaving(victim, blow, said) and is_done(workload, folder, self.reference(workload).results):
                return None
            check_blow(victim, blow, hit, goes_on, said)
            check_whole(folder)
            check_listed(folder)
        except WrongEnd as error:
            where = f"{stage} + {moment:.2f} s" + (", begun again" if again else "")
            raise WrongEnd(f"{blow.name} at {where} hit {hit} in {hit_in}: {error}") from error
        told = f"{hit}, status {victim.status} after {took:.1f} s" + (", resumed" if again else "")
        return Ended(workload.name, hit_in, blow.name, told)


def undisturbed(workload: Workload, folder: Path) -> dict[str, float]:
    """Run a workload to its end; returns when each stage began."""
    victim = Victim(workload.words(), folder, forked=workload.processes == 1)
    times: dict[str, float] = {}
    while not victim.over:
        for stage in stages_begun(folder, workload.stages, victim.since):
            times.setdefault(stage, victim.age)
        time.sleep(0.02)
    check(victim.status == 0, f"undisturbed: {victim.said()[-2000:]}")
    missed = set(workload.stages) - set(times)
    check(not missed, f"{workload.name}: no sign of {missed} in {folder}")
    return times | {"over": victim.age}


def wait_for(victim: Victim, folder: Path, workload: Workload, stage: str, delay: float) -> None:
    """Wait until a stage has begun, and so long beyond, but not into the next; or until the command is over."""
    while not (victim.entered or victim.over):
        time.sleep(0.005)
    later = list(workload.stages)[list(workload.stages).index(stage) + 1 :]
    until = float("inf")
    while not victim.over and time.monotonic() < until:
        begun = stages_begun(folder, workload.stages, victim.since)
        if stage in begun and until == float("inf"):
            until = time.monotonic() + delay
        if set(later) & set(begun):
            return
        time.sleep(0.005)


def leaving(victim: Victim, blow: Blow, said: str) -> bool:
    """Whether a command had ended, but for Python's own end, when it was hit."""
    return not blow.kills and not said and victim.status in (0, *(-each for each in blow.signals))
