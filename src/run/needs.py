"""What a run will need of memory and of the disk: told in a line before it begins, refused where it cannot be had."""

import logging
from dataclasses import dataclass
from pathlib import Path

from ..data.demand import DataDemand
from ..errors import FullDisk, InputError
from ..models.demand import ModelDemand
from ..space import Memory, as_bytes, disk_of, free_disk, memory, resident

FEWER = "take fewer features (--data.reduction PrincipalComponents, pooled layers), or a subject or hemisphere a run"
AFTERWARDS = 300_000_000
"""Bytes that evaluation takes whatever the data are: libraries that draw, float64 copies of some targets at a time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Room:
    """Bytes that there are.

    Args:
        memory: The machine's, as far as this process may take it; None where the system does not say.
        gpu: Of one GPU; None where there is none.
        for_cache: Free on the disk of the embedding cache.
        for_runs: Likewise, of the runs.
        one_disk: Whether these are the same.
    """

    memory: Memory | None
    gpu: int | None
    for_cache: int
    for_runs: int
    one_disk: bool

    @classmethod
    def here(cls, cache: Path, runs: Path, gpu: int | None = None) -> "Room":
        """What there is now, for folders that may not be there yet."""
        return cls(memory(), gpu, free_disk(cache), free_disk(runs), disk_of(cache) == disk_of(runs))

    @property
    def limit(self) -> int | None:
        """Most memory that all processes of a machine may take together."""
        return None if self.memory is None else self.memory.limit


@dataclass(frozen=True)
class Needs:
    """Bytes that each of a run's processes needs, at the most.

    Args:
        memory: Of the machine's, with what the process holds already.
        files: Read through memory maps beside it: faster where there is memory for it too.
        held: Of the memory, what is certain: weights, gradients, the optimiser's state, best rows.
        gpu: Of a GPU's memory, but for activations; None where there is none.
        cache: Of the disk, for the embedding cache.
        run: Of the disk, for the run's folder.
        processes: On one machine.
        held_gpu: Of a GPU's memory, what is certain.
        replaced: Of the disk, a checkpoint that stands there until the next one is whole.
    """

    memory: int
    files: int
    held: int
    gpu: int | None
    cache: int
    run: int
    processes: int = 1
    held_gpu: int = 0
    replaced: int = 0

    def told(self, room: Room) -> str:
        """All of it in a line, beside what there is."""
        times = "" if self.processes == 1 else f"{self.processes} × "
        there = "" if room.memory is None else f" ({as_bytes(room.memory.available)} available)"
        parts = [f"memory {times}{as_bytes(self.memory)}, and {as_bytes(self.files)} of mapped files{there}"]
        if self.gpu is not None:
            there = "" if room.gpu is None else f" ({as_bytes(room.gpu)})"
            parts.append(f"GPU {as_bytes(self.gpu)} and activations{there}")
        disks = [("the cache", self.cache, room.for_cache), ("the run", self.run, room.for_runs)]
        disks = [(f"{as_bytes(size)} for {what}", free) for what, size, free in disks if size]
        if room.one_disk and disks:
            disks = [(", ".join(each for each, _ in disks), room.for_runs)]
        parts += [f"disk {each} ({as_bytes(free)} free)" for each, free in disks]
        return f"needs: {'; '.join(parts)}"


def needs_of(
    data: DataDemand,
    model: ModelDemand | None,
    now: int,
    *,
    on_gpu: bool = False,
    averages: bool = False,
    checkpoints: bool = True,
    processes: int = 1,
) -> Needs:
    """What a run needs.

    Args:
        data: What serving its data takes.
        model: What training takes; None where features are extracted alone.
        now: Bytes that the process holds already, the weights that are made among them.
        on_gpu: Whether it is trained on a GPU.
        averages: Whether a moving average of the weights is kept.
        checkpoints: Whether it writes any.
        processes: On one machine.
    """
    extraction = now + max(data.extraction, data.components)
    cache = sum(data.cache.values())
    if model is None:
        return Needs(extraction, data.mapped, 0, None, cache, 0, processes)
    average = model.gradients if averages else 0
    last = (model.last + average) if checkpoints else 0
    host = data.reduced + model.weights - model.made + model.kept
    training = data.batches + max(last, 0 if on_gpu else model.gathered)
    own = model.weights + model.gradients + model.optimizer + model.stored + average
    if not on_gpu:
        host += own - model.weights
        training += model.step
    return Needs(
        memory=max(extraction, now + host + training, now + host + data.evaluation + AFTERWARDS),
        files=data.mapped,
        held=model.kept + (model.weights if on_gpu else own),
        gpu=own + model.step + model.gathered + data.batches // 2 if on_gpu else None,
        cache=cache,
        run=max(data.predictions, model.members) + (model.best + last if checkpoints else 0),
        replaced=last,
        processes=processes,
        held_gpu=own if on_gpu else 0,
    )


def check_needs(needs: Needs, room: Room, runs: Path) -> None:
    """Refuse what is certain not to fit, and warn of what may not.

    Args:
        needs: Of a run.
        room: What there is.
        runs: Folder of all runs.

    Raises:
        InputError: Weights alone do not fit, or the disk cannot hold what is written.
    """
    held, written = needs.held * needs.processes, max(needs.run, 2 * needs.replaced)
    written += needs.cache if room.one_disk else 0
    for what, needed, there in (("memory", held, room.limit), ("GPU memory", needs.held_gpu, room.gpu)):
        if there is not None and needed > there:
            raise InputError(
                f"--model: expected {as_bytes(needed)} of {what} for weights, gradients and the optimizer's state, "
                f"found {as_bytes(there)}; {FEWER}"
            )
    if written > room.for_runs:
        raise FullDisk(
            f"--runs {runs}: expected {as_bytes(written)} of space for checkpoints and predictions, found "
            f"{as_bytes(room.for_runs)}; make room, or keep runs on another disk"
        )
    if room.memory is not None and needs.memory * needs.processes > room.memory.available:
        log.warning("that is more memory than is available, and who passes it may be killed without a word; %s", FEWER)


def tell_predictions(out: Path, size: int, in_memory: bool) -> None:
    """Say what a trained model's predictions need, before the first image is read.

    Args:
        out: Folder that they are written into.
        size: Their bytes.
        in_memory: Whether they are held, and scored beside what was measured.

    Raises:
        InputError: The disk cannot hold them.
    """
    free, room = free_disk(out), memory()
    if size > free:
        raise InputError(
            f"--out {out}: expected {as_bytes(size)} of space for predictions, found {as_bytes(free)}; make room, or "
            "write to another disk"
        )
    held = resident() + (3 * size + AFTERWARDS if in_memory else 0)
    there = "" if room is None else f" ({as_bytes(room.available)} available)"
    log.info(
        "needs: memory %s%s; disk %s for predictions (%s free)", as_bytes(held), there, as_bytes(size), as_bytes(free)
    )
