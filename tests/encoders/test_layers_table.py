"""`calcarine layers`: what it lists can be asked for."""

import ast
import sys
from pathlib import Path

import calcarine.encoders
import pytest
import torch
from calcarine.encoders import TimmEncoder
from calcarine.encoders.listing import layers_table
from calcarine.errors import InputError


def rows(table: str) -> dict[str, str]:
    """Name → the rest of the line."""
    return dict(line.split(maxsplit=1) for line in table.splitlines()[3:])


def test_every_layer_of_the_table_is_served_as_it_says() -> None:
    listed = rows(layers_table("timm:test_vit", image_size=64))
    asked = [name for name, rest in listed.items() if "no layer" not in rest]
    encoder = TimmEncoder("test_vit", "random", asked, image_size=64)
    assert len(asked) > 20
    for name, shape in encoder.feature_shapes().items():
        if name == "embedding":
            continue
        assert listed[name].split("  ")[0] == str(encoder.layouts[name])
        assert shape == encoder.layouts[name].shape
    assert listed["embedding"].split() == ["64", "the", "default"]
    assert listed["patch_embed.proj"] == "4 × 4 map, 64 channels"
    assert listed["blocks.1"] == "4 × 4 tokens + 1, 64"
    assert listed["blocks.1.attn.q_norm"] == "2 × 17 × 32, flat"


def test_a_module_that_runs_twice_is_listed_with_the_reason() -> None:
    listed = rows(layers_table("torchvision:resnet18", image_size=32))
    assert listed["layer1.0.relu"].startswith("no layer: runs 2 times")
    assert listed["layer1"].strip() == "8 × 8 map, 64 channels"


def test_nothing_is_downloaded_and_the_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert "embedding" in layers_table("timm:test_resnet.r160_in1k")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("resnet50", "LIBRARY:MODEL"), ("tim:resnet50", "'timm'"), ("timm:resnet5O", "'resnet50'"), ("timm:", "no model")],
)
def test_wrong_names(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layers_table(spec)


def test_importing_the_encoders_imports_no_model_library() -> None:
    """Read from the text: a fresh interpreter would take seconds to import torch."""
    source = Path(calcarine.encoders.__file__).parents[1]
    files = [*source.glob("encoders/*.py"), source / "batch.py", source / "errors.py"]
    assert len(files) > 10
    allowed = {"torch", "numpy", *sys.stdlib_module_names}
    for file in files:
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed, file
