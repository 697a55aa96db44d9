"""The nouns of the vectors part: frozen values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

DistanceType = Literal["cosine", "l2", "dot"]
DISTANCE_TYPES: tuple[DistanceType, ...] = get_args(DistanceType)
IndexKind = Literal["rabitq", "ivf_pq", "flat"]
INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
Dtype = Literal["float32", "float16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


@dataclass(frozen=True)
class Embedder:
    """What made a set of vectors; recorded in every file and checked at every step.

    Attributes:
        name: "randconv", "amplify", "esm2".
        revision: which weights: a published version, or the hash of the files that were loaded.
        pooling: how residues became one vector, e.g. "max-whitened", "mean", with tiling named.
        dim: length of a vector.
        precision: arithmetic the vectors were computed in, "float32" or "bfloat16".
    """

    name: str
    revision: str
    pooling: str
    dim: int
    precision: str = "float32"
