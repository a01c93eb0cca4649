#!/usr/bin/env bash
# rsatoolbox: correlation distances of patterns with missing channels leave their range.
#
# Guess: `calc_rdm_unbalanced`, the one that takes patterns with NaN (voxels that a session did not cover) where
#   `calc_rdm` answers NaN, compares two patterns over the channels that both have: 1 - r, from 0 to 2.
# So it is: without NaN both functions agree. With a quarter of one pattern's channels missing its distances are off by
#   .2, with half of them they pass 2, and with three quarters 5.
# Do: leave out channels that some pattern lacks, or compute 1 - r pair by pair over the channels that both have.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" rsatoolbox==0.3.2 numpy==2.3.5 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'EOP'
from importlib.metadata import version

import numpy as np
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm, calc_rdm_unbalanced

whole = np.random.default_rng(0).standard_normal((6, 40))


def first_row(compute, patterns):
    names = {"stimulus": [f"image{number}" for number in range(len(patterns))]}
    return compute(Dataset(patterns, obs_descriptors=names), method="correlation", descriptor="stimulus").get_matrices()[0][0]


print("rsatoolbox", version("rsatoolbox"))
assert np.allclose(first_row(calc_rdm, whole), first_row(calc_rdm_unbalanced, whole))
largest = {}
for missing in (10, 20, 30):
    patterns = whole.copy()
    patterns[0, :missing] = np.nan
    found = first_row(calc_rdm_unbalanced, patterns)
    expected = np.array([1 - np.corrcoef(whole[0, missing:], each[missing:])[0, 1] for each in whole])
    largest[missing] = found.max()
    print(f"{missing} of 40 missing: found", found.round(2), "over the channels of both", expected.round(2))
    assert np.isnan(first_row(calc_rdm, patterns)[1:]).all()
    assert np.abs(found - expected).max() > 0.15
assert largest[20] > 2 and largest[30] > 5, largest
EOP
