"""The nouns of a distributed search: what was asked, what is searched, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atoll.core.errors import InvalidInput
from atoll.vectors.distributed.grouping import block_of
from atoll.vectors.index import IndexModel
from atoll.vectors.model import Blob, CollectionSpec, IndexKind, Manifest
from atoll.vectors.options import SearchOptions
from atoll.vectors.queries import QueryBatch
from atoll.vectors.search import Pairs
from atoll.vectors.view import View
from atoll.vectors.work import Work


@dataclass(frozen=True)
class Request:
    """What was asked.

    Attributes:
        collection: its URL.
        version: the one to search.
        options: checked, with settings that hold the recall asked for.
        recall: what recall was asked for and what holds it; None where none was.
        queries: how many.
        block: queries answered together.
        vectors: hash of all queries and their names.
        suffix: of the files with hits, ".csv" or ".parquet".
        is_refined_early: whether each bucket computes the exact distances of its own candidates: as
            cheap as reading them later, where the bucket lies on the step's own disk.
    """

    collection: str
    version: int
    options: SearchOptions
    recall: dict[str, Any] | None
    queries: int
    block: int
    vectors: str
    suffix: str = ".csv"
    is_refined_early: bool = False

    def __post_init__(self) -> None:
        """Refuse what nobody has asked: it was read from somewhere.

        Raises:
            ValueError: a number is out of range.
        """
        if self.block < 1 or self.queries < 1 or self.suffix not in (".csv", ".parquet"):
            raise ValueError("a number of queries below 1, or a kind of file that is not known")

    @classmethod
    def of(
        cls,
        view: View,
        batch: QueryBatch,
        options: SearchOptions,
        *,
        suffix: str = ".csv",
        is_refined_early: bool = False,
    ) -> Request:
        """Write down a search of a version; see `Collection.begin_run`.

        Raises:
            InvalidInput: what a search refuses, and `group_by`.
        """
        if options.group_by is not None:
            raise InvalidInput(
                "group_by looks further until there are enough groups, which no bucket can do "
                "alone; search with --via local"
            )
        options, recall = view.settled(options)
        rows = options.k * (1 if options.exact else options.refine_factor)
        in_all = sum(min(rows, bucket.rows) for bucket in view.manifest.buckets)
        return cls(
            collection=view.reader.storage.url,
            version=view.manifest.version,
            options=options,
            recall=recall,
            queries=len(batch),
            block=block_of(len(batch), in_all, view.queries_at_once(options)),
            vectors=_hash_of(batch),
            suffix=suffix,
            is_refined_early=is_refined_early,
        )

    @property
    def blocks(self) -> range:
        """The numbers of the blocks."""
        return range(-(-self.queries // self.block))

    def queries_of(self, block: int) -> int:
        """Count the queries of a block."""
        return min(self.block, self.queries - block * self.block)


@dataclass(frozen=True)
class Target:
    """What is searched.

    Attributes:
        spec, models: of the collection.
        version: of its manifest.
        kinds: indexes that its buckets have.
        buckets: how many there are.
        rows: in all of them.
        works: what finding out took.
    """

    spec: CollectionSpec
    models: dict[str, Blob]
    version: int
    kinds: tuple[IndexKind, ...]
    buckets: int
    rows: int
    works: tuple[Work, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> Target:
        """Take what steps need of a version."""
        kinds = dict.fromkeys(manifest.spec.index_of(bucket).kind for bucket in manifest.buckets)
        return cls(
            manifest.spec,
            manifest.models,
            manifest.version,
            tuple(kinds),
            len(manifest.buckets),
            manifest.rows,
        )


@dataclass(frozen=True)
class Plan:
    """How it is searched.

    Attributes:
        key: names this plan: parts of another one do not go with its own.
        request: what was asked.
        target: what is searched.
        is_compared: whether every row that may be a hit is compared.
        keep: candidates of each query that get exact distances.
        group: buckets whose parts are merged by one inner step; 0 where there are none.
        is_measured: whether each bucket computes the exact distances of its rows among those.
        given_up: positions of buckets that could not be filtered or opened; they are not searched.
        works: what planning took, and filtering before it.
    """

    key: str
    request: Request
    target: Target
    is_compared: bool
    keep: int
    group: int
    is_measured: bool
    given_up: tuple[int, ...]
    works: tuple[Work, ...]

    @property
    def searched(self) -> list[int]:
        """Positions of the buckets to search."""
        return [each for each in range(self.target.buckets) if each not in self.given_up]

    @property
    def groups(self) -> range:
        """The numbers of the inner merge steps."""
        return range(-(-self.target.buckets // self.group) if self.group else 0)

    def members(self, group: int) -> range:
        """The buckets that an inner step merges."""
        return range(group * self.group, min(self.target.buckets, (group + 1) * self.group))


@dataclass(frozen=True, eq=False)
class Probes:
    """Which partitions queries read.

    Attributes:
        pairs: by the hash of the index model.
        known: the models, or as much of them as the pairs need.
    """

    pairs: Mapping[str, Pairs]
    known: Mapping[str, IndexModel]


def _hash_of(batch: QueryBatch) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(batch.vectors).data)
    digest.update("\0".join(batch.ids).encode())
    return digest.hexdigest()
