"""RecurrentHead against an LSTM written out step by step."""

from typing import Any

import pytest
import torch
from calcarine.errors import InputError
from calcarine.models import RecurrentHead
from torch import Tensor, nn

SHAPES = {"a": (5, 3), "b": (5, 2, 2)}  # 5 frames of 7 features
HIDDEN, TARGETS = 6, 4


def features(batch: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {layer: torch.randn(batch, *shape) for layer, shape in SHAPES.items()}


def direction(lstm: nn.LSTM, sequence: Tensor, suffix: str) -> Tensor:
    """Hidden states (batch, frames, HIDDEN) of one layer in one direction, by the equations of Hochreiter's cell."""
    weights: dict[str, Tensor] = dict(lstm.named_parameters())
    backwards = suffix.endswith("_reverse")
    hidden = cell = sequence.new_zeros(len(sequence), HIDDEN)
    states = []
    for frame in reversed(range(5)) if backwards else range(5):
        gates = sequence[:, frame] @ weights[f"weight_ih_{suffix}"].T + weights[f"bias_ih_{suffix}"]
        gates = gates + hidden @ weights[f"weight_hh_{suffix}"].T + weights[f"bias_hh_{suffix}"]
        admit, forget, candidate, show = gates.split(HIDDEN, dim=1)
        cell = forget.sigmoid() * cell + admit.sigmoid() * candidate.tanh()
        hidden = show.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states[::-1] if backwards else states, dim=1)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_prediction_is_the_mean_over_frames_of_what_both_directions_say(layers: int) -> None:
    torch.manual_seed(1)
    head = RecurrentHead(SHAPES, TARGETS, layers, HIDDEN, fully_connected_dim=8).eval()
    given = features()
    sequence = torch.stack(
        [torch.cat([given["a"][:, frame], given["b"][:, frame].flatten(1)], dim=1) for frame in range(5)], dim=1
    )
    for layer in range(layers):
        both = [direction(head.lstm, sequence, f"l{layer}{way}") for way in ("", "_reverse")]
        sequence = torch.cat(both, dim=2)  # (batch, frames, 2 · HIDDEN)
    first, _, last = head.readout
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    frames = [(state @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias for state in sequence.unbind(1)]
    torch.testing.assert_close(head(given), torch.stack(frames).mean(0))


def test_published_sizes_are_the_defaults() -> None:
    head = RecurrentHead({"embedding": (16, 2048)}, 10)
    lstm = head.lstm
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.dropout) == (2048, 512, 2, 0.2)
    assert lstm.bidirectional
    assert [layer.weight.shape for layer in head.readout if isinstance(layer, nn.Linear)] == [(1024, 1024), (10, 1024)]


def test_the_order_of_frames_counts_in_training_and_dropout_only_there() -> None:
    torch.manual_seed(1)
    head = RecurrentHead(SHAPES, TARGETS, 2, HIDDEN, dropout=0.5)
    given = features()
    assert not torch.equal(head(given), head(given))
    head.eval()
    assert torch.equal(head(given), head(given))
    turned = {layer: each.flip(1) for layer, each in given.items()}
    assert (head(given) - head(turned)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layers": 0}, r"^--model\.head\.layers 0: expected 1 or more"),
        ({"hidden_dim": 0}, r"^--model\.head\.hidden_dim 0"),
        ({"fully_connected_dim": 0}, r"^--model\.head\.fully_connected_dim 0"),
        ({"dropout": 1.0}, r"^--model\.head\.dropout 1: expected a share"),
    ],
)
def test_sizes_that_make_no_sense(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        RecurrentHead(SHAPES, TARGETS, **arguments)
