"""The best and worst predicted stimuli: by the pattern over a ROI's targets, with small pictures."""

import base64
from io import BytesIO

import numpy as np
import pytest
from calcarine.evaluation import SplitPredictions, stimuli
from calcarine.evaluation.stimuli import EACH, Thumbnails, extremes, pattern_correlations
from calcarine.recording import Recording, Responses, Roi
from PIL import Image
from planted import Pictures


def test_patterns_are_correlated_as_numpy_does_and_gaps_are_left_out() -> None:
    rng = np.random.default_rng(0)
    responses = rng.normal(1000, 5, (30, 20)) * np.linspace(1, 50, 20)
    predictions = responses + rng.normal(0, 100, (30, 20))
    x, y = ((each - each.mean(axis=0)) / each.std(axis=0) for each in (predictions, responses))
    expected = [np.corrcoef(*pair)[0, 1] for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(pattern_correlations(predictions, responses), expected, atol=1e-12)

    wide = np.concatenate([responses, np.full((30, 1), 3.0)], axis=1)  # a target that does not vary
    with_constant = pattern_correlations(np.concatenate([predictions, predictions[:, :1]], axis=1), wide)
    assert np.isfinite(with_constant).all()
    responses[4, 2:], responses[5, 3:] = np.nan, np.nan
    gaps = pattern_correlations(predictions, responses)
    assert np.isnan(gaps).tolist() == [row == 4 for row in range(30)]  # two targets are no pattern


def subject(images: np.ndarray) -> Recording:
    return Recording(
        subject="subj01",
        stimuli=Pictures(images),
        responses=Responses.of(np.zeros((len(images), 24), np.float32)),
        splits=np.full(len(images), "test"),
        hemispheres=np.repeat(["lh", "rh"], 12),
        rois=[Roi("V1", "lh", np.arange(6)), Roi("V1", "rh", np.arange(12, 18)), Roi("few", "lh", np.arange(5))],
    )


def test_each_roi_has_its_best_and_worst_with_pictures() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 200, 300, 3), dtype=np.uint8)
    recording, own = subject(images), np.arange(10, 40)
    responses = rng.normal(size=(30, 24))
    predictions = responses + np.linspace(0.1, 5, 30)[:, None] * rng.normal(size=(30, 24))
    predictions[7] = -responses[7]
    found = extremes(SplitPredictions(recording, "test", own, predictions), responses, np.arange(24) != 3, Thumbnails())
    assert [(each.roi, each.n_targets) for each in found] == [("V1", 11), ("all", 23)]  # not of 5 targets
    whole = found[1]
    assert whole.worst[0].name == "0017.png"
    assert [each.correlation for each in whole.best] == sorted((each.correlation for each in whole.best), reverse=True)
    assert len(whole.best) == len(whole.worst) == EACH
    picture = Image.open(BytesIO(base64.b64decode(whole.worst[0].source.partition(",")[2])))
    assert (picture.format, picture.size) == ("JPEG", (96, 64))


def test_pictures_end_where_the_page_has_enough_and_clips_show_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = np.zeros((3, 5, 20, 20, 3), np.uint8)
    clips[:, 2] = 255
    recording = subject(clips)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(stimuli, "_MOST_BYTES", 1500)
    thumbnails = Thumbnails()
    first = thumbnails.of(recording, 0)
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(first.partition(",")[2]))))
    assert picture.min() > 250
    sources = [thumbnails.of(recording, index) for index in (1, 2)]
    assert sources == ["" if len(first) * (n + 1) >= 1500 else first for n in range(2)]
