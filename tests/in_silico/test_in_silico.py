"""Experiments on models whose truth is planted: a filter that they read, and a place where they look."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from calcarine.batch import Facts
from calcarine.commands.main import main
from calcarine.encoders import GaborEncoder
from calcarine.encoders.intake import StimulusIntake
from calcarine.errors import InputError
from calcarine.in_silico.experiment import _stem
from calcarine.in_silico.masks import what_is_lost
from calcarine.in_silico.page import lit
from calcarine.in_silico.responding import differentiable, named_sets, respond
from calcarine.in_silico.synthesis import Prior, synthesise
from calcarine.models import EncodingModule
from PIL import Image

FREQUENCIES, ORIENTATIONS, GRID, SIDE = [4.0, 8.0, 16.0], 4, 4, 64


def reads(frequency: int, orientation: int, rows: slice, columns: slice) -> EncodingModule:
    """A model whose two targets read one filter's energy, in a part of the image."""
    encoder = GaborEncoder(FREQUENCIES, ORIENTATIONS, grid=GRID, layers="luminance").eval()
    shapes = encoder.feature_shapes()
    model = EncodingModule(2, shapes)
    weight = torch.zeros(2, *shapes["luminance"])
    weight[:, frequency * ORIENTATIONS + orientation, rows, columns] = 1
    model.head.get_parameter("weight").data.copy_(weight.flatten(1))
    ones = {layer: torch.ones(shape) for layer, shape in shapes.items()}
    model.take_facts(
        Facts(
            response_mean=torch.tensor([2.0, -3.0]),
            response_scale=torch.tensor([0.1, 5.0]),
            feature_mean={layer: 0 * each for layer, each in ones.items()},
            feature_scale=ones,
            standardized=True,
            groups=torch.zeros(2, dtype=torch.int64),
            group_names=["lh.V1"],
            rois={"lh.V1": torch.tensor([0]), "rh.V1": torch.tensor([1])},
            subjects={"subj01": slice(0, 2)},
            hemispheres=torch.tensor([0, 1]),
            coordinates=torch.zeros(2, 3),
            noise_ceiling=torch.ones(2),
            categories=[],
            intake=StimulusIntake(encoder),
        )
    )
    model.setup("test")
    return model


EVERYWHERE = slice(None)


