"""The `calcarine` command."""

import subprocess
import sys

import numpy as np
import pytest
from calcarine.commands.main import main
from trees import write_folder


def test_help_needs_neither_torch_nor_lightning():
    code = (
        "import sys; sys.argv = ['calcarine', '--help']\n"
        "from calcarine.commands.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]")
    for command in ("layers", "encode", "simulate"):
        assert command in done.stdout


@pytest.mark.parametrize("arguments", [["simulat"], [], ["simulate"], ["simulate", "out", "--format", "bids"]])
def test_wrong_arguments_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_simulate_writes_a_folder_that_the_source_reads(tmp_path):
    from calcarine.data import Folder

    out = tmp_path / "out"
    assert main(["simulate", str(out), "--format", "folder", "--images", "20", "--targets", "40"]) == 0
    (recording,) = Folder(out).read()
    assert recording.responses.shape == (24, 40)
    assert main(["simulate", str(out)]) == 2


@pytest.mark.parametrize(("subjects", "flag"), [(["--subjects", "2"], True), ([], False)])
def test_simulate_says_how_to_train_on_one_subject_of_several(tmp_path, monkeypatch, capsys, subjects, flag):
    monkeypatch.setattr("calcarine.data.simulation.write.simulate", lambda **_: None)
    assert main(["simulate", str(tmp_path / "out"), "--format", "betas", *subjects]) == 0
    assert ("--data.source.subject 1" in capsys.readouterr().out) == flag


def test_encode_fills_the_cache_ahead_of_training(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=40)
    flags = ["--data.source=Folder", "--data.source.root=mine", "--data.encoder=PixelEncoder"]
    assert main(["encode", *flags]) == 0
    (features,) = (tmp_path / "cache/embeddings").glob("*/features.npy")
    assert len(np.load(features)) == 40
    assert not (tmp_path / "runs").exists()


def test_layers_lists_names_and_shapes(capsys):
    assert main(["layers", "torchvision:alexnet"]) == 0
    assert any(line.split()[:2] == ["features.2", "27"] for line in capsys.readouterr().out.splitlines())
    assert main(["layers", "torchvision:alexnett"]) == 2
    assert "did you mean 'alexnet'" in capsys.readouterr().err
