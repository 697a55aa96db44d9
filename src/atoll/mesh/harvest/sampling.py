"""The first rows of a table, for whoever wants to see what it holds.

Foreign files are opened here: call it in a process that may die of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import RawIOBase, UnsupportedOperation
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from atoll.core.config import StorageOptions
from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.mesh.harvest import csvfiles, lancetables
from atoll.mesh.harvest.arrowtypes import arrow_schema
from atoll.mesh.harvest.layout import partitions_of
from atoll.mesh.harvest.listing import list_location
from atoll.mesh.harvest.locations import url_of
from atoll.mesh.harvest.model import CollectionReader, Column, Technical
from atoll.mesh.harvest.parquettables import NULL_PARTITION
from atoll.mesh.harvest.schemas import columns_of, is_bytes, plain_type
from atoll.mesh.harvest.service import table_files
from atoll.storage import Storage, StoredObject

SAMPLE_ROWS = 1000
_ROWS_AT_ONCE, _MOST_BYTES = 100, 64 << 20
_BUFFER_BYTES = 1 << 20


def sample_of(
    table: Technical, options: StorageOptions, collections: CollectionReader | None = None
) -> pa.Table:
    """Read the first rows of a table or vector collection: of its first file that has any.

    Args:
        table: as it was harvested; its files may have changed since.
        options: how to reach the store.
        collections: reads vector collections.

    Returns:
        At most 1,000 rows, of Lance and of collections without vectors; then, with nulls for all
        else, at most 1,000 of the texts that stand in folder names.

    Raises:
        Conflict: it is no such table any more, or lies elsewhere now.
        Corrupt, InvalidInput: it cannot be read.
        NotFound, Forbidden, Unavailable: as the store says.
    """
    if table.format == "lance":
        return lancetables.first_rows((_storage_of(table, options), ""), SAMPLE_ROWS)
    if table.format == "atoll":
        return _of_collection(Wanted(table, options, _told(table), SAMPLE_ROWS, collections))
    storage, files = _files(table, options)
    if table.format == "csv":
        return csvfiles.first_rows(storage, files[0]).slice(0, SAMPLE_ROWS)
    samples = (_sampled(storage, one) for one in files)
    found = next(filter(len, samples), pa.table({}))
    return _with_partitions(found, table, files)


def _sampled(storage: Storage, stored: StoredObject) -> pa.Table:
    """Read the first rows of a Parquet file, fewer of wide ones."""
    found: list[pa.Table] = []
    for batch in _batches(storage, stored, _ROWS_AT_ONCE):
        if not batch.column_names:
            return batch
        found.append(batch)
        if sum(map(len, found)) >= SAMPLE_ROWS or sum(one.nbytes for one in found) >= _MOST_BYTES:
            break
    return pa.concat_tables(found) if found else pa.table({})


def _told(collection: Technical) -> tuple[str, ...]:
    """Name the columns of a collection but its vectors."""
    vectors = collection.details.get("vector_column")
    return tuple(one.name for one in collection.columns if one.name != vectors)


def _with_partitions(sample: pa.Table, table: Technical, files: Sequence[StoredObject]) -> pa.Table:
    """Add the texts that stand in folder names; numbers and dates there tell by their names."""
    names = [one.name for one in table.partitions if one.type == "string"]
    if not names:
        return sample
    values = [dict(partitions_of(one.path)) for one in files]
    rows = dict.fromkeys(tuple(one.get(name) for name in names) for one in values)
    columns = zip(*islice(rows, SAMPLE_ROWS), strict=True)
    texts = pa.table([pa.array(one, pa.string()) for one in columns], names)
    return pa.concat_tables([sample, texts], promote_options="default")


@dataclass(frozen=True)
class Wanted:
    """Some rows of a table or collection.

    Attributes:
        table: as it was harvested.
        options: how to reach the store.
        columns: which, partitions among them.
        most: rows.
        collections: reads vector collections.
    """

    table: Technical
    options: StorageOptions
    columns: tuple[str, ...]
    most: int
    collections: CollectionReader | None = None

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Return the types that the wanted columns had when they were harvested.

        Raises:
            InvalidInput: a type is none that can be told from its text.
        """
        known = {one.name: one.type for one in arrow_schema(self.table)}
        for name in self.columns:
            if name not in known:
                raise InvalidInput("a column has a type that cannot be shown; leave it out")
        return {name: known[name] for name in self.columns}


def rows_of(wanted: Wanted) -> pa.Table:
    """Read the first rows of a table of Parquet, CSV or Lance, or of a vector collection.

    Returns:
        The wanted columns, in that order and of the types that were harvested. Of CSV no more rows
        than the first MiB of the file holds.

    Raises:
        Conflict: its columns are others than were harvested, or it is no such table any more.
        Corrupt, InvalidInput: it cannot be read.
        NotFound, Forbidden, Unavailable: as the store says.
    """
    found = _READERS[wanted.table.format](wanted).slice(0, wanted.most)
    if [(one.name, plain_type(one.type)) for one in found.schema] != list(wanted.types.items()):
        raise _changed()
    return found


