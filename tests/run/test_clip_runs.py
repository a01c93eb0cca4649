"""Clips through the command line: to a backbone that is trained on frames, and every fault in one line."""

import csv
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calcarine.errors import InputError
from calcarine.models import EncodingModule
from calcarine.names import TEST
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from calcarine.run.predictions import by_recording
from calcarine.run.training import train
from trees import write_algonauts2021, write_clip

VIDEOS = Path("data/AlgonautsVideos268_All_30fpsmax")
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SOURCE = ["--data.source=Algonauts2021", "--data.source.root=data", "--name=run", *QUIET]


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mini track's folder, below the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_algonauts2021(Path("data"), n_train=20)


@pytest.mark.usefixtures("mini")
@pytest.mark.slow
def test_a_backbone_is_trained_on_the_frames_of_clips(capsys: pytest.CaptureFixture[str]) -> None:
    network = ["model=resnet18", "weights=random", "image_size=32"]
    backbone = ["--model.backbone=TorchvisionEncoder", *(f"--model.backbone.{setting}" for setting in network)]
    flags = ["--data.source.frames=3", "--data.image_size=32", "--data.batch_size=5", "--trainer.max_epochs=2"]
    assert main([*SOURCE, *flags, "--model=EncodingModule", *backbone, "--data.encoder=null"]) == 0
    run = Path("runs/run/version_0")
    with (run / "scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert [row["roi"] for row in rows] == ["EBA", "V1", "V2", "all"]
    assert np.isfinite(np.load(run / "predictions/withheld.npy")).all()
    assert (run / "mini_track.zip").is_file()
    *rois, whole = (float(row["score"]) for row in rows)
    assert whole == pytest.approx(np.mean(rois), rel=1e-12)
    assert f"Algonauts 2021 mini-track score {whole:.3f}" in capsys.readouterr().out
    images = [np.load(path, mmap_mode="r") for path in Path("cache/embeddings").glob("*/features.npy")]
    assert [(image.shape, image.dtype) for image in images] == [((23, 3, 3, 32, 32), np.uint8)]


@pytest.mark.usefixtures("mini")
@pytest.mark.parametrize("by_frame", [False, True])
def test_a_checkpoint_predicts_clips_as_the_run_did(by_frame: bool) -> None:
    frames = ["--data.source.frames=3", "--data.encoder=PixelEncoder", "--data.encoder.size=4", "--data.batch_size=5"]
    served = ["--data.average_frames=false", "--model.head=FramewiseHead"] if by_frame else ["--model=RidgeModule"]
    cli = build_cli([*SOURCE, *frames, "--trainer.max_epochs=1", *served])
    folder = train(cli, keep=True)
    assert folder is not None
    model = EncodingModule.load_from_checkpoint(folder / "checkpoints" / "best.ckpt")
    ((recording, stimuli, expected),) = by_recording(cli.datamodule, TEST, folder / "predictions")
    clips = np.stack([recording.stimuli.read(index) for index in stimuli])
    np.testing.assert_allclose(model.predict(clips).numpy(), expected, rtol=1e-4, atol=1e-4)
    if by_frame:
        for wrong, found in ((clips[:, :2], "clips of 2"), (clips[:, 0], "images")):
            with pytest.raises(InputError, match=f"expected clips of 3 frames as in training, found {found}"):
                model.predict(wrong)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a malicious pickle": (
        lambda mini: (mini / "sub01/V1.pkl").write_bytes(pickle.dumps({"train": Malicious()})),
        "sub01/V1.pkl: ",
    ),
    "ROIs of different stimulus counts": (
        lambda mini: (mini / "sub01/V1.pkl").write_bytes(pickle.dumps({"train": np.ones((19, 3, 2))})),
        "sub01/V1.pkl: expected responses to 20 videos as in EBA.pkl, found 19",
    ),
    "a truncated video": (
        lambda mini: truncate(VIDEOS / "0007_clip.mp4"),
        "0007_clip.mp4: expected a complete video",
    ),
    "a clip with fewer frames than asked": (
        lambda mini: write_clip(VIDEOS / "0007_clip.mp4", frames=2, shift=100),
        "0007_clip.mp4: expected at least 3 frames, found 2; set --data.source.frames 2 or less",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("encoder", ["PixelEncoder", "null"])
def test_a_fault_is_one_line(mini: Path, fault: str, encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, said = FAULTS[fault]
    spoil(mini)
    own = ["--model.backbone=PixelEncoder"] if encoder == "null" else []
    assert main([*SOURCE, "--data.source.frames=3", f"--data.encoder={encoder}", "--model=EncodingModule", *own]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "expected" in line]
    assert said in line
    assert not Path("ran").exists()
    assert not Path("runs/run/version_0").exists()


@pytest.mark.parametrize("average_frames", ["true", "null"])
@pytest.mark.parametrize("head", ["RecurrentHead", "FramewiseHead"])
@pytest.mark.usefixtures("mini")
def test_a_head_over_frames_asks_for_them(head: str, average_frames: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both where features are averaged and where they are those of a backbone."""
    served = ["--data.encoder=PixelEncoder"]
    if average_frames == "null":
        served = ["--data.encoder=null", "--model.backbone=PixelEncoder"]
    assert main([*SOURCE, "--data.source.frames=3", "--model=EncodingModule", f"--model.head={head}", *served]) == 2
    assert "give it clips, --data.encoder and --data.average_frames false" in capsys.readouterr().err
