#!/usr/bin/env bash
# mat73 and pymatreader: two usual readers of MATLAB v7.3 files give one array two shapes.
#
# Guess: both undo HDF5's reversed axes and keep MATLAB's shape, as scipy.io.loadmat does for v5 files.
# So it is: both turn the axes back, but mat73 drops the axis of a row or a column and keeps a trailing axis of length 1
#   in three dimensions; pymatreader drops every axis of length 1 and makes a 1 x 1 array a Python float. So
#   (repetitions, stimuli, channels) of a session with one channel is (30, 100, 1) in the one and (30, 100) in the other,
#   and indexing the last axis by channel picks stimuli. hdf5storage keeps all axes; h5py reverses them.
# Do: read with h5py and turn the axes, or hdf5storage; never index an axis whose length may be 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" \
  mat73==0.65 pymatreader==1.3.2 hdf5storage==0.2.2 h5py==3.16.0 numpy==2.3.5 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOP'
from importlib.metadata import version

import h5py
import hdf5storage
import mat73
import numpy as np
import pymatreader

arrays = {"repeats": np.zeros((30, 100, 1)), "responses": np.zeros((22, 10)), "ids": np.zeros((1, 4)), "one": np.ones((1, 1))}
hdf5storage.savemat("session.mat", arrays, format="7.3")
readers = {"mat73": mat73.loadmat, "pymatreader": pymatreader.read_mat, "hdf5storage": hdf5storage.loadmat}
seen = {}
for name, read in readers.items():
    content = read("session.mat")
    seen[name] = {key: np.shape(content[key]) for key in arrays}
    print(name, version(name), seen[name])
with h5py.File("session.mat") as file:
    seen["h5py"] = {key: file[key].shape for key in arrays}
    print("h5py", version("h5py"), seen["h5py"])
whole = {key: array.shape for key, array in arrays.items()}
assert seen["mat73"] == {"repeats": (30, 100, 1), "responses": (22, 10), "ids": (4,), "one": ()}
assert seen["pymatreader"] == {"repeats": (30, 100), "responses": (22, 10), "ids": (4,), "one": ()}
assert seen["hdf5storage"] == whole
assert seen["h5py"] == {key: shape[::-1] for key, shape in whole.items()}
EOP
