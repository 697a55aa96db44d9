"""The first rows of a table, for whoever wants to see what it holds.

Foreign files are opened here: call it in a process that may die of them.
"""

from __future__ import annotations

from io import RawIOBase, UnsupportedOperation

import pyarrow as pa
import pyarrow.parquet as pq

from atoll.core.config import StorageOptions
from atoll.core.errors import Conflict, Corrupt
from atoll.mesh.harvest import csvfiles, lancetables
from atoll.mesh.harvest.listing import list_location
from atoll.mesh.harvest.locations import url_of
from atoll.mesh.harvest.model import Technical
from atoll.mesh.harvest.service import table_files
from atoll.storage import Storage, StoredObject

SAMPLE_ROWS = 1000
_BUFFER_BYTES = 1 << 20


def sample_of(table: Technical, options: StorageOptions) -> pa.Table:
    """Read the first rows of a table of Parquet, CSV or Lance: of its first file that has any.

    Args:
        table: as it was harvested; its files may have changed since.
        options: how to reach the store.

    Returns:
        At most 1,000 rows, without columns that stand in folder names; of Lance without vectors.

    Raises:
        Conflict: it is no such table any more, or lies elsewhere now.
        Corrupt, InvalidInput: it cannot be read.
        NotFound, Forbidden, Unavailable: as the store says.
    """
    if table.format == "lance":
        listing = list_location(table.location, options)
        if listing.refused or listing.storage.url != table.location:
            raise Conflict("it is not the table that was harvested any more; harvest it again")
        return lancetables.first_rows((listing.storage, ""), SAMPLE_ROWS)
    storage, files = table_files(table.location, options)
    if table.location not in (storage.url, url_of(storage, files[0].path)):
        raise Conflict("it is not where it was harvested any more; harvest it again")
    if table.format == "csv":
        return csvfiles.first_rows(storage, files[0]).slice(0, SAMPLE_ROWS)
    found = pa.table({})
    for one in files:
        found = _first_rows(storage, one)
        if len(found):
            break
    return found


def _first_rows(storage: Storage, stored: StoredObject) -> pa.Table:
    try:
        with pq.ParquetFile(
            # Without a buffer, all pages that a row group has of a column are read at once.
            _Ranges(storage, stored),
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
        ) as parquet:
            batches = parquet.iter_batches(SAMPLE_ROWS, use_threads=False)
            first = next(batches, None)
            return pa.Table.from_batches([first] if first else [], parquet.schema_arrow)
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError) as error:
        # Not what Arrow says: it may quote values.
        raise Corrupt("its rows cannot be read; write it anew") from error


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
