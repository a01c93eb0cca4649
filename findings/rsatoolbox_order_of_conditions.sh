#!/usr/bin/env bash
# rsatoolbox: naming the conditions changes their order in the RDM, and nothing compares the names.
#
# Guess: `calc_rdm(dataset, descriptor="stimulus")` keeps the conditions in the order in which they first appear, so an
#   RDM of responses with a row per stimulus fits an RDM of a model's features in the same row order.
# So it is: with a descriptor the conditions are sorted (as text: img1, img10, img2), without one they keep their rows.
#   `compare` pairs them by place and raises nothing: data compared with itself reach less than 1. Beside it,
#   method="euclidean" is the squared distance divided by the number of channels, not the Euclidean distance.
# Do: give both RDMs the same descriptor, or compare `pattern_descriptors` before the RDMs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" rsatoolbox==0.3.2 numpy==2.3.5 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'EOP'
from importlib.metadata import version

import numpy as np
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm, compare

names = ["img2", "img10", "img1", "img3"]
responses = np.random.default_rng(0).standard_normal((4, 50))
by_row = calc_rdm(Dataset(responses), method="correlation")
by_name = calc_rdm(Dataset(responses, obs_descriptors={"stimulus": names}), method="correlation", descriptor="stimulus")
order = [str(name) for name in by_name.pattern_descriptors["stimulus"]]
same = float(compare(by_row, by_name, method="spearman")[0, 0])
euclidean = float(calc_rdm(Dataset(responses), method="euclidean").get_matrices()[0][0, 1])
squares = float(np.square(responses[0] - responses[1]).sum())

print("rsatoolbox", version("rsatoolbox"))
print("rows", names, "become", order)
print(f"Spearman of the same responses with and without a descriptor: {same:.3f}")
print(f"'euclidean': {euclidean:.4f}; Euclidean distance {squares**0.5:.4f}; its square over 50 channels {squares / 50:.4f}")
assert order == ["img1", "img10", "img2", "img3"]
assert same < 0.9
assert np.isclose(euclidean, squares / 50)
EOP
