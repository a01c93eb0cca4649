"""Ridge through the module: the same weights as scikit-learn, however the stimuli come, in a linear head's artefact."""

import csv
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.errors import InputError
from calcarine.models import EncodingModule, RidgeModule, RoiEarlyStopping
from calcarine.models.closed_form import ridge
from calcarine.models.closed_form.gathered import SummedRows, WholeRows, keep_rows
from calcarine.models.regression.gram import assign_folds
from calcarine.run.cli import build_cli
from calcarine.run.main import main
from lightning.pytorch import Trainer
from planted import Identity, Planted
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from trees import write_folder

PENALTIES = [1.0, 10.0, 100.0, 1000.0, 10000.0]
# 48 features: 600 stimuli are summed, 130 are kept and solved in the D×D form, 45 in the N×N form.
SUMMED, KEPT, WIDE = 600, 130, 45


def fit(
    tmp_path,
    source,
    batch_size=32,
    validation=0.1,
    epochs=100,
    penalties=PENALTIES,
    trainer=None,
    cache_dtype="float32",
    **model,
):
    data = EncodingDataModule(
        source,
        Identity(),
        cache_dir=tmp_path / "cache",
        cache_dtype=cache_dtype,
        batch_size=batch_size,
        validation=validation,
    )
    module = RidgeModule(data.num_targets, data.feature_shapes, penalties, **model)
    options = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [RoiEarlyStopping()],
        "accelerator": "cpu",
    }
    run = Trainer(**{"max_epochs": epochs} | options | (trainer or {}))
    run.fit(module, data, weights_only=True)
    return module, data, run


def training_data(data, recording=0):
    """Standardised features and responses of one recording's training stimuli, float64, in the order on disk."""
    positions = data.positions("train")
    recording_of, local = data.locate(positions)
    local = local[recording_of == recording]
    source = data.recordings[recording]
    images = np.stack([source.stimuli.read(i) for i in local]).transpose(0, 3, 1, 2).reshape(len(local), -1)
    columns = data.targets_of(recording)
    scaled = source.responses.gather(local).astype(np.float64) - data.facts.response_mean.numpy()[columns]
    features = (images - data.facts.feature_mean["pixels"].numpy().ravel()) / data.facts.feature_scale["pixels"].numpy()
    return features, scaled / data.facts.response_scale.numpy()[columns]


def scikit_learn(x, y, penalty):
    """Weight (T, D) and bias (T,) of Pipeline(StandardScaler, Ridge), in the units of x; one penalty or one each."""
    scaler = StandardScaler()
    weight = Ridge(alpha=penalty).fit(scaler.fit_transform(x), y).coef_ / scaler.scale_
    return weight, y.mean(0) - weight @ x.mean(0)


def cross_validated_errors(x, y, fold):
    """Mean over folds of the mean squared error, (penalties, T)."""
    errors = np.zeros((len(PENALTIES), y.shape[1]))
    for k in np.unique(fold):
        training, held_out = fold != k, fold == k
        for row, penalty in zip(errors, PENALTIES, strict=True):
            weight, bias = scikit_learn(x[training], y[training], penalty)
            row += ((y[held_out] - x[held_out] @ weight.T - bias) ** 2).mean(0) / len(np.unique(fold))
    return errors


@pytest.mark.parametrize("stimuli", [SUMMED, KEPT, WIDE], ids=["summed", "kept", "wide"])
@pytest.mark.parametrize("selection", ["target", "roi", "all"])
def test_penalties_and_weights_are_scikit_learns(tmp_path, stimuli, selection):
    noise = np.geomspace(0.1, 10, 40)
    module, data, _ = fit(tmp_path, Planted(stimuli, noise=noise), selection=selection)
    x, y = training_data(data)
    assert isinstance(keep_rows(torch.zeros(len(x)), 5, 48, 40), SummedRows if stimuli == SUMMED else WholeRows)
    errors = cross_validated_errors(x, y, assign_folds(len(x), 5, seed=0).numpy())
    sets = {
        "target": np.arange(40),
        "roi": data.facts.groups.numpy(),
        "all": np.zeros(40, dtype=int),
    }[selection]
    for group in np.unique(sets):
        errors[:, sets == group] = errors[:, sets == group].mean(1, keepdims=True)
    chosen = np.array(PENALTIES)[errors.argmin(0)]
    np.testing.assert_array_equal(module.findings.penalty, chosen)
    assert len(np.unique(chosen)) > (0 if selection == "all" else 1), "the penalties must differ for this to mean much"
    weight, bias = scikit_learn(x, y, chosen)
    assert np.linalg.norm(module.head.weight.detach().numpy() - weight) < 1e-4 * np.linalg.norm(weight)
    np.testing.assert_allclose(module.head.bias.detach(), bias, atol=1e-4)


