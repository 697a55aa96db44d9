"""Assignment to the nearest centroid through torch: all centroids compared, on any of its devices.

The same as `atoll.vectors.assign.nearest` within the rounding of float32, which decides between
centroids that are equally near.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atoll.vectors.assign import distances
from atoll.vectors.embed.devices import require_torch, torch_device
from atoll.vectors.kmeans import Nearest

BLOCK_BYTES = 1 << 28


def nearest_on(device: str) -> Nearest:
    """Return `nearest` for a device that torch knows, such as "cuda".

    Raises:
        InvalidInput: torch is not installed, or the device is not there.
    """
    torch = require_torch()
    place = torch_device(device)

    def nearest(
        rows: NDArray[np.float32], centroids: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Find each row's nearest centroid by l2, and its squared distance."""
        transposed = torch.from_numpy(np.ascontiguousarray(centroids.T)).to(place)
        half = (transposed * transposed).sum(0) / 2
        partition = np.empty(len(rows), np.uint32)
        at_once = max(1, BLOCK_BYTES // (4 * max(centroids.shape)))
        for start in range(0, len(rows), at_once):
            at = slice(start, start + at_once)
            block = torch.from_numpy(np.array(rows[at])).to(place)
            partition[at] = (block @ transposed - half).argmax(1).cpu().numpy()
        return partition, distances(rows, centroids, partition)

    return nearest
