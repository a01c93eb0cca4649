"""What of a backbone is trained, through a real Trainer: weights and batch norm, by epoch, resumed."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from calcarine.encoders import PixelEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.pretrained import PretrainedEncoder
from calcarine.errors import InputError
from calcarine.models import EncodingModule, ExponentialMovingAverage, Frozen, Full, Gradual, Lora
from calcarine.models.finetuning import Finetuning, find_stages
from lightning.pytorch import Callback, LightningModule, Trainer
from tiny_backbone import Keep, TinyBackbone, fit, tensors
from torch import Tensor, nn

IMAGES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
STAGES = ("attention", "top", "body", "stem")  # in the order of joining
MOMENTUM = {
    "scheduler": None,
    "optimizer": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=0.1),
}


def watched(module: LightningModule) -> nn.Module:
    """The backbone."""
    assert isinstance(module.backbone, nn.Module)
    return module.backbone


class Watch(Callback):
    """Notes the backbone's state after each epoch, and which of its modules are in training mode in each batch."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.training: list[set[str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append(tensors(watched(pl_module)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.training.append({name for name, module in watched(pl_module).named_modules() if module.training})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append(tensors(watched(pl_module)))

    def changed(self) -> list[set[str]]:
        """Stages of which anything changed in each epoch: weights, or statistics of batch norm."""
        return [
            {name.split(".")[1] for name, value in after.items() if not torch.equal(value, before[name])}
            for before, after in pairwise(self.states)
        ]


def test_full_trains_everything_at_its_share_of_the_rate(tmp_path: Path) -> None:
    watch = Watch()
    _, _, trainer, _ = fit(tmp_path, Full(rate=0.1), watch, epochs=1)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([1e-2, 1e-3])
    assert watch.changed() == [set(STAGES)]
    assert all(names == watch.training[0] and "network.body.1" in names for names in watch.training)


def test_frozen_changes_nothing_and_its_batch_norm_and_dropout_rest(tmp_path: Path) -> None:
    """Twice an epoch there is a validation, after which Lightning gives every module its mode back."""
    watch = Watch()
    _, _, trainer, _ = fit(tmp_path, Frozen(), watch, epochs=2, val_check_interval=2, model=MOMENTUM)
    assert watch.changed() == [set()] * 2
    assert watch.training == [set()] * 8
    assert len(trainer.optimizers[0].param_groups) == 1


def test_gradual_lets_the_stages_join_last_stage_first(tmp_path: Path) -> None:
    """What has not joined rests whole: momentum and weight decay do not move it, nor does its batch norm adapt."""
    watch = Watch()
    fit(tmp_path, Gradual(epochs_per_stage=2, start=1), watch, epochs=6, val_check_interval=2, model=MOMENTUM)
    joined = [0, 1, 1, 2, 2, 3]
    assert watch.changed() == [set(STAGES[:count]) for count in joined]
    for epoch, count in enumerate(joined):
        for training in watch.training[4 * epoch : 4 * epoch + 4]:
            resting = [name for name in STAGES[count:] if any(f"network.{name}" in each for each in training)]
            assert not resting
            assert all(f"network.{name}" in training for name in STAGES[:count])


