"""Principal components of responses, predicted in place of targets: scikit-learn's, and what they are good for."""

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calcarine.data.datamodule import EncodingDataModule
from calcarine.data.features import components, matrix
from calcarine.data.response_components import component_bytes
from calcarine.models import (
    ComponentHead,
    EncodingModule,
    LayerSelectionModule,
    LinearHead,
    MlpTrunk,
    RidgeModule,
    TrunkHead,
)
from calcarine.names import TRAIN
from calcarine.recording import Responses
from calcarine.run.main import main
from lightning.pytorch import Trainer
from planted import Identity, Planted
from several import One, Several
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
WITH_GAPS = (One(70, 5, 4, 0, gaps=0.1), One(41, 3, 8, 100))


class LowRank(Planted):
    """Responses of 200 targets that are mixtures of three linear functions of the image, and twice as much noise."""

    @property
    def num_targets(self) -> int:
        return 200

    def _read(self, subject: int) -> Any:
        recording = super()._read(subject)
        rng = np.random.default_rng(7)
        pixels = recording.stimuli.images.reshape(self.stimuli, -1) / 127.5 - 1
        signal = pixels @ rng.standard_normal((48, 3)) @ rng.standard_normal((3, 200))
        responses = signal / signal.std() + 2 * rng.standard_normal(signal.shape)
        held = Responses.of(responses.astype(np.float32))
        sides = np.array(["lh"] * 200)
        return type(recording)(recording.subject, recording.stimuli, held, recording.splits, sides)


def fit(folder: Path, source: Any, kind: Any, count: int | None, epochs: int = 30, **model: Any) -> Any:
    data = EncodingDataModule(source, Identity(), cache_dir=folder / "cache", response_components=count)
    torch.manual_seed(0)
    module = kind(data.num_targets, data.feature_shapes, **model)
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(module, data)
    return module, data, trainer


def standardised(data: EncodingDataModule, recording: int) -> np.ndarray:
    """Training responses of a recording, float64 (N, T), 0 where none was measured."""
    own = data.targets_of(recording)
    mean, scale = data.facts.response_mean[own].double().numpy(), data.facts.response_scale[own].double().numpy()
    responses = data.table.respond(recording, data.table.positions_of(recording, TRAIN)).astype(np.float64)
    return np.nan_to_num((responses - mean) / scale)