def _of_parquet(wanted: Wanted) -> pa.Table:
    storage, files = _files(wanted.table, wanted.options)
    schema = pa.schema(list(wanted.types.items()))
    partitions = {one.name for one in wanted.table.partitions}
    inside = [name for name in wanted.columns if name not in partitions]
    found, left = [schema.empty_table()], wanted.most
    for one in files:
        values = dict(partitions_of(one.path)) if partitions else {}
        if values.keys() != partitions:
            raise _changed()
        for batch in _batches(storage, one, left, inside, of=wanted.table):
            columns = dict(zip(batch.column_names, batch.columns, strict=True))
            for name in schema.names:
                if name in partitions:
                    value = None if values[name] == NULL_PARTITION else values[name]
                    columns[name] = pa.repeat(pa.scalar(value, pa.string()), len(batch))
            found.append(pa.table([columns[name] for name in schema.names], schema.names))
            found[-1] = found[-1].cast(schema)
            left -= len(batch)
            if left <= 0:
                return pa.concat_tables(found)
    return pa.concat_tables(found)


def _of_csv(wanted: Wanted) -> pa.Table:
    storage, files = _files(wanted.table, wanted.options)
    kinds = {one.name: one.type for one in arrow_schema(wanted.table)}
    if len(kinds) != len(wanted.table.columns):
        raise _changed()
    return csvfiles.first_rows(storage, files[0], kinds, wanted.table.details).select(
        list(wanted.columns)
    )


def _of_lance(wanted: Wanted) -> pa.Table:
    storage = _storage_of(wanted.table, wanted.options)
    return lancetables.some_rows((storage, ""), wanted.most, wanted.columns, wanted.table.columns)


def _of_collection(wanted: Wanted) -> pa.Table:
    if wanted.collections is None:
        raise InvalidInput("it is a vector collection, which nobody here can open")
    _storage_of(wanted.table, wanted.options)
    return wanted.collections.first_rows(
        wanted.table.location, wanted.options, wanted.columns, wanted.most
    )


def _of_nothing(wanted: Wanted) -> pa.Table:
    raise InvalidInput("it has no rows that can be read")


_READERS = {
    "parquet": _of_parquet,
    "csv": _of_csv,
    "lance": _of_lance,
    "atoll": _of_collection,
    "files": _of_nothing,
    "foreign": _of_nothing,
}


def _storage_of(table: Technical, options: StorageOptions) -> Storage:
    """See that a folder lies where it was harvested, and no link is in it."""
    listing = list_location(table.location, options)
    if listing.refused or listing.storage.url != table.location:
        raise Conflict("it is not the table that was harvested any more; harvest it again")
    return listing.storage


def _files(table: Technical, options: StorageOptions) -> tuple[Storage, Sequence[StoredObject]]:
    storage, files = table_files(table.location, options)
    if table.location not in (storage.url, url_of(storage, files[0].path)):
        raise Conflict("it is not where it was harvested any more; harvest it again")
    return storage, files


def _changed() -> Conflict:
    return Conflict("its columns are others than were harvested; harvest it again")


def _batches(
    storage: Storage,
    stored: StoredObject,
    most: int,
    columns: Sequence[str] | None = None,
    *,
    of: Technical | None = None,
) -> Iterator[pa.Table]:
    """Read a Parquet file, so many rows at a time.

    Args:
        storage, stored: where it is.
        most: rows of a batch.
        columns: which; None: all but bytes, in which nobody reads anything.
        of: the table that it must have the columns of; None: any.
    """
    try:
        with pq.ParquetFile(
            # Without a buffer, all pages that a row group has of a column are read at once.
            _Ranges(storage, stored),
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
        ) as parquet:
            if of is not None and _types(columns_of(parquet.schema_arrow)) != _types(of.columns):
                raise _changed()
            names = columns
            if names is None:
                names = [one.name for one in parquet.schema_arrow if not is_bytes(one.type)]
            for batch in parquet.iter_batches(most, columns=names, use_threads=False):
                yield pa.Table.from_batches([batch]).select(list(names))
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError) as error:
        # Not what Arrow says: it may quote values.
        raise Corrupt("its rows cannot be read; write it anew") from error


def _types(columns: Sequence[Column]) -> dict[str, str]:
    return {one.name: one.type for one in columns}


class _Ranges(RawIOBase):
    """An object as a file, whose parts are read as they are asked for."""

    def __init__(self, storage: Storage, stored: StoredObject) -> None:
        self._storage, self._stored, self._at = storage, stored, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._at, 2: self._stored.size_bytes}.get(whence)
        if base is None:
            raise UnsupportedOperation(str(whence))
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._stored.size_bytes - self._at)
        length = left if size < 0 else min(size, left)
        data = self._storage.get_range(self._stored.path, self._at, length) if length else b""
        self._at += length
        return data
