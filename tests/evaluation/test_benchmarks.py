"""`benchmarks.csv`: each figure against what is computed by hand from the same predictions."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from calcarine.errors import InputError
from calcarine.evaluation import SplitPredictions, check_min_ceiling, target_scores
from calcarine.evaluation.benchmark_table import benchmark_table
from calcarine.evaluation.benchmarks import BenchmarkRow, benchmark_rows, brain_score
from calcarine.evaluation.tables import write_rows
from calcarine.recording import Recording, Responses, Roi
from planted import Pictures
from scipy.spatial.distance import pdist

ROIS = [Roi("V1", "lh", np.arange(12)), Roi("one", "lh", np.array([2])), Roi("none", "rh", np.array([], dtype=int))]


def part(seed: int = 0, images: int = 0, order: np.ndarray | None = None, split: str = "test") -> SplitPredictions:
    """A subject that was shown 30 images, of which one target is still and three have no noise ceiling of use."""
    rng = np.random.default_rng((1, seed))
    order = np.arange(30) if order is None else order
    pictures = np.random.default_rng((2, images)).integers(0, 255, (30, 2, 2, 3), dtype=np.uint8)
    signal = np.random.default_rng((3, images)).normal(size=(30, 20))
    responses = (signal + rng.normal(size=signal.shape)).astype(np.float32)
    responses[:, 4] = 7
    ceiling = np.linspace(0.1, 0.9, 20)
    ceiling[[5, 6]] = 0, np.nan
    recording = Recording(
        f"subj{seed:02d}",
        Pictures(pictures[order]),
        Responses.of(responses[order]),
        np.full(30, split),
        np.repeat(["lh", "rh"], [12, 8]),
        ROIS,
        ceiling,
    )
    return SplitPredictions(recording, split, np.arange(30), signal[order].astype(np.float32))


def rows_of(
    *parts: SplitPredictions, min_ceiling: float | None = None
) -> dict[tuple[str, str, str, str], BenchmarkRow]:
    scored = []
    for each in parts:
        responses = each.recording.responses.gather(each.stimuli)
        scored.append((each, target_scores(each.predictions, responses, each.noise_ceiling)))
    rows = benchmark_rows(scored, min_ceiling)
    return {(row.split, row.subject, row.hemisphere, row.roi): row for row in rows}


def expected(each: SplitPredictions, targets: np.ndarray) -> tuple[float, float]:
    """Median of r / √ceiling, and Brain-Score's figure, of targets that have both."""
    responses = each.recording.responses.gather(each.stimuli)
    r = np.array([scipy.stats.pearsonr(each.predictions[:, t], responses[:, t])[0] for t in targets])
    assert each.recording.noise_ceiling is not None
    ceiling = each.recording.noise_ceiling[targets]
    return float(np.median(r / np.sqrt(ceiling))), float((np.median(r) / np.median(ceiling)) ** 2)


def rsa_of(each: SplitPredictions, targets: np.ndarray) -> float:
    responses = each.recording.responses.gather(each.stimuli)
    matrices = [pdist(values[:, targets].astype(np.float64), "correlation") for values in (each.predictions, responses)]
    return float(scipy.stats.spearmanr(*matrices)[0])


def test_figures_are_of_the_targets_that_have_them() -> None:
    own = part()
    rows = rows_of(own)
    assert [key[2:] for key in rows] == [
        ("lh", "V1"), ("lh", "one"), ("lh", "all"), ("rh", "none"), ("rh", "all"), ("both", "all"),
    ]  # fmt: skip
    v1 = rows["test", "subj00", "lh", "V1"]
    explainable, scored = np.array([0, 1, 2, 3, 7, 8, 9, 10, 11]), np.r_[0:4, 5:12]
    median, brain = expected(own, explainable)
    assert (v1.n_targets, v1.n_kept, v1.rsa_targets, v1.n_stimuli, v1.rsa_stimuli) == (12, 9, 11, 30, 30)
    assert v1.normalised_median == pytest.approx(median, abs=1e-6)
    assert v1.brain_score == pytest.approx(brain, rel=1e-6)
    assert v1.rsa == pytest.approx(rsa_of(own, scored), abs=1e-10)
    assert (v1.min_ceiling, v1.rsa_seed, v1.rsa_reliability, v1.rsa_ceiling_low, v1.rsa_ceiling_high) == (None,) * 5
    one = rows["test", "subj00", "lh", "one"]
    assert (one.n_kept, one.rsa_targets, one.rsa) == (1, 1, None)
    assert one.normalised_median == pytest.approx(expected(own, np.array([2]))[0], abs=1e-6)
    none = rows["test", "subj00", "rh", "none"]
    assert (none.n_targets, none.n_kept, none.normalised_median, none.brain_score, none.rsa) == (0, 0, None, None, None)


