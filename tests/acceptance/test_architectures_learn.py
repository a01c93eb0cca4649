"""Every architecture explains a simulated subject, beyond the interval around its own shuffled control."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from calcarine.run.main import main

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
ADAM = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}}
COARSE = {"encoder": {"class_path": "calcarine.encoders.GaborEncoder", "init_args": {"grid": 2, "colour_grid": 2}}}
GABOR = {"encoder": {"class_path": "calcarine.encoders.GaborEncoder"}}
MAPS = {"encoder": {"class_path": "calcarine.encoders.GaborEncoder", "init_args": {"grid": 8, "colour_grid": 8}}}
CELLS = {"layers": ["vone_block"], "pool": 5, "image_size": 64, "visual_degrees": 4.0}
CELLS |= {"model": "resnet50", "simple_channels": 64, "complex_channels": 64}
VONE = {"encoder": {"class_path": "calcarine.encoders.VOneEncoder", "init_args": CELLS}}
RESNET = {"model": "test_resnet", "weights": "random", "layers": ["layer2"]}  # timm's smallest
BOTTLENECK = {**CELLS, "layers": ["bottleneck"], "visual_degrees": 3.0}
AVERAGE = {"class_path": "calcarine.models.ExponentialMovingAverage", "init_args": {"decay": 0.9}}
LAYERS = ["luminance", "colour"]
MLP = {"class_path": "calcarine.models.MlpHead", "init_args": {"width": 128}}
PIXELS = {"encoder": {"class_path": "calcarine.encoders.PixelEncoder"}}


def convolutional(readout: str, **trunk: object) -> dict[str, Any]:
    """A ShallowCnn of 32 channels and a readout."""
    return {
        "head": {
            "class_path": "calcarine.models.TrunkHead",
            "init_args": {
                "trunk": {
                    "class_path": "calcarine.models.ShallowCnn",
                    "init_args": {"channels": 32, "shift": 1, **trunk},
                },
                "readout": {"class_path": f"calcarine.models.{readout}"},
            },
        },
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 4e-3}},
    }


def vertex_decoder(**settings: object) -> dict[str, Any]:
    """A VertexDecoder of 32 channels."""
    head = {"class_path": "calcarine.models.VertexDecoder", "init_args": {"width": 32, **settings}}
    return {"head": head, "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 4e-3}}}


def from_scratch(finetuning: str, encoder: str, side: int, epochs: int, **init_args: object) -> dict[str, Any]:
    """A backbone with random weights that is trained on images, and a linear output."""
    backbone = {
        "class_path": f"calcarine.encoders.{encoder}",
        "init_args": {**init_args, "image_size": side, "pool": 6},
    }
    return {
        "data": {"encoder": None, "image_size": side},
        "model": {
            "head": {"class_path": "calcarine.models.FullyConnectedHead", "init_args": {"hidden_dims": []}},
            "backbone": backbone,
            "finetuning": {"class_path": f"calcarine.models.{finetuning}"},
            "scheduler": {"class_path": "calcarine.models.OneCycle"},
        },
        "trainer": {"max_epochs": epochs, "callbacks": [AVERAGE]},
    }


# What differs from the configuration below: settings of the data, of the model, and of everything else.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "linear": {"data": GABOR},
    "finetuned": from_scratch("Full", "TimmEncoder", 48, 5, **RESNET),
    "finetuned_gradually": from_scratch("Gradual", "TimmEncoder", 48, 8, **RESNET),
    "finetuned_by_adapters": from_scratch("Lora", "VOneEncoder", 48, 5, **BOTTLENECK),
    "vertex_decoder": {"data": COARSE, "model": vertex_decoder(), "trainer": {"max_epochs": 12}},
    "vertex_decoder_with_residuals_and_dropout": {
        "data": COARSE,
        "model": vertex_decoder(residual=True, dropout=0.2),
        "trainer": {"max_epochs": 12},
    },
    "vertex_decoder_on_compressed_maps": {
        "data": MAPS,
        "model": {
            **vertex_decoder(),
            "head": {
                "class_path": "calcarine.models.TrunkHead",
                "init_args": {
                    "trunk": {
                        "class_path": "calcarine.models.CompressiveTrunk",
                        "init_args": {"channels": 32, "width": 64},
                    },
                    "readout": vertex_decoder()["head"],
                },
            },
        },
        "trainer": {"max_epochs": 12},
    },
    "fully_connected": {
        "data": MAPS,
        "model": {
            "head": {
                "class_path": "calcarine.models.FullyConnectedHead",
                "init_args": {"hidden_dims": [128, 64], "batch_norm": [True, False], "dropout": [0.3, 0.1]},
            },
            "loss": {"class_path": "calcarine.models.SmoothL1"},
        },
        "early_stopping": {"patience": 3, "decimals": 2},
    },
    "mlp_by_correlation": {
        "data": GABOR,
        "model": {
            "head": {"class_path": "calcarine.models.MlpHead", "init_args": {"width": 128}},
            "loss": {"class_path": "calcarine.models.OneMinusCorrelation"},
        },
    },
    "residual_by_hemisphere": {
        "data": {
            "encoder": {"class_path": "calcarine.encoders.GaborEncoder", "init_args": {"grid": 2, "colour_grid": 2}}
        },
        "model": {
            "head": {"class_path": "calcarine.models.ResidualMlpHead"},
            "loss": {"class_path": "calcarine.models.NoiseCeilingWeightedMse"},
            "hemisphere_networks": True,
            "l1": 1e-4,
        },
    },
    "vone_block": {"data": VONE},
    "shallow_cnn_of_two_layers": {
        "data": PIXELS,
        "model": convolutional("GaussianMaskReadout", kernels=[5, 3], strides=[2, 1]),
        "trainer": {"max_epochs": 10},
    },
    "shallow_cnn_of_three_layers": {
        "data": PIXELS,
        "model": convolutional("FactorizedReadout", kernels=[5, 3, 3], strides=[2, 2, 1]),
        "trainer": {"max_epochs": 10},
    },
    "shallow_cnn_with_gaussian": {
        "data": MAPS,
        "model": convolutional("GaussianReadout", kernels=[1, 3]),
        "trainer": {"max_epochs": 10},
    },
    "shallow_cnn_with_mask": {
        "data": MAPS,
        "model": convolutional("GaussianMaskReadout", kernels=[1, 3]),
        "trainer": {"max_epochs": 10},
    },
    "layer_mixture": {
        "data": {"encoder": {"class_path": "calcarine.encoders.GaborEncoder", "init_args": {"layers": LAYERS}}},
        "model": {"head": {"class_path": "calcarine.models.LayerMixture"}},
    },
    "retinotopic_readout": {
        "data": MAPS,
        "model": {
            "head": {"class_path": "calcarine.models.RetinotopicReadout", "init_args": {"scales": 3}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 4e-3}},
        },
    },
    "memory_encoding_model": {
        "data": MAPS,
        "model": {
            "head": {
                "class_path": "calcarine.models.TrunkHead",
                "init_args": {
                    "trunk": {"class_path": "calcarine.models.LayerProjection", "init_args": {"width": 64}},
                    "readout": {
                        "class_path": "calcarine.models.LayerMixture",
                        "init_args": {
                            "shared": True,
                            "readout": {
                                "class_path": "calcarine.models.RetinotopicReadout",
                                "init_args": {"scales": 2},
                            },
                        },
                    },
                },
            },
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 4e-3}},
        },
    },
    "query_decoder": {
        "data": MAPS,
        "model": {"head": {"class_path": "calcarine.models.QueryDecoder", "init_args": {"width": 64}}},
    },
    "query_decoder_of_places": {
        "data": MAPS,
        "model": {
            "head": {"class_path": "calcarine.models.QueryDecoder", "init_args": {"width": 64, "queries": "place"}}
        },
    },
    "response_components": {
        "data": {**GABOR, "response_components": 20},
        "model": {"head": {"class_path": "calcarine.models.ComponentHead", "init_args": {"readout": MLP}}},
    },
    "random_groups_averaged": {
        "data": GABOR,
        "model": {"head": {"class_path": "calcarine.models.RandomGroups", "init_args": {"readout": MLP}}},
        "trainer": {"max_epochs": 12, "callbacks": [{"class_path": "calcarine.models.StochasticWeightAverage"}]},
    },
    "cross_subject": {
        "data": {
            **GABOR,
            "source": {
                "class_path": "calcarine.data.Simulated",
                "init_args": {"images": 300, "test_images": 200, "targets": 60, "subject": [1, 2]},
            },
        },
        "model": {
            "head": {
                "class_path": "calcarine.models.TrunkHead",
                "init_args": {"trunk": {"class_path": "calcarine.models.MlpTrunk", "init_args": {"dims": [128]}}},
            },
        },
    },
}


def configuration(changes: dict[str, Any]) -> dict[str, Any]:
    source = {"class_path": "calcarine.data.Simulated", "init_args": {"images": 600, "test_images": 200, "targets": 60}}
    model = {"optimizer": ADAM, "scheduler": None, **changes.get("model", {})}
    return {
        "data": {"source": source, "batch_size": 32, "cache_dir": "cache", **changes["data"]},
        "model": {"class_path": "calcarine.models.EncodingModule", "init_args": model},
        "early_stopping": {"patience": 5},
        "trainer": {"max_epochs": 20},
        **{part: values for part, values in changes.items() if part not in ("data", "model")},
    }


def rows_of_test(name: str) -> list[dict[str, str]]:
    """One row per subject."""
    with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["roi"] == "all"]
    return [row for row in rows if row["hemisphere"] == "both"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all architectures run, so that the simulated subject is made once."""
    return tmp_path_factory.mktemp("architectures")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_beats_its_shuffled_control(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path(f"{name}.yaml").write_text(yaml.safe_dump(configuration(ARCHITECTURES[name])))
    assert main([*QUIET, f"--config={name}.yaml"]) == 0
    assert main([*QUIET, f"--config={name}.yaml", f"--name={name}_control", "--data.source.shuffle=true"]) == 0
    pairs = list(zip(rows_of_test(name), rows_of_test(f"{name}_control"), strict=True))
    assert pairs
    for real, control in pairs:
        assert float(real["pearson_ci_low"]) > float(control["pearson_ci_high"])
        assert abs(float(control["pearson_mean"])) < 0.1