def test_gradual_goes_on_exactly(tmp_path: Path) -> None:
    half = tmp_path / "half.ckpt"
    whole, *_ = fit(tmp_path, Gradual(), Keep(1, half), epochs=4, model=MOMENTUM)
    resumed, *_ = fit(tmp_path, Gradual(), epochs=4, model=MOMENTUM, ckpt_path=half)
    assert all(torch.equal(value, tensors(resumed)[name]) for name, value in tensors(whole).items())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: TorchvisionEncoder("resnet18", "random", image_size=32),
            [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]],
        ),
        (
            lambda: TorchvisionEncoder("squeezenet1_1", "random", image_size=32),
            [[f"features.{index}"] for index in (0, 3, 4, 6, 7, 9, 10, 11, 12)],
        ),
        pytest.param(
            lambda: TorchvisionEncoder("densenet121", "random", image_size=32),
            [
                ["features.conv0", "features.norm0"],
                *([f"features.{kind}{block}"] for block in (1, 2, 3) for kind in ("denseblock", "transition")),
                ["features.denseblock4", "features.norm5"],
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: TimmEncoder("efficientnet_b0", "random", image_size=32),
            [["conv_stem", "bn1"], *([f"blocks.{block}"] for block in range(7)), ["conv_head", "bn2"]],
            marks=pytest.mark.slow,
        ),
        (
            lambda: TimmEncoder("vit_tiny_patch16_224", "random", image_size=32),
            [["patch_embed"], *([f"blocks.{block}"] for block in range(11)), ["blocks.11", "norm"]],
        ),
    ],
    ids=["resnet18", "squeezenet1_1", "densenet121", "efficientnet_b0", "vit_tiny"],
)
def test_stages_of_torchvision_and_timm(make: Callable[[], PretrainedEncoder], expected: list[list[str]]) -> None:
    network = make().network
    names = {id(module): name for name, module in network.named_modules()}
    assert [[names[id(module)] for module in stage] for stage in find_stages(network)] == expected


def test_a_backbone_without_weights_has_no_stages(tmp_path: Path) -> None:
    assert find_stages(PixelEncoder()) == []
    fit(tmp_path, Gradual(), backbone=PixelEncoder(), epochs=1)


@pytest.mark.parametrize(
    "policy", [Frozen(), Gradual(start=0), Lora(rank=2), Full()], ids=lambda each: type(each).__name__
)
def test_looking_ahead_leaves_the_backbone_as_it_is(policy: Finetuning) -> None:
    backbone = TinyBackbone()
    policy.prepare(backbone)
    policy.train(backbone, 9)

    def state() -> list[bool]:
        modes = [module.training for module in backbone.modules()]
        return [*modes, *(parameter.requires_grad for parameter in backbone.parameters())]

    before = state()
    policy.check(backbone, smallest=2)
    assert state() == before


def test_in_the_end_gradual_trains_what_belongs_to_no_stage() -> None:
    """A transformer's class token and position embedding, and its dropout."""
    encoder = TimmEncoder("vit_tiny_patch16_224", "random", image_size=32)
    policy = Gradual(start=0)
    policy.prepare(encoder)
    policy.train(encoder, 11)
    assert not encoder.network.cls_token.requires_grad
    assert not encoder.network.get_submodule("pos_drop").training
    policy.train(encoder, 12)
    assert all(each.requires_grad for each in encoder.parameters())
    assert all(module.training for module in encoder.modules())


def test_lora_trains_adapters_alone(tmp_path: Path) -> None:
    watch = Watch()
    model, _, _, stopping = fit(
        tmp_path, Lora(rank=2, dropout=0.5), watch, epochs=2, model=MOMENTUM, val_check_interval=2
    )
    before, *_, after = watch.states
    trained = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert trained == {name for name in before if "lora_" in name}
    assert trained == {name for name, each in watched(model).named_parameters() if each.requires_grad}
    convolutions = {name.partition(".lora_")[0] for name in trained}
    assert convolutions == {f"network.{stage}.0" for stage in ("stem", "body", "top")}  # attention never calls its own
    dropouts = {f"{name}.lora_dropout.default" for name in convolutions}
    assert all(dropouts <= training for training in watch.training)
    assert all("lora_" in name for training in watch.training for name in training)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again = EncodingModule(40, None, backbone=TinyBackbone(), finetuning=Lora(rank=2))
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert stopping.best.keys() <= model.state_dict().keys()


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (lambda: TorchvisionEncoder("resnet18", "random", ["layer1.0.conv1", "layer2"], image_size=32), {4}),
        (
            lambda: TimmEncoder("vit_tiny_patch16_224", "random", ["blocks.1.attn.qkv", "blocks.2"], image_size=32),
            {2, 4},
        ),
        pytest.param(
            lambda: TimmEncoder("efficientnet_b0", "random", ["blocks.2"], image_size=64), {4}, marks=pytest.mark.slow
        ),
    ],
    ids=["resnet18", "vit_tiny", "efficientnet_b0"],
)
def test_an_encoder_with_adapters_works_as_before(make: Callable[[], PretrainedEncoder], kinds: set[int]) -> None:
    """Adapters begin as nothing; layers inside and at adapted modules are found; pruned ones get none."""
    encoder, plain = make().eval(), make().eval()
    torch.manual_seed(0)
    Lora(rank=4).prepare(encoder)
    assert encoder.training
    encoder.eval()
    expected = plain(IMAGES)
    for layer, features in encoder(IMAGES).items():
        torch.testing.assert_close(features, expected[layer])
    assert encoder.feature_shapes() == plain.feature_shapes() == {k: tuple(v.shape[1:]) for k, v in expected.items()}
    before = encoder.fingerprint()
    adapters = {name: each for name, each in encoder.named_parameters() if each.requires_grad}
    assert {each.ndim for each in adapters.values()} == kinds
    for each in adapters.values():
        nn.init.normal_(each, std=0.1)
    assert encoder.fingerprint() != before
    moved = encoder(IMAGES)
    assert not any(torch.allclose(moved[layer], expected[layer]) for layer in expected)
    torch.stack([features.square().mean() for features in moved.values()]).sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in adapters.values())


