"""Real and simulated recordings are sound, their order shows, and so does a fault in it."""

import shutil

import numpy as np
import pytest
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from calcarine.data.simulation.write import simulate

pytestmark = pytest.mark.slow


def faults(examinations):
    return [
        symptom.line(each.root)
        for each in examinations
        for symptom in each.chart.symptoms
        if symptom.severity != "note"
    ]


def orders(examinations):
    return [each.found for one in examinations for each in one.chart.symptoms if each.check == "order"]


@pytest.mark.parametrize("name", ["macaque_v4/201025", "macaque_v4/190923", "macaque_v4/210325", "object2vec"])
def test_a_real_recording_is_sound_and_in_order(name, shared_data):
    examinations = examine(shared_data / name)
    assert faults(examinations) == []
    (found,) = orders(examinations)
    assert found.startswith("rows fit the stimuli best in the order they stand in")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: np.roll(rows, 1, axis=0), "at lag +1: rows are one late"),
        (lambda rows: np.delete(rows, 700, axis=0), "at lag -1: rows are one early from about row"),
        (lambda rows: rows[sorted(range(len(rows)), key=lambda row: f"{row + 1}")], "names sorted as text"),
    ],
)
def test_a_fault_in_the_order_of_a_real_recording_is_found(change, words, shared_data, tmp_path):
    real = shared_data / "macaque_v4/201025"
    (tmp_path / "images").mkdir()
    for number, path in enumerate(sorted((real / "images").iterdir()), start=1):
        (tmp_path / "images" / f"image{number}.jpg").symlink_to(path)  # numbers without zeros before them
    np.save(tmp_path / "responses.npy", change(np.load(real / "responses.npy")))
    (found,) = orders(examine(tmp_path))
    assert words in found


@pytest.mark.parametrize("format", ["folder", "algonauts2023"])
def test_a_simulated_recording_is_sound(format, tmp_path):
    simulate(tmp_path / "data", format, images=60, targets=200, test_responses=True)
    assert faults(examine(tmp_path / "data")) == []


def test_real_noise_ceilings_are_sound(shared_data, tmp_path):
    simulate(tmp_path / "data", images=20, targets=200)
    shutil.rmtree(tmp_path / "data/noise_ceiling")
    for side, count in (("lh", 96), ("rh", 104)):
        real = np.load(shared_data / f"nsd_noise_ceiling/subj01/{side}.npy")
        (tmp_path / "ceilings/subj01").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"ceilings/subj01/{side}.npy", real[:count])
    assert faults(examine(tmp_path / "data", asked=Asked(noise_ceiling=tmp_path / "ceilings"))) == []
