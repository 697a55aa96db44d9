"""A checksum per column over rows in stored order, whatever batches they came in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash


class ColumnDigest:
    """Takes record batches, gives one xxh3-128 per column.

    Values, lengths and nulls are hashed apart, so neither batch borders nor spare bytes in Arrow's
    buffers matter.
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self._hashers: dict[str, list[xxhash.xxh3_128]] = {}

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            parts = _bytes_of(column)
            hashers = self._hashers.setdefault(name, [xxhash.xxh3_128() for _ in parts])
            for hasher, part in zip(hashers, parts, strict=True):
                hasher.update(part)

    def hexdigest(self) -> dict[str, str]:
        """Return the checksum of each column seen."""
        return {
            name: xxhash.xxh3_128_hexdigest(b"".join(h.digest() for h in hashers))
            for name, hashers in self._hashers.items()
        }


def _bytes_of(column: pa.Array) -> list[bytes | memoryview]:
    """Lay a column open as byte strings that depend on its type and values alone: nulls first."""
    kind = column.type
    # Both of Arrow's calls copy, also where nothing is null.
    has_nulls = bool(column.null_count)
    nulls = np.asarray(column.is_null()).tobytes() if has_nulls else bytes(len(column))
    if pa.types.is_fixed_size_list(kind):
        return [nulls, *_bytes_of(column.flatten())]
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
