"""HDF5 files: a dataset of vectors, one of ids, and further columns of the same length."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.text import counted
from atoll.vectors.model import Embedder
from atoll.vectors.sources.columns import (
    batch_schema,
    checked_utf8,
    ids_from_numpy,
    pool_array,
    to_float32,
    vector_array,
)
from atoll.vectors.sources.files import SourceFile, cannot_read
from atoll.vectors.sources.names import Names
from atoll.vectors.sources.source import BATCH_ROWS, Range, Source

logger = logging.getLogger(__name__)

# HDF5 decompresses a chunk again for each read unless the cache holds a whole row of chunks.
_MIN_CACHE_BYTES = 1 << 20
_MAX_CACHE_BYTES = 256 << 20
_MAX_DATASETS = 1000
_MAX_LINKS = 16
_MAX_DIM = 1 << 20
# What h5py raises over damaged files.
_DAMAGE = (OSError, RuntimeError, TypeError, ValueError, KeyError, MemoryError)


@dataclass(frozen=True)
class Hdf5Source(Source):
    """Vectors in HDF5, contiguous or chunked, compressed or not.

    Attributes:
        chunk_rows: rows of a chunk, 1 where the vectors lie contiguous.
        chunk_bytes: size of all chunks that hold the same rows, 0 where contiguous.
    """

    chunk_rows: int
    chunk_bytes: int

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        batch_rows: int = BATCH_ROWS,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows; see `Source.read`."""
        extra = self.chosen(columns)
        schema = batch_schema(self.dim, extra)
        with self.file.held(), _opened(self.file, self.chunk_bytes) as h5:
            vectors, ids, *others = (
                _required(h5, name, self.uri)
                for name in (self.vector_name, self.id_name, *extra.names)
            )
            for first, after in self.spans(start, stop, batch_rows, self.chunk_rows):
                values = to_float32(_slab(vectors, first, after), self.uri, first)
                arrays = [
                    vector_array(values),
                    ids_from_numpy(ids[first:after], self.uri, first),
                    *(
                        _column(dataset[first:after], field, first, self.uri)
                        for field, dataset in zip(extra, others, strict=True)
                    ),
                ]
                yield pa.record_batch(arrays, schema=schema)

    def ids_in(self, ranges: Sequence[Range], batch_rows: int) -> Iterator[pa.StringArray]:
        """Stream ids; see `Source.ids_in`."""
        with self.file.held(), _opened(self.file) as h5:
            ids = _required(h5, self.id_name, self.uri)
            for start, stop in ranges:
                for first, after in self.spans(start, stop, batch_rows):
                    yield ids_from_numpy(ids[first:after], self.uri, first)

    def vectors_in(
        self, ranges: Sequence[Range], batch_rows: int = BATCH_ROWS
    ) -> Iterator[NDArray[np.float32]]:
        """Stream vectors; see `Source.vectors_in`."""
        with self.file.held(), _opened(self.file, self.chunk_bytes) as h5:
            vectors = _required(h5, self.vector_name, self.uri)
            for start, stop in ranges:
                for first, after in self.spans(start, stop, batch_rows, self.chunk_rows):
                    yield to_float32(_slab(vectors, first, after), self.uri, first)


def open_hdf5(file: SourceFile, names: Names) -> Hdf5Source:
    """Look at an HDF5 file without reading its rows.

    Raises:
        InvalidInput: it is damaged, lacks a dataset of vectors or ids, or their lengths differ.
    """
    with _opened(file) as h5:
        datasets = _datasets(h5, names, file.uri)
        there = {name: f"{name} {d.shape} {d.dtype}" for name, d in datasets.items()}
        vector_name = names.vector_in(there, file.uri)
        id_name = names.id_in(there, file.uri)
        vectors, ids = datasets[vector_name], datasets[id_name]
        _check_inside(vector_name, vectors, file.uri)
        _check_inside(id_name, ids, file.uri)
        _check(file.uri, vector_name, vectors, id_name, ids)
        rows, dim = vectors.shape
        extra = _extra_columns(datasets, {vector_name, id_name}, rows, file.uri)
        chunk_rows = vectors.chunks[0] if vectors.chunks else 1
        return Hdf5Source(
            file=file,
            rows=rows,
            dim=dim,
            extra=extra,
            embedder=_embedder(h5, vectors, file.uri),
            vector_name=vector_name,
            id_name=id_name,
            chunk_rows=chunk_rows,
            chunk_bytes=chunk_rows * dim * vectors.dtype.itemsize if vectors.chunks else 0,
        )


