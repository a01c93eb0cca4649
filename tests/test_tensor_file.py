"""What is read of files that `torch.save` wrote, and how the others are refused."""

import datetime

import pytest
import torch
from calcarine.errors import InputError
from calcarine.tensor_file import read_tensors


@pytest.mark.parametrize("mapped", [False, True])
def test_tensors_and_plain_types_come_back(tmp_path, mapped):
    content = {"weight": torch.arange(4.0), "names": ["V1", "V2"], "share": 0.5}
    torch.save(content, tmp_path / "it.pt")
    found = read_tensors(tmp_path / "it.pt", mapped)
    assert torch.equal(found.pop("weight"), content.pop("weight"))
    assert found == content


def _other_objects(path):
    torch.save({"date": datetime.datetime(2026, 11, 28)}, path)


def _half(path):
    torch.save(torch.zeros(1000), path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_other_objects, "refused, expected tensors and plain types only, found datetime.datetime; if you trust it"),
        (_half, "expected a PyTorch file, could not read it: PytorchStreamReader failed"),
        (lambda path: path.write_text("hello"), "expected a PyTorch file, could not read it: "),
        (lambda path: path.write_bytes(b""), "expected a PyTorch file, could not read it: EOFError"),
        (lambda path: path.mkdir(), "expected a PyTorch file, found no such file; correct the path"),
    ],
)
def test_what_is_none_is_refused_in_one_line(tmp_path, write, said, mapped):
    path = tmp_path / "it.pt"
    write(path)
    with pytest.raises(InputError) as refused:
        read_tensors(path, mapped)
    message = str(refused.value)
    assert message.startswith(f"{path}: {said}")
    assert "\n" not in message
    assert "\x1b" not in message  # torch's own is in bold
    assert "weights_only" not in message  # and names the way around its guard
