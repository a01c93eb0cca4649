#!/usr/bin/env bash
# timm and open_clip: the same published weights of SigLIP are shown different parts of an image.
#
# Guess: timm's vit_base_patch16_siglip_224.webli and open_clip's ViT-B-16-SigLIP (webli) hold the same weights, so
#   each library's own pipeline hands the network the same pixels.
# So it is: timm brings the shorter side to 248 pixels and keeps the middle 224 x 224; open_clip squeezes the whole image
#   to 224 x 224. Of a 640 x 480 photograph timm shows 61 % of the area, in proportion; open_clip shows all, narrower.
#   Both then divide by the same mean and standard deviation, so nothing else tells the features apart.
# Do: choose one framing for both, and write it down beside the features.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" \
  timm==1.0.31 open_clip_torch==3.3.0 torch==2.15.0 torchvision==0.29.2 numpy==2.3.5 pillow==12.0.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'EOP'
from importlib.metadata import version

import numpy as np
import open_clip
import timm
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform, resolve_data_config

print("timm", version("timm"), "open_clip", version("open_clip_torch"))
pretrained = timm.get_pretrained_cfg("vit_base_patch16_siglip_224.webli")
own = open_clip.get_pretrained_cfg("ViT-B-16-SigLIP", "webli")
print("timm:", pretrained.hf_hub_id, "crop_pct", pretrained.crop_pct, "crop_mode", pretrained.crop_mode)
print("open_clip:", own["hf_hub"], "resize_mode", own["resize_mode"])
keys = ("mean", "std", "interpolation", "resize_mode")
of_timm = create_transform(**resolve_data_config(pretrained_cfg=pretrained.to_dict()))
of_open_clip = image_transform_v2(PreprocessCfg(size=224, **{key: own[key] for key in keys}), is_train=False)
columns = np.tile(np.linspace(0, 255, 640), (480, 1)).astype(np.uint8)  # dark on the left, bright on the right
picture = Image.fromarray(np.stack([columns] * 3, 2))
seen = {name: make(picture).numpy()[0] for name, make in (("timm", of_timm), ("open_clip", of_open_clip))}
reach = {name: (pixels.min() / 2 + 0.5, pixels.max() / 2 + 0.5) for name, pixels in seen.items()}
for name, (left, right) in reach.items():
    print(f"{name}: shows from {left:.0%} to {right:.0%} of the image's width, as {seen[name].shape}")
assert seen["timm"].shape == seen["open_clip"].shape == (224, 224)
assert reach["open_clip"][0] < 0.01 and reach["open_clip"][1] > 0.99
assert reach["timm"][0] > 0.1 and reach["timm"][1] < 0.9
EOP