@pytest.mark.parametrize("stimuli", [SUMMED, KEPT, WIDE], ids=["summed", "kept", "wide"])
def test_weights_are_written_into_the_head(tmp_path, monkeypatch, stimuli):
    """Wide features on a whole brain have weights of gigabytes, which are not held twice."""
    fits = []
    write = ridge.write_linear
    monkeypatch.setattr(ridge, "write_linear", lambda head, solved: fits.append(solved) or write(head, solved))
    module, *_ = fit(tmp_path, Planted(stimuli))
    assert [each.weight.data_ptr() for each in fits] == [module.head.weight.data_ptr()]
    assert module.head.weight.any()


def test_wide_features_of_a_float16_cache_are_kept_in_float16(tmp_path, monkeypatch):
    kept = []
    solve = RidgeModule.fit
    monkeypatch.setattr(RidgeModule, "fit", lambda *arguments: kept.append(arguments[1]) or solve(*arguments))
    half, *_ = fit(tmp_path, Planted(WIDE), cache_dtype="float16")  # whole numbers to 255 are exact in it
    full, *_ = fit(tmp_path, Planted(WIDE))
    assert [rows.features.dtype for rows in kept] == [torch.float16, torch.float32]
    np.testing.assert_array_equal(half.findings.penalty, full.findings.penalty)
    torch.testing.assert_close(half.head.weight, full.head.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(half.head.bias, full.head.bias, rtol=1e-4, atol=1e-5)


WIDE_FIT = """
from pathlib import Path

import torch
from calcarine.models.closed_form.gathered import WholeRows
from calcarine.models.regression.gram import assign_folds


def memory(kind):
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[kind].split()[0]) * 1024


def gathered(width, targets):
    rows = WholeRows(assign_folds(200, 5), 5, width, targets)
    generator = torch.Generator().manual_seed(0)
    for row in torch.arange(200).split(50):
        features = torch.randn(len(row), width, generator=generator).half()
        rows.update(features, torch.randn(len(row), targets, generator=generator), row)
    return rows, torch.zeros(targets, width)


for width, targets in ((300, 20), (20_000, 2000)):  # the first loads what solves
    rows, weight = gathered(width, targets)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = memory("VmRSS")
    assert rows.fit([1e3, 1e5], None, weight=weight).weight is weight
print((memory("VmHWM") - before) / weight.nbytes)
"""
"""Prints the most memory that a wide fit takes beside what is held, in that of its weights."""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_wide_features_take_the_memory_of_the_weights_once():
    """As 9,000 stimuli of 148,000 features do, a hundredth of their size: no D×D, no copy of features or weights.

    In a process of its own, which gives back what it frees: one that ran other tests grows by what they left.
    """
    giving_back = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WIDE_FIT]
    told = subprocess.run(command, env={**os.environ, **giving_back}, capture_output=True, text=True, check=True)
    assert float(told.stdout) < 0.4


def test_a_planted_signal_is_recovered_and_its_shuffled_control_is_not(tmp_path):
    scores = {}
    for shuffle in (False, True):
        module, data, run = fit(tmp_path, Planted(400, shuffle=shuffle))
        scores[shuffle] = run.test(module, data, verbose=False)[0]["test/pearson"]
    assert scores[False] > 0.85
    assert abs(scores[True]) < 0.1


@pytest.mark.parametrize("stimuli", [SUMMED, KEPT])
def test_batches_do_not_change_the_fit(tmp_path, stimuli):
    small, *_ = fit(tmp_path, Planted(stimuli), batch_size=7)
    large, *_ = fit(tmp_path, Planted(stimuli), batch_size=1000)
    assert np.array_equal(small.findings.penalty, large.findings.penalty)
    torch.testing.assert_close(small.head.weight, large.head.weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [SummedRows, WholeRows])
