#!/usr/bin/env bash
# thingsvision: "cls_token" is the first token and "avg_pool" the mean of the others, whatever the transformer's tokens are.
#
# Guess: `token_extraction="cls_token"` takes a transformer's class token and refuses one that has none, and "avg_pool"
#   averages its patches, as the words say.
# So it is: both count from the first token. SigLIP has no class token: "cls_token" is its upper left patch, and
#   "avg_pool" the mean of all patches but that one. DINOv2 with registers has a class token and four registers before
#   its patches: "avg_pool" averages the registers among them. Shapes are those that one expects, and nothing is said.
# Do: extract all tokens, and leave out `model.num_prefix_tokens` of them before they are averaged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" thingsvision==2.7.3 timm==1.0.20 torch==2.0.1 \
  torchvision==0.15.2 numpy==1.26.4 tensorflow==2.15.1 transformers==4.40.1 open-clip-torch==3.2.0
HF_HUB_OFFLINE=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= "$folder/venv/bin/python" -W ignore - <<'EOP'
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO

import numpy as np
import torch
from thingsvision import get_extractor

print("thingsvision", version("thingsvision"), "timm", version("timm"), "torch", version("torch"))
torch.manual_seed(0)
images = torch.rand(2, 3, 224, 224)


def extracted(name, parameters):
    torch.manual_seed(0)  # the weights are random, and alike
    with redirect_stdout(StringIO()):
        extractor = get_extractor(name, source="timm", device="cpu", pretrained=False, model_parameters=parameters)
        features = extractor.extract_features(batches=[images], module_name="norm", flatten_acts=False)
    return np.asarray(features), extractor.model.num_prefix_tokens


for name, prefix in (("vit_base_patch16_siglip_224", 0), ("vit_small_patch14_reg4_dinov2", 5)):
    images = torch.nn.functional.interpolate(images, 224 if prefix == 0 else 518)
    tokens, counted = extracted(name, {})
    first, _ = extracted(name, {"token_extraction": "cls_token"})
    pooled, _ = extracted(name, {"token_extraction": "avg_pool"})
    patches = tokens[:, prefix:].mean(1)
    print(f"{name}: {counted} tokens before the patches, tokens {tokens.shape}")
    print(f"  cls_token equals token 0: {np.allclose(first, tokens[:, 0], atol=1e-5)}")
    print(f"  avg_pool equals the mean of the patches: {np.allclose(pooled, patches, atol=1e-5)}")
    print(f"  avg_pool equals the mean of all but token 0: {np.allclose(pooled, tokens[:, 1:].mean(1), atol=1e-5)}")
    assert counted == prefix
    assert np.allclose(first, tokens[:, 0], atol=1e-5)
    assert np.allclose(pooled, tokens[:, 1:].mean(1), atol=1e-5)
    assert not np.allclose(pooled, patches, atol=1e-5)
EOP
