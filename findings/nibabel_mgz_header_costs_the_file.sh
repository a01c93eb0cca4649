#!/usr/bin/env bash
# nibabel: opening a compressed FreeSurfer file decompresses all of it, opening a NIfTI file its first bytes.
#
# Guess: `nibabel.load(path).shape` reads a header, whatever the format, so that asking 80 files of single-trial betas
#   for their shapes takes a moment; their values are read when `dataobj` is.
# So it is: for `.nii.gz`; a `.mgz` is decompressed to its end, because MGH keeps some of its fields behind the values.
#   At 0.5 GB of values that is three seconds a file before anything was asked of it, and as much again to read it.
# Do: keep such series as `.mgh`, which is also mapped, or read the first 28 bytes (version, four sizes, type) yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nibabel==5.4.2 numpy==2.3.5
"$folder/venv/bin/python" - "$folder" <<'EOP'
import gzip
import sys
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np

folder = Path(sys.argv[1])
values = np.random.default_rng(0).standard_normal((5000, 1, 1, 200)).astype(np.float32)
nibabel.MGHImage(values, np.eye(4)).to_filename(folder / "betas.mgz")
nibabel.Nifti1Image(values, np.eye(4)).to_filename(folder / "betas.nii.gz")

counts = {}
read = gzip.GzipFile.read
for name in ("betas.mgz", "betas.nii.gz"):
    seen = 0

    def counted(file, size=-1):
        global seen
        data = read(file, size)
        seen = max(seen, file.tell())  # how far into the values
        return data

    gzip.GzipFile.read = counted
    shape = nibabel.load(folder / name).shape
    gzip.GzipFile.read = read
    counts[name] = seen
    print(f"nibabel {version('nibabel')}: shape {shape} of {name} after {seen:,} bytes; its values are {values.nbytes:,}")
assert counts["betas.mgz"] >= values.nbytes
assert counts["betas.nii.gz"] < 10_000
EOP
