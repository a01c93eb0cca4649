"""Pickles: what is admitted is read exactly, and of anything else nothing runs."""

import io
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from calcarine.data.unpickle import load_pickle, load_pickled_npy
from calcarine.errors import InputError

PLAIN = {
    "train": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "neither order": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "big-endian": np.arange(3, dtype=">f8"),
    "texts": np.array(["V1", "hV4"]),
    "bytes": np.array([b"face", b"car"]),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "complex": np.array([1 + 2j]),
    "objects": np.array([["a", None], [np.arange(3), {"b": np.float64(2)}]], dtype=object),
    "scalar": np.float32(1.5),
    "text scalar": np.str_("EBA"),
    1: [True, None, 2.5, "é", b"\xff\x00", (1, 2), {3}, frozenset([4]), 1j, OrderedDict(a=1), 10**30],
}


def assert_same(found: object, expected: object) -> None:
    """Equal in type, shape, dtype and value, nested containers included."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        for one, other in zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict) and isinstance(found, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_plain_data_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    loaded = load_pickle(path)
    assert_same(loaded, PLAIN)
    loaded["train"][0, 0, 0] = -1  # what is read can be written to, as what numpy itself reads


def test_reads_what_old_numpy_wrote(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(PLAIN, 3).replace(b"numpy._core.", b"numpy.core."))
    assert_same(load_pickle(path), PLAIN)


def test_reads_what_python_2_wrote(tmp_path: Path) -> None:
    """A Python 2 pickle holds raw data as byte strings, and names of modules that are gone."""
    path = tmp_path / "V1.pkl"
    raw = struct.pack("<3f", 0.5, -2.0, 1e-3)
    path.write_bytes(
        b"\x80\x02}U\x05traincnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(raw)]) + raw + b"tbs."
    )
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["train"], np.array([0.5, -2.0, 1e-3], dtype=np.float32))
    assert_same(loaded, pickle.loads(path.read_bytes(), encoding="latin1"))


def test_what_stands_in_many_places_is_built_once(tmp_path: Path) -> None:
    path = tmp_path / "nested.pkl"
    value: list = [1]
    for _ in range(20):
        value = [value, value]  # 2**20 elements, were it copied out
    path.write_bytes(pickle.dumps(value))
    loaded = load_pickle(path)
    assert loaded[0] is loaded[1]


class Payload:
    """Unpickles by calling a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple:
        return self.reduced


def payloads(flag: Path) -> dict[str, object]:
    """Objects that would make the file `flag` when unpickled."""
    write = f"open({str(flag)!r}, 'w')"
    return {
        "system": Payload(os.system, f"touch {flag}"),
        "eval": Payload(eval, write),
        "exec": Payload(exec, write),
        "open": Payload(open, str(flag), "w"),
        "getattr": Payload(getattr, flag, "touch"),
    }


@pytest.mark.parametrize("kind", ["system", "eval", "exec", "open", "getattr"])
@pytest.mark.parametrize("place", ["alone", "in a dict", "in an array of objects", "as mapping"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_refuses_a_payload_and_runs_nothing(tmp_path: Path, kind: str, place: str, protocol: int) -> None:
    flag, path = tmp_path / "flag", tmp_path / "data.pkl"
    payload = payloads(flag)[kind]
    load = load_pickled_npy if place == "as mapping" else load_pickle
    if place == "as mapping":
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        path.write_bytes(file.getvalue() + pickle.dumps(np.array({1: payload}, dtype=object), protocol))
    else:
        value = {"alone": payload, "in a dict": {"train": [payload]}}.get(place, np.array([1, payload], dtype=object))
        path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(InputError, match="it was not run") as refusal:
        load(path)
    message = str(refusal.value)
    assert str(path) in message
    assert ("posix.system" if kind == "system" else kind) in message
    assert "\n" not in message
    assert not flag.exists()


def test_the_payloads_are_live(tmp_path: Path) -> None:
    """Without protection each one does make the file, or the tests above would show nothing."""
    for kind in ("system", "eval", "exec", "open"):
        flag = tmp_path / kind
        pickle.loads(pickle.dumps(payloads(flag)[kind]))
        assert flag.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins\nint",
        "numpy\nload",
        "numpy\nmemmap",
        "numpy.core.multiarray\nfromfile",
        "numpy._core.multiarray\nndarray.tofile",
        "collections\ndefaultdict",
        "builtins\nbytearray",
        "copyreg\n_reconstructor",
        "functools\npartial",
        "calcarine.data.unpickle\n_load",
    ],
)
def test_refuses_every_other_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(b"c" + name.encode() + b"\n.")
    with pytest.raises(InputError, match="it was not run"):
        load_pickle(path)


