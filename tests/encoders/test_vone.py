"""VOneNet: cells against gratings, filters against SciPy, networks against the published layout written out."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from calcarine.encoders import VOneEncoder
from calcarine.encoders.listing import layers_table
from calcarine.encoders.v1_cells import Tuning, draw_tuning
from calcarine.encoders.vone import KERNEL, V1Block, gabor_filters
from calcarine.errors import InputError
from scipy.stats import kstest, multivariate_normal
from torch import Tensor, nn

IMAGES = torch.randint(0, 256, (2, 3, 80, 100), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CELLS = 64  # of each kind
DEGREE = 16.0  # pixels
SMALL = {"image_size": 64, "visual_degrees": 4.0, "simple_channels": 12, "complex_channels": 20}


@pytest.fixture(scope="module")
def cells() -> Tuning:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return draw_tuning(2 * CELLS)


@pytest.fixture(scope="module")
def block() -> V1Block:
    """A block of the same cells."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return V1Block(CELLS, CELLS, DEGREE).eval()


def gratings(frequency: float, orientations: Tensor, phases: Tensor) -> Tensor:
    """Grey gratings, (orientations, phases, 3, KERNEL, KERNEL); their phase is that in the middle."""
    place = torch.arange(KERNEL) - KERNEL // 2
    across = place[:, None] * orientations.cos()[:, None, None] + place * orientations.sin()[:, None, None]
    waves = torch.cos(2 * torch.pi * frequency / DEGREE * across[:, None] + phases[:, None, None])
    return waves[:, :, None].expand(-1, -1, 3, -1, -1).float()


@torch.no_grad()
def respond(block: V1Block, images: Tensor) -> Tensor:
    """Rates in the middle of images (…, 3, KERNEL, KERNEL): (…, 2 · CELLS)."""
    return block(images.flatten(0, -4))[:, :, 3, 3].unflatten(0, images.shape[:-3])


def test_filters_are_gaussians_times_cosines(cells: Tuning) -> None:
    for shift in (0.0, np.pi / 2):
        filters = gabor_filters(cells, DEGREE, shift)
        for cell in range(0, 2 * CELLS, 16):
            frequency, angle = cells.frequency[cell].item() / DEGREE, cells.orientation[cell].item()
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            widths = np.diag([cells.across[cell].item(), cells.along[cell].item()]) / frequency
            places = np.stack(np.mgrid[-12:13, -12:13], axis=-1)  # (down, right)
            window = multivariate_normal(cov=turn @ widths**2 @ turn.T).pdf(places)
            wave = np.cos(2 * np.pi * frequency * places @ turn[:, 0] + cells.phase[cell].item() + shift)
            np.testing.assert_allclose(filters[cell].numpy(), window * wave, rtol=1e-5, atol=1e-8)


def test_cells_are_drawn_from_the_measured_distributions() -> None:
    torch.manual_seed(0)
    drawn = draw_tuning(20_000)
    orientation = np.histogram(drawn.orientation.rad2deg().numpy(), [-22.5, 22.5, 67.5, 112.5, 157.5])[0] / 20_000
    np.testing.assert_allclose(orientation, np.array([66, 49, 77, 54]) / 246, atol=0.015)
    frequency = np.histogram(drawn.frequency.numpy(), [0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6])[0] / 20_000
    np.testing.assert_allclose(frequency, np.array([4, 4, 8, 25, 32, 26, 28]) / 127, atol=0.015)
    octave = drawn.frequency[(drawn.frequency > 2) & (drawn.frequency < 2.8)].log2().numpy()
    assert kstest(octave, "uniform", (1.0, np.log2(1.4))).pvalue > 0.001
    assert kstest(drawn.phase.numpy(), "uniform", (0, 2 * np.pi)).pvalue > 0.001
    edges = np.logspace(-1, 0.2, 6)
    joint = np.histogram2d(drawn.across.numpy(), drawn.along.numpy(), [edges, edges])[0] / 20_000
    ringach = np.array([[2, 0, 1, 0, 0], [8, 9, 4, 1, 0], [1, 2, 19, 17, 3], [0, 0, 1, 7, 4], [0, 0, 0, 0, 0]]) / 79
    np.testing.assert_allclose(joint, ringach, atol=0.015)
    assert np.corrcoef(drawn.frequency.log(), drawn.across.log())[0, 1] == pytest.approx(0.75, abs=0.03)


