"""The folder of one distributed search: what its steps are told, and what they leave.

<run>/_run/request.json                    what was asked; made once, by whoever starts the search
<run>/_run/queries/<hash>-<size>/<block>   the query vectors and their names
<run>/_run/target.json                     what is searched
<run>/_run/buckets/<number>.json           the buckets to search, some together
<run>/_run/passing/<bucket>                rows that pass the predicate: how many, and which
<run>/_run/plan.json                       how it is searched
<run>/_run/probes/<block>                  which query reads which partitions, and their centroids
<run>/_run/parts/<plan>/<block>/<bucket>   what a bucket answers
<run>/_run/folds/<plan>/<block>/<group>    what several answer
<run>/_run/measured/<plan>/<block>/<bucket>   exact distances of its rows among the best of all
<run>/_run/failed/<bucket>.json            why one does not
<run>/hits.csv                             the result; of several blocks hits-00000.csv ...
<run>/summary.json                         how it was found, what is missing, what it took

All but the failures are the same whoever writes them, and however often.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from atoll.core import errors
from atoll.core.arrays import IntArray
from atoll.core.errors import AtollError, Conflict, Corrupt, NotFound, Unavailable
from atoll.core.records import decoded
from atoll.storage import Storage, Threads
from atoll.vectors import blobs
from atoll.vectors.distributed import rows
from atoll.vectors.distributed.model import Plan, Probes, Request, Target
from atoll.vectors.distributed.rows import Part
from atoll.vectors.index import probed_arrays, probed_model
from atoll.vectors.model import Bucket
from atoll.vectors.queries import QueryBatch
from atoll.vectors.search import Pairs
from atoll.vectors.work import Work

T = TypeVar("T")

FOLDER = "_run"
REQUEST = f"{FOLDER}/request.json"
TARGET = f"{FOLDER}/target.json"
PLAN = f"{FOLDER}/plan.json"
SUMMARY = "summary.json"
# Reads at once.
READS_AT_ONCE = 16
# Records of buckets in one object: a step reads that of its own.
BUCKETS_TOGETHER = 64
# Where no more of its partitions are read, what is needed of a model comes with the plan: the model
# of a large collection has tens of megabytes.
KNOWN_SHARE = 0.25
# Of the first failures, for messages.
SHOWN_CHARACTERS = 1000


class Run:
    """The folder of a search; what was read once is kept."""

    def __init__(self, storage: Storage) -> None:
        """Read nothing yet."""
        self.storage = storage
        self._buckets: dict[int, tuple[Bucket, ...]] = {}
        self._batch: tuple[int, QueryBatch] | None = None
        self._probes: tuple[int, Probes] | None = None

    def __str__(self) -> str:
        """Name it by its place."""
        return str(self.storage)

    def at_once(self, reads: Sequence[Callable[[], Any]]) -> list[Any]:
        """Do several reads, side by side where each waits for a network."""
        if self.storage.root is not None or len(reads) < 2:
            return [read() for read in reads]
        with Threads(min(READS_AT_ONCE, len(reads))) as pool:
            return list(pool.map(lambda read: read(), reads))

    # -- request ----------------------------------------------------------------------------------

    def begin(self, request: Request, batch: QueryBatch) -> None:
        """Write what is asked; where the same was asked here before, its work is taken up.

        Raises:
            Conflict: something else was asked here, or there is something else.
        """
        ours = f"{FOLDER}/queries/"
        if all(entry.path.startswith(ours) for entry in self.storage.list()):
            for block in request.blocks:
                mine = batch.slice(block * request.block, (block + 1) * request.block)
                self.storage.put(_queries(request, block), _packed_queries(mine))
            # Last: it says that the queries are there.
            self.storage.put_new(REQUEST, msgspec.json.format(msgspec.json.encode(request)))
        # How many queries go together depends on the memory there was: theirs is as good.
        is_there = self.storage.exists(REQUEST)
        if not is_there or replace(request, block=self.request.block) != self.request:
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
        found = self._found(REQUEST, Request)
        if found is None:
            raise NotFound(
                f"{self} is no search that was begun; it has no {REQUEST}", run=str(self)
            )
        return found

    def batch(self, block: int) -> QueryBatch:
        """Read the queries of a block."""
        if self._batch is None or self._batch[0] != block:
            self._batch = block, self._read_batch(block)
        return self._batch[1]

    def _read_batch(self, block: int) -> QueryBatch:
        path = _queries(self.request, block)
        data = self.storage.get(path)
        with self._reading(path):
            with pa.ipc.open_file(io.BytesIO(data)) as file:
                table = file.read_all()
            if len(table) != self.request.queries_of(block):
                raise ValueError(f"it holds {len(table):,} queries")
            flat = np.asarray(table["vector"].combine_chunks().flatten(), np.float32)
            return QueryBatch(table["id"].to_pylist(), flat.reshape(len(table), -1))

    # -- target and plan --------------------------------------------------------------------------

    def put_target(self, target: Target, buckets: Sequence[Bucket]) -> None:
        """Write what is searched."""
        for start in range(0, len(buckets), BUCKETS_TOGETHER):
            data = msgspec.json.encode(buckets[start : start + BUCKETS_TOGETHER])
            self.storage.put(f"{FOLDER}/buckets/{start // BUCKETS_TOGETHER}.json", data)
        self.storage.put(TARGET, msgspec.json.encode(target))

    @cached_property
    def target(self) -> Target:
        """What is searched.

        Raises:
            NotFound: nobody has begun to plan.
        """
        return self._planned(TARGET, Target)

    def bucket(self, position: int) -> Bucket:
        """Read the record of a bucket."""
        number, place = divmod(position, BUCKETS_TOGETHER)
        if number not in self._buckets:
            path = f"{FOLDER}/buckets/{number}.json"
            self._buckets[number] = self._planned(path, tuple[Bucket, ...])
        with self._reading(f"{FOLDER}/buckets/{number}.json"):
            return self._buckets[number][place]

    def put_probes(self, block: int, probes: Probes) -> bytes:
        """Write which query reads which partitions; return what was written."""
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
        data = blobs.pack_arrays(arrays)
        self.storage.put(f"{FOLDER}/probes/{block}", data)
        return data

    def probes(self, block: int) -> Probes:
        """Read which query reads which partitions."""
        if self._probes is None or self._probes[0] != block:
            self._probes = block, self._read_probes(block)
        return self._probes[1]

    def _read_probes(self, block: int) -> Probes:
        path = f"{FOLDER}/probes/{block}"
        data = self.storage.get(path)
        with self._reading(path):
            by_model: dict[str, dict[str, NDArray[Any]]] = {}
            for name, array in blobs.unpack_arrays(data).items():
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

    def put_plan(self, plan: Plan) -> None:
        """Write how it is searched; all else of the plan is there by then."""
        self.storage.put(PLAN, msgspec.json.encode(plan))

    @cached_property
    def plan(self) -> Plan:
        """How it is searched, and what was asked.

        Raises:
            NotFound: nobody has planned yet.
        """
        found = self._planned(PLAN, Plan)
        self.__dict__.setdefault("request", found.request)
        return found

    @property
    def is_planned(self) -> bool:
        """Whether the plan is there."""
        return self.storage.exists(PLAN)

    # -- rows that pass the predicate -------------------------------------------------------------

    def put_passing(
        self, position: int, mask: NDArray[np.bool_], counts: IntArray, work: Work
    ) -> None:
        """Write which rows of a bucket pass, how many of each partition, and what that took."""
        arrays = {"mask": np.packbits(mask), "rows": np.array(len(mask))}
        self.storage.put(_passing(position), rows.compressed(blobs.pack_arrays(arrays)))
        told = {
            "total": np.array(mask.sum()),
            "counts": counts,
            "work": np.frombuffer(msgspec.json.encode(work), np.uint8),
        }
        self.storage.put(f"{_passing(position)}.counts", blobs.pack_arrays(told))

    def passing(self, position: int) -> NDArray[np.bool_]:
        """Read which rows of a bucket pass: (stored rows,)."""
        path = _passing(position)
        data = rows.decompressed(self.storage.get(path), f"{self}/{path}")
        with self._reading(path):
            arrays = blobs.unpack_arrays(data)
            mask = np.unpackbits(arrays["mask"], count=int(arrays["rows"]))
        found: NDArray[np.bool_] = mask.view(np.bool_)
        return found

    def passing_counts(self, position: int) -> tuple[int, IntArray, Work] | None:
        """Read how many rows of a bucket pass, in all and of each partition, and what that took.

        Returns:
            None where nobody has counted yet.
        """
        path = f"{_passing(position)}.counts"
        if (data := self.storage.find(path)) is None:
            return None
        with self._reading(path):
            arrays = blobs.unpack_arrays(data)
            work = decoded(arrays["work"].tobytes(), Work)
            return int(arrays["total"]), arrays["counts"], work

    # -- parts ------------------------------------------------------------------------------------

    def put_part(self, part: Part, block: int, bucket: int) -> None:
        """Write what a bucket answers."""
        self._put(part, self._part_path(block, bucket), block)

    def has_part(self, block: int, bucket: int) -> bool:
        """Tell whether a bucket has answered."""
        return self.storage.exists(self._part_path(block, bucket))

    def is_answered(self, bucket: int) -> bool:
        """Tell whether a bucket has answered all queries."""
        return all(self.has_part(block, bucket) for block in self.request.blocks)

    def parts(self, block: int, buckets: Sequence[int]) -> list[Part | None]:
        """Read what buckets answer; None for those that do not."""
        paths = [self._part_path(block, bucket) for bucket in buckets]
        return self.at_once([partial(self._part, path, block) for path in paths])

    def put_fold(self, part: Part, block: int, group: int) -> None:
        """Write what several buckets answer."""
        self._put(part, self._fold_path(block, group), block)

    def fold(self, block: int, group: int) -> Part:
        """Read what several buckets answer.

        Raises:
            NotFound: nobody has merged them.
        """
        found = self._part(self._fold_path(block, group), block)
        if found is None:
            raise NotFound(
                f"group {group} of {self} is not merged; run its step `fold`", run=str(self)
            )
        return found

    def put_measured(self, part: Part, block: int, bucket: int) -> None:
        """Write exact distances of rows of a bucket."""
        self._put(part, self._measured_path(block, bucket), block)

    def measured(self, block: int, buckets: Sequence[int]) -> list[Part | None]:
        """Read exact distances of rows of buckets; None for those that have computed none."""
        paths = [self._measured_path(block, bucket) for bucket in buckets]
        return self.at_once([partial(self._part, path, block) for path in paths])

    def _part_path(self, block: int, bucket: int) -> str:
        return f"{FOLDER}/parts/{self.plan.key}/{block}/{bucket}"

    def _fold_path(self, block: int, group: int) -> str:
        return f"{FOLDER}/folds/{self.plan.key}/{block}/{group}"

    def _measured_path(self, block: int, bucket: int) -> str:
        return f"{FOLDER}/measured/{self.plan.key}/{block}/{bucket}"

    def _put(self, part: Part, path: str, block: int) -> None:
        self.storage.put(path, rows.pack(part, self.request.queries_of(block)))

    def _part(self, path: str, block: int) -> Part | None:
        data = self.storage.find(path)
        if data is None:
            return None
        return rows.unpack(data, f"{self}/{path}", self.request.queries_of(block))

    # -- failures ---------------------------------------------------------------------------------

    def put_failure(self, position: int, error: AtollError) -> None:
        """Write why a bucket does not answer."""
        said = {"error": type(error).__name__, "message": error.message}
        self.storage.put(f"{FOLDER}/failed/{position}.json", msgspec.json.encode(said))

    def failure(self, position: int) -> AtollError | None:
        """Make again the error by which a bucket does not answer; None where none is noted."""
        said = self._found(f"{FOLDER}/failed/{position}.json", dict[str, str])
        if said is None:
            return None
        kind = getattr(errors, said.get("error", ""), None)
        is_ours = isinstance(kind, type) and issubclass(kind, AtollError)
        message = said.get("message", "")[:SHOWN_CHARACTERS]
        return (kind if is_ours and kind else Unavailable)(message)

    # -- result -----------------------------------------------------------------------------------

    def put_hits(self, block: int, data: bytes) -> None:
        """Write the file of hits of a block of queries."""
        self.storage.put(self.hits_path(block), data)

    def hits_path(self, block: int) -> str:
        """Name the file with the hits of a block of queries."""
        request = self.request
        name = "hits" if len(request.blocks) == 1 else f"hits-{block:05d}"
        return f"{name}{request.suffix}"

    def hits(self) -> pa.Table:
        """Read the hits from Parquet files."""
        paths = [self.hits_path(block) for block in self.request.blocks]
        files = [io.BytesIO(self.storage.get(path)) for path in paths]
        return pa.concat_tables(map(pa.parquet.read_table, files))

    def csv(self) -> Iterator[bytes]:
        """Read the hits from CSV files, as one file, in pieces."""
        for block in self.request.blocks:
            data = self.storage.get(self.hits_path(block))
            # All have the same first line.
            yield data if block == 0 else data[data.index(b"\n") + 1 :]

    def put_summary(self, summary: dict[str, Any]) -> None:
        """Write how the hits were found; it says that all of them are there."""
        self.storage.put(SUMMARY, msgspec.json.format(msgspec.json.encode(summary), indent=1))

    def summary(self) -> dict[str, Any] | None:
        """Read how the hits were found; None where the search has not ended."""
        return self._found(SUMMARY, dict[str, Any])

    # -- reading ----------------------------------------------------------------------------------

    def _planned(self, path: str, kind: type[T]) -> T:
        found = self._found(path, kind)
        if found is None:
            raise NotFound(
                f"{self} is not planned yet: it has no {path}; run its step `plan`", run=str(self)
            )
        return found

    def _found(self, path: str, kind: type[T]) -> T | None:
        data = self.storage.find(path)
        if data is None:
            return None
        with self._reading(path):
            return decoded(data, kind)

    def _reading(self, path: str) -> _Reading:
        return _Reading(f"{self}/{path}")


class _Reading:
    """Raises what a damaged object makes a decoder say as damage that names the object."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        damage = (
            msgspec.MsgspecError, zipfile.BadZipFile, EOFError, ValueError, KeyError, TypeError,
            IndexError, pa.ArrowException,
        )  # fmt: skip
        if isinstance(error, damage):
            raise Corrupt(
                f"{self._path} is damaged ({error}); remove the search's folder and start anew",
                path=self._path,
            ) from error


def _queries(request: Request, block: int) -> str:
    # Of two who begin here at once, neither may answer the other's queries, nor fewer of its own.
    return f"{FOLDER}/queries/{request.vectors[:16]}-{request.block}/{block}"


def _passing(position: int) -> str:
    return f"{FOLDER}/passing/{position}"


def _packed_queries(batch: QueryBatch) -> bytes:
    flat = pa.array(np.ascontiguousarray(batch.vectors).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, batch.vectors.shape[1])
    table = pa.table({"id": pa.array(batch.ids, pa.string()), "vector": vectors})
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    return out.getvalue()
