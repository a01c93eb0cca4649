"""What is served beside the image: gathered as loops do, in a memory that trials do not fill, and never responses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calcarine.data import Folder, PrincipalComponents, TrialContext
from calcarine.data.beside.previous import PreviousStimuli
from calcarine.data.datamodule import EncodingDataModule
from planted import Identity
from presented import write_presented
from sklearn.decomposition import PCA
from trees import write_array

STIMULI = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_presented(tmp_path_factory.mktemp("presented") / "anna", stimuli=STIMULI)


def data_of(root: Path, cache: Path, context: TrialContext, **flags: Any) -> EncodingDataModule:
    data = EncodingDataModule(Folder(root), Identity(), beside=context, cache_dir=cache, **flags)
    data.setup()
    return data


def served(data: EncodingDataModule, layer: str) -> np.ndarray:
    rows = data._served[layer]
    out = torch.empty(len(rows), *rows.shape)
    rows.gather(np.arange(len(rows)), out)
    return out.numpy()


def by_hand(data: EncodingDataModule, count: int, width: int) -> np.ndarray:
    """Components of what came before each stimulus, averaged over its trials, by loops."""
    pixels = served(data, "pixels")
    fitted = PCA(width, svd_solver="full").fit(pixels[data.positions("train")])
    components = fitted.transform(pixels)
    components *= np.sign(fitted.components_[np.arange(width), np.abs(fitted.components_).argmax(1)])
    (recording,) = data.recordings
    assert recording.order is not None
    order = recording.order()
    rows = np.zeros((len(pixels), count, width))
    for stimulus in range(len(pixels)):
        trials = np.flatnonzero(order.stimulus == stimulus)
        for trial in trials:
            for back in range(1, count + 1):
                if trial >= back and order.session[trial - back] == order.session[trial]:
                    rows[stimulus, back - 1] += components[order.shown[trial - back]] / len(trials)
    return rows


def test_the_stimuli_before_are_averaged_over_trials_as_by_loops(root: Path, tmp_path: Path) -> None:
    data = data_of(root, tmp_path, TrialContext(previous=3, components=5, time=False))
    expected = by_hand(data, 3, 5)
    found = served(data, "beside:previous")
    np.testing.assert_allclose(found, expected.reshape(STIMULI, -1), atol=2e-3 * expected.std())
    mean = data_of(root, tmp_path, TrialContext(previous=3, components=5, time=False, combine="mean"))
    np.testing.assert_allclose(served(mean, "beside:previous"), expected.mean(1), atol=2e-3 * expected.std())
    assert data.feature_shapes == {"pixels": (48,), "beside:previous": (15,)}
    assert mean.feature_shapes == {"pixels": (48,), "beside:previous": (5,)}


def test_time_and_behaviour_are_standardised_on_the_training_split(root: Path, tmp_path: Path) -> None:
    data = data_of(root, tmp_path, TrialContext(previous=0, behaviour=["old", "speed"]))
    train = data.positions("train")
    for layer, width in (("beside:time", 4), ("beside:behaviour", 2)):
        values = served(data, layer)
        assert values.shape == (STIMULI, width)
        np.testing.assert_allclose(values[train].mean(0), 0, atol=1e-5)
        varies = values[train].std(0) > 0
        np.testing.assert_allclose(values[train].std(0)[varies], 1, atol=0.1)  # what is unknown stands at the mean
    (recording,) = data.recordings
    assert recording.order is not None
    order = recording.order()
    speed = np.array([order.behaviour["speed"][order.stimulus == row].mean() for row in range(STIMULI)])
    assert np.corrcoef(speed, served(data, "beside:behaviour")[:, 1])[0, 1] == pytest.approx(1)


def test_a_stimulus_without_a_trial_has_the_training_mean(root: Path, tmp_path: Path) -> None:
    lines = (root / "trials.csv").read_text().splitlines(keepends=True)
    other = write_presented(tmp_path / "bert", stimuli=STIMULI)
    (other / "trials.csv").write_text("".join(line for line in lines if not line.startswith("image007")))
    data = data_of(other, tmp_path / "cache", TrialContext(previous=2, components=4, behaviour=True))
    mean = data.facts.feature_mean
    assert mean is not None
    assert data.facts.beside == ["beside:previous", "beside:time", "beside:behaviour"]
    for layer in data.facts.beside:
        values = served(data, layer)
        np.testing.assert_allclose(values[7], mean[layer].numpy(), atol=1e-5 * float(values.std()))
    assert "1 of" in data.beside_told


def test_responses_have_no_part_in_what_is_beside(root: Path, tmp_path: Path) -> None:
    context = TrialContext(previous=2, components=4, behaviour=True)
    first = data_of(root, tmp_path / "one", context)
    other = write_presented(tmp_path / "anna", stimuli=STIMULI)
    write_array(other / "responses.npy", np.random.default_rng(9).standard_normal((STIMULI, 8)).astype(np.float32))
    second = data_of(other, tmp_path / "two", context)
    for layer in first.facts.beside:
        np.testing.assert_array_equal(served(first, layer), served(second, layer))


def test_another_order_is_another_run(root: Path, tmp_path: Path) -> None:
    context = TrialContext(previous=2, components=4)
    first = data_of(root, tmp_path, context)
    other = write_presented(tmp_path / "anna", stimuli=STIMULI)
    lines = (other / "trials.csv").read_text().splitlines(keepends=True)
    (other / "trials.csv").write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert data_of(other, tmp_path, context).identity != first.identity
    assert data_of(root, tmp_path, TrialContext(previous=3, components=4)).identity != first.identity
    assert data_of(root, tmp_path, context).identity == first.identity


def test_a_reduction_comes_first(root: Path, tmp_path: Path) -> None:
    """Components of the image's components are these again, of the layer that has them."""
    context = TrialContext(previous=2, components=4, time=False)
    reduced = data_of(root, tmp_path, context, reduction=PrincipalComponents(8))
    plain = data_of(root, tmp_path, context)
    assert reduced.feature_shapes == {"pixels": (8,), "beside:previous": (8,)}
    found, expected = served(reduced, "beside:previous"), served(plain, "beside:previous")
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=5e-3 * expected.std())


