"""Writes the rows of a collection to Parquet or HDF5 files that appear whole or not at all.

To a local target everything is written beside it, in a scratch folder that the next export sweeps
away where this one is killed, and then renamed. To an object store each file goes when it is
complete; an export of several files is complete when `_export.json` is there, which goes last.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput
from atoll.core.files import scratch_folder, whole_file, writing
from atoll.core.progress import OnProgress, Progress
from atoll.storage import Storage, local_path, open_storage
from atoll.vectors import lanceerrors, schemas
from atoll.vectors.distance import decoded
from atoll.vectors.exportfiles import (
    FORMATS,
    SUFFIXES,
    Format,
    check_format,
    exported_schema,
    row_file,
)
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.reader import Reader
from atoll.vectors.sources.columns import vector_array

BATCH_ROWS = 8192
DONE = "_export.json"
# What zstd leaves of vectors at least.
LEAST_SHARE = 0.8


@dataclass(frozen=True)
class ExportOptions:
    """What an export may be told.

    Attributes:
        format: "parquet" or "hdf5"; None goes by the target's name.
        where: SQL predicate; only rows that pass are written.
        columns: further columns; None is all.
        rows_per_file: makes the target a folder of files of so many rows.
        force: replace what is there.
    """

    format: Format | None = None
    where: str | None = None
    columns: tuple[str, ...] | None = None
    rows_per_file: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be written.

        Raises:
            InvalidInput: no such format, or a number below 1.
        """
        if self.format is not None and self.format not in FORMATS:
            raise InvalidInput(f"format is {self.format!r}; choose one of {', '.join(FORMATS)}")
        if self.rows_per_file is not None and self.rows_per_file < 1:
            raise InvalidInput(f"rows_per_file is {self.rows_per_file}; give at least 1")


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        collection, version: what was read.
        format: of the files.
        rows: in all files.
        files: their paths or URLs.
        size_bytes: of all files.
    """

    collection: str
    version: int
    format: Format
    rows: int
    files: tuple[str, ...]
    size_bytes: int


def export(
    reader: Reader,
    buckets: Sequence[Bucket],
    version: int,
    target: str | Path,
    *,
    options: ExportOptions,
    settings: Settings,
    on_progress: OnProgress,
) -> ExportReport:
    """Write all live rows; see `Collection.export`."""
    kind = options.format or _format_of(target, options)
    columns = _columns(reader.spec, options)
    schema = exported_schema(reader.spec, reader.schema, columns)
    check_format(schema, kind)
    place = _place(target, reader.storage, settings)
    _refuse_occupied(place, options)
    rows = _Rows(reader, buckets, schema, options.where, on_progress)
    if place.folder is not None:
        files, size_bytes = _to_disk(place, rows, kind, options, version)
    else:
        files, size_bytes = _to_store(place, rows, kind, options, settings, version)
    return ExportReport(str(reader.storage), version, kind, rows.done, files, size_bytes)


# -- what is asked for ----------------------------------------------------------------------------


def _format_of(target: str | Path, options: ExportOptions) -> Format:
    found = SUFFIXES.get(Path(str(target)).suffix.lower())
    if found is None and options.rows_per_file is None:
        raise InvalidInput(
            f"{target} is none of {', '.join(SUFFIXES)}; name the output so, give --format, or "
            "--rows-per-file for a folder of files"
        )
    return found or "parquet"


def _columns(spec: CollectionSpec, options: ExportOptions) -> tuple[str, ...]:
    if options.columns is None:
        return tuple(spec.columns)
    own = (spec.vector_column, spec.id_column)
    return tuple(name for name in dict.fromkeys(options.columns) if name not in own)


@dataclass(frozen=True)
class _Place:
    """Where an export goes: `name` below a storage, which is a local folder or not."""

    storage: Storage
    name: str

    @property
    def folder(self) -> Path | None:
        return local_path(self.storage.url)

    def __str__(self) -> str:
        return f"{self.storage}/{self.name}"


def _place(target: str | Path, collection: Storage, settings: Settings) -> _Place:
    path = local_path(target)
    whole = open_storage(target, settings.storage)
    if f"{whole.url}/".startswith(f"{collection.url}/"):
        raise InvalidInput(f"{target} lies in the collection itself; choose another place")
    if path is not None:
        return _Place(open_storage(path.parent, settings.storage), path.name)
    parent, _, name = whole.url.rpartition("/")
    if parent.count("/") < 2:
        raise InvalidInput(f"{target} is all of a store; name a file or folder in it")
    return _Place(open_storage(parent, settings.storage), name)


def _refuse_occupied(place: _Place, options: ExportOptions) -> None:
    """Raise where something is there that must not be replaced."""
    is_folder = options.rows_per_file is not None
    if place.folder is not None:
        path = place.folder / place.name
        with writing(path):
            if not place.folder.is_dir():
                raise FileNotFoundError
            found = path.exists() or path.is_symlink()
            if found and path.is_dir() != is_folder:
                raise InvalidInput(
                    f"{path} is a {'file' if is_folder else 'folder'}; choose another"
                )
            if found and is_folder:
                _require_export(path, [each.name for each in path.iterdir()])
    elif is_folder:
        names = [each.path for each in place.storage.child(place.name).list()]
        _require_export(place, names)
        # Without its last file it is what a killed export left.
        found = DONE in names
    else:
        found = place.storage.exists(place.name)
    if found and not options.force:
        raise Conflict(f"{place} exists; choose another name or replace it with --force")


def _require_export(place: object, names: Sequence[str]) -> None:
    for name in names:
        if name != DONE and not (name.startswith("part-") and Path(name).suffix in SUFFIXES):
            raise Conflict(f"{place} holds {name}, which no export wrote; choose another place")


# -- rows -----------------------------------------------------------------------------------------


class _Rows:
    """The rows of an export in stored order, cut into files."""

    def __init__(
        self,
        reader: Reader,
        buckets: Sequence[Bucket],
        schema: pa.Schema,
        where: str | None,
        on_progress: OnProgress,
    ) -> None:
        self.spec, self.schema = reader.spec, schema
        self.where, self.done = where, 0
        self.total = sum(bucket.rows for bucket in buckets)
        self._reader, self._buckets, self._on_progress = reader, buckets, on_progress
        self._left: pa.RecordBatch | None = None
        self._batches = self._read()

    def of_one_file(self, rows: int | None) -> Iterator[pa.RecordBatch]:
        """Yield batches until a file is full; none where no rows are left."""
        room = rows
        while room is None or room > 0:
            batch = self._left or next(self._batches, None)
            self._left = None
            if batch is None:
                return
            if room is not None and len(batch) > room:
                batch, self._left = batch.slice(0, room), batch.slice(room)
            room = None if room is None else room - len(batch)
            self.done += len(batch)
            total = self.total if self.where is None else None
            self._on_progress(Progress("export", self.done, total, "rows"))
            yield batch

    def has_more(self) -> bool:
        """Look whether rows are left."""
        self._left = self._left or next(self._batches, None)
        return self._left is not None

    def _read(self) -> Iterator[pa.RecordBatch]:
        where = None if self.where is None else lanceerrors.predicate(self.where)
        for bucket in self._buckets:
            table = self._reader.table(bucket)
            for _, batch in table.batches(self.schema.names, batch_rows=BATCH_ROWS, where=where):
                if len(batch):
                    yield self._exported(batch)

    def _exported(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        name, dim = self.spec.vector_column, self.spec.dim
        columns = {name: vector_array(decoded(schemas.vectors_of(batch[name], dim)))}
        return pa.RecordBatch.from_arrays(
            [columns.get(each, batch[each]) for each in self.schema.names], schema=self.schema
        )

    def least_bytes(self, rows: int | None, kind: Format) -> int:
        """What so many rows take on disk at least; 0 where a predicate leaves that open."""
        if self.where is not None:
            return 0
        count = self.total if rows is None else min(rows, self.total)
        value = np.dtype(self.spec.dtype if kind == "parquet" else np.float32).itemsize
        return int(count * self.spec.dim * value * LEAST_SHARE)


# -- files ----------------------------------------------------------------------------------------


def _to_disk(
    place: _Place, rows: _Rows, kind: Format, options: ExportOptions, version: int
) -> tuple[tuple[str, ...], int]:
    assert place.folder is not None
    target = place.folder / place.name
    with scratch_folder(place.folder, "export") as scratch:
        with writing(target):
            _require_room(scratch, rows.least_bytes(None, kind))
        if options.rows_per_file is None:
            with whole_file(target, unfinished_in=scratch) as file:
                _fill(file, rows, kind, None)
            return (str(target),), target.stat().st_size
        staged = scratch / "files"
        staged.mkdir()
        names, size_bytes = [], 0
        for name in _names(rows, kind):
            with whole_file(staged / name) as file:
                _fill(file, rows, kind, options.rows_per_file)
            names.append(name)
            size_bytes += (staged / name).stat().st_size
        with whole_file(staged / DONE) as file:
            file.write(_done(rows, names, options, version))
        with writing(target):
            if target.exists():
                # What it replaces goes with the scratch folder.
                target.rename(scratch / "replaced")
            staged.rename(target)
            _make_durable(place.folder)
    return tuple(str(target / name) for name in names), size_bytes


def _to_store(
    place: _Place,
    rows: _Rows,
    kind: Format,
    options: ExportOptions,
    settings: Settings,
    version: int,
) -> tuple[tuple[str, ...], int]:
    """Write each file on this machine, then send it."""
    size_bytes = 0
    with scratch_folder(settings.scratch, "export") as scratch:
        local = scratch / "file"

        def send(storage: Storage, name: str) -> None:
            nonlocal size_bytes
            with writing(scratch):
                _require_room(scratch, rows.least_bytes(options.rows_per_file, kind))
            with whole_file(local) as file:
                _fill(file, rows, kind, options.rows_per_file)
            storage.put_file(name, local)
            size_bytes += local.stat().st_size

        if options.rows_per_file is None:
            send(place.storage, place.name)
            return (str(place),), size_bytes
        folder = place.storage.child(place.name)
        # From here on what is there is not complete.
        folder.delete(DONE)
        names = []
        for name in _names(rows, kind):
            send(folder, name)
            names.append(name)
        for other in folder.list():
            if other.path not in names:
                folder.delete(other.path)
        folder.put(DONE, _done(rows, names, options, version))
    return tuple(f"{folder}/{name}" for name in names), size_bytes


def _names(rows: _Rows, kind: Format) -> Iterator[str]:
    """Name files as long as there are rows for them, at least one."""
    suffix = next(suffix for suffix, each in SUFFIXES.items() if each == kind)
    number = 0
    while number == 0 or rows.has_more():
        yield f"part-{number:05d}{suffix}"
        number += 1


def _fill(file: BinaryIO, rows: _Rows, kind: Format, count: int | None) -> None:
    with row_file(file, rows.schema, rows.spec, kind) as out:
        for batch in rows.of_one_file(count):
            out.write(batch)


def _done(rows: _Rows, names: Sequence[str], options: ExportOptions, version: int) -> bytes:
    facts = {
        "version": version,
        "rows": rows.done,
        "files": list(names),
        "where": options.where,
        "columns": rows.schema.names,
    }
    return json.dumps(facts, indent=1).encode()


def _require_room(folder: Path, needed_bytes: int) -> None:
    """Fail as a full disk would, before the work is done."""
    if shutil.disk_usage(folder).free < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _make_durable(folder: Path) -> None:
    """Wait until names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
