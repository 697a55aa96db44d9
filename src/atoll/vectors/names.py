"""The ids of a bucket in stored order, in blocks that are read one at a time.

Each block is a zstd frame, with a checksum, of `BLOCK_ROWS` ids: (n + 1) uint32 offsets, then the
text. Neighbours of a query lie together, so the ids of its hits are in few blocks, and no table is
opened for them.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from atoll.core.errors import Corrupt

BLOCK_ROWS = 1024


class NamesWriter:
    """Writes ids, in stored order, to a file."""

    def __init__(self, file: BinaryIO) -> None:
        """Start at the file's beginning."""
        self._file = file
        self._compressor = zstandard.ZstdCompressor(write_checksum=True)
        self._held: list[pa.Array] = []
        self._rows = 0
        self._at = [0]

    def add(self, ids: pa.Array) -> None:
        """Take some more ids."""
        self._held.append(ids)
        self._rows += len(ids)
        if self._rows >= BLOCK_ROWS:
            self._flush(self._rows // BLOCK_ROWS * BLOCK_ROWS)

    def finish(self) -> NDArray[np.int64]:
        """Write the last block; return the first byte of each, and the length at the end."""
        self._flush(self._rows)
        return np.array(self._at, np.int64)

    def _flush(self, rows: int) -> None:
        ids = pa.concat_arrays(self._held) if self._held else pa.array([], pa.string())
        for start in range(0, rows, BLOCK_ROWS):
            frame = self._compressor.compress(_packed(ids[start : min(rows, start + BLOCK_ROWS)]))
            self._file.write(frame)
            self._at.append(self._at[-1] + len(frame))
        self._held, self._rows = [ids[rows:]], len(ids) - rows


def _packed(ids: pa.Array) -> bytes:
    _, offsets, data = ids.buffers()
    at = np.frombuffer(offsets, np.int32, len(ids) + 1, ids.offset * 4)
    text = memoryview(data)[at[0] : at[-1]] if data is not None else b""
    return b"".join(((at - at[0]).astype("<u4").tobytes(), text))


def read_block(frame: bytes | memoryview, rows: int, path: str) -> pa.StringArray:
    """Read one block.

    Args:
        frame: its bytes.
        rows: ids in it.
        path: of the object, for the message.

    Raises:
        Corrupt: the bytes are not those that were written.
    """
    try:
        data = zstandard.decompress(frame)
        at = np.frombuffer(data, "<u4", rows + 1)
        if int(at[-1]) + at.nbytes != len(data):
            raise ValueError
    except (zstandard.ZstdError, ValueError) as error:
        raise Corrupt(
            f"{path} has changed since it was written; run `atoll verify`", path=path
        ) from error
    offsets = pa.py_buffer(at.astype(np.int32))
    return pa.StringArray.from_buffers(rows, offsets, pa.py_buffer(memoryview(data)[at.nbytes :]))