@pytest.mark.parametrize("side", ["whole", "pieces", "randomised"])
def test_they_are_scikit_learns_of_each_subjects_training_responses(
    side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if side != "whole":
        monkeypatch.setattr(matrix, "PIECE", 30)
        monkeypatch.setattr(matrix, "NARROWEST", 2)
    if side == "randomised":
        monkeypatch.setattr(components, "LARGEST", 5)
    data = EncodingDataModule(Several(WITH_GAPS), Identity(), cache_dir=tmp_path, response_components=4)
    with caplog.at_level(logging.INFO):
        data.setup()
    basis, share = data.facts.response_basis, data.facts.response_share
    assert basis is not None
    assert share is not None
    for recording in range(2):
        own, responses = data.targets_of(recording), standardised(data, recording)
        theirs = PCA(4, svd_solver="full").fit(responses)
        count = len(responses)
        expected = theirs.components_ * np.sqrt(theirs.explained_variance_ * (count - 1) / count)[:, None]
        np.testing.assert_allclose(basis[:, own], expected, atol=0.02 if side == "randomised" else 1e-4)
        kept = theirs.inverse_transform(theirs.transform(responses)) - responses.mean(0)
        np.testing.assert_allclose(share[own], kept.var(0) / responses.var(0), atol=0.02)
        assert f"{100 * theirs.explained_variance_ratio_.sum():.1f} % of the variance" in caplog.text


@pytest.mark.parametrize("stimuli", [150, 50], ids=["more_stimuli", "more_targets"])
def test_all_of_them_are_the_plain_fit(stimuli: int, tmp_path: Path) -> None:
    """Ridge with one penalty; with fewer stimuli than targets these span the responses."""
    plain, data, _ = fit(tmp_path, Planted(stimuli), RidgeModule, None, penalties=[100.0])
    rank = min(len(data.positions(TRAIN)) - 1, 40)
    reduced, *_ = fit(tmp_path, Planted(stimuli), RidgeModule, rank, penalties=[100.0])
    assert type(reduced.head) is LinearHead
    assert (rank == 40) == (stimuli == 150)
    torch.testing.assert_close(reduced.head.weight, plain.head.weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(reduced.head.bias, plain.head.bias, rtol=0, atol=1e-5)
    np.testing.assert_allclose(reduced.findings.component_share, 1, atol=1e-4)


@pytest.mark.parametrize("model", ["ridge", "trained", "layers"])
def test_few_components_find_what_many_noisy_targets_share_and_the_shuffled_control_finds_nothing(
    model: str, tmp_path: Path
) -> None:
    """Of 42 stimuli in training; the test's own noise allows a correlation of 0.45."""
    kinds: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
        "ridge": (RidgeModule, {}, {}),
        "layers": (LayerSelectionModule, {"selection": "target"}, {"selection": "target"}),
        "trained": (
            EncodingModule,
            {"optimizer": lambda own: torch.optim.AdamW(own, lr=1e-2)},
            {"head": ComponentHead, "optimizer": lambda own: torch.optim.AdamW(own, lr=1e-2)},
        ),
    }
    kind, plain, reduced = kinds[model]
    scores = []
    for source, count, own in (
        (LowRank(60), None, plain),
        (LowRank(60), 3, reduced),
        (LowRank(60, shuffle=True), 3, reduced),
    ):
        module, data, trainer = fit(tmp_path, source, kind, count, **own)
        scores.append(trainer.test(module, data, verbose=False)[0]["test/pearson"])
    without, found, control = scores
    assert found > without + 0.1, scores
    assert abs(control) < 0.15, scores


def test_what_finding_them_takes_of_memory_is_told(tmp_path: Path) -> None:
    """Of a whole brain about the 1.4 GB that were measured."""

    class Sized:
        num_targets = 39_548

    class Table:
        recordings = (Sized(),)

        def positions_of(self, recording: int, split: str) -> np.ndarray:
            return np.arange(9000)

    assert 1.3e9 < component_bytes(Table()) < 1.7e9
    told: list[Any] = []
    data = EncodingDataModule(Planted(60), Identity(), cache_dir=tmp_path, response_components=4)
    data.announce = lambda demand, facts: told.append((demand.components, facts.response_components))
    data.setup()
    assert told == [(component_bytes(data.table), 4)]


def test_ridge_of_components_is_scikit_learns_mapped_back_and_takes_gaps(tmp_path: Path) -> None:
    """A response that was not measured is its target's mean."""
    module, data, trainer = fit(tmp_path, Several(WITH_GAPS), RidgeModule, 4, penalties=[100.0])
    for index, head in enumerate(module.heads):
        own = data.targets_of(index)
        basis = data.facts.response_basis[:, own].double().numpy()
        scores = standardised(data, index) @ np.linalg.pinv(basis)  # (N, 4)
        local = data.locate(data.table.positions_of(index, TRAIN))[1]
        images = np.stack([data.recordings[index].stimuli.read(int(each)) for each in local])
        pixels = images.transpose(0, 3, 1, 2).reshape(len(local), -1).astype(np.float64)
        fitted = make_pipeline(StandardScaler(), Ridge(100.0)).fit(pixels, scores)
        features = (pixels - data.facts.feature_mean["pixels"].numpy()) / data.facts.feature_scale["pixels"].numpy()
        ours = head({"pixels": torch.from_numpy(features).float()}).detach().numpy()
        np.testing.assert_allclose(ours, fitted.predict(pixels) @ basis, atol=1e-4)
    assert trainer.test(module, data, verbose=False)[0]["test/pearson"] > 0.2


def test_the_head_maps_its_readouts_components_back(tmp_path: Path) -> None:
    """Of several subjects each has its own, behind a trunk too."""
    trunk = {"head": lambda shapes, targets: TrunkHead(shapes, targets, MlpTrunk, ComponentHead)}
    for model in ({"head": ComponentHead}, trunk):
        module, data, trainer = fit(tmp_path, Several(WITH_GAPS), EncodingModule, 4, 2, **model)
        readouts = [each for each in module.modules() if isinstance(each, ComponentHead)]
        assert [tuple(each.basis.shape) for each in readouts] == [(4, 9), (4, 11)]
        for index, head in enumerate(readouts):
            assert torch.equal(head.basis, data.facts.response_basis[:, data.targets_of(index)])
            features = {"some": torch.randn(3, head.readout.num_features)}
            expected = head.readout(features) @ head.basis
            torch.testing.assert_close(head(features), expected)
        shares = module.head.findings().component_share
        np.testing.assert_allclose(shares, data.facts.response_share, rtol=1e-6)
        trainer.test(module, data, verbose=False)


@pytest.mark.slow
def test_by_flag_shares_are_in_targets_csv_and_a_resumed_run_is_the_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = ["--data.source.images=60", "--data.source.test_images=10", "--data.source.targets=20"]
    flags = [*QUIET, *source, "--data.source.image_size=32", "--data.response_components=5"]
    flags += ["--model.head=ComponentHead", "--data.encoder=PixelEncoder"]
    assert main([*flags, "--trainer.max_epochs=4", "--name=whole"]) == 0
    assert main([*flags, "--trainer.max_epochs=2", "--name=halves"]) == 0
    assert main([*flags, "--trainer.max_epochs=4", "--name=halves", "--ckpt_path=last"]) == 0
    whole, halves = (Path(f"runs/{name}/version_0") for name in ("whole", "halves"))
    for file in ("scores.csv", "targets.csv"):
        assert (whole / file).read_bytes() == (halves / file).read_bytes()
    with (whole / "targets.csv").open(newline="") as file:
        shares = [float(row["component_share"]) for row in csv.DictReader(file)]
    assert 0 < min(shares) < max(shares) <= 1


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--model.head=ComponentHead"], "expected principal components of the responses, found none; set --data.resp"),
        (["--data.response_components=3"], "expected a model that predicts components, found EncodingModule"),
        (["--data.response_components=0"], "--data.response_components 0: expected 1 or more"),
        (["--data.response_components=30", "--model=RidgeModule"], "expected at most 20, which 54 training stimuli"),
        (["--data.response_components=3", "--model=SimilarityModule"], "expected a model that ends in linear weights"),
        (["--data.response_components=3", "--model=RidgeModule", "--model.selection=roi"], "which are of no ROI"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = ["--data.source.images=60", "--data.source.test_images=10", "--data.source.targets=20"]
    assert main([*QUIET, *source, "--data.source.image_size=32", "--data.encoder=PixelEncoder", *flags]) == 2
    message = capsys.readouterr().err.strip()
    assert line in message
    assert "\n" not in message
