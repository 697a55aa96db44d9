"""Sorted runs in files: rows in partition order, any range of which is read by a few byte ranges.

A run holds, one after the other: vectors, codes, id hashes (plain rows each), then ids and further
columns as blocks of Arrow, then the index: where all that begins, and the offsets of partitions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.storage import Storage
from atoll.vectors.places import written
from atoll.vectors.shuffle import HeldRun, Ordered

# Rows written at once, and rows of a block of ids and further columns.
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class RunFile:
    """Where a run is; picklable.

    Attributes:
        place, path: the file.
        index_at, index_bytes: the index in it.
    """

    place: Storage
    path: str
    index_at: int
    index_bytes: int

    def open(self) -> StoredRun:
        """Read the index."""
        return StoredRun(self)


def write_run(held: HeldRun, place: Storage, path: str, scratch: Path | None) -> RunFile:
    """Write rows in partition order, a block at a time.

    Raises:
        InvalidInput, Forbidden, Unavailable: the place cannot be written, or is full.
    """
    with written(place, path, scratch) as file:
        index_at = _write(held, file)
        index_bytes = file.tell() - index_at
    return RunFile(place, path, index_at, index_bytes)


def _write(held: HeldRun, file: BinaryIO) -> int:
    rows, like = int(held.offsets[-1]), held.read(0, 1)
    widths = [like.vectors.shape[1] * like.vectors.itemsize, 0, 8]
    if like.codes is not None:
        widths[1] = like.codes.shape[1]
    starts = np.cumsum([0, *(rows * width for width in widths)])
    rest_at = [int(starts[3])]
    for at in range(0, rows, BLOCK_ROWS):
        part = held.read(at, min(rows, at + BLOCK_ROWS))
        for values, start, width in zip(
            (part.vectors, part.codes, part.id_hash), starts, widths, strict=False
        ):
            if values is not None:
                file.seek(int(start) + at * width)
                file.write(np.ascontiguousarray(values).data)
        file.seek(rest_at[-1])
        file.write(_packed(part.rest))
        rest_at.append(file.tell())
    out = io.BytesIO()
    np.savez(
        out,
        vectors=np.empty((0, like.vectors.shape[1]), like.vectors.dtype),
        widths=widths,
        rest_at=np.diff(rest_at, prepend=0),
        offsets=np.diff(held.offsets, prepend=0),
    )
    file.write(zstandard.compress(out.getvalue()))
    return rest_at[-1]


def _packed(rest: pa.RecordBatch) -> pa.Buffer:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, rest.schema) as stream:
        stream.write_batch(rest)
    return out.getvalue()


class StoredRun:
    """A run in a file, opened; for several threads at once."""

    def __init__(self, ref: RunFile) -> None:
        """Read nothing yet."""
        self._ref = ref

    @cached_property
    def _index(self) -> dict[str, NDArray[Any]]:
        ref = self._ref
        data = ref.place.get_range(ref.path, ref.index_at, ref.index_bytes)
        with np.load(io.BytesIO(zstandard.decompress(data)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    @cached_property
    def offsets(self) -> IntArray:
        """See `Run.offsets`."""
        return np.cumsum(self._index["offsets"])

    @property
    def row_bytes(self) -> int:
        """See `Run.row_bytes`."""
        return self._ref.index_at // max(int(self.offsets[-1]), 1)

    @cached_property
    def _rest_at(self) -> IntArray:
        return np.cumsum(self._index["rest_at"])

    def read(self, start: int, stop: int) -> Ordered:
        """See `Run.read`."""
        widths = self._index["widths"].tolist()
        first, last = start // BLOCK_ROWS, (stop - 1) // BLOCK_ROWS + 1
        at, lengths, begin = [], [], 0
        for width in widths:
            at.append(begin + start * width)
            lengths.append((stop - start) * width)
            begin += int(self.offsets[-1]) * width
        at.append(int(self._rest_at[first]))
        lengths.append(int(self._rest_at[last]) - at[-1])
        vectors, codes, id_hash, rest = self._ref.place.get_ranges(self._ref.path, at, lengths)
        like = self._index["vectors"]
        partition = np.searchsorted(self.offsets, np.arange(start, stop), "right") - 1
        return Ordered(
            np.frombuffer(vectors, like.dtype).reshape(-1, like.shape[1]),
            _unpacked(rest, last - first).slice(start - first * BLOCK_ROWS, stop - start),
            np.frombuffer(id_hash, np.uint64),
            np.frombuffer(codes, np.uint8).reshape(-1, widths[1]) if widths[1] else None,
            partition.astype(np.uint32),
        )


def _unpacked(data: bytes, blocks: int) -> pa.RecordBatch:
    buffer, parts = pa.BufferReader(data), []
    for _ in range(blocks):
        with pa.ipc.open_stream(buffer) as stream:
            parts += list(stream)
    return pa.concat_batches(parts)
