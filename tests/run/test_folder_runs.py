"""A user's folder through the real command: what is missing, unlisted or far from 0 changes no figure silently."""

import csv
from pathlib import Path

import numpy as np
import pytest
from calcarine.run.main import main
from scipy.stats import pearsonr
from trees import write_array, write_images

N_STIMULI, N_TARGETS, N_TESTS = 90, 6, 20
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
FLAGS = ["--data.encoder=PixelEncoder", "--data.encoder.size=4", "--trainer.max_epochs=8", "--name=run", *QUIET]


def write_planted(root: Path) -> np.ndarray:
    """Images of noise whose mean colours in four corners drive the responses, float64 (stimuli, targets); a split."""
    from PIL import Image

    names = [f"{index}.png" for index in range(N_STIMULI)]
    write_images(root / "images", names)
    rng = np.random.default_rng(0)
    pixels = np.stack([np.asarray(Image.open(root / "images" / name)) for name in names])
    corners = pixels.reshape(N_STIMULI, 2, 3, 2, 4, 3).mean((2, 4)).reshape(N_STIMULI, -1)
    signal = (corners - corners.mean(0)) @ rng.standard_normal((12, N_TARGETS))
    responses = signal / signal.std(0) + 0.3 * rng.standard_normal(signal.shape)
    write_array(root / "responses.npy", responses)
    splits = ["test"] * N_TESTS + ["train"] * (N_STIMULI - N_TESTS)
    lines = [f"{name},{split}" for name, split in zip(names, splits, strict=True)]
    (root / "split.csv").write_text("\n".join(["stimulus,split", *lines]) + "\n")
    return responses


@pytest.fixture
def responses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.chdir(tmp_path)
    return write_planted(Path("mine"))


def train(root: str, *flags: str) -> Path:
    assert main(["--data.source=Folder", f"--data.source.root={root}", *FLAGS, *flags]) == 0
    return sorted(Path("runs/run").iterdir())[-1]


def targets(run: Path, figure: str) -> np.ndarray:
    """A figure of each target on the test split."""
    with (run / "targets.csv").open(newline="") as file:
        return np.array([float(row[figure]) for row in csv.DictReader(file) if row["split"] == "test"])


@pytest.mark.parametrize("model", [[], ["--model=RidgeModule"]], ids=["trained", "ridge"])
def test_a_large_offset_changes_no_correlation(model: list[str], responses: np.ndarray) -> None:
    write_array(Path("mine/responses.npy"), 1e-3 * responses)
    near = train("mine", *model)
    write_array(Path("mine/responses.npy"), 1e-3 * responses + 1e4)
    far = train("mine", *model)
    expected = targets(near, "pearson")
    assert expected.min() > 0.5
    np.testing.assert_allclose(targets(far, "pearson"), expected, atol=1e-4)
    np.testing.assert_allclose(targets(far, "r2"), targets(near, "r2"), atol=1e-3)
    predicted = np.load(far / "predictions/test.npy")
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, 1e4, atol=0.1)  # in the recording's units
    centred = np.load(far / "predictions/test_centred.npy")
    found = [pearsonr(centred[:, t], responses[:N_TESTS, t]).statistic for t in range(N_TARGETS)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_what_was_not_measured_is_neither_trained_on_nor_scored(responses: np.ndarray) -> None:
    whole = targets(train("mine"), "pearson")
    gaps = np.random.default_rng(1).random(responses.shape) < 0.2
    gaps[5] = True  # a test image that evoked nothing that was measured
    gaps[N_TESTS:, 4] = True  # a target that training knows nothing of
    write_array(Path("mine/responses.npy"), np.where(gaps, np.nan, responses))
    run = train("mine", "--data.source.missing=allow")
    predicted = np.load(run / "predictions/test.npy")
    assert np.isfinite(predicted).all()
    pearson = targets(run, "pearson")
    for target in range(N_TARGETS):
        there = ~gaps[:N_TESTS, target]
        if target == 4:
            assert pearson[target] == 0  # one prediction for all
            continue
        expected = pearsonr(predicted[there, target], responses[:N_TESTS, target][there]).statistic
        assert pearson[target] == pytest.approx(expected, abs=1e-5)
        assert expected > whole[target] - 0.2
    report = (run / "report.html").read_text()
    assert "6 of 6 targets were measured for some of the stimuli only, and are scored on these" in report


def test_two_test_images_have_no_interval(responses: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{index}.png,{'test' if index < 2 else 'train'}" for index in range(N_STIMULI - 10)]
    Path("mine/split.csv").write_text("\n".join(["stimulus,split", *rows]) + "\n")
    assert main(["--data.source=Folder", "--data.source.root=mine", *FLAGS]) == 2
    assert "found none for 10 (80.png, 81.png, 82.png, …)" in capsys.readouterr().err
    run = train("mine", "--data.source.unlisted=drop")
    assert "interval" not in capsys.readouterr().out
    with (run / "scores.csv").open(newline="") as file:
        intervals = {row["pearson_ci_low"] for row in csv.DictReader(file) if row["split"] == "test"}
    assert intervals == {""}
    with (run / "predictions/validation_stimuli.csv").open(newline="") as file:
        assert not {f"{index}.png" for index in range(80, 90)} & {row["stimulus"] for row in csv.DictReader(file)}