def test_the_filter_leaves_out_what_is_below_it_or_unknown() -> None:
    own = part()
    v1 = rows_of(own, min_ceiling=0.4)["test", "subj00", "lh", "V1"]
    kept = np.array([8, 9, 10, 11])
    assert own.recording.noise_ceiling is not None
    assert (own.recording.noise_ceiling[kept] >= 0.4).all()
    assert (v1.n_targets, v1.n_kept, v1.rsa_targets, v1.min_ceiling) == (12, 4, 4, 0.4)
    assert v1.normalised_median == pytest.approx(expected(own, kept)[0], abs=1e-6)
    assert v1.rsa == pytest.approx(rsa_of(own, kept), abs=1e-10)
    whole = rows_of(own, min_ceiling=0.0)["test", "subj00", "both", "all"]
    assert (whole.n_kept, whole.rsa_targets) == (17, 18)  # a ceiling of 0 is known
    assert rows_of(own, min_ceiling=1.0)["test", "subj00", "both", "all"].rsa is None


@pytest.mark.parametrize("least", [-0.1, 1.5, 10, np.nan, np.inf])
def test_a_share_of_variance_lies_between_0_and_1(least: float) -> None:
    with pytest.raises(InputError, match=r"^--min_ceiling .*: expected .* from 0 to 1; 10 % of variance is 0\.1$"):
        check_min_ceiling(least, "--min_ceiling")


def test_brain_score_is_above_1_for_a_perfect_model_and_0_for_a_wrong_one() -> None:
    ceiling = np.array([0.25, 0.36, 0.49])
    assert brain_score(np.sqrt(ceiling), ceiling) == pytest.approx(1 / 0.36)
    assert brain_score(-np.sqrt(ceiling), ceiling) == 0
    assert brain_score(np.empty(0), np.empty(0)) is None


def test_subjects_who_saw_the_same_tell_each_other_s_ceiling() -> None:
    shuffled = np.random.default_rng(0).permutation(30)
    subjects = [part(1), part(2, order=shuffled), part(3)]
    rows = rows_of(*subjects)
    alone = rows_of(subjects[1])
    ranks = []
    for own in subjects:
        at = np.argsort(own.recording.stimuli.digests())
        responses = own.recording.responses.gather(at)[:, np.r_[0:4, 5:12]].astype(np.float64)
        ranks.append(scipy.stats.rankdata(pdist(responses, "correlation")))
    for own, subject in zip(ranks, ("subj01", "subj02", "subj03"), strict=True):
        row = rows["test", subject, "lh", "V1"]
        assert row.rsa_ceiling_low == pytest.approx(scipy.stats.spearmanr(own, sum(ranks) - own)[0], abs=1e-10)
        assert row.rsa_ceiling_high == pytest.approx(scipy.stats.spearmanr(own, sum(ranks))[0], abs=1e-10)
        assert rows["test", subject, "lh", "one"].rsa_ceiling_low is None
    assert rows["test", "subj02", "lh", "V1"].rsa == pytest.approx(alone["test", "subj02", "lh", "V1"].rsa, abs=1e-10)
    assert alone["test", "subj02", "lh", "V1"].rsa_ceiling_low is None


def test_subjects_who_saw_other_images_do_not() -> None:
    others = rows_of(part(1), part(2, images=1), part(3, split="validation"))
    assert len(others) == 18
    assert {row.rsa_ceiling_low for row in others.values()} == {None}


def test_what_is_drawn_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("calcarine.evaluation.rsa.MOST_STIMULI", 20)
    rows = list(rows_of(part()).values())
    assert {(row.n_stimuli, row.rsa_stimuli, row.rsa_seed) for row in rows} == {(30, 20, 0)}
    table = benchmark_table(rows)
    assert table is not None
    assert "test: RSA is over 20 of 30 stimuli, drawn with seed 0." in table.captions
    write_rows(tmp_path / "benchmarks.csv", rows)
    head, first, *_ = (tmp_path / "benchmarks.csv").read_text().splitlines()
    assert head.startswith("split,subject,hemisphere,roi,n_targets,min_ceiling,n_kept,normalised_median,brain_score,")
    assert first.startswith("test,subj00,lh,V1,12,,9,1.")


def test_the_page_s_table_has_what_is_known() -> None:
    table = benchmark_table(list(rows_of(part(), min_ceiling=0.4).values()))
    assert table is not None
    assert table.heads == ["hemisphere", "ROI", "targets", "r / √ceiling", "Brain-Score", "RSA"]
    assert [line[:3] for line in table.lines][:2] == [["left", "V1", "4"], ["left", "one", "0"]]
    assert "below 0.4 of variance" in table.captions[1]
    assert benchmark_table([]) is None
