#!/usr/bin/env bash
# nsdcode: of several volumes all but the first have brain values where a surface has no source; edge voxels are lost.
#
# Guess: `NSDmapdata.fit` of a series of volumes maps each as it maps one: a vertex without a source (9999 in the
#   transform) is `badval` in all, a vertex between the first and the second voxel is interpolated, one beyond the last
#   voxel's centre is `badval`.
# So it is, with 1.1.dev260054000: places without a source are marked in an array that all volumes share, as the voxel
#   (1, 1, 1) counted from 0; the first volume has `badval` there and each later one that voxel's value, as finite as
#   any. The transform counts from 1, is made to count from 0, and is then compared with bounds that count from 1: what
#   lies within the first voxel of an axis is `badval`, what lies up to a voxel beyond the last one is a copy of the edge.
# Do: map volume by volume, add a voxel of padding around the volume (and 1 to the transform), or take the places without
#   a source from the transform itself and set them to NaN afterwards. MATLAB's nsd_mapdata is another program.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
# Its own pins (scikit-learn 0.23.2, which is not imported here) have no build for this Python.
uv pip install --quiet --python "$folder/venv/bin/python" --no-deps nsdcode==1.1.dev260054000
uv pip install --quiet --python "$folder/venv/bin/python" nibabel==3.1.0 numpy==1.23.5 scipy==1.10.1 tqdm==4.67.1 \
  matplotlib==3.8.4 pandas==1.5.3
"$folder/venv/bin/python" -W ignore - "$folder" <<'EOP'
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import nibabel
import numpy as np
from nsdcode.nsd_mapdata import NSDmapdata

folder = Path(sys.argv[1])
transforms = folder / "nsddata/ppdata/subj01/transforms"
transforms.mkdir(parents=True)
# Where each vertex lies in the volume, counted from 1 as NSD counts.
vertices = {
    "inside": (3, 3, 3),
    "no source": (9999, 9999, 9999),
    "between voxels 1 and 2": (1.5, 3, 3),
    "beyond the last voxel, 6": (6.6, 3, 3),
}
places = np.array(list(vertices.values()), dtype=np.float32)[:, None, None, :]
nibabel.MGHImage(places, np.eye(4)).to_filename(transforms / "lh.func1pt8-to-white.mgz")

x = np.arange(1, 7, dtype=float)[:, None, None] + np.zeros((6, 6, 6))  # a voxel's value is its place on the first axis
series = np.stack([x, x + 100, x + 200], axis=-1)
with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
    mapping = NSDmapdata(str(folder))
    mapped = mapping.fit(1, "func1pt8", "lh.white", series, interptype="linear", badval=np.nan)
    alone = mapping.fit(1, "func1pt8", "lh.white", series[..., 1], interptype="linear", badval=np.nan)

print("nsdcode", version("nsdcode"))
for name, values, single in zip(vertices, mapped, alone):
    print(f"{name}: of three volumes {values}; the second one alone {single}")
by_name = dict(zip(vertices, mapped))
assert np.array_equal(by_name["inside"], [3, 103, 203])
assert np.isnan(by_name["no source"][0])
assert np.array_equal(by_name["no source"][1:], [102, 202])  # the voxel (1, 1, 1)
assert np.isnan(alone[1])
assert np.isnan(by_name["between voxels 1 and 2"][0])  # 1.5 is there to be interpolated
assert by_name["beyond the last voxel, 6"][0] == 6
EOP
