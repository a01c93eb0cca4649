"""`tune.py` in one process: what a study leaves, what it refuses, and how trials end."""

import csv
import os
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

import optuna
import pytest
import torch
import yaml
from calcarine.evaluation.tables import read_scores
from calcarine.run.main import main as train
from calcarine.study.front import main
from calcarine.study.ledger.attributes import LOST, REASON
from calcarine.study.ledger.queue import RETRY_OF, finished
from calcarine.study.ledger.storage import open_storage
from calcarine.study.opening import open_session
from calcarine.study.search.options import parse
from calcarine.study.session import Session
from calcarine.study.trial import Reporter, TrialCLI, Trials
from trees import write_folder

SPACE = """
model.optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
model.optimizer.weight_decay: {type: float, low: 0.0, high: 1.0}
"""


@pytest.fixture(autouse=True)
def flags(tmp_path, monkeypatch):
    """A folder of noise whose training takes a moment, and flags of a study of it."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=60, n_targets=8)
    (tmp_path / "space.yaml").write_text(SPACE)
    return [
        *("--data.source=Folder", "--data.source.root=mine", "--data.encoder=PixelEncoder"),
        *("--trainer.accelerator=cpu", "--trainer.max_epochs=4", "--model.head=FullyConnectedHead"),
        *("--model.head.hidden_dims=[6]", "--model.head.dropout=0.2", "--search=space.yaml", "--study=mine"),
    ]


def load(url: str = "sqlite:///runs/mine/study.db") -> optuna.Study:
    return optuna.load_study(study_name="mine", storage=open_storage(url, "mine").trials)


def rows() -> list[dict[str, str]]:
    with Path("runs/mine/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def correlation(run: Path, split: str = "validation") -> float | None:
    (row,) = [
        row for row in read_scores(run / "scores.csv") if (row.split, row.hemisphere, row.roi) == (split, "both", "all")
    ]
    return row.pearson_mean


@pytest.fixture
def alone(monkeypatch):
    """The study alone, without the run of its best trial and the report."""
    monkeypatch.setattr(Session, "conclude", lambda self: None)


def test_a_study_leaves_its_trials_and_a_run_that_repeats_the_best(flags):
    assert main([*flags, "--trials=3", "--pruner=none"]) == 0
    table = rows()
    assert list(table[0]) == [
        *("number", "state", "value", "model.optimizer.lr", "model.optimizer.weight_decay", "test_score"),
    ]
    assert [row["number"] for row in table] == list("012")
    assert {row["state"] for row in table} == {"COMPLETE"}
    assert len({row["value"] for row in table}) > 1
    best = max(table, key=lambda row: float(row["value"]))
    assert correlation(Path("runs/mine/best/version_0")) == float(best["value"])
    assert correlation(Path("runs/mine/best/version_0"), "test") == float(best["test_score"])
    page = Path("runs/mine/report.html").read_text()
    assert "Score against time" in page
    assert "http" not in page.partition("<script>")[0]  # above Plotly itself: nothing is fetched


@pytest.mark.slow
def test_config_and_command_repeat_the_best_trial(flags, capsys):
    assert main([*flags, "--trials=4", "--storage=journal:///runs/mine/kept"]) == 0
    typed = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])
    assert typed[:3] == ["uv", "run", "train.py"]
    assert train([*typed[3:], "--name=typed"]) == 0
    assert train(["--config=runs/mine/best.yaml", "--name=again"]) == 0
    best = max(float(row["value"]) for row in rows() if row["value"])
    for name in ("typed", "again", "mine/best"):
        assert correlation(Path("runs", name, "version_0")) == best


@pytest.mark.slow
def test_the_first_trial_is_the_configuration_itself_and_no_trial_leaves_a_checkpoint(flags, capsys):
    assert main([*flags, "--trials=2", "--model.optimizer.lr=0.02"]) == 0
    assert float(rows()[0]["model.optimizer.lr"]) == 0.02
    assert train([*[flag for flag in flags if not flag.startswith("--s")], "--model.optimizer.lr=0.02"]) == 0
    assert correlation(Path("runs/default/version_0")) == float(rows()[0]["value"])
    assert "default configuration: validation correlation" in capsys.readouterr().out
    kept = {path.name.split(".")[0] for path in Path("runs/mine/trials").rglob("*") if path.is_file()}
    assert kept == {"events"}


@pytest.mark.slow
def test_hyperparameters_of_each_trial_are_in_tensorboard(flags, alone):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main([*flags, "--trials=2", "--pruner=none"])
    for row in rows():
        events = EventAccumulator(f"runs/mine/trials/version_{row['number']}")
        events.Reload()
        assert any("_hparams_" in tag for tag in events.summary_metadata)
        assert events.Scalars("study/validation_pearson")[-1].value == pytest.approx(float(row["value"]), rel=1e-6)
        assert len(events.Scalars("validation/pearson")) > 1


@pytest.mark.slow
def test_the_same_command_goes_on_and_another_is_refused_with_a_diff(flags, tmp_path, capsys, caplog, alone):
    assert main([*flags, "--trials=1"]) == 0
    first = rows()
    assert main([*flags, "--trials=2"]) == 0
    assert rows()[:1] == first
    assert len(rows()) == 2
    capsys.readouterr()
    assert main([*flags, "--trials=4", "--data.batch_size=7"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--study mine: the configuration is not what it was begun with: data.batch_size: 128 → 7;" in error
    (tmp_path / "space.yaml").write_text(SPACE.replace("1.0e-1", "1.0e-2"))
    assert main([*flags, "--trials=4"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--search is not what it was begun with: model.optimizer.lr.high: 0.1 → 0.01;" in error
    assert f"study mine is kept in sqlite:///{tmp_path}/runs/mine/study.db" in caplog.text
    assert "begins anew" not in caplog.text
    main([*flags, "--trials=1", "--storage=journal:///elsewhere"])
    assert f"of a study that journal:///{tmp_path}/elsewhere does not hold: this one begins anew" in caplog.text


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        ("model.optimizer.lrr: {type: float, low: 0.1, high: 1}", [], r"did you mean --model.optimizer.lr?"),
        pytest.param(
            "model.optimizer.lr: {type: categorical, choices: [fast]}",
            [],
            "--model.optimizer.lr: expected float",
            marks=pytest.mark.slow,
        ),
        ("data.batch_size: {type: float, low: 0.5, high: 1}", [], "--data.batch_size: expected int, found '0.5'"),
        pytest.param(
            "model.head.activation: {type: categorical, choices: [relu, sin]}",
            [],
            "found 'sin'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "model.hed: {type: categorical, choices: [A]}", [], "--model.hed: no such option", marks=pytest.mark.slow
        ),
        pytest.param(
            "model.optimizer: {type: categorical, choices: [SGD, Adem]}",
            [],
            "no class is called Adem",
            marks=pytest.mark.slow,
        ),
        (SPACE, ["--data.validation=0"], "--data.validation: a study chooses by the validation split"),
        pytest.param(SPACE, ["--data.validaton=0"], "did you mean --data.validation?", marks=pytest.mark.slow),
        pytest.param(
            SPACE,
            ["--trainer.fast_dev_run=true"],
            "--trainer.fast_dev_run: a trial needs a figure",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            SPACE, ["--trainer.devices=2"], "--trainer.devices 2: a trial runs on one device", marks=pytest.mark.slow
        ),
        pytest.param(
            SPACE,
            ["--trainer.max_epochs=-1"],
            "--trainer.max_epochs -1: --pruner hyperband compares trials at shares of their most epochs",
            marks=pytest.mark.slow,
        ),
        (SPACE, ["--timeout=nan"], "--timeout nan: expected more than 0"),
        (SPACE, ["--name=x"], "--name: a study has trials instead of a run"),
        (SPACE, ["--trials=0"], "--trials 0: expected more than 0"),
        (SPACE, ["--study=../x"], "--study ../x: expected a name below runs/"),
        (SPACE, ["--sampler=best"], "--sampler: invalid choice: 'best'"),
        pytest.param(
            SPACE, ["--sampler=grid"], "--sampler grid: model.optimizer.lr has no finite grid", marks=pytest.mark.slow
        ),
        pytest.param(
            SPACE, ["--storage=redis://x"], "--storage redis://x: expected sqlite:///FILE", marks=pytest.mark.slow
        ),
        (SPACE, ["--search=none.yaml"], "--search none.yaml: expected a YAML file of flags, found no such file"),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_trial(space, more, message, flags, tmp_path, capsys):
    (tmp_path / "space.yaml").write_text(space)
    assert main([*flags, *more]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line
    assert not list(Path("runs").rglob("version_*"))


@pytest.mark.slow
def test_trials_that_fail_are_recorded_and_the_study_goes_on(flags, monkeypatch, alone):
    run = Trials._run
    errors = {
        1: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"),
        2: RuntimeError("shapes differ"),
        3: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    }

    def failing(self, trial):
        if trial.number in errors:
            raise errors[trial.number]
        return run(self, trial)

    monkeypatch.setattr(Trials, "_run", failing)
    assert main([*flags, "--trials=5", "--pruner=none"]) == 0
    assert [row["state"] for row in rows()] == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE"]
    reasons = [trial.user_attrs.get(REASON, "") for trial in load().trials]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "",
        "out of memory",
        "RuntimeError",
        "out of memory",
        "",
    ]


@pytest.mark.slow
def test_a_study_in_which_nothing_converges_says_why(flags, tmp_path, capsys):
    (tmp_path / "space.yaml").write_text("model.optimizer.lr: {type: float, low: 1.0e+30, high: 1.0e+35, log: true}")
    assert main([*flags, "--trials=2", "--model.optimizer.momentum=0.9"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no trial came to a value, 2 of 2: " in error
    assert {row["state"] for row in rows()} == {"FAIL"}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["sqlite", "journal"])
def test_pruned_trials_are_pruned_and_early_stopped_ones_complete(flags, scheme, monkeypatch, alone):
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda self, study, trial: trial.last_step >= 3)
    url = f"{scheme}:///runs/mine/kept"
    more = ["--trials=2", "--pruner=median", f"--storage={url}", "--trainer.max_epochs=40"]
    assert main([*flags, *more, "--early_stopping.patience=3"]) == 0
    first, second = load(url).trials
    assert 3 < first.last_step < 40  # what all are compared with is never pruned
    assert second.last_step == 3
    states = [(row["state"], bool(row["value"]), bool(row["test_score"])) for row in rows()]
    assert states == [("COMPLETE", True, True), ("PRUNED", False, False)]


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_the_trial_comes_back(flags, monkeypatch, alone):
    report = Reporter.on_validation_end

    def interrupt(self, trainer, module):
        if self.trial.number == 1 and trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)
        report(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "on_validation_end", interrupt)
        assert main([*flags, "--trials=3"]) == 130
    assert [trial.state.name for trial in load().trials] == ["COMPLETE", "FAIL", "WAITING"]
    assert [row["number"] for row in rows()] == ["0"]
    assert main([*flags, "--trials=3"]) == 0
    study = load()
    lost, again = study.trials[1:3]
    assert LOST in lost.user_attrs
    assert again.user_attrs[RETRY_OF] == 1
    assert again.params == lost.params
    assert len(finished(study)) == 3


@pytest.mark.slow
def test_a_grid_is_gone_through_once(flags, tmp_path, alone, caplog):
    (tmp_path / "space.yaml").write_text(
        "model.optimizer: {type: categorical, choices: [Adam, SGD]}\n"
        "model.optimizer.lr: {type: categorical, choices: [0.001, 0.01]}"
    )
    assert main([*flags, "--sampler=grid", "--pruner=none", "--model.optimizer=AdamW"]) == 0
    assert [line for line in caplog.messages if "has its own defaults" in line] == [
        "model.optimizer AdamW: has its own defaults, not what SGD had: weight_decay 0.01 (0.0)",
        "model.optimizer Adam: has its own defaults, not what AdamW had: weight_decay 0.0 (0.01), fused null (true)",
        "model.optimizer SGD: has its own defaults, not what AdamW had: weight_decay 0.0 (0.01), fused null (true)",
    ]
    tried = {(row["model.optimizer"], row["model.optimizer.lr"]) for row in rows()}
    assert len(rows()) == len(tried) == 4
    assert main([*flags, "--trials=5", "--pruner=none"]) == 2  # a grid begun midway would leave its first values out


@pytest.mark.slow
def test_data_are_read_once_and_made_again_where_their_flags_are_searched(flags, tmp_path, alone, monkeypatch):
    (tmp_path / "space.yaml").write_text("data.batch_size: {type: categorical, choices: [10, 20]}")
    made = []

    def count(trial):
        made.append(id(trial.cli.datamodule))
        return {"seen": True}

    built = []
    build = TrialCLI.__init__
    monkeypatch.setattr(TrialCLI, "__init__", lambda self, *args: (built.append(1), build(self, *args))[1])
    session = open_session(parse([*flags, "--trials=4", "--sampler=random", "--pruner=none"]), [count])
    session.run()
    assert len(made) == 4
    assert len(built) == 1 + 4  # best.yaml is written without a model
    assert len(set(made)) == 2
    assert all(trial.user_attrs["seen"] for trial in finished(session.study))


@pytest.mark.slow
def test_the_best_config_is_whole(flags, alone):
    main([*flags, "--trials=1"])
    config = yaml.safe_load(Path("runs/mine/best.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 4
    assert config["model"]["init_args"]["head"]["init_args"]["hidden_dims"] == [6]
    assert Path("runs/mine/best.yaml").read_text().startswith("# Trial 0 of study mine")


@pytest.mark.slow
def test_workers_share_a_study_of_real_processes(flags, capsys):
    """One is killed in the middle of a trial; the study ends as if it had not been."""

    killed = []

    def kill_one():
        while not list(Path("runs/mine/trials").glob("version_*")):
            time.sleep(0.2)
        pattern = ["pgrep", "-P", str(os.getpid()), "-f", "calcarine tune"]
        killed.extend(int(line) for line in subprocess.run(pattern, capture_output=True, text=True).stdout.split()[:1])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    assert main([*flags, "--trials=8", "--pruner=none", "--workers=2", "--trainer.max_epochs=40"]) == 0
    thread.join()
    assert killed
    assert [row["state"] for row in rows()] == ["COMPLETE"] * 8
    study = load()
    assert all(trial.state.is_finished() for trial in study.trials)
    assert len(finished(study)) == 8
    assert "uv run train.py" in capsys.readouterr().out
    assert len(list(Path("runs/mine/best").glob("*/scores.csv"))) == 1
    assert main([*flags, "--trials=8", "--workers=2", "--data.validation=0.3"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --study mine: the configuration is not what it was begun with")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("targets", "epoch", "state", "reason"),
    [
        (slice(None), 0, "FAIL", "--model.optimizer: training diverged, no validation loss is finite in epoch 0"),
        (slice(None), 2, "FAIL", "--model.optimizer: training diverged, no validation loss is finite in epoch 2"),
        (slice(3, 4), 0, "FAIL", "training diverged: predictions of 1 targets are not finite"),
        (slice(3, 4), 2, "COMPLETE", ""),  # its best rows are restored
    ],
)
def test_a_loss_that_is_not_finite_is_never_a_good_trial(targets, epoch, state, reason, flags, monkeypatch, alone):
    """What has diverged is not left out of a mean, by which trials are compared, so that it would look better."""
    reported = {}
    report = Reporter.on_validation_end

    def diverge(self, trainer, module):
        if trainer.current_epoch >= epoch:
            module.head.weight.data[targets] = float("nan")

    def watch(self, trainer, module):
        report(self, trainer, module)
        reported[trainer.current_epoch] = float(trainer.callback_metrics["validation/pearson"])

    monkeypatch.setattr(Reporter, "on_validation_start", diverge)
    monkeypatch.setattr(Reporter, "on_validation_end", watch)
    rois = [f"{target},lh,{'V1' if target < 4 else 'V2'}" for target in range(8)]
    Path("mine/rois.csv").write_text("\n".join(["target,hemisphere,roi", *rois]) + "\n")
    linear = [flag for flag in flags if not flag.startswith("--model.head")]
    assert main([*linear, "--trials=1", "--trainer.num_sanity_val_steps=0"]) == (0 if state == "COMPLETE" else 2)
    (trial,) = load().trials
    assert trial.state.name == state
    assert trial.user_attrs.get(REASON, "").startswith(reason)
    for step, value in trial.intermediate_values.items():
        score = reported[step - 1]
        assert value == pytest.approx(min(score, score * (7 / 8 if step > epoch else 1)))


def test_a_study_of_controls_chooses_by_the_pairs_that_training_saw(flags):
    assert main([*flags, "--trials=1", "--data.source.shuffle=true"]) == 0
    with Path("runs/mine/best/version_0/history.csv").open(newline="") as file:
        curve = [float(row["validation/pearson"]) for row in csv.DictReader(file)]
    assert min(abs(each - load().best_value) for each in curve) < 1e-6
    assert correlation(Path("runs/mine/best/version_0")) == load().best_value
