#!/usr/bin/env bash
# pynwb: images of a container come back in alphabetical order, and an index of -1 as 18446744073709551615.
#
# Guess: an Images container keeps the order in which its images were given, as a list does, so that an index of what
#   was shown counts along it; and an index of -1, nothing shown, comes back as -1.
# So it is: images are named members of a group, and HDF5 lists those by name: img1, img10, img11, img2. Read back,
#   `list(container.images)` has another order than was written, and pictures and responses no longer match, though the
#   first does. Only order_of_images, which one need not give, keeps the order. The indices of an IndexSeries are
#   unsigned: -1 in a list is refused; in an array it is converted, with a warning, and is then larger than any index.
# Do: always give order_of_images and count along it; leave out presentations of the largest index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" pynwb==4.2.0 hdmf==6.2.0 h5py==3.16.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOP'
from datetime import datetime, timezone

import numpy as np
from pynwb import NWBHDF5IO, NWBFile
from pynwb.base import ImageReferences, Images
from pynwb.image import GrayscaleImage, IndexSeries

given = [f"img{number}" for number in range(1, 13)]
pictures = [GrayscaleImage(name=name, data=np.zeros((4, 4), dtype=np.uint8)) for name in given]
container = Images(
    name="pictures", images=pictures, description="", order_of_images=ImageReferences(name="order_of_images", data=pictures)
)
file = NWBFile("", "", datetime(2026, 1, 1, tzinfo=timezone.utc))
file.add_stimulus_template(container)
file.add_stimulus(
    IndexSeries(name="shown", data=np.array([0, 1, -1]), indexed_images=container, unit="N/A", timestamps=[0.0, 1.0, 2.0])
)
with NWBHDF5IO("session.nwb", "w") as out:
    out.write(file)
with NWBHDF5IO("session.nwb", "r") as source:
    read = source.read()
    seen = list(read.stimulus_template["pictures"].images)
    kept = [picture.name for picture in read.stimulus_template["pictures"].order_of_images.data[:]]
    indices = read.stimulus["shown"].data[:].tolist()
print("given          ", *given)
print("images         ", *seen)
print("order_of_images", *kept)
print("indices        ", *indices)
assert seen == sorted(given) != given
assert kept == given
assert indices == [0, 1, 2**64 - 1]
EOP
