"""What a real TensorBoard server answers for a run's folder, a run with controls and a study's; and other loggers."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from calcarine.run.main import main
from calcarine.study.front import main as tune
from trees import write_folder

FLAGS = [
    "--data.source=Folder",
    "--data.source.root=mine",
    "--data.encoder=PixelEncoder",
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
]
STATES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=60, n_targets=6)
    (tmp_path / "mine/rois.csv").write_text("target,hemisphere,roi\n0,lh,V1\n1,lh,V1\n2,rh,V4\n")


@contextmanager
def served(folder: str) -> Iterator[str]:
    """A server of a folder, on a port that is free; gives its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0", "--host", "localhost"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        yield next(found[1] for line in server.stderr if (found := re.search(r"at (http://localhost:\d+)/", line)))
    finally:
        server.terminate()
        server.communicate()


def asked(address: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}/data/{path}?{urlencode(query)}", data, headers), timeout=60) as answer:
        content = answer.read()
    return json.loads(content) if answer.headers["Content-Type"].startswith("application/json") else content


def curves(run: Path) -> dict[str, list[float]]:
    """Every column of `history.csv`."""
    with (run / "history.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in table] for name in table[0] if name != "epoch"}


@pytest.mark.slow
def test_a_server_answers_with_the_values_of_the_history(capsys):
    assert main([*FLAGS, "--trainer.max_epochs=3", "--model.metrics=[mse]", "--name=mine"]) == 0
    shown = float(re.search(r"test correlation (\S+)", capsys.readouterr().out)[1])  # pyright: ignore
    run = Path("runs/mine/version_0")
    history = curves(run)
    assert {"train/loss", "validation/loss", "validation/pearson", "validation/mse"} < set(history)
    assert {"validation_pearson/lh.V1", "validation_mse/rh.V4"} < set(history)
    with served(str(run)) as address:
        assert asked(address, "runs") == ["."]
        tags = asked(address, "plugin/scalars/tags")["."]
        logged = {tag for tag in tags if not tag.startswith(("test", "final/")) and tag not in ("epoch", "hp_metric")}
        assert logged == set(history)  # the table lacks nothing of the curves
        for tag, values in history.items():
            points = asked(address, "plugin/scalars/scalars", run=".", tag=tag)
            assert [value for _, _, value in points[: len(values)]] == pytest.approx(values, rel=1e-6), tag
            assert len(points) == len(values) + (not tag.startswith("train") and tag != "validation/loss")  # restored
        ((_, _, final),) = asked(address, "plugin/scalars/scalars", run=".", tag="final/test_pearson")
        assert final == pytest.approx(shown, abs=5e-4)
        experiment = asked(address, "plugin/hparams/experiment", body={"experimentName": ""})
        named = {each["name"] for each in experiment["hparamInfos"]}
        assert {"seed_everything", "data.source.init_args.root", "trainer.max_epochs"} <= named
        images = asked(address, "plugin/images/tags")["."]
        assert "figures/pearson_per_roi" in images
        (image,) = asked(address, "plugin/images/images", run=".", tag="figures/pearson_per_roi", sample="0")
        picture = asked(address, f"plugin/images/individualImage?{image['query']}&x=")
        assert picture.startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_servers_trials_are_comparable(tmp_path):
    (tmp_path / "space.yaml").write_text("model.optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}\n")
    search = ["--search=space.yaml", "--study=sought", "--trials=2", "--pruner=none", "--trainer.max_epochs=2"]
    assert tune([*FLAGS, *search]) == 0
    with (tmp_path / "runs/sought/trials.csv").open(newline="") as file:
        trials = {f"version_{row['number']}": row for row in csv.DictReader(file)}
    with served("runs/sought/trials") as address:
        assert sorted(asked(address, "runs")) == sorted(trials)
        tags = asked(address, "plugin/scalars/tags")
        for name, row in trials.items():
            assert {"train/loss", "validation/pearson"} <= set(tags[name])
            *_, (_, _, value) = asked(address, "plugin/scalars/scalars", run=name, tag="study/validation_pearson")
            assert value == pytest.approx(float(row["value"]), rel=1e-6)
        experiment = asked(address, "plugin/hparams/experiment", body={"experimentName": ""})
        assert [each["name"] for each in experiment["hparamInfos"]] == ["model.optimizer.lr"]
        groups = asked(
            address,
            "plugin/hparams/session_groups",
            body={"experimentName": "", "startIndex": 0, "sliceSize": 9, "colParams": [], "allowedStatuses": STATES},
        )["sessionGroups"]
        rates = [group["hparams"]["model.optimizer.lr"] for group in groups]
        assert sorted(rates) == pytest.approx(sorted(float(row["model.optimizer.lr"]) for row in trials.values()))


@pytest.mark.slow
def test_another_logger_stands_beside_tensorboard_by_flag():
    logger = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logged"]
    assert main([*FLAGS, *logger, "--trainer.max_epochs=2", "--name=mine"]) == 0
    run = Path("runs/mine/version_0")
    assert all((run / name).is_file() for name in ("scores.csv", "report.html", "history.csv", "checkpoints/best.ckpt"))
    assert list(run.glob("events*"))
    (table,) = Path("logged").rglob("metrics.csv")
    with table.open(newline="") as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses == pytest.approx(curves(run)["train/loss"], rel=1e-6)
