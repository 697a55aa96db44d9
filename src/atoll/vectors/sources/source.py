"""What every kind of vector file can do once it is opened as a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.text import counted
from atoll.vectors.model import Embedder
from atoll.vectors.sources.files import SourceFile

BATCH_ROWS = 8192
# An id costs little to read, a search for one much: of this many rows, as of the lines that a text
# file of ids is marked by, all between the first and the last wanted are read.
ID_WINDOW_ROWS = 1 << 16

Range: TypeAlias = tuple[int, int]
"""First row, and the row after the last."""


@dataclass(frozen=True)
class Source(ABC):
    """A file of vectors and ids, checked for shape but not read. Picklable; holds no open file.

    Attributes:
        file: where it lies.
        rows: number of vectors.
        dim: length of a vector.
        extra: columns beside vector and id, in order.
        embedder: what made the vectors, where the file says so.
        vector_name: what the file calls the vectors; "embedding" where it has no names.
        id_name: what the file calls the ids; "id" where it has no names.
    """

    file: SourceFile
    rows: int
    dim: int
    extra: pa.Schema
    embedder: Embedder | None
    vector_name: str
    id_name: str

    @property
    def uri(self) -> str:
        """Absolute path or URL."""
        return self.file.uri

    @property
    def version(self) -> str:
        """Tells whether the file changed since it was found."""
        return self.file.version

    @abstractmethod
    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        batch_rows: int = BATCH_ROWS,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows `start` to `stop` (exclusive; None is the end), in order.

        Args:
            start: first row.
            stop: row after the last.
            batch_rows: the most rows of a batch; 8,192 x 960 values are 31 MB.
            columns: which of `extra`; None is all.

        Yields:
            Batches of "vector" (fixed-size list of float32: float16 and small integers widened
            exactly, float64 narrowed), "id" (string), then the extra columns. Memory is not used
            again for a later batch. NaN and infinity pass.

        Raises:
            InvalidInput: the file is damaged, or a row is no vector or has no id; names the row.
        """

    @abstractmethod
    def ids_in(self, ranges: Sequence[Range], batch_rows: int) -> Iterator[pa.StringArray]:
        """Stream the ids of several ranges of rows without reading vectors, in one pass.

        Args:
            ranges: ascending, without overlap.
            batch_rows: the most rows of a batch; none spans two ranges.

        Raises:
            InvalidInput: as `read`.
        """

    @abstractmethod
    def vectors_in(
        self, ranges: Sequence[Range], batch_rows: int = BATCH_ROWS
    ) -> Iterator[NDArray[np.float32]]:
        """Stream the vectors, (rows, dim), of several ranges in one pass; as `ids_in` otherwise.

        What is yielded may be a view of more rows: copy what is kept.
        """

    def ids(
        self, start: int = 0, stop: int | None = None, batch_rows: int = 1 << 16
    ) -> Iterator[pa.StringArray]:
        """Stream the ids of rows `start` to `stop` without reading vectors; as `read` otherwise."""
        yield from self.ids_in([(start, self.rows if stop is None else stop)], batch_rows)

    def ids_at(self, rows: NDArray[np.int64]) -> list[str]:
        """Read the ids of single rows, in one pass.

        Args:
            rows: (n,) row numbers, ascending, none twice.

        Raises:
            InvalidInput: as `read`.
        """
        windows = np.split(rows, np.flatnonzero(np.diff(rows // ID_WINDOW_ROWS)) + 1)
        ranges = [(int(part[0]), int(part[-1]) + 1) for part in windows if len(part)]
        before = np.cumsum([0] + [stop - start for start, stop in ranges])
        # Where each row stands among all that are read.
        wanted = np.concatenate(
            [part - part[0] + at for part, at in zip(windows, before[:-1], strict=False)] or [rows]
        )
        found: list[str] = []
        at = 0
        for ids in self.ids_in(ranges, ID_WINDOW_ROWS):
            end = at + len(ids)
            low, high = np.searchsorted(wanted, (at, end))
            found += ids.take(pa.array(wanted[low:high] - at)).to_pylist()
            at = end
        return found

    def chosen(self, columns: Sequence[str] | None) -> pa.Schema:
        """Return the fields of `extra` that are asked for, in the order of asking.

        Raises:
            InvalidInput: there is no such column.
        """
        if columns is None:
            return self.extra
        for name in columns:
            if name not in self.extra.names:
                raise InvalidInput(
                    f"{self.uri} has no column '{name}'; it has {', '.join(self.extra.names)}",
                    file=self.uri,
                )
        return pa.schema([self.extra.field(name) for name in columns])

    def spans(
        self, start: int, stop: int | None, batch_rows: int, align: int = 1
    ) -> Iterator[tuple[int, int]]:
        """Cut a range of rows into batches that end at multiples of `align` where they can."""
        start, end = self.checked(start, self.rows if stop is None else stop)
        while start < end:
            after = min(start + batch_rows, end)
            if after < end and after // align * align > start:
                after = after // align * align
            yield start, after
            start = after

    def checked(self, start: int, stop: int) -> Range:
        """Return a range of rows.

        Raises:
            InvalidInput: the file does not have them.
        """
        if not 0 <= start <= stop <= self.rows:
            raise InvalidInput(
                f"{self.uri} has {counted(self.rows, 'row')}; {start} to {stop} are not among them",
                file=self.uri,
            )
        return start, stop
