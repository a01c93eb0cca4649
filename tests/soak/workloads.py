"""What is disturbed: each command of calcarine on a workload of seconds, its stages, and what it must come to."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TRAIN, TUNE = "train", "tune"
START = "start"
"""The stage before the first sign."""
RESUMED = "--ckpt_path=last"

_RUN = (
    "--data.source=Simulated",
    "--data.source.images=240",
    "--data.source.test_images=60",
    "--data.source.targets=300",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)
_TRAINED = ("--trainer.max_epochs=12", "--early_stopping.patience=12", "--checkpoint.every_n_seconds=0")
_EXTRACTED = ("--data.encode_batch_size=16",)
FINISHED, SECOND = "runs/finished", "runs/second"
SHARED = {
    FINISHED: ["train", *_RUN, "--model=RidgeModule", "--name=finished"],
    SECOND: ["train", *_RUN, "--data.encoder=PixelEncoder", "--model=RidgeModule", "--name=second"],
    "nsd": ["simulate", "nsd", "--format=nsd", "--images=160", "--targets=2000"],
    "folder": ["simulate", "folder", "--format=folder", "--images=120", "--targets=20"],
}
"""What is made once for the workloads that read it, by place, and how."""
_MODEL = f"{FINISHED}/version_0"
_AFTER_TRAINING = {FINISHED: FINISHED, SECOND: SECOND, "images": "folder/images"}
_SPACE = "model.optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-3, log: true}\n"


@dataclass(frozen=True)
class Workload:
    """One command.

    Args:
        name: Of the workload.
        command: Its first word.
        flags: The others.
        stages: By name, the sign that one has begun: a glob below the working folder. In order of their beginning.
        results: Files that must be those of an undisturbed run, as globs below the working folder; of several runs of
            a name the last is looked at.
        reads: Places in the working folder that are links to what is made once for all, see SHARED.
        files: Text of files that lie there.
        resumes: Whether the command may be given again with `--ckpt_path last`.
        processes: How many processes of equal rank it has; one that is lost ends all, or its work is taken over.
        survives: Whether it comes to its end though one of its processes is killed.
        once: Whether it refuses to write again what is there.
        read: Content of a result, as it is compared.
    """

    name: str
    command: str
    flags: Sequence[str]
    stages: dict[str, str]
    results: Sequence[str]
    reads: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    resumes: bool = False
    processes: int = 1
    survives: bool = False
    once: bool = False
    read: Callable[[Path], bytes] = field(default=Path.read_bytes)

    def words(self, *more: str) -> list[str]:
        """What follows `calcarine`."""
        return [self.command, *self.flags, *more]


def _of_run(name: str, *before: tuple[str, str]) -> dict[str, str]:
    run = f"runs/{name}/version_*"
    return {
        START: "",
        **dict(before),
        "training": f"{run}/config.yaml",
        "after a checkpoint": f"{run}/checkpoints/last.ckpt",
        "prediction": f"{run}/checkpoints/best.ckpt",
        "evaluation": f"{run}/predictions/test.npy",
        "figures": f"{run}/figures",
        "end": f"{run}/report.html",
    }


def _results(name: str) -> list[str]:
    run = f"runs/{name}/version_*"
    return [
        f"{run}/scores.csv",
        f"{run}/targets.csv",
        f"{run}/predictions/test.npy",
        f"{run}/predictions/validation.npy",
    ]


def _trials(path: Path) -> bytes:
    """Finished trials but for their numbers, in any order: a lost one has come back under another number."""
    with path.open(newline="") as file:
        rows = [{name: value for name, value in row.items() if name != "number"} for row in csv.DictReader(file)]
    return "\n".join(sorted(map(str, rows))).encode()


def _study_file(path: Path) -> bytes:
    return _trials(path) if path.name == "trials.csv" else path.read_bytes()


def _study(name: str, *flags: str, workers: bool = False) -> Workload:
    return Workload(
        name=name,
        command=TUNE,
        flags=(
            *_RUN,
            "--search=space.yaml",
            "--trials=4",
            "--sampler=random",
            "--pruner=none",
            f"--study={name}",
            "--trainer.max_epochs=8",
            *flags,
        ),
        stages={
            START: "",
            "extraction": "cache/embeddings",
            "trials": f"runs/{name}/trials/version_0",
            "second trial": f"runs/{name}/trials/version_1",
            "third trial": f"runs/{name}/trials/version_2",
            "run of the best": f"runs/{name}/best/version_0",
            "report": f"runs/{name}/best/version_0/report.html",
        },
        results=[f"runs/{name}/trials.csv", f"runs/{name}/best/version_*/scores.csv"],
        files={"space.yaml": _SPACE},
        processes=3 if workers else 1,
        survives=workers,
        read=_study_file,
    )


SIMULATED = ("simulation", "cache/simulated")
EXTRACTION = ("extraction", "cache/embeddings")

WORKLOADS = [
    Workload(
        "linear", TRAIN, (*_RUN, *_TRAINED, *_EXTRACTED, "--name=linear"),
        _of_run("linear", SIMULATED, EXTRACTION), _results("linear"), resumes=True,
    ),
    Workload(
        "ridge", TRAIN, (*_RUN, "--model=RidgeModule", "--name=ridge"),
        _of_run("ridge", SIMULATED, EXTRACTION), _results("ridge"), resumes=True,
    ),
    Workload(
        "fine-tuned", TRAIN,
        (*_RUN, "--data.encoder=null", "--data.image_size=64", "--model.backbone=TimmEncoder",
         "--model.backbone.model=test_resnet", "--model.backbone.weights=random", "--data.batch_size=32",
         "--model.finetuning=Full", "--trainer.max_epochs=4", "--checkpoint.every_n_seconds=0", "--name=finetuned"),
        _of_run("finetuned", ("decoding", "cache/embeddings")), _results("finetuned"), resumes=True,
    ),
    Workload(
        "nsd", TRAIN,
        (*_RUN[4:], "--data.source=NSD", "--data.source.root=nsd", "--data.source.subject=1",
         "--data.encoder=PixelEncoder", "--model=RidgeModule", "--name=nsd"),
        _of_run("nsd", ("preparation", "cache/trials"), EXTRACTION), _results("nsd"),
        reads={"nsd": "nsd"}, resumes=True,
    ),
    Workload(
        "controls", TRAIN,
        (*_RUN, "--model=RidgeModule", "--controls=true", "--name=controls"),
        {
            START: "",
            "evaluation": "runs/controls/version_*/predictions/test.npy",
            "first control": "runs/controls/version_*/controls/shuffled",
            "second control": "runs/controls/version_*/controls/pixels",
            "evaluation beside controls": "runs/controls/version_*/controls/pixels/scores.csv",
        },
        [*_results("controls"), "runs/controls/version_*/controls/*/scores.csv"],
        resumes=True,
    ),
    Workload(
        "learning curve", TRAIN,
        (*_RUN, "--model=RidgeModule", "--learning_curve=[20,40]", "--name=curve"),
        {
            START: "",
            "evaluation": "runs/curve/version_*/predictions/test.npy",
            "first point": "runs/curve/version_*/learning_curve/20",
            "second point": "runs/curve/version_*/learning_curve/40",
            "evaluation of the curve": "runs/curve/version_*/learning_curve/40/scores.csv",
        },
        [*_results("curve"), "runs/curve/version_*/learning_curve.csv"],
        resumes=True,
    ),
    _study("study"),
    _study("crew", "--workers=2", "--storage=journal:///crew.journal", workers=True),
    Workload(
        "two ranks", TRAIN,
        (*_RUN, *_TRAINED, *_EXTRACTED, "--name=ranks", "--trainer.devices=2", "--trainer.strategy=ddp"),
        _of_run("ranks", SIMULATED, EXTRACTION), _results("ranks"), resumes=True, processes=2,
    ),
    Workload(
        "encode", "encode", (*_RUN, *_EXTRACTED),
        {START: "", "simulation": "cache/simulated", "extraction": "cache/embeddings"},
        ["cache/embeddings/*/features.npy"],
    ),
    Workload(
        "evaluate", "evaluate",
        (_MODEL, "--data.source=Simulated", "--data.source.images=40", "--data.source.test_images=80",
         "--data.source.targets=300", "--data.source.seed=0", "--out=evaluated"),
        {START: "", "simulation": "cache/simulated", "evaluation": ".evaluated.*"},
        ["evaluated/scores.csv", "evaluated/targets.csv", "evaluated/predictions/*.npy"],
        reads=_AFTER_TRAINING, once=True,
    ),
    Workload(
        "predict", "predict", (_MODEL, "--images=images", "--out=predicted"),
        {START: "", "prediction": ".predicted.*"}, ["predicted/*.npy", "predicted/*.csv"],
        reads=_AFTER_TRAINING, once=True,
    ),
    Workload(
        "export", "export", (_MODEL, "--out=exported"),
        {START: "", "writing": ".exported.*"}, ["exported/model.json", "exported/model.safetensors"],
        reads=_AFTER_TRAINING, once=True,
    ),
    Workload(
        "ensemble", "ensemble", (_MODEL, f"{SECOND}/version_0", "--stack", "--name=both"),
        {START: "", "writing": "runs/both/version_0", "evaluation": "runs/both/version_0/config.yaml",
         "figures": "runs/both/version_0/figures", "end": "runs/both/version_0/report.html"},
        _results("both"), reads=_AFTER_TRAINING,
    ),
]  # fmt: skip
