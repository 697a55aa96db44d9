"""The folder of one distributed search: what its steps are told, and what they leave.

<run>/_run/request.json            what was asked; made once, by whoever starts the search
<run>/_run/queries/<block>         the query vectors and their names
<run>/_run/target.json             what is searched
<run>/_run/plan.json               how it is searched
<run>/_run/probes/<block>          which query reads which partitions, and their centroids
<run>/_run/buckets/<number>.json   the buckets to search, some together
<run>/_run/passing/<bucket>        rows that pass the predicate: how many, and which
<run>/_run/parts/<block>/<bucket>  what a bucket answers
<run>/_run/folds/<block>/<group>   what several answer
<run>/_run/failed/<bucket>.json    why one does not
<run>/hits.csv                     the result; of several blocks of queries hits-00000.csv ...
<run>/summary.json                 how it was found, what is missing, what it took

All but the failures are the same whoever writes them, and however often.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from atoll.core import errors
from atoll.core.arrays import IntArray
from atoll.core.errors import AtollError, Conflict, Corrupt, NotFound, Unavailable
from atoll.storage import Storage, Threads
from atoll.vectors import blobs
from atoll.vectors.distributed import rows
from atoll.vectors.distributed.rows import Part
from atoll.vectors.index import IndexModel, probed_arrays, probed_model
from atoll.vectors.model import Blob, Bucket, CollectionSpec, IndexKind, Manifest
from atoll.vectors.options import SearchOptions
from atoll.vectors.queries import QueryBatch
from atoll.vectors.search import Pairs
from atoll.vectors.work import Work

T = TypeVar("T")

FOLDER = "_run"
REQUEST = f"{FOLDER}/request.json"
TARGET = f"{FOLDER}/target.json"
PLAN = f"{FOLDER}/plan.json"
SUMMARY = "summary.json"
# Metadata of queries: which search they are of.
_VECTORS = b"atoll.vectors"
# Parts read at once.
PARTS_AT_ONCE = 16
# Records of buckets in one object: a step reads that of its own.
BUCKETS_TOGETHER = 64
# Where no more of its partitions are read, what is needed of a model comes with the plan: the model
# of a large collection has tens of megabytes.
KNOWN_SHARE = 0.25


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
    """

    spec: CollectionSpec
    models: dict[str, Blob]
    version: int
    kinds: tuple[IndexKind, ...]
    buckets: int
    rows: int

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
        request: what was asked.
        target: what is searched.
        is_compared: whether every row that may be a hit is compared.
        keep: candidates of each query that get exact distances.
        group: buckets whose parts are merged by one inner step; 0 where there are none.
        work: what planning took.
    """

    request: Request
    target: Target
    is_compared: bool
    keep: int
    group: int
    work: Work

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


class Run:
    """The folder of a search."""

    def __init__(self, storage: Storage) -> None:
        """Read nothing yet."""
        self.storage = storage
        self._last_batch: tuple[int, QueryBatch] | None = None
        self._last_probes: tuple[int, Probes] | None = None

    def __str__(self) -> str:
        """Name it by its place."""
        return str(self.storage)

    # -- request ----------------------------------------------------------------------------------

    def begin(self, request: Request, batch: QueryBatch) -> None:
        """Write what is asked; where the same was asked here before, its work is taken up.

        Raises:
            Conflict: something else was asked here, or there is something else.
        """
        data = msgspec.json.format(msgspec.json.encode(request), indent=1)
        if next(self.storage.list(), None) is None:
            for block in request.blocks:
                mine = batch.slice(block * request.block, (block + 1) * request.block)
                data_of = _packed_queries(mine, request.vectors)
                self.storage.put(f"{FOLDER}/queries/{block}", data_of)
            # Last: it says that the queries are there.
            self.storage.put_new(REQUEST, data)
        found = self.storage.find(REQUEST)
        # How many queries go together depends on the memory there was: theirs is as good.
        if found is None or replace(request, block=self.request.block) != self.request:
            raise Conflict(
                f"{self} is not empty, and what is there is of another search; choose another "
                "place, or remove it",
                run=str(self),
            )

    @cached_property
    def request(self) -> Request:
        """What was asked.

        Raises:
            NotFound: no search was begun here.
        """
        try:
            return msgspec.json.decode(self.storage.get(REQUEST), type=Request)
        except NotFound as error:
            raise NotFound(
                f"{self} is no search that was begun; it has no {REQUEST}", run=str(self)
            ) from error
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{self}/{REQUEST} cannot be read ({error})", path=REQUEST) from error

    def batch(self, block: int) -> QueryBatch:
        """Read the queries of a block; the last ones read are kept.

        Raises:
            Conflict: they are of another search, begun here at the same time.
        """
        if self._last_batch is None or self._last_batch[0] != block:
            self._last_batch = block, self._batch(block)
        return self._last_batch[1]

    def _batch(self, block: int) -> QueryBatch:
        path = f"{FOLDER}/queries/{block}"
        try:
            with pa.ipc.open_file(io.BytesIO(self.storage.get(path))) as file:
                table = file.read_all()
        except pa.ArrowInvalid as error:
            raise Corrupt(f"{self}/{path} cannot be read ({error})", path=path) from error
        if table.schema.metadata[_VECTORS].decode() != self.request.vectors:
            raise Conflict(f"{self}/{path} is of another search, begun here at the same time")
        vectors = table["vector"].combine_chunks()
        flat = np.asarray(vectors.flatten(), np.float32)
        return QueryBatch(table["id"].to_pylist(), flat.reshape(len(table), -1))

    # -- plan -------------------------------------------------------------------------------------

    def put_buckets(self, buckets: Sequence[Bucket]) -> None:
        """Write the records of the buckets to search."""
        for start in range(0, len(buckets), BUCKETS_TOGETHER):
            data = msgspec.json.encode(buckets[start : start + BUCKETS_TOGETHER])
            self.storage.put(f"{FOLDER}/buckets/{start // BUCKETS_TOGETHER}.json", data)

    def bucket(self, position: int) -> Bucket:
        """Read the record of a bucket."""
        return self._together(position // BUCKETS_TOGETHER)[position % BUCKETS_TOGETHER]

    def _together(self, number: int) -> tuple[Bucket, ...]:
        if number not in self._known_buckets:
            data = self.storage.get(f"{FOLDER}/buckets/{number}.json")
            self._known_buckets[number] = msgspec.json.decode(data, type=tuple[Bucket, ...])
        return self._known_buckets[number]

    @cached_property
    def _known_buckets(self) -> dict[int, tuple[Bucket, ...]]:
        return {}

    def put_target(self, target: Target) -> None:
        """Write what is searched."""
        self.storage.put(TARGET, msgspec.json.encode(target))

    @cached_property
    def target(self) -> Target:
        """What is searched.

        Raises:
            NotFound: nobody has begun to plan.
        """
        return self._read(TARGET, Target)

    def put_plan(self, plan: Plan) -> None:
        """Write what holds for all buckets; all else of the plan is there by then."""
        self.storage.put(PLAN, msgspec.json.encode(plan))

    @cached_property
    def plan(self) -> Plan:
        """How it is searched, and what was asked.

        Raises:
            NotFound: nobody has planned yet.
        """
        found = self._read(PLAN, Plan)
        self.__dict__.setdefault("request", found.request)
        return found

    @property
    def is_planned(self) -> bool:
        """Whether the plan is there."""
        return self.storage.exists(PLAN)

    def _read(self, path: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self.storage.get(path), type=kind)
        except NotFound as error:
            raise NotFound(
                f"{self} is not planned yet: it has no {path}; run its step `plan`", run=str(self)
            ) from error

    def put_probes(self, block: int, probes: Probes) -> None:
        """Write which query reads which partitions."""
        arrays: dict[str, NDArray[Any]] = {}
        for model, mine in probes.pairs.items():
            arrays[f"{model} query"] = mine.query.astype(np.int32)
            arrays[f"{model} partition"] = mine.partition.astype(np.int32)
            arrays[f"{model} base"] = mine.base
        for model, known in probes.known.items():
            partitions = np.unique(probes.pairs[model].partition)
            if len(partitions) <= KNOWN_SHARE * len(known.centroids):
                taken = probed_arrays(known, partitions)
                arrays |= {f"{model} {name}": array for name, array in taken.items()}
        self.storage.put(f"{FOLDER}/probes/{block}", blobs.pack_arrays(arrays))

    def probes(self, block: int) -> Probes:
        """Read which query reads which partitions; what was read last is kept."""
        if self._last_probes is None or self._last_probes[0] != block:
            self._last_probes = block, self._probes(block)
        return self._last_probes[1]

    def _probes(self, block: int) -> Probes:
        arrays = blobs.unpack_arrays(self.storage.get(f"{FOLDER}/probes/{block}"))
        by_model: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            model, what = name.split(" ")
            by_model.setdefault(model, {})[what] = array
        pairs = {
            model: Pairs(
                mine["query"].astype(np.int64), mine["partition"].astype(np.int64), mine["base"]
            )
            for model, mine in sorted(by_model.items())
        }
        known = {m: probed_model(mine) for m, mine in by_model.items() if "rotated" in mine}
        return Probes(pairs, known)

    # -- rows that pass the predicate -------------------------------------------------------------

    def put_passing(self, position: int, mask: NDArray[np.bool_], counts: IntArray) -> None:
        """Write which rows of a bucket pass, and how many of each partition."""
        arrays = {"mask": np.packbits(mask), "rows": np.array(len(mask))}
        self.storage.put(self._passing(position), rows.compressed(blobs.pack_arrays(arrays)))
        counted = {"total": np.array(mask.sum()), "counts": counts}
        self.storage.put(f"{self._passing(position)}.counts", blobs.pack_arrays(counted))

    def passing(self, position: int) -> NDArray[np.bool_]:
        """Read which rows of a bucket pass: (stored rows,)."""
        path = self._passing(position)
        arrays = blobs.unpack_arrays(rows.decompressed(self.storage.get(path), f"{self}/{path}"))
        found: NDArray[np.bool_] = np.unpackbits(arrays["mask"], count=int(arrays["rows"])).view(
            np.bool_
        )
        return found

    def passing_counts(self, position: int) -> tuple[int, IntArray] | None:
        """Read how many rows of a bucket pass, and of each partition; None where not known yet."""
        try:
            data = self.storage.get(f"{self._passing(position)}.counts")
        except NotFound:
            return None
        arrays = blobs.unpack_arrays(data)
        return int(arrays["total"]), arrays["counts"]

    def _passing(self, position: int) -> str:
        return f"{FOLDER}/passing/{position}"

    # -- parts ------------------------------------------------------------------------------------

    def put_part(self, part: Part, block: int, bucket: int) -> None:
        """Write what a bucket answers."""
        self._put(part, f"{FOLDER}/parts/{block}/{bucket}", block)

    def has_part(self, block: int, bucket: int) -> bool:
        """Tell whether a bucket has answered."""
        return self.storage.exists(f"{FOLDER}/parts/{block}/{bucket}")

    def is_answered(self, bucket: int) -> bool:
        """Tell whether a bucket has answered all queries."""
        return all(self.has_part(block, bucket) for block in self.request.blocks)

    def part(self, block: int, bucket: int) -> Part | None:
        """Read what a bucket answers; None where it does not."""
        return self._part(f"{FOLDER}/parts/{block}/{bucket}")

    def parts(self, block: int, buckets: Sequence[int]) -> list[Part | None]:
        """Read what several buckets answer."""
        return self.at_once([partial(self.part, block, bucket) for bucket in buckets])

    def at_once(self, reads: Sequence[Callable[[], Any]]) -> list[Any]:
        """Do several reads, side by side where each waits for a network."""
        if self.storage.root is not None or len(reads) < 2:
            return [read() for read in reads]
        with Threads(min(PARTS_AT_ONCE, len(reads))) as pool:
            return list(pool.map(lambda read: read(), reads))

    def put_fold(self, part: Part, block: int, group: int) -> None:
        """Write what several buckets answer."""
        self._put(part, f"{FOLDER}/folds/{block}/{group}", block)

    def fold(self, block: int, group: int) -> Part | None:
        """Read what several buckets answer; None where nobody has merged them."""
        return self._part(f"{FOLDER}/folds/{block}/{group}")

    def _put(self, part: Part, path: str, block: int) -> None:
        self.storage.put(path, rows.pack(part, self.request.queries_of(block)))

    def _part(self, path: str) -> Part | None:
        try:
            data = self.storage.get(path)
        except NotFound:
            return None
        return rows.unpack(data, f"{self}/{path}")

    def put_failure(
        self, position: int, error: Mapping[str, str], *, is_guess: bool = False
    ) -> None:
        """Write why a bucket does not answer; a guess stands only where nobody knows better."""
        path, data = f"{FOLDER}/failed/{position}.json", msgspec.json.encode(dict(error))
        if is_guess:
            self.storage.put_new(path, data)
        else:
            self.storage.put(path, data)

    def failure(self, position: int) -> str:
        """Say why a bucket does not answer."""
        return self.error(position).message

    def error(self, position: int) -> AtollError:
        """Make again the error by which a bucket does not answer."""
        try:
            data = self.storage.get(f"{FOLDER}/failed/{position}.json")
        except NotFound:
            return Unavailable("its step did not end")
        said: dict[str, str] = msgspec.json.decode(data)
        kind = getattr(errors, said["error"], None)
        is_ours = isinstance(kind, type) and issubclass(kind, AtollError)
        return (kind if is_ours else Unavailable)(said["message"])

    # -- result -----------------------------------------------------------------------------------

    def hits_path(self, block: int) -> str:
        """Name the file with the hits of a block of queries."""
        request = self.request
        name = "hits" if len(request.blocks) == 1 else f"hits-{block:05d}"
        return f"{name}{request.suffix}"

    def hits(self) -> pa.Table:
        """Read the hits: of a CSV file distances, ranks and ids as a search returns them."""
        parts = [self._hits_of(block) for block in self.request.blocks]
        return pa.concat_tables(parts)

    def _hits_of(self, block: int) -> pa.Table:
        data = io.BytesIO(self.storage.get(self.hits_path(block)))
        if self.request.suffix == ".parquet":
            return pa.parquet.read_table(data)
        text = dict.fromkeys(("query_id", "id"), pa.string())
        kinds = text | {"rank": pa.int32(), "_distance": pa.float32()}
        return pa.csv.read_csv(data, convert_options=pa.csv.ConvertOptions(column_types=kinds))

    def put_summary(self, summary: Mapping[str, Any]) -> None:
        """Write how the hits were found; it says that all of them are there."""
        data = msgspec.json.format(msgspec.json.encode(dict(summary)), indent=1)
        self.storage.put(SUMMARY, data)

    def summary(self) -> dict[str, Any] | None:
        """Read how the hits were found; None where the search has not ended."""
        try:
            found: dict[str, Any] = msgspec.json.decode(self.storage.get(SUMMARY))
        except NotFound:
            return None
        return found


def hash_of(batch: QueryBatch) -> str:
    """Hash queries and their names."""
    digest = hashlib.sha256(np.ascontiguousarray(batch.vectors).data)
    digest.update("\0".join(batch.ids).encode())
    return digest.hexdigest()


def _packed_queries(batch: QueryBatch, whole: str) -> bytes:
    flat = pa.array(np.ascontiguousarray(batch.vectors).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, batch.vectors.shape[1])
    table = pa.table({"id": pa.array(batch.ids, pa.string()), "vector": vectors})
    table = table.replace_schema_metadata({_VECTORS: whole})
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    return out.getvalue()