def test_cells_prefer_their_orientation_and_frequency(block: V1Block, cells: Tuning) -> None:
    # Where a kernel holds two cycles, and the window half a cycle, a Gabor filter has one clear preference.
    clear = np.flatnonzero((cells.frequency > 1.3) & (cells.across > 0.5) & (cells.along > 0.5))
    assert set(clear < CELLS) == {True, False}
    turns = torch.linspace(-90, 75, 12).deg2rad()
    phases = torch.arange(8) * torch.pi / 4
    octaves = torch.linspace(-1.5, 1.5, 7)
    errors, shifts = [], []
    for cell in clear[::2].tolist():
        frequency, orientation = cells.frequency[cell].item(), cells.orientation[cell]
        rates = respond(block, gratings(frequency, orientation + turns, phases))[..., cell].amax(1)
        errors.append(turns[rates.argmax()].rad2deg().abs().item())
        usable = octaves[frequency * 2**octaves < DEGREE / 2]
        waves = [gratings(frequency * 2 ** each.item(), orientation[None], phases)[0] for each in usable]
        shifts.append(usable[respond(block, torch.stack(waves))[..., cell].amax(1).argmax()].abs().item())
    assert max(errors) <= 15
    assert np.mean(np.array(errors) == 0) > 0.9
    assert max(shifts) <= 0.5
    assert np.mean(np.array(shifts) == 0) > 0.9


def test_complex_cells_do_not_mind_phase_and_simple_ones_do(block: V1Block, cells: Tuning) -> None:
    phases = torch.arange(12) * torch.pi / 6
    modulation = []
    for cell in range(2 * CELLS):
        wave = gratings(cells.frequency[cell].item(), cells.orientation[cell : cell + 1], phases)
        rates = respond(block, wave)[0, :, cell]
        modulation.append(((rates.max() - rates.min()) / (rates.max() + rates.min())).item())
    simple, complex_ = modulation[:CELLS], modulation[CELLS:]
    assert min(simple) == 1  # half-wave rectified: silent at the opposite phase
    assert np.median(complex_) < 0.1


def test_every_cell_sees_one_colour(block: V1Block) -> None:
    seen = [(bank.weight != 0).any(-1).any(-1) for bank in (block.simple_conv_q0, block.simple_conv_q1)]  # (cells, 3)
    assert (seen[0].sum(1) == 1).all()
    assert torch.equal(*seen)
    assert (seen[0].sum(0) > CELLS / 2).all()


def test_noise_is_of_training_alone_and_grows_with_the_rate() -> None:
    torch.manual_seed(2)
    block = V1Block(8, 8, DEGREE, noise=True)
    images = 20 * torch.randn(1, 3, 64, 64)  # beyond what pictures give, so that no noisy rate is cut off at 0
    rates = block.eval()(images)
    assert torch.equal(block(images), rates)
    block.train()
    noisy = torch.stack([block(images) for _ in range(400)])
    spikes, variance = (rates * 0.35 + 0.07)[0], (noisy * 0.35).var(0)[0]
    strong = spikes > 20
    assert strong.sum() > 100
    assert torch.all((noisy.mean(0)[0] - rates[0])[strong].abs() < 5 * (spikes[strong] / 400).sqrt() / 0.35)
    assert (variance / spikes)[strong].mean().item() == pytest.approx(1, abs=0.02)
    assert noisy.min() == 0
    block.noise = False
    assert torch.equal(block(images), rates)


@pytest.fixture
def quick_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights of back-ends, whose values do not matter here, take seconds to draw."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor.detach().fill_(0.01))


@pytest.mark.usefixtures("quick_init")
def test_seeds_make_the_cells_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    prints = [
        VOneEncoder("resnet50", layers="vone_block", seed=seed, **SMALL).fingerprint()  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.rand(4), expected)
    assert prints[0] == prints[1] != prints[2]
    assert json.loads(json.dumps(prints[0])) == prints[0]


def published_alexnet(simple: int, complex_: int) -> nn.Sequential:
    """The authors' back-end behind two filter banks, written out with PyTorch's own layers, with weights of seed 3."""
    banks = nn.ModuleDict(
        {
            name: nn.Conv2d(3, simple + complex_, KERNEL, stride=4, padding=12, bias=False)
            for name in ("simple_conv_q0", "simple_conv_q1")
        }
    )
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    features = nn.Sequential(
        *(nn.Conv2d(64, 192, 5, 2, 2), relu, pool, nn.Conv2d(192, 384, 3, 1, 1), relu),
        *(nn.Conv2d(384, 256, 3, 1, 1), relu, nn.Conv2d(256, 256, 3, 1, 1), relu, pool),
    )
    back_end = nn.ModuleDict({"features": features})
    bottleneck = nn.Conv2d(simple + complex_, 64, 1, bias=False)
    network = nn.Sequential(OrderedDict(vone_block=banks, bottleneck=bottleneck, model=back_end))
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        bound = parameter[0].numel() ** -0.5
        parameter.data = (2 * torch.rand(parameter.shape, generator=generator) - 1) * bound
    return network


