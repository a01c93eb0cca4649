"""What a run leaves behind: its provenance, nothing in the folders it was given, and no folder where it failed."""

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from calcarine.commands.main import main as calcarine
from calcarine.models import Head
from calcarine.run.main import main
from trees import write_folder

QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.max_epochs=1",
]
FLAGS = ["--data.source.root=mine", "--data.encoder=PixelEncoder", *QUIET]


class BareHead(Head):
    """A user's head that forgets what its base takes."""

    def __init__(self, feature_shapes, num_targets):
        super().__init__()  # type: ignore[call-arg]

    def forward(self, features):
        return torch.zeros(1)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=40, n_targets=20)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, and the names of its folders."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def test_an_fsaverage_that_is_none_is_refused_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--report.fsaverage=mine"]) == 2
    said = capsys.readouterr().err
    assert "--report.fsaverage: expected FreeSurfer's subjects/fsaverage, found no mine/surf/lh.inflated" in said
    assert not Path("runs").exists()


def test_a_least_ceiling_in_per_cent_is_refused_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--report.min_ceiling=10"]) == 2
    said = capsys.readouterr().err
    assert "--report.min_ceiling 10: expected a noise ceiling as a share of variance, from 0 to 1" in said
    assert not Path("runs").exists()


def test_a_config_that_travels_with_the_package_needs_no_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):  # the parser's own way to end
        main(["--config=configs/v4_ridge.yaml", *FLAGS, "--print_config"])
    assert "RidgeModule" in capsys.readouterr().out
    assert main(["--config", "configs/v4_rigde.yaml"]) == 2
    assert "did you mean configs/v4_ridge.yaml?" in capsys.readouterr().err


def test_a_run_says_what_made_it_and_writes_nothing_into_its_input(capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(Path("mine"))
    assert calcarine(["encode", *FLAGS]) == 0
    assert main([*FLAGS, "--name=first", "--seed_everything=3"]) == 0
    assert capsys.readouterr().out.strip().endswith("; Folder mine, PixelEncoder, EncodingModule (LinearHead)")
    assert contents(Path("mine")) == before
    folder = Path("runs/first/version_0")
    made = json.loads((folder / "run.json").read_text())
    assert made["command"].endswith("--name=first --seed_everything=3")
    assert made["calcarine"] == version("calcarine")
    assert made["commit"] is None or len(made["commit"].rstrip("+")) == 40
    assert made["packages"]["torch"] == version("torch")
    assert (made["seed"], made["data"]) == (3, "Folder mine, PixelEncoder")
    assert made["wall_time_s"] > 0
    assert made["result"]["split"] == "test"
    assert calcarine(["runs", "--sort", "correlation"]) == 0
    line = f"first/version_0 .* Folder mine, PixelEncoder +EncodingModule .* test +{made['result']['correlation']:.3f} "
    assert re.search(line, capsys.readouterr().out)
    assert made["device"].startswith("cpu")
    report = (folder / "report.html").read_text()
    assert made["images"] == "the whole image squeezed to a square"
    for each in ("Folder mine, PixelEncoder", "Data fingerprint", "Wall time", made["date"], made["images"], "numpy 2"):
        assert each in report

    flags = ["--name=first", "--seed_everything=3", "--trainer.max_epochs=2", "--ckpt_path=last"]
    assert main([*FLAGS, *flags]) == 0
    again = json.loads((folder / "run.json").read_text())
    assert again["before"] == made
    assert again["data_fingerprint"] == made["data_fingerprint"]

    # Its linear head cannot go on as another.
    capsys.readouterr()
    assert main([*FLAGS, *flags, "--model.head=MlpHead"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(
        "error: --ckpt_path runs/first/version_0/checkpoints/last.ckpt: expected this model's weights"
    )
    assert (folder / "scores.csv").exists()

    # A mistyped name is no new run.
    assert main([*FLAGS, "--name=frist", "--ckpt_path=last"]) == 2
    assert "no run is called frist; did you mean first?" in capsys.readouterr().err
    assert [path.name for path in Path("runs").iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (["--trainer.logger=WandbLogger"], "error: WandbLogger: "),
        (["--model.head=test_traces.BareHead"], "error: BareHead: Head.__init__() missing 2 required positional"),
        (["--data.source=Folder", "--data.source.root=mine", "--data.test=0.99"], "error: "),
        (["--data.image_size=0"], "error: --data.image_size 0"),
        (["--trainer.gradient_clip_val=1", "--model=RidgeModule"], "error: "),
    ],
)
def test_a_run_that_fails_is_one_line_and_leaves_no_folder(
    flags: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FLAGS, *flags]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(answer)
    assert not list(Path().glob("runs/*/*"))


def test_a_run_that_is_interrupted_before_its_first_checkpoint_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("calcarine.models.EncodingModule.training_step", interrupted)
    assert main(FLAGS) == 130
    assert not list(Path().glob("runs/*/*"))