def grating(frequency: float, orientation: int) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3) with bars turned by so many steps from vertical."""
    angle = np.pi * orientation / ORIENTATIONS
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    wave = np.cos(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)))
    return np.repeat((127.5 + 60 * wave)[..., None], 3, axis=2).astype(np.uint8)


def test_responses_are_means_of_standardised_predictions() -> None:
    model = reads(1, 2, EVERYWHERE, EVERYWHERE)
    images = np.stack([grating(8, turn) for turn in range(ORIENTATIONS)])
    sets = named_sets(model, None, None)
    assert {name: own.tolist() for name, own in sets.items()} == {"V1": [0, 1], "all": [0, 1]}
    predicted = model.predict(images).double().numpy()
    expected = ((predicted - [2, -3]) / np.float32([0.1, 5])).mean(1)
    found = respond(model, images, sets | named_sets(model, ["lh.V1"], None))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[:, 2], (predicted[:, 0] - 2) / np.float32(0.1), rtol=1e-5)
    through = differentiable(model, sets["V1"])
    pixels = torch.from_numpy(images).movedim(-1, 1).float().requires_grad_()
    np.testing.assert_allclose(through(pixels).detach(), expected, rtol=1e-4)


def preferred(image: np.ndarray) -> tuple[float, float]:
    """Frequency in cycles per image, and orientation in steps, of the most power of an image."""
    grey = image.mean(2)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    cycles = np.fft.fftfreq(SIDE, 1 / SIDE)
    down, across = cycles[:, None], cycles[None]
    radius, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    share = power / power.sum()
    doubled = np.angle((share * np.exp(2j * angle)).sum()) % (2 * np.pi)
    return float(np.exp((share * np.log(np.maximum(radius, 1))).sum())), doubled / 2 / np.pi * ORIENTATIONS


@pytest.mark.parametrize(("frequency", "orientation"), [(0, 1), (1, 3), (1, 0), (2, 2)])
def test_what_is_made_has_the_planted_frequency_and_orientation(frequency: int, orientation: int) -> None:
    model = reads(frequency, orientation, EVERYWHERE, EVERYWHERE)
    sets = named_sets(model, None, None)
    prior = Prior(SIDE)
    most, least = (synthesise(differentiable(model, sets["all"]), sign, prior, steps=80) for sign in (1, -1))
    found, turned = preferred(most)
    assert FREQUENCIES[frequency] / 1.5 < found < FREQUENCIES[frequency] * 1.5
    assert abs((turned - orientation + 2) % ORIENTATIONS - 2) < 0.35
    noise = synthesise(lambda pixels: 0 * pixels.mean((1, 2, 3)), 1, prior, steps=1)  # what any image has
    up, down, neither = respond(model, np.stack([most, least, noise]), sets)[:, 0]
    assert down < neither < up
    for image in (most, least):
        assert abs(image.std() / 255 - prior.contrast) < 0.04


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 3), (2, 1)])
def test_covering_finds_where_a_model_looks(row: int, column: int) -> None:
    look = slice(row, row + 1), slice(column, column + 1)
    sets = named_sets(reads(1, 0, *look), ["V1"], None)
    lost = what_is_lost(reads(1, 0, *look), grating(8, 0), sets, grid=8)[0]
    middle = np.array([row, column]) * 2 + 0.5
    places = np.stack(np.indices((8, 8)), axis=-1)
    near = np.abs(places - middle).max(-1) <= 1.5
    assert np.abs(lost[near]).sum() > 0.7 * np.abs(lost).sum()  # a quarter of the places
    assert lost[near].min() > 0
    other = what_is_lost(reads(1, 2, *look), grating(8, 0), sets, grid=8)[0]  # a filter that sees nothing of it
    assert np.abs(other).max() < 0.1 * lost.max()


def test_what_carries_nothing_is_shown_dark() -> None:
    image = np.full((24, 24, 3), 200, dtype=np.uint8)
    lost = np.zeros((12, 12))
    lost[2, 9] = 1
    shown = lit(image, lost)
    assert shown[5, 19].min() > 3 * shown[20, 4].max()
    assert shown[20, 4].max() < 40


def test_a_folder_is_shown_to_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--data.source.images=120", "--data.source.targets=60", "--data.encoder.grid=3", "--trainer.max_epochs=2"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--name=run"]
    assert main(["train", *flags, *quiet]) == 0
    Path("images").mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(f"images/{index}.png")
    run = "runs/run/version_0"
    few = ["--top=2", "--steps=3", "--size=32", "--masks=1", "--roi", "V1v", "lh.V1v"]
    assert main(["probe", run, "--images=images", "--out=probed", *few]) == 0
    with Path("probed/driving.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows if row["roi"] == "V1v"] == list("123456")
    responses = [float(row["response"]) for row in rows if row["roi"] == "lh.V1v"]
    assert responses == sorted(responses, reverse=True)
    assert {path.name for path in Path("probed/synthesised").iterdir()} == {
        f"{roi}_{end}_0.png" for roi in ("V1v", "lh.V1v") for end in ("most", "least")
    }
    assert len(Path("probed/masks.csv").read_text().splitlines()) == 1 + 2 * 144
    assert "lh.V1v" in Path("probed/report.html").read_text()
    capsys.readouterr()
    for wrong, message in (
        (["--roi", "V9"], "roi V9: the model has no such ROI"),
        (["--steps=0"], "--steps 0: expected 1 or more"),
        (["--size=8"], "--size 8: expected 16 or more"),
        (["--masks=-1"], "expected 0 or more"),
        (["--out=images/inside"], "lies in images"),
    ):
        assert main(["probe", run, "--images=images", "--out=other", *wrong]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in said
        assert not Path("other").exists()


def test_models_of_clips_are_refused() -> None:
    model = reads(1, 0, EVERYWHERE, EVERYWHERE)
    assert isinstance(model.facts.intake, StimulusIntake)
    model.facts.intake.frame_spread = True
    with pytest.raises(InputError, match=r"--synthesise: expected a model of images, found one of clips"):
        differentiable(model, torch.tensor([0]))


def test_names_that_no_file_can_have_and_names_with_dots() -> None:
    model = reads(1, 0, EVERYWHERE, EVERYWHERE)
    rois = {"lh.TE.1": torch.tensor([0]), "rh.TE.1": torch.tensor([1]), "lh.PIT.1": torch.tensor([0])}
    model.facts = replace(model.facts, rois=rois)
    sets = named_sets(model, None, None)
    assert {name: own.tolist() for name, own in sets.items()} == {"TE.1": [0, 1], "PIT.1": [0], "all": [0, 1]}
    names = ["V1v", "FFA/OFA", "FFA_OFA", "../x"]
    assert [_stem(names, name) for name in names] == ["V1v", "FFA_OFA_1", "FFA_OFA", "__x_3"]


def test_a_backbone_is_shown_images_as_it_was_trained_on_them() -> None:
    torch.manual_seed(0)
    backbone = GaborEncoder(FREQUENCIES, ORIENTATIONS, grid=GRID, layers="luminance")
    model = EncodingModule(2, None, backbone=backbone)
    model.take_facts(
        replace(
            reads(1, 0, EVERYWHERE, EVERYWHERE).facts,
            feature_mean=None,
            feature_scale=None,
            intake=StimulusIntake(None, image_shape=(3, 24, 24)),
        )
    )
    model.setup("test")
    model.head.get_parameter("weight").data.normal_()
    image = np.stack([grating(5, 1), grating(9, 3)])
    pixels = torch.from_numpy(image).movedim(-1, 1).float().requires_grad_()
    sets = named_sets(model, ["V1"], None)
    through = differentiable(model, sets["V1"])(pixels).detach().numpy()
    np.testing.assert_allclose(through, respond(model, image, sets)[:, 0], rtol=0.05)
