"""Arrays and noise ceilings on disk."""

from pathlib import Path

import numpy as np
import pytest
from calcarine.data import arrays
from calcarine.data.arrays import check_finite, open_array
from calcarine.data.noise_ceiling import read_noise_ceiling
from calcarine.errors import InputError

AXES = ("stimuli", "targets")


def refusal(path: Path, axes: tuple[str, ...] = AXES) -> str:
    with pytest.raises(InputError) as error:
        open_array(path, axes)
    assert str(error.value).startswith(f"{path}: expected an array ({', '.join(axes)})")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(3), r"shape (3,)"),
        (np.zeros((3, 0)), "shape (3, 0)"),
        (np.zeros((3, 2), dtype=complex), "dtype complex128"),
        (np.array([["a", "b"]]), "dtype <U1"),
        (np.zeros((1, 1), dtype=[("x", "f4")]), "dtype [('x', '<f4')]"),
        (np.array([[1, None]], dtype=object), "damaged file"),
    ],
    ids=["axes", "nothing", "complex", "text", "records", "objects"],
)
def test_refuses_what_is_not_an_array_of_numbers(tmp_path: Path, array: np.ndarray, found: str) -> None:
    np.save(tmp_path / "a.npy", array)
    assert found in refusal(tmp_path / "a.npy")


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "header", "missing", "npz"])
def test_refuses_a_damaged_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((30, 20)))
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "npz":
        np.savez(path.with_suffix(".npz"), a=np.zeros((3, 2)))
        path.with_suffix(".npz").replace(path)
    else:
        header = whole.replace(b"(30, 20)", b"(30, [))")
        path.write_bytes({"truncated": whole[:-8], "empty": b"", "foreign": b"text\n" * 50, "header": header}[damage])
    assert ("no such file" if damage == "missing" else "damaged file") in refusal(path)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_names_the_first_value_that_is_not_finite(
    tmp_path: Path, dtype: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "VALUES_PER_CHUNK", 64)  # so that faults lie in several chunks
    array = np.random.default_rng(0).standard_normal((50, 30)).astype(dtype, order=order)  # type: ignore[call-overload]
    path = tmp_path / "a.npy"
    np.save(path, array)
    check_finite(open_array(path, AXES))
    array[17, 4], array[30, 29] = np.nan, -np.inf
    np.save(path, array)
    with pytest.raises(InputError, match=r"found nan at row 17, column 4 \(counted from 0\) and 2 such entries in all"):
        check_finite(open_array(path, AXES))
    with pytest.raises(InputError, match=r"found -inf at row 30, column 29 \(counted from 0\) and 1 such"):
        check_finite(open_array(path, AXES), allow_nan=True)


def test_a_float64_beyond_float32_is_a_fault(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0, 1e300]]))
    with pytest.raises(InputError, match="found 1e\\+300 at row 0, column 1"):
        check_finite(open_array(tmp_path / "a.npy", AXES))


@pytest.mark.parametrize("values", [[0.0, 0.5, 1.0], [0, 50, 100], [0, 0.5, 1.0000001], [0, 50, 100.0001]])
def test_noise_ceilings_are_fractions_whatever_the_file_has(tmp_path: Path, values: list[float]) -> None:
    np.save(tmp_path / "lh.npy", values)
    np.testing.assert_array_equal(read_noise_ceiling({tmp_path / "lh.npy": 3}), [0, 0.5, 1])


def test_files_read_together_have_one_unit(tmp_path: Path) -> None:
    np.save(tmp_path / "lh.npy", [0.5, 0.9])
    np.save(tmp_path / "rh.npy", [50.0])
    both = {tmp_path / "lh.npy": 2, tmp_path / "rh.npy": 1}
    np.testing.assert_allclose(read_noise_ceiling(both), [0.005, 0.009, 0.5])


def test_an_unknown_noise_ceiling_stays_unknown(tmp_path: Path) -> None:
    np.save(tmp_path / "lh.npy", [np.nan, 80.0])
    np.testing.assert_array_equal(read_noise_ceiling({tmp_path / "lh.npy": 2}), [np.nan, 0.8])


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.5, 0.5], "found 2"),
        ([0.1, -0.2, 0.3], "found -0.2 at index 1"),
        ([9, 101, np.inf], "found 101.0 at index 1"),
    ],
    ids=["count", "negative", "over"],
)
def test_refuses_noise_ceilings_out_of_range(tmp_path: Path, values: list[float], found: str) -> None:
    np.save(tmp_path / "lh.npy", values)
    with pytest.raises(InputError, match=rf"lh\.npy: expected .*{found}"):
        read_noise_ceiling({tmp_path / "lh.npy": 3})


def test_reads_the_noise_ceilings_of_the_natural_scenes_dataset(shared_data: Path) -> None:
    for subject, (left, right) in {
        "subj01": (19004, 20544),
        "subj06": (18978, 20220),
        "subj08": (18981, 20530),
    }.items():
        for hemisphere, count in (("lh", left), ("rh", right)):
            path = shared_data / "nsd_noise_ceiling" / subject / f"{hemisphere}.npy"
            ceiling = read_noise_ceiling({path: count})
            assert ceiling.min() >= 0
            assert 0.6 < ceiling.max() < 0.9
            np.testing.assert_allclose(ceiling * 100, np.load(path), rtol=1e-6)
