"""What a run of the Algonauts 2021 format leaves for the challenge, or says of it."""

import logging
from pathlib import Path

import pytest
from calcarine.run.main import main
from trees import write_algonauts2021

FLAGS = [
    "--data.source=Algonauts2021",
    "--data.source.root=data",
    "--data.source.frames=2",
    "--data.encoder=PixelEncoder",
    "--data.encoder.size=4",
    "--model=RidgeModule",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--name=run",
]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            [],
            "no mini_track.zip: it takes the same ROIs of every subject, and all have [V1,V2]; set --data.source.rois",
        ),
        (["--data.source.rois=[V1,V2]"], "mini_track.zip: predictions of the withheld videos of sub01, sub02"),
        (
            ["--data.source.track=full"],
            "no full_track.zip: it takes WB alone, found V1, WB; set --data.source.rois [WB]",
        ),
        (["--data.source.track=full", "--data.source.rois=[WB]"], "full_track.zip: predictions of the withheld videos"),
    ],
)
@pytest.mark.slow
def test_rois_that_make_no_submission_end_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, flags: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mini = write_algonauts2021(tmp_path / "data", n_train=20, subjects=2)
    (mini / "sub02/EBA.pkl").unlink()
    for subject in ("sub01", "sub02"):
        extra = mini.parent / "full_track" / subject / "V1.pkl"
        extra.write_bytes((mini / subject / "V1.pkl").read_bytes())
    with caplog.at_level(logging.INFO):
        assert main([*FLAGS, "--data.source.subject=[1,2]", *flags]) == 0
    assert said in caplog.text
    assert len(list(Path("runs/run/version_0").glob("*_track.zip"))) == (0 if said.startswith("no ") else 1)
