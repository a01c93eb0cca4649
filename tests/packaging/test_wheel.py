"""The wheel, installed in an environment of its own and used beside a project that has a `src` and `configs` too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which builds the wheel"),
    pytest.mark.xdist_group("wheel"),  # one environment for all
]

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "src", "configs")
SMALL = [
    "--data.source=Folder",
    "--data.source.root=data",
    "--data.encoder=PixelEncoder",
    "--data.encoder.size=8",
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
NOTEBOOK = """
import calcarine as cc
run = cc.train(source=cc.Folder("data"), encoder=cc.PixelEncoder(size=8), model="ridge", name="notebook")
assert set(run.scores.split) == {"validation", "test"}
print(run.scores.pearson_mean.notna().all(), cc.__file__)
"""


def call(*command: str | Path, **options) -> str:
    done = subprocess.run([str(each) for each in command], text=True, capture_output=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files(folder: Path) -> set[Path]:
    kept = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder) for path in kept if ".egg-info" not in str(path)}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment with the wheel in it, and with what this one has for what the wheel needs."""
    place = tmp_path_factory.mktemp("wheel")
    sources = place / "sources"  # a copy, or what an earlier build has left behind would be packaged again
    sources.mkdir()
    for name in PACKAGED:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, sources / name)
    call("uv", "build", "--wheel", "--out-dir", place, sources)
    (wheel,) = place.glob("calcarine-*.whl")
    versions = call("uv", "pip", "freeze", "--exclude-editable", "--python", sys.executable)
    (place / "versions.txt").write_text(versions)
    call("uv", "venv", "--python", sys.executable, place / "venv")
    python = place / "venv/bin/python"
    call("uv", "pip", "install", "--python", python, "--constraints", place / "versions.txt", wheel, cwd=place)
    return place / "venv"


@pytest.fixture(scope="module")
def project(environment, tmp_path_factory):
    """A folder with data and a run on them, and with a package and configs of its own that have our folders' names."""
    project = tmp_path_factory.mktemp("project")
    for name in ("src", "configs"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("raise RuntimeError('this is the project, not calcarine')\n")
    (project / "configs/default.yaml").write_text("not: ours\n")
    calcarine = environment / "bin/calcarine"
    call(calcarine, "simulate", "data", "--format=folder", "--images=60", "--targets=120", cwd=project)
    hidden = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    said = call(calcarine, "train", *SMALL, "--name=first", cwd=project, env=hidden)
    assert said.strip().splitlines()[-1].startswith("runs/first/version_0: test correlation ")
    return project


@pytest.fixture
def typed(environment, project):
    """Run a command as typed in the project's folder; returns what it printed."""
    paths = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    hidden = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return lambda *command: call(*command, cwd=project, env={**hidden, "PATH": paths})


def test_it_holds_one_package_with_its_configs(environment):
    (packages,) = (environment / "lib").glob("python*/site-packages")
    assert not [path.name for path in packages.iterdir() if path.name in ("src", "configs", "tests")]
    (own,) = packages.glob("calcarine-*.dist-info")
    tops = {line.partition("/")[0] for line in (own / "RECORD").read_text().splitlines()}
    assert {each for each in tops if each not in ("..", own.name)} == {"calcarine"}
    installed, written = files(packages / "calcarine"), files(REPOSITORY / "src")
    assert installed == written | {Path("configs", each) for each in files(REPOSITORY / "configs")}


def test_train_and_tune_are_commands(typed, project):
    typed("calcarine", "train", f"--config={project}/runs/first/version_0/config.yaml", "--name=second")
    scores = [(project / f"runs/{name}/version_0/scores.csv").read_bytes() for name in ("first", "second")]
    assert scores[0] == scores[1]
    said = typed("calcarine", "tune", *SMALL, "--trials=2", "--study=short", "--runs=elsewhere")
    assert "report: elsewhere/short/report.html" in said
    assert (project / "elsewhere/short/trials.csv").exists()
    assert (project / "elsewhere/short/best/version_0/scores.csv").exists()
    assert not (project / "runs/short").exists()


def test_a_config_of_before_the_package_had_its_name_still_runs(typed, project):
    source = {"class_path": "src.data.Folder", "init_args": {"root": "data"}}
    encoder = {"class_path": "src.encoders.PixelEncoder", "init_args": {"size": 8}}
    model = {"class_path": "src.models.EncodingModule", "init_args": {"head": {"class_path": "src.models.LinearHead"}}}
    old = {"data": {"source": source, "encoder": encoder}, "model": model}
    (project / "old.yaml").write_text(yaml.safe_dump(old))
    typed("calcarine", "train", "--config=old.yaml", *SMALL[4:], "--name=old")
    scores = [(project / f"runs/{name}/version_0/scores.csv").read_bytes() for name in ("first", "old")]
    assert scores[0] == scores[1]


def test_a_package_predicts_elsewhere_what_the_run_did(typed, project, environment, tmp_path):
    typed("calcarine", "export", "runs/first/version_0", "--out", str(tmp_path / "model"))
    rows = (project / "runs/first/version_0/predictions/test_stimuli.csv").read_text().split()[1:]
    names = [row.partition(",")[0] for row in rows]
    (tmp_path / "images").mkdir()
    for name in names:
        shutil.copy(project / "data/images" / name, tmp_path / "images")
    call(environment / "bin/calcarine", "predict", "model", "--images", "images", "--out", "out", cwd=tmp_path)
    assert (tmp_path / "out/stimuli.csv").read_text().split()[1:] == names
    predicted = np.load(tmp_path / "out/predictions.npy")
    np.testing.assert_array_equal(predicted, np.load(project / "runs/first/version_0/predictions/test.npy"))


def test_layers_are_listed(typed):
    assert "features.0" in typed("calcarine", "layers", "torchvision:alexnet")


def test_the_python_front_door_opens(typed, project, environment):
    (project / "notebook.py").write_text(NOTEBOOK)
    answer = typed("python", "notebook.py").strip().splitlines()[-1]
    known, where = answer.split()
    assert known == "True"
    assert Path(where).is_relative_to(environment)
