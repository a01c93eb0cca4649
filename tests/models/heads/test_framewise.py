"""FramewiseHead: the inner head on every frame, and the mean of what it says."""

from dataclasses import replace

import pytest
import torch
from calcarine.batch import Facts
from calcarine.errors import InputError
from calcarine.models import FramewiseHead, FullyConnectedHead, LinearHead, RecurrentHead, ShallowCnn, TrunkHead
from calcarine.models.heads.base import Head
from plain_facts import plain_facts
from torch import Tensor, nn

SHAPES = {"a": (4, 3), "b": (4, 2, 5)}  # 4 frames


def features(batch: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {layer: torch.randn(batch, *shape) for layer, shape in SHAPES.items()}


def facts(frames: int | None) -> Facts:
    return plain_facts(7, frames=frames)


def test_predictions_of_the_frames_are_averaged() -> None:
    torch.manual_seed(1)
    head = FramewiseHead(SHAPES, 7, head=lambda shapes, targets: FullyConnectedHead(shapes, targets, [9, 8, 6]))
    assert not head.independent_targets
    head.fill(facts(4))
    given = features()
    assert isinstance(head.head, FullyConnectedHead)
    linears = [layer for layer in head.head.layers if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linears] == [13, 9, 8, 6]
    frames = []
    for frame in range(4):
        hidden = torch.cat([given["a"][:, frame], given["b"][:, frame].flatten(1)], dim=1)
        for layer in linears[:-1]:
            hidden = torch.relu(hidden @ layer.weight.T + layer.bias)
        frames.append(hidden @ linears[-1].weight.T + linears[-1].bias)
    expected = sum(frames) / 4
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(head(given), expected)
    torch.testing.assert_close(head.read(given, torch.zeros(6, dtype=torch.int64)), expected)


def test_independent_targets_stay_so() -> None:
    assert FramewiseHead(SHAPES, 7, head=LinearHead).independent_targets


class SubjectHead(Head):
    """Predicts the number of the stimuli's subject, and keeps what it was filled with."""

    of_subjects = True

    def fill(self, facts: Facts) -> None:
        self.filled = facts

    def read(self, features: dict[str, Tensor], subject: int) -> Tensor:
        return features["a"].new_full((len(features["a"]), self.num_targets), subject)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError


def test_each_frame_is_of_its_clips_subject_and_the_inner_head_has_no_frames() -> None:
    head = FramewiseHead(SHAPES, 7, head=SubjectHead)
    head.fill(facts(4))
    assert head.of_subjects
    assert not FramewiseHead(SHAPES, 7).of_subjects
    assert head.read(features(), 2).unique().tolist() == [2.0]
    assert isinstance(head.head, SubjectHead)
    assert head.head.filled.frames is None


@pytest.mark.parametrize("head", [FramewiseHead, RecurrentHead])
@pytest.mark.parametrize(
    "shapes",
    [{"embedding": (512,)}, {"one": (4, 3), "other": (5, 3)}, {"one": (4, 3), "embedding": (4,)}],
    ids=["one vector", "unequal", "a vector beside maps"],
)
def test_features_without_frames_are_refused_at_once(head: type[Head], shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(
        InputError, match=rf"^--model\.head {head.__name__}: .*--data\.average_frames false$"
    ) as refusal:
        head(shapes, 7)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("head", [FramewiseHead, RecurrentHead])
def test_maps_of_images_are_refused_though_they_have_a_first_axis(head: type[Head]) -> None:
    built = head({"maps": (4, 6, 6)}, 7)
    with pytest.raises(InputError, match=r"found layer maps of shape \(4, 6, 6\); .*--data\.average_frames false"):
        built.fill(facts(None))


def test_the_inner_trunk_says_how_the_frames_are_standardised() -> None:
    torch.manual_seed(2)
    mean, scale = torch.randn(5, 8, 8), torch.rand(5, 8, 8) + 0.5
    inner = TrunkHead({"map": (5, 8, 8)}, 7, trunk=ShallowCnn)
    head = FramewiseHead({"map": (4, 5, 8, 8)}, 7, head=lambda shapes, targets: TrunkHead(shapes, targets, ShallowCnn))
    of_frames = replace(
        facts(4), feature_mean={"map": mean.expand(4, 5, 8, 8)}, feature_scale={"map": scale.expand(4, 5, 8, 8)}
    )
    of_one = replace(facts(None), feature_mean={"map": mean}, feature_scale={"map": scale})
    found, expected = head.feature_statistics(of_frames), inner.feature_statistics(of_one)
    assert found is not None
    assert expected is not None
    for of_clip, of_image in zip(found, expected, strict=True):
        torch.testing.assert_close(of_clip["map"], of_image["map"].expand(4, 5, 8, 8))
