#!/usr/bin/env bash
# timm: a forward hook on a Hiera block sees its tokens out of place, and nothing in their shape says so.
#
# Guess: a block of hiera_tiny_224 returns 56 x 56 tokens row by row, as the blocks of timm's other transformers do, so
#   that a hook and reshape(56, 56) give its feature map.
# So it is: tokens are unrolled, so that pooling windows lie in one piece; every second row and column comes first, and
#   those again so. A bright patch in the upper left corner of the image moves tokens all over the reshaped grid.
#   `reroll` (and forward_intermediates) puts them in place; the last stage alone is in order without it.
# Do: forward_intermediates(coarse=False), or model.reroll(tokens, block), before tokens become a map.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" timm==1.0.31 torch==2.15.0 torchvision==0.29.2 numpy==2.3.5
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'EOP'
from importlib.metadata import version

import timm
import torch

print("timm", version("timm"), "torch", version("torch"))
torch.manual_seed(0)
model = timm.create_model("hiera_tiny_224").eval()
seen = {}
for block in (0, 2, 11):
    model.blocks[block].register_forward_hook(lambda _module, _args, output, block=block: seen.update({block: output}))
images = torch.zeros(2, 3, 224, 224)
images[1, :, :56, :56] = 2 + torch.randn(3, 56, 56)  # the upper left sixteenth
with torch.no_grad():
    model(images)
inside = {}
for block, tokens in seen.items():
    side = int(tokens.shape[1] ** 0.5)
    for name, grid in (("reshaped", tokens.reshape(2, side, side, -1)), ("rerolled", model.reroll(tokens, block))):
        moved = (grid[1] - grid[0]).norm(dim=2)
        strongest = moved.flatten().topk(side**2 // 16).indices
        corner = ((strongest // side < side // 4) & (strongest % side < side // 4)).float().mean()
        inside[block, name] = float(corner)
        print(f"block {block}, {side} x {side} {name}: {corner:.0%} of the strongest answers lie where the patch is")
assert inside[0, "rerolled"] > 0.7 and inside[2, "rerolled"] > 0.7
assert inside[0, "reshaped"] < 0.3 and inside[2, "reshaped"] < 0.3
assert inside[11, "reshaped"] == inside[11, "rerolled"]
EOP
