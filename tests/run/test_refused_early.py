"""What cannot work is refused before the first image is read: embedding may take hours."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from calcarine.data import PrincipalComponents
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import (
    CategoryObjective,
    ElasticNetModule,
    EncodingModule,
    NoiseCeilingWeightedMse,
    OneCycle,
    RecurrentHead,
    RidgeModule,
    SimilarityModule,
    VertexDecoder,
)
from calcarine.recording import Recording, Responses
from calcarine.run.main import main
from lightning.pytorch import LightningModule, Trainer
from planted import Identity, Planted
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau
from trees import write_folder


class Unread:
    """Stimuli that nobody may look at."""

    frames = None

    def __init__(self, count: int) -> None:
        self.names = [str(index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> np.ndarray:
        raise AssertionError("an image was read")

    def digests(self, memo: Path | None = None) -> list[str]:
        return self.names


class Shown(Planted):
    """Planted responses, some of them NaN, to stimuli that nobody may look at."""

    def __init__(self, gap: bool = False, left_only: bool = False) -> None:
        super().__init__(stimuli=40, targets=range(16) if left_only else None)
        self.gap = gap

    def _read(self, subject: int) -> Recording:
        recording = super()._read(subject)
        array = np.array(recording.responses.parts[0].array)
        if self.gap:
            array[:, 0] = np.nan
        responses = Responses.of(array)
        return dataclasses.replace(recording, stimuli=Unread(self.stimuli), responses=responses)


class Normed(Identity):
    """A backbone with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(48)


Make = Callable[[int, dict[str, tuple[int, ...]] | None], LightningModule]

CASES: dict[str, tuple[Make, dict[str, object], Shown, str]] = {
    "components": (RidgeModule, {"reduction": PrincipalComponents(40)}, Shown(), "has 28 training stimuli, which span"),
    "folds": (lambda n, shapes: RidgeModule(n, shapes, folds=30), {}, Shown(), "expected 2 to 28"),
    "NaN": (RidgeModule, {}, Shown(gap=True), "expected a measured response of every target .*, found 32"),
    "NaN, similarity": (SimilarityModule, {}, Shown(gap=True), "SimilarityModule: .* found 32 that are NaN; train"),
    "NaN, elastic net": (ElasticNetModule, {}, Shown(gap=True), "found 32 that are NaN"),
    "places": (lambda n, shapes: EncodingModule(n, shapes, VertexDecoder), {}, Shown(), "found none for 40 of 40"),
    "frames": (
        lambda n, shapes: EncodingModule(n, {"a": (3, 16)}, RecurrentHead), {}, Shown(), "features of each frame of a"
    ),
    "ceilings": (
        lambda n, shapes: EncodingModule(n, shapes, loss=NoiseCeilingWeightedMse()), {}, Shown(), "found none above 0"
    ),
    "categories": (
        lambda n, shapes: EncodingModule(n, shapes, categories=CategoryObjective()), {}, Shown(), "with categories"
    ),
    "hemispheres": (
        lambda n, shapes: EncodingModule(n, shapes, VertexDecoder, hemisphere_networks=True),
        {}, Shown(left_only=True), "found 16 left, 0 right",
    ),
    "batch norm": (
        lambda n, shapes: EncodingModule(n, None, backbone=Normed()),
        {"encoder": None, "batch_size": 1}, Shown(), "found a batch of 1",
    ),
    "rate": (
        lambda n, shapes: EncodingModule(n, shapes, optimizer=partial(SGD, lr=-1.0)), {}, Shown(), "--model.optimizer: "
    ),
    "momentum": (
        lambda n, shapes: EncodingModule(n, shapes, optimizer=partial(SGD, lr=0.1, nesterov=True)),
        {}, Shown(), "--model.optimizer: Nesterov",
    ),
    "cycle": (
        lambda n, shapes: EncodingModule(n, shapes, scheduler=partial(OneCycle, warm_up=2)),
        {}, Shown(), "--model.scheduler.warm_up 2: expected a share",
    ),
    "plateau": (
        lambda n, shapes: EncodingModule(n, shapes, scheduler=partial(ReduceLROnPlateau, factor=2.0)),
        {}, Shown(), "--model.scheduler: Factor",
    ),
    "shares": (RidgeModule, {"validation": 0, "test": 0}, Shown(), "expected something held out"),
    "an empty test split": (RidgeModule, {"test": 0.01}, Shown(), "is left for the test split"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_image_is_read_before_it_is_refused(case: str, tmp_path: Path) -> None:
    make, flags, source, refusal = CASES[case]
    settings: dict[str, object] = {"source": source, "encoder": Identity(), "cache_dir": tmp_path, **flags}
    data = EncodingDataModule(**settings)  # type: ignore[arg-type]
    model = make(data.num_targets, data.feature_shapes)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", max_epochs=1)
    with pytest.raises(InputError, match=refusal):
        trainer.fit(model, data)


def test_a_schedule_may_have_a_setting_for_each_group_of_weights(tmp_path: Path) -> None:
    schedule = partial(ReduceLROnPlateau, min_lr=[1e-6, 1e-7])  # of the head and of the backbone
    data = EncodingDataModule(Shown(), None, cache_dir=tmp_path)
    model = EncodingModule(data.num_targets, None, backbone=Normed(), scheduler=schedule)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", max_epochs=1)
    with pytest.raises(AssertionError, match="an image was read"):
        trainer.fit(model, data)


def test_the_same_data_are_read_where_nothing_is_wrong(tmp_path: Path) -> None:
    data = EncodingDataModule(Shown(), Identity(), cache_dir=tmp_path)
    with pytest.raises(AssertionError, match="an image was read"):
        data.setup()


def test_shares_that_leave_nothing_are_refused_by_the_flags_alone() -> None:
    with pytest.raises(InputError, match=r"--data\.validation 0\.5 and --data\.test 0\.6: expected shares"):
        EncodingDataModule(Shown(), validation=0.5, test=0.6)


def test_too_many_components_are_refused_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(Path("mine"), 20)
    monkeypatch.setattr("calcarine.data.stimuli.decode", lambda path: pytest.fail(f"{path} was read"))
    flags = ["--data.source=Folder", "--data.source.root=mine", "--data.encoder=PixelEncoder", "--model=RidgeModule"]
    reduction = ["--data.reduction=PrincipalComponents", "--data.reduction.components=100"]
    assert main([*flags, *reduction, "--trainer.accelerator=cpu", "--name=run"]) == 2
    assert "--data.reduction.components 100: layer pixels has 14 training stimuli" in capsys.readouterr().err
