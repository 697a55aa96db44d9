"""Checksums over rows in order, whatever batches they came in and whoever hashed which.

Rows are hashed in blocks of `BLOCK_ROWS`, and the hashes of the blocks once more. So several
workers may each hash some blocks, and the sum does not depend on how many they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from atoll.vectors.names import BLOCK_ROWS

Bytes = bytes | memoryview


class BlockDigest:
    """Hashes rows of one kind: each block apart, values of several sorts apart within it."""

    def __init__(self) -> None:
        """Start with no rows, at the start of a block."""
        self._blocks = bytearray()
        self._hashers: list[xxhash.xxh3_128] = []
        self._rows = 0

    def update(self, rows: int, bytes_of: Callable[[int, int], Sequence[Bytes]]) -> None:
        """Add rows; `bytes_of(start, stop)` lays some of them open, one byte string a sort."""
        at = 0
        while at < rows:
            stop = min(rows, at + BLOCK_ROWS - self._rows)
            parts = bytes_of(at, stop)
            self._hashers = self._hashers or [xxhash.xxh3_128() for _ in parts]
            for hasher, part in zip(self._hashers, parts, strict=True):
                hasher.update(part)
            self._rows += stop - at
            if self._rows == BLOCK_ROWS:
                self._end_block()
            at = stop

    def blocks(self) -> bytes:
        """End the last block; return the hashes of all."""
        if self._rows:
            self._end_block()
        return bytes(self._blocks)

    def _end_block(self) -> None:
        joined = b"".join(hasher.digest() for hasher in self._hashers)
        self._blocks += xxhash.xxh3_128_digest(joined)
        self._hashers, self._rows = [], 0


def joined(blocks: Sequence[bytes]) -> str:
    """Hash the hashes of blocks; all parts but the last hold whole blocks."""
    return xxhash.xxh3_128_hexdigest(b"".join(blocks))


class ColumnDigest:
    """Takes record batches, gives one xxh3-128 per column.

    Values, lengths and nulls are hashed apart, so neither batch borders nor spare bytes in Arrow's
    buffers matter.
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self._columns: dict[str, BlockDigest] = {}

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            digest = self._columns.setdefault(name, BlockDigest())
            digest.update(len(column), partial(_bytes_of, column))

    def blocks(self) -> dict[str, bytes]:
        """Return the hashes of the blocks of each column seen."""
        return {name: digest.blocks() for name, digest in self._columns.items()}

    def hexdigest(self) -> dict[str, str]:
        """Return the checksum of each column seen."""
        return {name: joined([blocks]) for name, blocks in self.blocks().items()}


def of_columns(parts: Sequence[Mapping[str, bytes]]) -> dict[str, str]:
    """Return the checksum of each column from the blocks of consecutive parts."""
    return {name: joined([part[name] for part in parts]) for name in parts[0]}


class RowChecksum:
    """Takes vectors and the hashes of their ids as they are read."""

    def __init__(self) -> None:
        """Start with no rows."""
        self._digest = BlockDigest()

    def update(self, vectors: NDArray[np.float32], id_hash: NDArray[np.uint64]) -> None:
        """Add rows; both C-contiguous."""
        self._digest.update(
            len(vectors), lambda start, stop: (vectors[start:stop].data, id_hash[start:stop].data)
        )

    def blocks(self) -> bytes:
        """Return the hashes of the blocks."""
        return self._digest.blocks()


def _bytes_of(column: pa.Array, start: int, stop: int) -> list[Bytes]:
    """Lay a column open as byte strings that depend on its type and values alone: nulls first."""
    column = column.slice(start, stop - start)
    kind = column.type
    # Both of Arrow's calls copy, also where nothing is null.
    has_nulls = bool(column.null_count)
    nulls = np.asarray(column.is_null()).tobytes() if has_nulls else bytes(len(column))
    if pa.types.is_fixed_size_list(kind):
        return [nulls, *_bytes_of(values := column.flatten(), 0, len(values))]
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        kind = pa.int32() if kind.bit_width == 32 else pa.int64()
        column = column.view(kind)
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.uint8()), pa.uint8()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        filled = column.fill_null(0) if has_nulls else column
        values = filled.to_numpy(zero_copy_only=False)
        return [nulls, np.ascontiguousarray(values).data.cast("B")]
    if _is_text(kind):
        filled = column.cast(pa.large_binary()).fill_null(b"")
        _, offsets, data = filled.buffers()
        at = np.frombuffer(offsets, np.int64, len(filled) + 1, filled.offset * 8)
        text = memoryview(data)[at[0] : at[-1]] if data is not None else b""
        return [nulls, np.diff(at).tobytes(), text]
    if pa.types.is_fixed_size_binary(kind):
        filled = column.fill_null(bytes(kind.byte_width))
        start = filled.offset * kind.byte_width
        data = memoryview(filled.buffers()[1])
        return [nulls, data[start : start + len(filled) * kind.byte_width]]
    # Decimals, nested values: rare enough to go through text.
    return [nulls, "".join(f"{value!r}\0" for value in column.to_pylist()).encode()]


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
