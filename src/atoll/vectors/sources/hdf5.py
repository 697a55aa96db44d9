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

from atoll.core.errors import InvalidInput
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
from atoll.vectors.sources.source import BATCH_ROWS, Source

logger = logging.getLogger(__name__)

# HDF5 decompresses a chunk again for each read unless the cache holds a whole row of chunks.
_MIN_CACHE_BYTES = 1 << 20
_MAX_CACHE_BYTES = 256 << 20
_MAX_DATASETS = 1000


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
        with _opened(self.file, self.chunk_bytes) as h5:
            for first, after in self.spans(start, stop, batch_rows, self.chunk_rows):
                values = _slab(h5[self.vector_name], first, after)
                arrays = [
                    vector_array(to_float32(values, self.uri, first)),
                    ids_from_numpy(h5[self.id_name][first:after], self.uri, first),
                    *(_column(h5, field, first, after, self.uri) for field in extra),
                ]
                yield pa.record_batch(arrays, schema=schema)

    def ids(
        self, start: int = 0, stop: int | None = None, batch_rows: int = 1 << 16
    ) -> Iterator[pa.StringArray]:
        """Stream ids; see `Source.ids`."""
        with _opened(self.file) as h5:
            for first, after in self.spans(start, stop, batch_rows):
                yield ids_from_numpy(h5[self.id_name][first:after], self.uri, first)


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
    except OSError as error:
        raise cannot_read(file, error) from error


def _datasets(h5: h5py.File, names: Names, uri: str) -> dict[str, h5py.Dataset]:
    """Find the datasets at the top of the file, and those named by their path."""
    if len(h5) > _MAX_DATASETS:
        raise InvalidInput(
            f"{uri} holds {len(h5)} datasets, perhaps one per vector; write all vectors as one"
            " (rows, dim) dataset 'embedding' and their names as 'id'",
            file=uri,
        )
    found = {name: h5.get(name) for name in (*h5, names.vector, names.id) if name}
    return {name: each for name, each in found.items() if isinstance(each, h5py.Dataset)}


def _slab(dataset: h5py.Dataset, first: int, after: int) -> np.ndarray[Any, Any]:
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
            f"{uri}: '{vector_name}' has {len(vectors)} rows but '{id_name}' has {len(ids)};"
            " write one id per vector",
            file=uri,
        )


def _extra_columns(
    datasets: dict[str, h5py.Dataset], taken: set[str], rows: int, uri: str
) -> pa.Schema:
    fields = []
    for name, dataset in sorted(datasets.items()):
        if name in taken or dataset.shape != (rows,):
            continue
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


def _column(h5: h5py.File, field: pa.Field, first: int, after: int, uri: str) -> pa.Array:
    values = h5[field.name][first:after]
    if pa.types.is_string(field.type) and values.dtype.kind == "O":
        return checked_utf8(pa.array(values, pa.binary()), uri, first, f"'{field.name}'")
    if pa.types.is_string(field.type):
        return ids_from_numpy(values, uri, first)
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False), field.type)


def _embedder(h5: h5py.File, vectors: h5py.Dataset, uri: str) -> Embedder | None:
    attributes = {**vectors.attrs, **h5.attrs}
    if not {"model", "revision", "pooling"} <= attributes.keys():
        return None
    text = {key: _text(attributes.get(key)) for key in ("model", "revision", "pooling")}
    dim = vectors.shape[1]
    if int(attributes.get("dim", dim)) != dim:
        raise InvalidInput(
            f"{uri} says dim {attributes['dim']} but holds vectors of {dim}; embed again",
            file=uri,
        )
    precision = _text(attributes.get("precision", "float32"))
    return Embedder(text["model"], text["revision"], text["pooling"], dim, precision)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
