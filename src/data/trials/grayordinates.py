"""Grayordinates: what the values of a CIFTI file are of, vertices of both surfaces and voxels below."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...names import HEMISPHERES

_SIDES = dict(zip(("_LEFT", "_RIGHT"), HEMISPHERES, strict=True))


@dataclass(frozen=True)
class Grayordinates:
    """The brain models of a dense CIFTI file.

    Args:
        structure: Of each, such as "CIFTI_STRUCTURE_CORTEX_LEFT", str (n,).
        vertex: On its structure's surface, int64 (n,); −1 of a voxel.
        voxel: Indices in the volume, int64 (n, 3); −1 of a vertex.
    """

    structure: np.ndarray
    vertex: np.ndarray
    voxel: np.ndarray

    @classmethod
    def of(cls, axis: Any, path: Path) -> "Grayordinates":
        """Those of a file's axis.

        Raises:
            InputError: It is an axis of something else, such as parcels.
        """
        from nibabel.cifti2.cifti2_axes import BrainModelAxis

        if not isinstance(axis, BrainModelAxis):
            raise InputError(
                f"{path}: expected values of grayordinates, found those of a {type(axis).__name__}; give a dense file "
                "(dscalar, dtseries, dlabel)"
            )
        return cls(np.asarray(axis.name).astype(str), np.asarray(axis.vertex), np.asarray(axis.voxel))

    def __len__(self) -> int:
        return len(self.structure)

    @property
    def sides(self) -> np.ndarray:
        """Hemisphere of each, by its structure's name; "" where it says none, str (n,)."""
        found = np.full(len(self), "", dtype="<U2")
        for ending, side in _SIDES.items():
            found[np.char.endswith(self.structure, ending)] = side
        return found

    def same(self, other: "Grayordinates") -> bool:
        """Whether another file has these, in this order."""
        pairs = ((self.structure, other.structure), (self.vertex, other.vertex), (self.voxel, other.voxel))
        return all(np.array_equal(*pair) for pair in pairs)

    def find(self, other: "Grayordinates") -> np.ndarray:
        """Where another's grayordinates stand among these, int64 (len(other),); −1 of those that are not there."""
        if self.same(other):
            return np.arange(len(self))
        places = {key: place for place, key in enumerate(self._keys())}
        return np.array([places.get(key, -1) for key in other._keys()], dtype=np.int64)

    def _keys(self) -> list[tuple[object, ...]]:
        numbers = np.column_stack([self.vertex, self.voxel]).tolist()
        return [(name, *own) for name, own in zip(self.structure.tolist(), numbers, strict=True)]
