"""Index models: trained once on a sample of the whole collection, shared by all its buckets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.vectors import rabitq
from atoll.vectors.kmeans import kmeans, nearest
from atoll.vectors.model import DistanceType, IndexKind, IndexSpec

# Few large partitions beat sqrt(rows) on real protein vectors (docs/benchmarks.md).
ROWS_PER_PARTITION = 1500
MAX_PARTITIONS = 16_384
SAMPLE_ROWS_PER_PARTITION = 64
MIN_SAMPLE_ROWS = 4096
SUB_VECTOR_DIM = 16
CODEBOOK_SIZE = 256


@dataclass(frozen=True, eq=False)
class IndexModel:
    """What buckets share: centroids, and what their codes are made with.

    Attributes:
        kind: "rabitq" or "ivf_pq".
        distance_type: what it was trained for.
        centroids: (num_partitions, dim) float32.
        signs: (rounds, dim) int8, the rotation; empty for "ivf_pq".
        codebook: (num_sub_vectors, 256, dim / num_sub_vectors) float32; empty for "rabitq".
    """

    kind: IndexKind
    distance_type: DistanceType
    centroids: NDArray[np.float32]
    signs: NDArray[np.int8]
    codebook: NDArray[np.float32]

    @cached_property
    def rotated_centroids(self) -> NDArray[np.float32]:
        """(num_partitions, dim) float32, the centroids after the rotation."""
        return rabitq.rotate(self.centroids, self.signs)

    @cached_property
    def _half_norms(self) -> NDArray[np.float32]:
        half: NDArray[np.float32] = np.einsum("ij,ij->i", self.centroids, self.centroids) / 2
        return half

    def partition_of(
        self, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Assign prepared rows, (n, dim) float32, to partitions, exactly.

        Returns:
            (n,) partition of each row, and (n,) squared distance to its centroid.
        """
        partition, offset = nearest(rows, self.centroids)
        return partition, np.maximum(offset + np.einsum("ij,ij->i", rows, rows), 0)

    def probe_order(self, queries, count):
        scores = self.centroids @ queries.T
        d = (
            (queries.astype(np.float64) ** 2).sum(1)[:, None]
            + (self.centroids.astype(np.float64) ** 2).sum(1)[None]
            - 2 * (queries.astype(np.float64) @ self.centroids.T.astype(np.float64))
        )
        if self.distance_type == "dot":
            d = -(queries.astype(np.float64) @ self.centroids.T.astype(np.float64))
        order = np.argsort(d, axis=1, kind="stable")[:, :count]
        base = np.take_along_axis(d, order, 1)
        return order, (-base if self.distance_type == "dot" else base).astype(np.float32)


def prepared(
    rows: NDArray[np.float32], distance_type: DistanceType, norms: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Bring rows into the space partitions live in: unit length under cosine, else as they are."""
    if distance_type != "cosine":
        return rows
    if norms is None:
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)).astype(np.float32)
    return rows / norms[:, None]


def resolve(
    kind: IndexKind,
    dim: int,
    bucket_rows: int,
    *,
    num_partitions: int | None,
    num_sub_vectors: int | None,
) -> IndexSpec:
    """Fill in what the caller left open.

    Args:
        kind: which index.
        dim: length of a vector.
        bucket_rows: rows of the largest planned bucket.
        num_partitions: None for the default of the kind.
        num_sub_vectors: None for dim / 16; "ivf_pq" only.

    Raises:
        InvalidInput: the numbers do not fit the vectors.
    """
    if kind != "ivf_pq" and num_sub_vectors is not None:
        raise InvalidInput(f"--num-sub-vectors goes with --index ivf_pq; {kind} has none")
    if kind == "flat":
        if num_partitions is not None:
            raise InvalidInput("--num-partitions goes with an index; flat has none")
        return IndexSpec("flat")
    if num_partitions is None:
        by_rule = int(bucket_rows**0.5) if kind == "ivf_pq" else bucket_rows // ROWS_PER_PARTITION
        num_partitions = min(max(1, by_rule), MAX_PARTITIONS)
    if not 1 <= num_partitions <= 1 << 20:
        raise InvalidInput(f"--num-partitions {num_partitions} is not between 1 and {1 << 20}")
    if kind == "rabitq":
        return IndexSpec("rabitq", num_partitions)
    if num_sub_vectors is None:
        if dim % SUB_VECTOR_DIM:
            raise InvalidInput(
                f"vectors of {dim} do not divide into sub-vectors of {SUB_VECTOR_DIM}, the "
                "default of --index ivf_pq; give --num-sub-vectors a divisor of the dimension, or "
                "use --index rabitq, which takes any",
                dim=dim,
            )
        num_sub_vectors = dim // SUB_VECTOR_DIM
    if num_sub_vectors < 1 or dim % num_sub_vectors:
        raise InvalidInput(
            f"vectors of {dim} do not divide into {num_sub_vectors} sub-vectors; "
            "give --num-sub-vectors a divisor of the dimension",
            dim=dim,
            num_sub_vectors=num_sub_vectors,
        )
    return IndexSpec("ivf_pq", num_partitions, num_sub_vectors)


def sample_rows(spec: IndexSpec) -> int:
    """Rows to train on."""
    rows = spec.num_partitions * SAMPLE_ROWS_PER_PARTITION
    if spec.kind == "ivf_pq":
        rows = max(rows, CODEBOOK_SIZE * SAMPLE_ROWS_PER_PARTITION)
    return max(rows, MIN_SAMPLE_ROWS)


def train(
    sample: NDArray[np.float32], spec: IndexSpec, distance_type: DistanceType, seed: int
) -> IndexModel:
    """Train a model.

    Args:
        sample: (n, dim) float32, finite; no zero vectors under cosine.
        spec: kind and sizes.
        distance_type: what "near" means.
        seed: for the starting centroids and the rotation.
    """
    dim = sample.shape[1]
    rows = prepared(sample, distance_type)
    centroids = kmeans(rows, spec.num_partitions, seed=seed)
    signs = np.empty((0, dim), np.int8)
    codebook = np.empty((0, 0, 0), np.float32)
    if spec.kind == "rabitq":
        signs = rabitq.rotation_signs(dim, seed)
    else:
        assert spec.num_sub_vectors
        residual = rows - centroids[nearest(rows, centroids)[0]]
        parts = np.split(residual, spec.num_sub_vectors, axis=1)
        codebook = np.stack(
            [kmeans(np.ascontiguousarray(p), CODEBOOK_SIZE, seed=seed) for p in parts]
        )
    return IndexModel(spec.kind, distance_type, centroids, signs, codebook)