def test_the_layer_of_the_stimuli_before_is_an_images_last() -> None:
    """Of the first of several encoders; not the spread over a clip's frames, and of two prefixes the first."""
    layers: dict[tuple[str, ...], str] = {
        ("early", "late"): "late",
        ("early", "early (spread)", "late", "late (spread)"): "late",
        ("one:early", "one:late", "two:late"): "one:late",
        ("one:late", "one:late (spread)", "two:late", "two:late (spread)"): "one:late",
    }
    for served_layers, expected in layers.items():
        assert TrialContext().source_layer(dict.fromkeys(served_layers, (2,))) == expected


def test_components_of_the_stimuli_before_keep_their_variances(root: Path, tmp_path: Path) -> None:
    """Without a reduction too, of a stack's members too, and within folds; the image's features have their own."""
    data = data_of(root, tmp_path, TrialContext(previous=3, components=5))
    member = data.part(list(data.facts.feature_scale or {}), np.zeros(0, dtype=np.int64), seed=0)
    for facts in (data.facts, member.facts):
        assert facts.feature_scale is not None
        before = served(data, "beside:previous")[data.positions("train")]
        scale = facts.feature_scale["beside:previous"].numpy()
        np.testing.assert_allclose(scale, np.sqrt(before.var(axis=0).mean()), rtol=1e-5)
        image = served(data, "pixels")[data.positions("train")]
        np.testing.assert_allclose(facts.feature_scale["pixels"].numpy(), image.std(axis=0), rtol=1e-5)
        assert facts.standardized
        assert not facts.standardized_in_folds
    assert before.var(axis=0).max() > 1.5 * before.var(axis=0).min()
    assert data_of(root, tmp_path, TrialContext(previous=0)).facts.standardized_in_folds


def test_what_came_before_is_never_all_in_memory() -> None:
    """30,000 trials with 32 stimuli before them, each of 64 numbers, would be 245 MB."""
    images, trials, count, width = 10_000, 30_000, 32, 64
    rng = np.random.default_rng(0)
    features = rng.standard_normal((images, width)).astype(np.float32)
    shown, starts = rng.integers(-1, images, trials), np.arange(trials) // 700 * 700
    table = np.arange(trials).reshape(images, 3)
    rows = PreviousStimuli(features, table, shown, starts, count, together=False)
    held = sum(each.nbytes for each in vars(rows).values() if isinstance(each, torch.Tensor | np.ndarray))
    assert held < 4e6
    chosen = rng.permutation(images)[:64]
    out = torch.empty(64, *rows.shape)
    rows.gather(chosen, out)
    for place, row in enumerate(chosen[:5]):
        expected = np.zeros((count, width))
        for trial in table[row]:
            for back in range(1, min(count, trial - starts[trial]) + 1):
                if shown[trial - back] >= 0:
                    expected[back - 1] += features[shown[trial - back]] / 3
        np.testing.assert_allclose(out[place].numpy(), expected.ravel(), rtol=1e-5, atol=1e-6)
