"""Index models: trained once on a sample of the whole collection, shared by all its buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from atoll.vectors import rabitq
from atoll.vectors.assign import MIN_GROUPED, Groups, nearest, nearest_by_groups
from atoll.vectors.indexspec import CODEBOOK_SIZE
from atoll.vectors.kmeans import groups_of, in_groups, kmeans, lloyd
from atoll.vectors.model import DistanceType, IndexKind, IndexSpec

if TYPE_CHECKING:
    from atoll.vectors.probes import Probes


@dataclass(frozen=True, eq=False)
class IndexModel:
    """What buckets share: centroids, and what their codes are made with.

    Attributes:
        kind: "rabitq" or "ivf_pq".
        distance_type: what it was trained for.
        centroids: (num_partitions, dim) float32 that `as_halves` keeps exactly; near ones have near
            numbers.
        signs: (rounds, dim) int8, the rotation; empty for "ivf_pq".
        codebook: (num_sub_vectors, 256, dim / num_sub_vectors) float32; empty for "rabitq".
        groups: (groups + 1,) int64, first partition of each group of near ones, and their number.
        bits: bits per dimension of a code, "rabitq" only.
    """

    kind: IndexKind
    distance_type: DistanceType
    centroids: NDArray[np.float32]
    signs: NDArray[np.int8]
    codebook: NDArray[np.float32]
    groups: NDArray[np.int64]
    bits: int = 1

    @cached_property
    def _groups(self) -> Groups:
        return groups_of(self.centroids, self.groups)

    @cached_property
    def _probes(self) -> Probes:
        from atoll.vectors.probes import Probes

        return Probes(self.centroids, self._groups, is_product=self.distance_type == "dot")

    @cached_property
    def rotated_centroids(self) -> NDArray[np.float32]:
        """(num_partitions, dim) float32, the centroids after the rotation."""
        return rabitq.rotate(self.centroids, self.signs)

    def partition_of(
        self, rows: NDArray[np.float32], device: str = "cpu"
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Assign prepared rows to partitions.

        Exact on another device and where partitions are fewer than 2,048. Above that each row is
        compared with its near groups' centroids; 99.8 % of clustered rows of 960 still reach the
        nearest of all, at a tenth of the cost (docs/concepts.md).

        Returns:
            (n,) partition of each row, and (n,) squared distance to its centroid.
        """
        if device != "cpu":
            from atoll.vectors.torchassign import nearest_on

            return nearest_on(device)(rows, self.centroids)
        if len(self.centroids) < MIN_GROUPED:
            return nearest(rows, self.centroids)
        return nearest_by_groups(rows, self.centroids, self._groups)

    def probe_order(
        self, queries: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Name the partitions nearest to prepared queries, nearest first, then by number.

        Args:
            queries: (q, dim) float32; each is answered by itself, whatever comes with it.
            count: partitions wanted; all where there are fewer.

        Returns:
            (q, count) partitions, and (q, count) squared distances to their centroids, or under
            "dot" the products with them: float32, rounded once from float64.
        """
        return self._probes.order(queries, count)


@dataclass(frozen=True, eq=False)
class ProbedModel(IndexModel):
    """A model of which only some partitions are known: enough to search those.

    Attributes:
        rotated: (num_partitions, dim) float32; what stands for the others is anything.
    """

    rotated: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def rotated_centroids(self) -> NDArray[np.float32]:
        """The centroids after the rotation."""
        return self.rotated


def probed_arrays(model: IndexModel, partitions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Take out of a "rabitq" model what searching some partitions, ascending, needs."""
    return {
        "distance_type": np.array(model.distance_type),
        "signs": model.signs,
        "bits": np.array(model.bits),
        "num_partitions": np.array(len(model.centroids)),
        "partitions": partitions.astype(np.int32),
        "rotated": model.rotated_centroids[partitions],
    }


def probed_model(arrays: Mapping[str, NDArray[Any]]) -> ProbedModel:
    """Make a model of what `probed_arrays` took."""
    known = arrays["rotated"]
    # Not touched but where partitions are known, so that most of it takes no memory.
    rotated = np.empty((int(arrays["num_partitions"]), known.shape[1]), np.float32)
    rotated[arrays["partitions"]] = known
    none = np.empty(0, np.int64)
    return ProbedModel(
        "rabitq",
        cast("DistanceType", str(arrays["distance_type"])),
        rotated,
        arrays["signs"],
        np.empty(0, np.float32),
        none,
        int(arrays["bits"]),
        rotated,
    )


def as_halves(rows: NDArray[np.float32]) -> tuple[NDArray[np.float16], int]:
    """Write rows in 16 bits: (n, dim) float16, to be multiplied by 2 to the power returned.

    That is 0 where the largest value suits float16 as it is, as under cosine.
    """
    largest = float(np.abs(rows).max(initial=0))
    exponent = int(np.frexp(largest)[1])
    shift = 0 if largest == 0 or -4 <= exponent <= 15 else exponent - 15
    return np.ldexp(rows, -shift).astype(np.float16), shift


def from_halves(rows: NDArray[np.float16], shift: int) -> NDArray[np.float32]:
    """Read what `as_halves` wrote."""
    return np.ldexp(rows.astype(np.float32), shift)


def prepared(rows: NDArray[np.float32], distance_type: DistanceType) -> NDArray[np.float32]:
    """Bring rows into the space partitions live in: unit length under cosine, else as they are."""
    if distance_type != "cosine":
        return rows
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    found: NDArray[np.float32] = rows / norms.astype(np.float32)[:, None]
    return found


def train(
    sample: NDArray[np.float32],
    spec: IndexSpec,
    distance_type: DistanceType,
    seed: int,
    device: str = "cpu",
) -> IndexModel:
    """Train a model.

    Args:
        sample: (n, dim) float32, finite; no zero vectors under cosine.
        spec: kind and sizes.
        distance_type: what "near" means.
        seed: for the starting centroids and the rotation.
        device: "cpu", or what torch calls another.

    Raises:
        InvalidInput: there is no such device, or no torch.
    """
    dim = sample.shape[1]
    rows = prepared(sample, distance_type)
    on_device = None
    if device != "cpu":
        from atoll.vectors.torchassign import nearest_on

        on_device = nearest_on(device)
    trained = kmeans(rows, spec.num_partitions, seed=seed, on_device=on_device)
    # Rounded before anything is made with them, so that all uses agree.
    centroids, groups = in_groups(from_halves(*as_halves(trained)), seed=seed)
    none = np.empty((0, 0, 0), np.float32)
    signs = (
        rabitq.rotation_signs(dim, seed) if spec.kind == "rabitq" else np.empty((0, dim), np.int8)
    )
    model = IndexModel(
        spec.kind, distance_type, centroids, signs, none, groups.starts, bits=spec.bits
    )
    if not spec.num_sub_vectors:
        return model
    residual = rows - centroids[model.partition_of(rows, device)[0]]
    parts = np.split(residual, spec.num_sub_vectors, axis=1)
    codebook = [lloyd(np.ascontiguousarray(part), CODEBOOK_SIZE, seed=seed) for part in parts]
    return replace(model, codebook=np.stack(codebook))