def test_ranks_add_up(kind):
    """What an all-reduce makes of two ranks is what one process gathers."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(301, 20, generator=generator)
    responses = features @ torch.randn(20, 6, generator=generator) + torch.randn(301, 6, generator=generator)
    fold = assign_folds(301, 5)
    alone, *ranks = (kind(fold, 5, 20, 6) for _ in range(3))
    order = torch.randperm(301, generator=generator)
    for step, rows in enumerate(order.split(30)):
        for rank in (alone, ranks[step % 2]):
            rank.update(features[rows], responses[rows], rows)
    for first, second in zip(*(rank.sums() for rank in ranks), strict=True):
        first += second
    for found, expected in zip(ranks[0].sums(), alone.sums(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    reduced, single = (rows.fit(PENALTIES, None) for rows in (ranks[0], alone))
    assert torch.equal(reduced.penalty, single.penalty)
    torch.testing.assert_close(reduced.weight, single.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stimuli", [SUMMED, KEPT])
@pytest.mark.parametrize("selection", ["target", "roi"])
def test_several_subjects_get_the_fit_they_get_alone(tmp_path, stimuli, selection):
    module, data, _ = fit(tmp_path, Planted(stimuli, subjects=2, noise=3.0), selection=selection)
    for subject in range(2):
        x, y = training_data(data, subject)
        fold, columns = assign_folds(len(x), 5, seed=0), data.targets_of(subject)
        errors = cross_validated_errors(x, y, fold.numpy())
        if selection == "roi":
            for side in (slice(0, 16), slice(16, 40)):
                errors[:, side] = errors[:, side].mean(1, keepdims=True)
        chosen = np.array(PENALTIES)[errors.argmin(0)]
        np.testing.assert_array_equal(module.findings.penalty[columns], chosen)
        weight, bias = scikit_learn(x, y, chosen)
        head = module.heads[subject]
        assert np.linalg.norm(head.weight.detach().numpy() - weight) < 1e-4 * np.linalg.norm(weight)
        np.testing.assert_allclose(head.bias.detach(), bias, atol=1e-4)


def test_no_folds_is_generalised_cross_validation(tmp_path):
    module, data, _ = fit(tmp_path, Planted(KEPT, noise=3.0), folds=0)
    x, y = (part - part.mean(0) for part in training_data(data))
    errors = []
    for penalty in PENALTIES:
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(48), x.T)
        errors.append(((y - hat @ y) ** 2).sum(0) / (len(x) - 1 - hat.trace()) ** 2)
    np.testing.assert_array_equal(module.findings.penalty, np.array(PENALTIES)[np.argmin(errors, axis=0)])


def test_a_constant_target_and_a_constant_feature_do_no_harm(tmp_path, monkeypatch):
    read = Planted._read

    def with_constants(self, subject):
        recording = read(self, subject)
        recording.responses.parts[0].array[:, 2] = 1e4
        for image in recording.stimuli.images:
            image[0, 0] = 7
        return recording

    monkeypatch.setattr(Planted, "_read", with_constants)
    for stimuli in (SUMMED, KEPT, WIDE):
        module, data, run = fit(tmp_path, Planted(stimuli))
        assert module.head.weight.isfinite().all()
        assert not module.head.weight[2].any()
        assert np.isfinite(run.test(module, data, verbose=False)[0]["test/pearson"])


@pytest.mark.parametrize("validation", [0.0, 0.1])
def test_one_epoch_is_run_with_and_without_a_validation_split(tmp_path, validation):
    module, data, run = fit(tmp_path, Planted(), validation=validation, epochs=50)
    assert run.current_epoch == 1
    assert run.test(module, data, verbose=False)[0]["test/pearson"] > 0.6
    if validation:
        assert module.target_losses.mean() < 0.8, "validation must see the solved weights"


def test_a_validation_before_the_solution_does_not_undo_it(tmp_path):
    source = Planted(shuffle=True)  # its solution predicts worse than the weights of 0 before it
    early, _, _ = fit(tmp_path, source, penalties=[1.0], trainer={"val_check_interval": 1})
    alone, _, _ = fit(tmp_path, source, penalties=[1.0])
    assert early.head.weight.any()
    assert torch.equal(early.head.weight, alone.head.weight)


@pytest.mark.parametrize("option", [{"max_epochs": 0}, {"limit_train_batches": 0}])
def test_a_run_that_ends_before_the_solution_says_so(tmp_path, option):
    with pytest.raises(InputError, match=r"RidgeModule solves at the end of one epoch.*--trainer\.max_epochs"):
        fit(tmp_path, Planted(), trainer=option)


def test_double_precision_is_taken(tmp_path):
    weights = []
    for precision in ("32-true", "64-true"):
        module, _, _ = fit(tmp_path, Planted(KEPT), trainer={"precision": precision})
        weights.append(module.head.weight.float())
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


def test_its_checkpoint_is_a_linear_heads(tmp_path):
    module, data, run = fit(tmp_path, Planted())
    run.save_checkpoint(tmp_path / "ridge.ckpt")
    state = torch.load(tmp_path / "ridge.ckpt", weights_only=True)["state_dict"]
    linear = EncodingModule(data.num_targets, data.feature_shapes)
    linear.load_state_dict(state, strict=True)
    batch = next(iter(data.test_dataloader()["test"]))
    assert torch.equal(linear.predict_batch(batch), module.predict_batch(batch))


@pytest.mark.parametrize(("penalties", "said"), [([1e3, 1e4], "smaller"), ([1e-6, 1e-5], "larger"), (PENALTIES, "")])
def test_penalties_that_end_too_early_are_said(tmp_path, caplog, penalties, said):
    with caplog.at_level(logging.WARNING, logger="calcarine"):
        fit(tmp_path, Planted(), penalties=penalties)
    warned = [record.getMessage() for record in caplog.records if record.name == "calcarine.models.closed_form.base"]
    assert len(warned) == bool(said)
    assert all("--model.penalties" in line and f"give it {said} ones too" in line for line in warned)


def test_wrong_settings_are_refused():
    shapes = {"pixels": (48,)}
    with pytest.raises(InputError, match=r"--data\.encoder: RidgeModule needs features"):
        RidgeModule(3, None)
    with pytest.raises(InputError, match=r"--model\.folds 1: expected 2 or more, or 0"):
        RidgeModule(3, shapes, folds=1)
    with pytest.raises(InputError, match=r"--model\.penalties: expected"):
        RidgeModule(3, shapes, penalties=[-1.0])


@pytest.fixture
def flags(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", n_stimuli=40, n_targets=6)
    return [
        "--data.source=Folder",
        "--data.source.root=mine",
        "--data.encoder=PixelEncoder",
        "--model=RidgeModule",
        "--name=ridge",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]


def test_the_command_line_runs_it_and_resumes_without_refitting(flags, monkeypatch):
    assert build_cli([*flags, "--model.selection=all", "--model.penalties=[1,10]"]).model.penalties == [1.0, 10.0]
    assert main(flags) == 0
    (run,) = Path("runs/ridge").glob("*/scores.csv")
    first = run.read_bytes()
    with run.open(newline="") as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"validation", "test"}
    last = torch.load(run.parent / "checkpoints/last.ckpt", weights_only=True)
    assert last["findings"]["penalty"].shape == (6,)
    with (run.parent / "targets.csv").open(newline="") as file:
        targets = list(csv.DictReader(file))
    assert list(targets[0])[-3:] == ["score", "penalty", "cv_r2"]
    for split in ("validation", "test"):
        penalties = [float(row["penalty"]) for row in targets if row["split"] == split]
        np.testing.assert_allclose(penalties, last["findings"]["penalty"])
    run.unlink()
    monkeypatch.setattr(RidgeModule, "_solve", lambda self: pytest.fail("it was fitted again"))
    assert main([*flags, "--ckpt_path=last"]) == 0
    assert run.read_bytes() == first


def test_a_wrong_flag_is_one_line(flags, capsys):
    assert main([*flags, "--model.fold=3"]) == 2
    assert "--model.fold: no such option; did you mean --model.folds?" in capsys.readouterr().err
    assert main([*flags, "--model.selection=rois"]) == 2
    assert re.search("--model.selection: expected .*roi.*, found 'rois'", capsys.readouterr().err)
    assert main([*flags, "--trainer.gradient_clip_val=1"]) == 2
    assert "error: --trainer: Automatic gradient clipping is not supported" in capsys.readouterr().err
    assert not list(Path("runs").glob("*/*"))
    assert main([*flags, "--model.folds=100"]) == 2
    assert "--model.folds 100: expected 2 to 28 (the training stimuli)" in capsys.readouterr().err
