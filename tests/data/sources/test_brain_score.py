"""BrainScore: assemblies that xarray writes, held against averaging by loops."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from calcarine.data import BrainScore
from calcarine.data.doctor.case import Asked
from calcarine.data.doctor.examine import examine
from calcarine.errors import InputError
from calcarine.recording import Recording
from PIL import Image
from recovered import assert_recovered
from seen import evoked, pictures

STIMULI, NEUROIDS, NOISE = 14, 8, 0.6
REGIONS = ["V4", "IT", "IT", "", "V4", "IT", "V4", "IT"]


def write_assembly(
    root: Path,
    stimuli: int = STIMULI,
    neuroids: int = NEUROIDS,
    across: int = 2,
    change: Callable[[Any], Any] = lambda assembly: assembly,
) -> dict[str, Any]:
    """An assembly with unequal repetitions, its table of stimuli, and their images.

    Returns:
        The presentations (n, neuroids), the stimulus of each, and the images by stimulus.
    """
    import xarray

    rng = np.random.default_rng(3)
    (root / "stimuli").mkdir(parents=True)
    images, made_of = pictures(stimuli, seed=4, across=across)
    ids = [f"hvm{place}" for place in rng.permutation(stimuli) + 1]
    with (root / "stimulus_set.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("stimulus_id", "object_name", "filename"))
        for name, image in zip(ids, images, strict=True):
            Image.fromarray(image).save(root / "stimuli" / f"{name}.png")
            table.writerow((name, "thing", f"{name}.png"))
    signal = evoked(made_of, neuroids, noise=0)
    signal = (signal - signal.mean(axis=0)) / signal.std(axis=0, ddof=1)
    shown = rng.permutation(np.r_[np.repeat(np.arange(stimuli), 5), np.arange(stimuli // 2)])
    data = (signal[shown] + NOISE * rng.standard_normal((len(shown), neuroids))).astype(np.float32)
    assembly = xarray.DataArray(
        data[..., None],
        dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", [ids[each] for each in shown]),
            "repetition": ("presentation", np.zeros(len(shown), dtype=int)),
            "neuroid_id": ("neuroid", [f"n{place}" for place in range(neuroids)]),
            "region": ("neuroid", (REGIONS * neuroids)[:neuroids]),
            "time_bin_start": ("time_bin", [70]),
        },
        name="data",
        attrs={"identifier": "test.2026"},
    )
    change(assembly).to_netcdf(root / "assembly.nc", engine="h5netcdf")
    return {"data": data, "shown": [ids[each] for each in shown], "images": dict(zip(ids, images, strict=True))}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("assembly") / "root"
    return root, write_assembly(root)


def read(root: Path, **flags: Any) -> Recording:
    source = BrainScore(root, **flags)
    (recording,) = source.read()
    assert source.num_targets == recording.num_targets
    return recording


def assert_read(found: Recording, truth: dict[str, Any]) -> None:
    names = sorted(set(truth["shown"]), key=lambda name: int(name[3:]))
    assert found.stimuli.names == [f"{name}.png" for name in names]
    for row, name in enumerate(names):
        own = [place for place, each in enumerate(truth["shown"]) if each == name]
        mean = truth["data"][own].astype(np.float64).mean(axis=0).astype(np.float32)
        np.testing.assert_array_equal(found.responses.gather(np.array([row]))[0], mean)
        assert np.array_equal(found.stimuli.read(row), truth["images"][name])
    assert {roi.name: roi.targets.tolist() for roi in found.rois} == {"IT": [1, 2, 5, 7], "V4": [0, 4, 6]}


def test_presentations_of_a_stimulus_are_averaged(made):
    root, truth = made
    assert_read(read(root), truth)
    assert_read(read(root / "assembly.nc"), truth)


def test_axes_are_known_by_name_and_a_time_bin_by_number(tmp_path):
    import xarray

    def turned(assembly: Any) -> Any:
        later = assembly.assign_coords(time_bin_start=("time_bin", [170])) * 0 + 7
        return xarray.concat([later, assembly], dim="time_bin").transpose("time_bin", "neuroid", "presentation")

    truth = write_assembly(tmp_path / "root", change=turned)
    assert_read(read(tmp_path / "root", time_bin=1), truth)
    with pytest.raises(InputError, match=r"--data\.source\.time_bin None: expected one of 2 time bins"):
        read(tmp_path / "root")


def test_ceilings_are_the_planted_ones(tmp_path):
    truth = write_assembly(tmp_path / "root", stimuli=80, neuroids=60)
    found = read(tmp_path / "root")
    counts = np.unique(truth["shown"], return_counts=True)[1]
    assert len(set(counts)) > 1
    planted = 1 / (1 + NOISE**2 * (1 / counts).mean())
    assert abs((found.ceilings(np.arange(80))["the repeats of these stimuli"] - planted).mean()) < 0.01


def test_odd_but_legal_folders_work(made, tmp_path):
    """Links, images beside the table, a folder of them elsewhere, gaps, a root that nobody may write to."""
    root, truth = made
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "a.nc").symlink_to(root / "assembly.nc")
    shutil.copy(root / "stimulus_set.csv", beside / "b.csv")
    for path in (root / "stimuli").iterdir():
        shutil.copy(path, beside)
    beside.chmod(0o555)
    assert_read(read(beside), truth)
    beside.chmod(0o755)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(root / "assembly.nc", other / "x.nc")
    shutil.copy(root / "assembly.nc", other / "y.nc")
    shutil.copy(root / "stimulus_set.csv", other)
    with h5py.File(other / "y.nc", "r+") as file:
        values = file["data"][:]  # type: ignore[index]
        values[0, 0] = np.nan  # one presentation
        values[:, 3] = np.nan  # a neuroid throughout
        file["data"][:] = values  # type: ignore[index]
    found = read(other, images=root / "stimuli", assembly="y.nc")
    whole = read(root).responses.gather(np.arange(STIMULI))
    gaps = found.responses.gather(np.arange(STIMULI))
    assert np.isnan(gaps[:, 3]).all()
    assert (np.delete(gaps, [0, 3], axis=1) == np.delete(whole, [0, 3], axis=1)).all()


def edit(action: Callable[[Any], object]) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        with h5py.File(root / "assembly.nc", "r+") as file:
            action(file)

    return plant


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        table = root / "stimulus_set.csv"
        table.write_text("\n".join(change(table.read_text().splitlines())) + "\n")

    return plant


def link_out(file: Any) -> None:
    del file["stimulus_id"]
    file["stimulus_id"] = h5py.ExternalLink("/etc/other.nc", "/stimulus_id")


def plain(file: Any) -> None:
    values = file["data"][:]
    del file["data"]
    file["data"] = values


FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no assembly": (lambda root: (root / "assembly.nc").unlink(), {}, r"expected one \*\.nc, found none"),
    "two assemblies": (
        lambda root: shutil.copy(root / "assembly.nc", root / "second.nc"), {},
        r"found assembly\.nc, second\.nc; name it with --data.source.assembly",
    ),
    "no such assembly": (None, {"assembly": "b.nc"}, r"expected b\.nc, found assembly\.nc"),
    "no table": (lambda root: (root / "stimulus_set.csv").unlink(), {}, r"expected one \*\.csv, found none"),
    "a truncated file": (
        lambda root: (root / "assembly.nc").write_bytes((root / "assembly.nc").read_bytes()[:3000]), {},
        "expected a complete HDF5 file",
    ),
    "axes without names": (edit(plain), {}, "expected data on named axes"),
    "no ids": (edit(lambda file: file.__delitem__("stimulus_id")), {}, "expected stimulus_id for each presentation"),
    "ids in another file": (edit(link_out), {}, "expected stimulus_id for each presentation"),
    "an infinite response": (
        edit(lambda file: file["data"].__setitem__((0, 0, 0), np.inf)), {}, "expected finite data, or NaN",
    ),
    "packed numbers": (
        edit(lambda file: file["data"].attrs.__setitem__("scale_factor", 2.0)), {}, "found them packed",
    ),
    "no such time bin": (None, {"time_bin": 1}, "time_bin 1: expected one of 1 time bins"),
    "no such region": (None, {"region": "layer"}, "--data.source.region layer: expected a coordinate"),
    "a stimulus that the table lacks": (
        lines(lambda rows: rows[:-1]), {},
        "expected the stimulus_id of each presentation",
    ),
    "a stimulus twice": (lines(lambda rows: [*rows, rows[-1]]), {}, "expected each stimulus_id once, found 1 again"),
    "other columns": (
        lines(lambda rows: ["id,filename", *rows[1:]]), {},
        "expected the columns stimulus_id and filename",
    ),
    "a missing image": (
        lambda root: (root / "stimuli" / "hvm3.png").unlink(), {}, r"expected the images .* such as hvm3\.png; unpack",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(made, tmp_path, fault):
    spoil, flags, message = FAULTS[fault]
    root = shutil.copytree(made[0], tmp_path / "root")
    if spoil is not None:
        spoil(root)
    with pytest.raises(InputError, match=message) as raised:
        read(root, **flags)
    assert "\n" not in str(raised.value)


def test_check_is_silent_on_a_sound_folder_and_names_faults(made, tmp_path):
    root = shutil.copytree(made[0], tmp_path / "root")

    def said(severities: tuple[str, ...] = ("error", "warning")) -> list[str]:
        (found,) = examine(root, asked=Asked())
        assert found.format == "BrainScore"
        return [symptom.line(root) for symptom in found.chart.symptoms if symptom.severity in severities]

    assert said() == []
    assert any("14 images" in line and "5 to 6 presentations" not in line for line in said(("note",)))
    FAULTS["a missing image"][0](root)
    assert any("no file for some, such as hvm3.png" in line for line in said())
    FAULTS["no ids"][0](root)
    assert any(line.startswith("error: assembly.nc: expected stimulus_id") for line in said())


@pytest.mark.slow
def test_a_run_recovers_what_is_planted_and_its_control_does_not(tmp_path, monkeypatch):
    """By the command line, as a user would: the source is found by what the folder holds."""
    write_assembly(tmp_path / "data", stimuli=600, neuroids=30, across=6)
    flags = ["--data.source.root=data", "--data.encoder=PixelEncoder", "--data.encoder.size=12", "--data.test=0.4"]
    assert_recovered(tmp_path, monkeypatch, flags, roi="IT", least=0.8)