def raw_array(code: bytes, dtype_state: bytes, shape: bytes, data: bytes) -> bytes:
    """A pickled array, each part as given."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape + b"cnumpy\ndtype\n" + code + b"\x89\x88\x87R" + dtype_state + b"\x89" + data + b"tb."
    )  # fmt: skip


STATE = b"(K\x03V|\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"


@pytest.mark.parametrize(
    "hostile",
    [
        # The flags deny that the dtype holds objects: numpy would take the bytes for object pointers, and crash.
        raw_array(b"V\x4f8\n", STATE.replace(b"K?", b"K\x00"), b"K\x01\x85", b"C\x08AAAAAAAA"),
        raw_array(b"V\x4f8\n", STATE, b"K\x05\x85", b"]K\x01a"),  # fewer objects than its shape says
        raw_array(b"Vf8\n", STATE, b"K\x05\x85", b"C\x08AAAAAAAA"),  # fewer bytes than its shape says
        raw_array(b"VV8\n", STATE, b"K\x01\x85", b"C\x08AAAAAAAA"),  # raw records
        raw_array(b"Vf8,O\n", STATE, b"K\x01\x85", b"C\x10AAAAAAAAAAAAAAAA"),
        b"]\x94h\x00a.",  # a list that holds itself
        b"",
        b"not a pickle",
        pickle.dumps(PLAIN)[:-40],
    ],
    ids=["flags", "few objects", "few bytes", "records", "fields", "cycle", "empty", "text", "truncated"],
)
def test_a_damaged_or_crafted_pickle_is_one_line(tmp_path: Path, hostile: bytes) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(hostile)
    with pytest.raises(InputError) as refusal:
        load_pickle(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_a_vast_memo_index_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x0f.")  # an empty list, remembered as number 2**28 - 1
    tracemalloc.start()
    assert load_pickle(path) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_reads_what_python_2_wrote_as_text(tmp_path: Path) -> None:
    """Protocol 0 was Python 2's own; its strings escape bytes that are no ASCII."""
    path = tmp_path / "V1.pkl"
    path.write_bytes(
        b"(dp0\nS'train'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\n"
        b"tp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\n"
        b"tp14\nbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\np15\ntp16\nbs."
    )
    np.testing.assert_array_equal(load_pickle(path)["train"], np.array([1, -2], dtype=np.float32))


def test_reads_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "mapping_streams.npy"
    mapping = {0: "Unknown", np.int64(1): "early", 7: np.str_("parietal")}
    np.save(path, np.array(mapping, dtype=object))
    assert load_pickled_npy(path) == mapping


@pytest.mark.parametrize("array", [np.arange(3), np.array([{1: "a"}], dtype=object), np.array(3.0)])
def test_refuses_an_array_that_is_no_mapping(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "mapping.npy"
    np.save(path, array)
    with pytest.raises(InputError, match="expected one object"):
        load_pickled_npy(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip",
        b"\x93NUMPY\x01\x00\xff\xff{" + b" " * 65534,
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{",
        b"\x93NUMPY\x09\x00\x10\x00{}",
        b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('false')",
    ],
    ids=["empty", "zip", "long header", "longer header", "version", "code"],
)
def test_refuses_a_damaged_npy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mapping.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"mapping\.npy: expected a \.npy file") as refusal:
        load_pickled_npy(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pkl: expected a readable file"):
        load_pickle(tmp_path / "absent.pkl")


def test_large_arrays_are_left_in_the_file(tmp_path: Path) -> None:
    """As GLMsingle's dicts of many gigabytes are opened: what is small is read, what is large is mapped."""
    path, large = tmp_path / "content.npy", np.arange(600_000, dtype=">f4").reshape(60, 100, 100)
    content = {"c": large, "fortran": np.asfortranarray(large), "small": np.arange(3), "none": None, "texts": ["a"]}
    np.save(path, content)  # type: ignore[arg-type]
    tracemalloc.start()
    found = load_pickled_npy(path, mapped=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert isinstance(found["c"], np.memmap)
    assert isinstance(found["fortran"], np.memmap)
    assert not found["c"].flags.writeable
    for name in ("c", "fortran", "small"):
        assert found[name].dtype == np.asarray(content[name]).dtype
        assert np.array_equal(found[name], content[name])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        {"a": bytes(2_000_000)},
        {"a": "x" * 2_000_000},
        {bytes(2_000_000): 1},
        {"a": np.array([bytes(2_000_000)], object)},
    ],
)
def test_what_is_large_and_no_array_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "content.npy"
    np.save(path, content)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"content\.npy: expected a pickle of plain data") as raised:
        load_pickled_npy(path, mapped=True)
    assert "\n" not in str(raised.value)


def test_a_mapped_pickle_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "content.npy"
    np.save(path, {"a": np.zeros(600_000)})  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:-2_000_000])
    with pytest.raises(InputError, match="it ends early"):
        load_pickled_npy(path, mapped=True)