def test_lora_takes_ends_of_names() -> None:
    backbone = TinyBackbone()
    Lora(rank=2, modules=["top.0", "network.stem.0"]).prepare(backbone)
    adapted = {name.partition(".lora_")[0] for name, each in backbone.named_parameters() if each.requires_grad}
    assert adapted == {"network.top.0", "network.stem.0"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Full(-1), r"rate -1: expected a share"),
        (lambda: Gradual(epochs_per_stage=0), r"epochs_per_stage 0: expected 1 or more"),
        (lambda: Gradual(start=-1), r"start -1: expected 0 or more"),
        (lambda: Lora(rank=0), r"rank 0: expected 1 or more"),
        (lambda: Lora(alpha=0.0), r"alpha 0: expected a number above 0"),
        (lambda: Lora(dropout=1.0), r"dropout 1: expected a share"),
        (lambda: Lora(modules=["topp"]).prepare(TinyBackbone()), r"modules topp: expected the end of the name"),
        (lambda: Lora(modules=["top.1"]).prepare(TinyBackbone()), r"modules top\.1: expected the end of the name"),
        (lambda: Lora().prepare(PixelEncoder()), r" Lora: .*found none in PixelEncoder"),
    ],
)
def test_what_cannot_be_is_one_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=rf"--model\.finetuning\.?{message}") as raised:
        make()
    assert "\n" not in str(raised.value)


def test_a_policy_without_a_backbone_is_one_line() -> None:
    with pytest.raises(InputError, match=r"--model\.finetuning Gradual: expected a --model\.backbone"):
        EncodingModule(4, {"a": (2,)}, finetuning=Gradual())


@pytest.mark.parametrize("finetuning", [Frozen(), Lora(rank=2)])
def test_a_batch_of_one_is_one_line_where_batch_norm_is_trained(finetuning: Finetuning, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data\.batch_size: .* found a batch of 1"):
        fit(tmp_path, Full(), stimuli=20, batch_size=1, epochs=1)
    fit(tmp_path, finetuning, stimuli=20, batch_size=1, epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [Full, Frozen, Gradual, lambda: Lora(rank=2)], ids=["full", "frozen", "gradual", "lora"]
)
def test_two_ranks_train_as_one(make: Callable[[], Finetuning], tmp_path: Path) -> None:
    """DDP settles before the first epoch which gradients it waits for; no flag says that some may stay away.

    Without batch norm and dropout, of which each rank would have its own. Averages of the weights are taken as well.
    """
    states = []
    for ranks in (1, 2):
        strategy = {"devices": 2, "strategy": "ddp_fork"} if ranks == 2 else {}
        model, *_ = fit(
            tmp_path,
            make(),
            ExponentialMovingAverage(0.5),
            epochs=4,
            batch_size=16 // ranks,
            backbone=TinyBackbone(batch_norm=False, dropout=0.0),
            model=MOMENTUM,
            default_root_dir=tmp_path,
            **strategy,
        )
        states.append(tensors(model))
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5, msg=name)