@contextmanager
def _opened(file: SourceFile, chunk_bytes: int = 0) -> Iterator[h5py.File]:
    cache = min(max(_MIN_CACHE_BYTES, 2 * chunk_bytes), _MAX_CACHE_BYTES)
    try:
        if file.is_local:
            file.check_unchanged()
            with h5py.File(file.uri, "r", rdcc_nbytes=cache, locking="best-effort") as h5:
                yield h5
        else:
            with file.open() as raw, h5py.File(raw, "r", rdcc_nbytes=cache) as h5:
                yield h5
    except _DAMAGE as error:
        raise cannot_read(file, error) from error


def _datasets(h5: h5py.File, names: Names, uri: str) -> dict[str, h5py.Dataset]:
    """Find the datasets at the top of the file, and those named by their path."""
    if len(h5) > _MAX_DATASETS:
        raise InvalidInput(
            f"{uri} holds {len(h5)} datasets, perhaps one per vector; write all vectors as one"
            " (rows, dim) dataset 'embedding' and their names as 'id'",
            file=uri,
        )
    if unreadable := [name for name in h5 if isinstance(name, bytes)]:
        raise InvalidInput(
            f"{uri}: the name of dataset {unreadable[0]!r} is not UTF-8; rename it", file=uri
        )
    found = {name: _dataset(h5, name, uri) for name in (*h5, names.vector, names.id) if name}
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def _dataset(h5: h5py.File, name: str, uri: str) -> h5py.Dataset | None:
    """Find a dataset by its path; None where there is none.

    Links are followed by hand: HDF5 itself would open whatever file an external one names.

    Raises:
        InvalidInput: it lies in another file, and so may be anything that this process can read.
    """
    at, path, links = h5, name.encode().split(b"/"), 0
    while path and isinstance(at, h5py.Group):
        part, *path = path
        if part in (b"", b"."):
            continue
        if not at.id.links.exists(part):
            return None
        kind = at.id.links.get_info(part).type
        if kind == h5py.h5l.TYPE_HARD:
            at = at[part]
        elif kind == h5py.h5l.TYPE_SOFT:
            target = at.id.links.get_val(part)
            at, links = (h5 if target.startswith(b"/") else at), links + 1
            # A link in a circle leads to nothing.
            path = [*target.split(b"/"), *path] if links < _MAX_LINKS else []
        else:
            raise _elsewhere(name, "a link to another file", uri)
    return None if path or not isinstance(at, h5py.Dataset) else at


def _required(h5: h5py.File, name: str, uri: str) -> h5py.Dataset:
    dataset = _dataset(h5, name, uri)
    if dataset is None:
        raise KeyError(f"dataset '{name}' is not there")
    _check_inside(name, dataset, uri)
    return dataset


def _check_inside(name: str, dataset: h5py.Dataset, uri: str) -> None:
    if dataset.external is not None:
        raise _elsewhere(name, "stored in another file", uri)
    if dataset.is_virtual:
        raise _elsewhere(name, "a view of other datasets", uri)


def _elsewhere(name: str, how: str, uri: str) -> InvalidInput:
    return InvalidInput(
        f"{uri}: '{name}' is {how}; only what lies in the file itself is read: copy the data there",
        file=uri,
        dataset=name,
    )


