"""RetinotopicReadout: against torch's own sampling, its pyramid and its memory, and planted places on cortex."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from calcarine.data import Simulated
from calcarine.errors import InputError
from calcarine.models import RetinotopicReadout
from calcarine.models.heads.sampling import read_at
from calcarine.run.main import main
from plain_facts import plain_facts

SHAPES = {"fine": (3, 9, 6), "coarse": (2, 4, 4)}


def through_torch(maps, where, weight):
    """Samples by `grid_sample`, then the weights."""
    points = (2 * where - 1)[None, :, None].expand(len(maps), -1, -1, -1)
    sampled = F.grid_sample(maps, points, padding_mode="border", align_corners=False)[..., 0]
    return torch.einsum("bct,tc->bt", sampled, weight)


@pytest.mark.parametrize("shape", [(16, 16), (5, 3), (1, 1), (1, 7)])
def test_points_are_read_as_torch_samples_them(shape):
    torch.manual_seed(0)
    maps = torch.randn(3, 4, *shape, dtype=torch.float64, requires_grad=True)
    where = (1.4 * torch.rand(50, 2, dtype=torch.float64) - 0.2).requires_grad_()  # some outside of the image
    weight = torch.randn(50, 4, dtype=torch.float64, requires_grad=True)
    found, expected, pull = read_at(maps, where, weight), through_torch(maps, where, weight), torch.randn(3, 50)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad((found * pull).sum(), (maps, where, weight)),
        torch.autograd.grad((expected * pull).sum(), (maps, where, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    assert torch.autograd.gradcheck(read_at, (maps, where[:3].detach().requires_grad_(), weight[:3].detach()))
    with torch.autocast("cpu", torch.bfloat16):
        assert read_at(maps.bfloat16(), where.float(), weight.float()).dtype == torch.float32


def filled(**settings):
    """A readout of 6 targets that lie in a row on cortex, with weights."""
    torch.manual_seed(0)
    readout = RetinotopicReadout(SHAPES, 6, **settings)
    coordinates = torch.stack([torch.arange(6.0) * 8, torch.zeros(6), torch.ones(6)], dim=1)
    readout.fill(plain_facts(6, coordinates=coordinates, hemispheres=torch.tensor([0, 0, 0, 1, 1, 1])))
    with torch.no_grad():
        for parameter in readout.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return readout.eval()


def test_each_scale_has_weights_of_its_own_at_the_same_place():
    readout = filled(scales=3)
    features = {layer: torch.randn(5, *shape) for layer, shape in SHAPES.items()}
    where = readout.places(5)
    assert (where > 0).all()
    assert (where < 1).all()
    pyramid = [
        F.avg_pool2d(maps, 2**scale, ceil_mode=True) for maps in features.values() for scale in range(3)
    ]  # blocks at the end of a side that no power of two divides are narrower
    assert [each.shape[1:] for each in pyramid] == list(readout.views)
    weights = readout.weight.split([each.shape[1] for each in pyramid], dim=1)
    parts = [through_torch(each, where, weight) for each, weight in zip(pyramid, weights, strict=True)]
    expected = sum(parts) + readout.bias
    torch.testing.assert_close(readout(features), expected)


def test_places_follow_cortex_and_jitter_is_of_training_alone():
    readout = filled(jitter=0.05)
    centers = readout.centers()
    torch.testing.assert_close(readout.places(4), centers)
    readout.train()
    torch.manual_seed(1)
    moved = torch.stack([readout.places(4) - centers for _ in range(4000)])
    torch.testing.assert_close(moved.std(0), torch.full((6, 2), 0.05), rtol=0.05, atol=0)
    assert moved.mean(0).abs().max() < 0.005
    moved_places = readout.network.encoding.clone()
    readout.fill(plain_facts(6, coordinates=torch.zeros(6, 3)))
    assert not torch.equal(readout.network.encoding, moved_places)
    # At one place of two hemispheres, the sign tells them apart.
    readout.fill(plain_facts(6, coordinates=torch.zeros(6, 3), hemispheres=torch.tensor([0, 0, 0, 1, 1, 1])))
    centers = readout.centers()
    assert torch.equal(centers[0], centers[2])
    assert not torch.allclose(centers[0], centers[3])


def test_windows_are_as_wide_as_the_cells_that_are_weighted():
    readout = RetinotopicReadout({"map": (2, 8, 8)}, 3, from_cortex=False, scales=2)
    with torch.no_grad():
        readout.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 2.0], [0, 0, 0, 0]]))
        readout.x[0] = np.arctanh(0.5) / 2
    window = readout.findings().window
    np.testing.assert_allclose(window[0], [0.75, 0.5, 1 / 16], atol=1e-6)
    np.testing.assert_allclose(window[1], [0.5, 0.5, 1 / 8], atol=1e-6)
    assert np.isfinite(window[2]).all()  # weights of 0 look nowhere


def test_what_it_lacks_is_named():
    readout = RetinotopicReadout(SHAPES, 6)
    assert not readout.independent_targets
    assert RetinotopicReadout(SHAPES, 6, from_cortex=False).independent_targets
    RetinotopicReadout(SHAPES, 6, from_cortex=False).check(plain_facts(6))
    with pytest.raises(InputError, match=r"RetinotopicReadout: expected the place of every target.*from_cortex false"):
        readout.check(plain_facts(6))
    for said, settings in {
        "scales 0": {"scales": 0},
        "width 0": {"width": 0},
        "jitter -1": {"jitter": -1},
        "jitter nan": {"jitter": float("nan")},
    }.items():
        with pytest.raises(InputError, match=said):
            RetinotopicReadout(SHAPES, 6, **settings)


CONFIG = """
data:
  source: {class_path: calcarine.data.Simulated, init_args: {images: 700, test_images: 200, targets: 200}}
  encoder: {class_path: calcarine.encoders.GaborEncoder, init_args: {grid: 16, layers: [luminance]}}
  batch_size: 64
model:
  class_path: calcarine.models.EncodingModule
  init_args:
    head: {class_path: calcarine.models.RetinotopicReadout}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 5.0e-3}}
    scheduler: {class_path: calcarine.models.OneCycle}
early_stopping: {patience: 30}
trainer: {max_epochs: 25}
"""
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def places_found(name, *flags):
    """Where targets look and how well they are predicted, (T, 2) and (T,), by the real command line."""
    Path("retinotopic.yaml").write_text(CONFIG)
    assert main(["--config=retinotopic.yaml", f"--name={name}", *flags, *QUIET]) == 0
    with Path(f"runs/{name}/version_0/targets.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    found = np.array([[float(row["window_x"]), float(row["window_y"])] for row in rows])
    return found, np.array([float(row["pearson"]) for row in rows])


@pytest.mark.slow
def test_planted_receptive_fields_are_found_within_half_their_size_and_a_shuffled_control_predicts_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found, correlation = places_found("planted")
    truth = Simulated(images=700, test_images=200, targets=200).truth(1)
    local = truth.model == "gabor"  # textures and categories have fields without a sharp place
    away = np.linalg.norm(found - truth.centre, axis=1)[local]
    assert (away < truth.size[local] / 2).mean() >= 0.95, np.sort(away)
    assert correlation[local].mean() > 0.5
    assert Path("runs/planted/version_0/figures/receptive_fields.png").is_file()
    _, correlation = places_found("control", "--data.source.shuffle=true")
    assert abs(correlation.mean()) < 0.1
