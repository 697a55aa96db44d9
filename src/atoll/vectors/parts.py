"""Writes consecutive rows of a bucket, already in order: data files, ids, hashes, checksums.

A bucket may be written in several parts by as many workers, each starting at a multiple of
`BLOCK_ROWS`, so that blocks of ids and of checksums come out as if one had written all.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.errors import AtollError, Unavailable
from atoll.core.files import OTHER_SCRATCH, writing
from atoll.storage import Storage
from atoll.vectors import blobs, schemas, store
from atoll.vectors.digest import ColumnDigest
from atoll.vectors.ids import HashWriter, open_runs, write_index
from atoll.vectors.model import CODE_COLUMN, Blob, CollectionSpec
from atoll.vectors.names import NamesWriter
from atoll.vectors.places import fetched, written
from atoll.vectors.shuffle import Ordered


@dataclass(frozen=True)
class Part:
    """What was written of a bucket.

    Attributes:
        rows: how many.
        fragments: Lance's data files, as `store.write_fragments` returned them.
        digests: per column, hashes of blocks.
        names: path of the ids in blocks.
        name_bytes: bytes of each block.
        hashes: path of the sorted runs of id hashes.
        hash_runs: rows of each run.
    """

    rows: int
    fragments: tuple[str, ...]
    digests: dict[str, bytes]
    names: str
    name_bytes: tuple[int, ...]
    hashes: str
    hash_runs: tuple[int, ...]

    def files(self, table: str) -> list[str]:
        """List its data files, as paths below the collection."""
        found = [json.loads(fragment)["files"] for fragment in self.fragments]
        return [f"{table}.lance/data/{file['path']}" for files in found for file in files]


def write_part(
    collection: Storage,
    table: str,
    spec: CollectionSpec,
    rows: Iterable[Ordered],
    *,
    first_row: int,
    place: Storage,
    scratch: Path | None,
) -> Part:
    """Write rows.

    Args:
        collection, table: where the data files go.
        spec: the schema.
        rows: in order.
        first_row: position of the first of them in the bucket.
        place: where ids and hashes go for now.
        scratch: folder for what must lie in a local file first.

    Raises:
        Conflict: the table was committed meanwhile.
        AtollError: what reading `rows` raises.
    """
    # Names of its own: another try may cut the rows elsewhere, or sort them in other runs.
    writer = uuid.uuid4().hex
    names_path, hashes_path = (f"{kind}-{first_row}-{writer}" for kind in ("names", "hashes"))
    with (
        written(place, names_path, scratch) as names_file,
        written(place, hashes_path, scratch) as hashes_file,
    ):
        stream = _Stream(spec, rows, NamesWriter(names_file), HashWriter(hashes_file, first_row))
        schema = schemas.decode_schema(spec.arrow_schema)
        try:
            fragments = store.write_fragments(
                collection, table, pa.RecordBatchReader.from_batches(schema, stream.batches())
            )
        except AtollError as error:
            # What is raised inside the reader comes through Lance as text only.
            raise stream.error or error from error
        at, hash_runs = stream.names.finish(), stream.hashes.finish()
    return Part(
        stream.rows,
        tuple(fragments),
        stream.digest.blocks(),
        names_path,
        tuple(np.diff(at).tolist()),
        hashes_path,
        tuple(hash_runs),
    )


class _Stream:
    """Rows on their way to Lance."""

    def __init__(
        self,
        spec: CollectionSpec,
        source: Iterable[Ordered],
        names: NamesWriter,
        hashes: HashWriter,
    ) -> None:
        self.spec, self.source, self.names, self.hashes = spec, source, names, hashes
        self.schema = schemas.decode_schema(spec.arrow_schema)
        self.digest, self.rows = ColumnDigest(), 0
        self.error: Exception | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what Lance writes; what goes wrong meanwhile is kept in `error`: Lance hides it."""
        try:
            for item in self.source:
                batch = self._record_batch(item)
                self.digest.update(batch)
                self.names.add(item.rest["id"])
                self.hashes.add(item.id_hash)
                self.rows += len(item)
                yield batch
        except MemoryError:
            self.error = Unavailable("rows do not fit in memory; give a smaller --memory")
            raise
        except Exception as error:
            self.error = error
            raise

    def _record_batch(self, item: Ordered) -> pa.RecordBatch:
        spec = self.spec
        columns = []
        for name in self.schema.names:
            if name == spec.vector_column:
                flat = np.ascontiguousarray(item.vectors).reshape(-1)
                columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), spec.dim))
            elif name == CODE_COLUMN:
                assert item.codes is not None
                data = pa.py_buffer(np.ascontiguousarray(item.codes))
                kind = pa.binary(item.codes.shape[1])
                columns.append(
                    pa.FixedSizeBinaryArray.from_buffers(kind, len(item.codes), [None, data])
                )
            else:
                columns.append(item.rest["id" if name == spec.id_column else name])
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def join_names(
    collection: Storage, parts: Sequence[Part], place: Storage, folder: Path
) -> tuple[Blob, NDArray[np.int64]]:
    """Store the ids of all parts as one object; return it and the first byte of each block."""
    files = [fetched(place, part.names, folder) for part in parts]
    whole = files[0]
    if len(files) > 1:
        whole = folder / "names"
        with writing(whole, mend=OTHER_SCRATCH), whole.open("wb") as out:
            append(out, files)
    sizes = [size for part in parts for size in part.name_bytes]
    return blobs.put_blob_file(collection, "blobs", whole), np.cumsum([0, *sizes])


def append(out: BinaryIO, files: Sequence[Path]) -> None:
    """Copy files to the end of another."""
    for path in files:
        with path.open("rb") as file:
            shutil.copyfileobj(file, out, 1 << 20)


def join_hashes(collection: Storage, parts: Sequence[Part], place: Storage, folder: Path) -> Blob:
    """Store the id index of all parts."""
    runs = [
        run
        for part in parts
        for run in open_runs(fetched(place, part.hashes, folder), part.hash_runs)
    ]
    whole = folder / "ids"
    with writing(whole, mend=OTHER_SCRATCH), whole.open("wb") as out:
        write_index(runs, out)
    return blobs.put_blob_file(collection, "blobs", whole)