def _slab(dataset: h5py.Dataset, first: int, after: int) -> NDArray[Any]:
    native = dataset.dtype.newbyteorder("=")
    values = pool_array((after - first, dataset.shape[1]), native)
    dataset.read_direct(values, np.s_[first:after])
    return values


def _check(
    uri: str, vector_name: str, vectors: h5py.Dataset, id_name: str, ids: h5py.Dataset
) -> None:
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise InvalidInput(
            f"{uri}: dataset '{vector_name}' is {vectors.dtype} of shape {vectors.shape}; vectors"
            " are a (rows, dim) table of numbers: name another with --vector-column",
            file=uri,
        )
    if vectors.shape[1] > _MAX_DIM:
        # Of a sparse dataset, nothing in the file's size bounds it.
        raise InvalidInput(
            f"{uri}: dataset '{vector_name}' holds vectors of {vectors.shape[1]} values, which are"
            f" more than {_MAX_DIM}; it may be damaged: write it again",
            file=uri,
        )
    is_text = ids.dtype.kind in "SiuO" and (
        ids.dtype.kind != "O" or h5py.check_string_dtype(ids.dtype)
    )
    if ids.ndim != 1 or not is_text:
        raise InvalidInput(
            f"{uri}: dataset '{id_name}' is {ids.dtype} of shape {ids.shape}; ids are a list of"
            " strings or integers: name another with --id-column",
            file=uri,
        )
    if len(ids) != len(vectors):
        raise InvalidInput(
            f"{uri}: '{vector_name}' has {counted(len(vectors), 'row')} but '{id_name}' has"
            f" {len(ids):,}; write one id per vector",
            file=uri,
        )


def _extra_columns(
    datasets: dict[str, h5py.Dataset], taken: set[str], rows: int, uri: str
) -> pa.Schema:
    fields = []
    for name, dataset in sorted(datasets.items()):
        if name in taken or dataset.shape != (rows,):
            continue
        _check_inside(name, dataset, uri)
        kind = _arrow_type(dataset.dtype)
        if kind is None:
            logger.warning("column left out file=%s column=%s type=%s", uri, name, dataset.dtype)
            continue
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def _arrow_type(dtype: np.dtype[Any]) -> pa.DataType | None:
    if h5py.check_string_dtype(dtype):
        return pa.string()
    return pa.from_numpy_dtype(dtype.newbyteorder("=")) if dtype.kind in "biuf" else None


def _column(values: NDArray[Any], field: pa.Field, first: int, uri: str) -> pa.Array:
    if pa.types.is_string(field.type) and values.dtype.kind == "O":
        return checked_utf8(pa.array(values, pa.binary()), uri, first, f"'{field.name}'")
    if pa.types.is_string(field.type):
        return ids_from_numpy(values, uri, first)
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False), field.type)


def _embedder(h5: h5py.File, vectors: h5py.Dataset, uri: str) -> Embedder | None:
    model, revision, pooling, precision, dim = (
        _attribute(h5, name) or _attribute(vectors, name)
        for name in ("model", "revision", "pooling", "precision", "dim")
    )
    if model is None or revision is None or pooling is None:
        return None
    if dim is not None and dim != str(vectors.shape[1]):
        raise InvalidInput(
            f"{uri} says dim {dim} but holds vectors of {vectors.shape[1]}; embed again", file=uri
        )
    return Embedder(model, revision, pooling, vectors.shape[1], precision or "float32")


def _attribute(holder: h5py.HLObject, name: str) -> str | None:
    """Read an attribute that is one text or one integer; None where it is not there or no such."""
    if name not in holder.attrs:
        return None
    found = holder.attrs.get_id(name)
    # Reading a type that damage made up can crash the HDF5 library.
    if found.shape != () or not (h5py.check_string_dtype(found.dtype) or found.dtype.kind in "iu"):
        return None
    value = holder.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)
