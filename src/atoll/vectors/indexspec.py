"""What an index is made of: fills in what the caller left open."""

from __future__ import annotations

from atoll.core.errors import InvalidInput
from atoll.vectors.model import IndexKind, IndexSpec
from atoll.vectors.options import AUTO, Auto

# Rows to scan for a recall of 0.95 on clustered vectors: 840 with 250 rows a partition, 2,400 with
# 500, 6,700 with 1,500; on randconv vectors they hardly differ. Centroids, to be read by every cold
# query, double each time (docs/concepts.md).
ROWS_PER_PARTITION = 500
MAX_PARTITIONS = 16_384
SAMPLE_ROWS_PER_PARTITION = 64
MIN_SAMPLE_ROWS = 4096
SUB_VECTOR_DIM = 16
CODEBOOK_SIZE = 256


def resolve(
    kind: IndexKind,
    dim: int,
    bucket_rows: int,
    *,
    num_partitions: int | Auto | None,
    num_sub_vectors: int | None,
    bits: int | None = None,
) -> IndexSpec:
    """Fill in what the caller left open.

    Args:
        kind: which index.
        dim: length of a vector.
        bucket_rows: rows of the largest planned bucket.
        num_partitions: None for the default of the kind; "auto" leaves it open: 0.
        num_sub_vectors: None for dim / 16; "ivf_pq" only.
        bits: None for 1; "rabitq" only.

    Raises:
        InvalidInput: the numbers do not fit the vectors.
    """
    if kind != "ivf_pq" and num_sub_vectors is not None:
        raise InvalidInput(f"--num-sub-vectors goes with --index ivf_pq; {kind} has none")
    if kind != "rabitq" and bits is not None:
        raise InvalidInput(f"--bits goes with --index rabitq; {kind} has none")
    if kind == "flat":
        if num_partitions is not None:
            raise InvalidInput("--num-partitions goes with an index; flat has none")
        return IndexSpec("flat")
    partitions = _partitions(kind, bucket_rows, num_partitions)
    if kind == "rabitq":
        return IndexSpec("rabitq", partitions, bits=bits or 1)
    return IndexSpec("ivf_pq", partitions, _sub_vectors(dim, num_sub_vectors))


def _partitions(kind: IndexKind, bucket_rows: int, given: int | Auto | None) -> int:
    if given == AUTO:
        if kind != "rabitq":
            raise InvalidInput(
                "--num-partitions auto goes with --index rabitq; ivf_pq follows the rule of the "
                "post, the square root of the rows: give a number, or none"
            )
        return 0
    if given is None:
        by_rule = int(bucket_rows**0.5) if kind == "ivf_pq" else bucket_rows // ROWS_PER_PARTITION
        return min(max(1, by_rule), MAX_PARTITIONS)
    if not 1 <= given <= 1 << 20:
        raise InvalidInput(f"--num-partitions {given} is not between 1 and {1 << 20}")
    return given


def _sub_vectors(dim: int, given: int | None) -> int:
    if given is None:
        if dim % SUB_VECTOR_DIM:
            raise InvalidInput(
                f"vectors of {dim} do not divide into sub-vectors of {SUB_VECTOR_DIM}, the "
                "default of --index ivf_pq; give --num-sub-vectors a divisor of the dimension, or "
                "use --index rabitq, which takes any",
                dim=dim,
            )
        return dim // SUB_VECTOR_DIM
    if given < 1 or dim % given:
        raise InvalidInput(
            f"vectors of {dim} do not divide into {given} sub-vectors; "
            "give --num-sub-vectors a divisor of the dimension",
            dim=dim,
            num_sub_vectors=given,
        )
    return given


def sample_rows(spec: IndexSpec) -> int:
    """Tell how many rows a model is trained on at least, where there are as many."""
    rows = spec.num_partitions * SAMPLE_ROWS_PER_PARTITION
    if spec.kind == "ivf_pq":
        rows = max(rows, CODEBOOK_SIZE * SAMPLE_ROWS_PER_PARTITION)
    return max(rows, MIN_SAMPLE_ROWS)
