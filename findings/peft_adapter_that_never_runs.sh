#!/usr/bin/env bash
# peft: an adapter on the output projection of PyTorch's attention is made, counted as trainable, and never runs.
#
# Guess: `target_modules=["out_proj"]` on a network with nn.MultiheadAttention (every tower of open_clip) adapts the
#   output projection, or is refused.
# So it is: the attention takes `out_proj.weight` without calling `out_proj`, so the adapter beside it is never called:
#   no error, no warning, no gradient, and filling it with large numbers changes no output. Naming the attention itself
#   adapts both its projections. In a fit it shows as adapters that stay what they were while the head learns.
# Do: name the attention module, or check after one backward pass that every trainable parameter has a gradient.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" peft==0.21.2 torch==2.15.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'EOP'
import warnings
from importlib.metadata import version

import peft
import torch
from torch import nn


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))


print("peft", version("peft"), "torch", version("torch"))
tokens = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
found = {}
for target in ("out_proj", "attention"):
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = peft.get_peft_model(Tower(), peft.LoraConfig(r=2, target_modules=[target]))
    model.base_model.model.head.requires_grad_(True)
    before = model(tokens)
    before.sum().backward()
    adapters = {name: weight for name, weight in model.named_parameters() if "lora" in name}
    without = [name for name, weight in adapters.items() if weight.grad is None]
    with torch.no_grad():
        for weight in adapters.values():
            weight.fill_(1.0)
    moved = float((model(tokens) - before).abs().max().detach())
    found[target] = (len(adapters), len(without), moved, len(said))
    print(f"{target}: {len(adapters)} adapter weights, {len(without)} without a gradient, output moves by {moved:.3g}, "
          f"{len(said)} warnings")
assert found["out_proj"] == (2, 2, 0.0, 0)
assert found["attention"][1] == 0 and found["attention"][2] > 0
EOP