@torch.no_grad()
@pytest.mark.usefixtures("quick_init")
def test_a_published_alexnet_is_read_filters_and_all(tmp_path: Path) -> None:
    network = published_alexnet(12, 20).eval()
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    state["module.model.classifier.6.bias"] = torch.zeros(1000)  # of a module that does not run
    file = tmp_path / "vonealexnet_e70.pth.tar"
    torch.save({"state_dict": state, "flags": {"stride": 4, "arch": "alexnet"}, "epoch": 70}, file)
    layers = ["vone_block", "model.avgpool"]
    encoder = VOneEncoder("alexnet", str(file), layers, **SMALL).eval()  # type: ignore[arg-type]
    found = encoder(IMAGES)

    images = F.interpolate(IMAGES / 255, (64, 64), mode="bilinear", antialias=True) * 2 - 1
    pair = [network.vone_block[name](images) for name in ("simple_conv_q0", "simple_conv_q1")]  # type: ignore[index]
    energy = torch.hypot(pair[0][:, 12:], pair[1][:, 12:]) / 2**0.5
    rates = 25 * torch.cat([pair[0][:, :12].relu(), energy], 1)
    maps = network.model["features"](network.bottleneck(rates))  # type: ignore[index,operator]
    torch.testing.assert_close(found["vone_block"], rates, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["model.avgpool"], F.adaptive_avg_pool2d(maps, 7), rtol=1e-4, atol=1e-4)

    control = encoder.randomised()
    for name, tensor in encoder.network.state_dict().items():
        assert torch.equal(tensor, control.network.state_dict()[name]) == name.startswith("vone_block."), name
    with pytest.raises(InputError, match=r"vonealexnet_e70\.pth\.tar: the weights are of another model") as caught:
        VOneEncoder("alexnet", str(file), layers, **(SMALL | {"simple_channels": 13}))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@torch.no_grad()
def test_resnet50_starts_at_its_blocks() -> None:
    from torchvision.models import resnet50

    encoder = VOneEncoder("resnet50", layers=["bottleneck", "embedding"], **SMALL).eval()  # type: ignore[arg-type]
    reference = resnet50().eval()
    state = {name[6:]: each for name, each in encoder.network.state_dict().items() if name.startswith("model.")}
    assert set(reference.load_state_dict(state, strict=False).missing_keys) == {
        *(f"bn1.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
        *("conv1.weight", "fc.weight", "fc.bias"),
    }
    found = encoder(IMAGES)
    maps = found["bottleneck"]
    for stage in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
        maps = stage(maps)
    torch.testing.assert_close(found["embedding"], maps.mean((2, 3)))
    assert {layer: tuple(each.shape[1:]) for layer, each in found.items()} == encoder.feature_shapes()


def test_as_a_backbone_all_but_the_cells_learns() -> None:
    encoder = VOneEncoder("resnet50", noise=True, **SMALL)  # type: ignore[arg-type]
    before = {name: each.clone() for name, each in encoder.network.state_dict().items()}
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1e-3)
    encoder(IMAGES)["embedding"].square().mean().backward()
    assert all(each.grad is not None for each in encoder.parameters())
    optimizer.step()
    same = {name for name, each in encoder.network.state_dict().items() if torch.equal(each, before[name])}
    assert {"vone_block.simple_conv_q0.weight", "vone_block.simple_conv_q1.weight"} <= same
    assert not {"bottleneck.weight", "model.layer4.2.conv3.weight"} & same


def test_layers_are_listed_with_the_published_shapes() -> None:
    with torch.device("meta"):
        encoder = VOneEncoder("alexnet", layers=["model.features.0", "model.features.9", "embedding"])
    assert encoder.feature_shapes() == {
        "model.features.0": (192, 28, 28),
        "model.features.9": (256, 7, 7),
        "embedding": (4096,),
    }
    assert encoder.network.state_dict()["model.classifier.1.weight"].shape == (4096, 256 * 7 * 7)
    rows = layers_table("vone:resnet50").splitlines()[3:]
    shapes = dict(row.split(maxsplit=1) for row in rows)
    assert shapes["vone_block"].strip() == "56 × 56 map, 512 channels"
    assert shapes["embedding"].split() == ["2048", "the", "default"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 64}, r"--data\.encoder\.image_size: expected more than 90 pixels for 8 degrees.*found 64"),
        ({"visual_degrees": 0.0}, r"--data\.encoder\.visual_degrees: expected more than 0, found 0"),
        ({"simple_channels": 0}, r"--data\.encoder\.simple_channels: expected at least 1, found 0"),
        ({"model": "alexnett"}, "vone has no model 'alexnett'.*'alexnet'"),
        ({"weights": "pretrained"}, "no weights 'pretrained'.*expected random, a file"),
        ({"layers": "vone_blok", **SMALL}, "no layer 'vone_blok'.*'vone_block'.*calcarine layers vone:resnet50"),
    ],
)
def test_wrong_flags_are_one_clear_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        VOneEncoder(**({"model": "resnet50"} | arguments))
    assert "\n" not in str(caught.value)
