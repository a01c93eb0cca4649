"""Where bfloat16 is imitated, that is said before hours are spent on it."""

from contextlib import nullcontext

import pytest
import torch
from calcarine import bf16
from calcarine.run.main import main
from trees import write_folder

CPU = torch.device("cpu")
X86 = {"architecture": "x86_64", "cpu_name": "Xeon E5-2680", "avx2": True}


@pytest.fixture(autouse=True)
def unsaid():
    bf16.warn_of_imitated_bf16.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "computes"),
    [
        (X86, False),
        ({**X86, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({**X86, "avx512_bf16": True}, True),
        ({**X86, "avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, True),
        ({"architecture": "aarch64", "neon": True, "bf16": False}, False),
        ({"architecture": "aarch64"}, True),
        ({}, True),
    ],
)
def test_what_a_processor_computes_in(capabilities, computes, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert bf16.computes_in_bf16(CPU) == computes
    bf16.warn_of_imitated_bf16("--trainer.precision", "32-true", CPU)
    assert not caplog.records
    bf16.warn_of_imitated_bf16("--trainer.precision", "bf16-mixed", CPU)
    bf16.warn_of_imitated_bf16("--trainer.precision", "bf16-mixed", CPU)  # said once
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (0 if computes else 1)
    assert all(capabilities.get("cpu_name", "this processor") in each and each.endswith("out") for each in said)


def test_a_gpu_without_it_is_named(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    bf16.warn_of_imitated_bf16("--trainer.precision", "bf16-mixed", torch.device("cuda", 0))
    bf16.warn_of_imitated_bf16("--data.encode_precision", "bf16-mixed", torch.device("cuda", 0))
    trained, encoded = (record.getMessage() for record in caplog.records)
    assert "Tesla V100" in trained
    assert trained.endswith("or use 16-mixed")
    assert encoded.endswith("leave it out")


def test_a_run_says_so_of_training_and_of_extraction(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: X86, raising=False)
    write_folder(tmp_path / "mine", n_stimuli=20, n_targets=3)
    flags = ["--data.encode_precision=bf16-mixed", "--trainer.precision=bf16-mixed"]
    root = ["--data.source=Folder", "--data.source.root=mine", "--data.encoder=PixelEncoder"]
    solved, trained = "--data.encode_precision bf16-mixed", "--trainer.precision bf16-mixed"
    for model, expected in (("RidgeModule", [solved]), ("EncodingModule", [solved, trained])):
        given = [*root, *flags, "--trainer.accelerator=cpu", "--trainer.max_epochs=1", f"--model={model}"]
        assert main(given) == 0
        said = [record.getMessage().split(":")[0] for record in caplog.records if "imitates" in record.getMessage()]
        assert sorted(said) == expected


@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="a torch that does not say it")
def test_torch_says_what_this_processor_has():
    capabilities = torch.cpu.get_capabilities()
    if capabilities["architecture"] == "x86_64":
        assert {"avx512_bf16", "amx_bf16", "cpu_name"} <= set(capabilities)
