"""Plain arrays, whose ids lie in a text file or are made of file name and row: .npy, .fvecs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.vectors.sources.columns import batch_schema, to_float32, vector_array
from atoll.vectors.sources.files import SourceFile, cannot_read
from atoll.vectors.sources.source import BATCH_ROWS, Range, Source
from atoll.vectors.sources.textids import TextIds, row_numbers

# What numpy raises over damaged headers, which it reads as Python.
_DAMAGE = (ValueError, KeyError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError)
_VECS_TYPES = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}


@dataclass(frozen=True)
class ArraySource(Source):
    """Rows of one fixed layout behind a header.

    Attributes:
        offset: bytes before the first row.
        dtype: type of a value, as numpy writes it.
        is_vecs: whether each row starts with its own dim (int32).
        text_ids: the ids; None makes them of file name and row.
    """

    offset: int
    dtype: str
    is_vecs: bool
    text_ids: TextIds | None

    @property
    def version(self) -> str:
        """Tells whether the file or that of its ids changed since they were found."""
        ids = self.text_ids
        return f"{self.file.version} {ids.file.version}" if ids else self.file.version

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        batch_rows: int = BATCH_ROWS,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows; see `Source.read`."""
        schema = batch_schema(self.dim, self.chosen(columns))
        with self._opened() as file:
            for first, after in self.spans(start, stop, batch_rows):
                values = to_float32(self._rows(file, first, after), self.uri, first)
                yield pa.record_batch(
                    [vector_array(values), self._ids(first, after)], schema=schema
                )

    def ids_in(self, ranges: Sequence[Range], batch_rows: int) -> Iterator[pa.StringArray]:
        """Stream ids; see `Source.ids_in`."""
        with self._opened():
            for start, stop in ranges:
                for first, after in self.spans(start, stop, batch_rows):
                    yield self._ids(first, after)

    def vectors_in(
        self, ranges: Sequence[Range], batch_rows: int = BATCH_ROWS
    ) -> Iterator[NDArray[np.float32]]:
        """Stream vectors; see `Source.vectors_in`."""
        with self._opened() as file:
            for start, stop in ranges:
                for first, after in self.spans(start, stop, batch_rows):
                    yield to_float32(self._rows(file, first, after), self.uri, first)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """Open the vectors; hold both files to what was found."""
        ids = self.text_ids.file.held() if self.text_ids else nullcontext()
        with ids, self.file.held(), self.file.open() as file:
            yield file

    def _ids(self, first: int, after: int) -> pa.StringArray:
        if self.text_ids:
            return self.text_ids.read(first, after)
        return row_numbers(self.file.name, first, after)

    def _rows(self, file: IO[bytes], first: int, after: int) -> NDArray[Any]:
        row = np.dtype((self.dtype, (self.dim,)))
        if self.is_vecs:
            row = np.dtype([("dim", "<i4"), ("values", row)])
        rows = np.empty(after - first, row)
        file.seek(self.offset + first * row.itemsize)
        _fill(file, rows, self.file)
        if not self.is_vecs:
            return rows
        wrong = np.flatnonzero(rows["dim"] != self.dim)
        if len(wrong):
            at = first + int(wrong[0])
            raise InvalidInput(
                f"{self.uri}: row {at} says dim {rows['dim'][wrong[0]]} but row 0 says {self.dim};"
                " vectors of one file have one length",
                file=self.uri,
                row=at,
            )
        values: NDArray[Any] = rows["values"]
        return values


def open_npy(file: SourceFile, text_ids: TextIds | None) -> ArraySource:
    """Look at the header of a .npy file.

    Raises:
        InvalidInput: it is damaged or truncated, or not a table of numbers in C order.
    """
    with file.open() as raw:
        try:
            version = np.lib.format.read_magic(raw)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, is_fortran, dtype = read(raw)
        except _DAMAGE as error:
            raise cannot_read(file, error) from error
        offset = raw.tell()
    if len(shape) != 2 or min(shape) < 0 or dtype.kind not in "fiu" or is_fortran:
        order = " in Fortran order" if is_fortran else ""
        raise InvalidInput(
            f"{file.uri} is {dtype} of shape {shape}{order}; vectors are a (rows, dim) table of"
            " numbers in C order: save numpy.ascontiguousarray(x)",
            file=file.uri,
        )
    _check_size(file, offset + shape[0] * shape[1] * dtype.itemsize)
    return _source(file, shape, offset=offset, dtype=dtype.str, is_vecs=False, text_ids=text_ids)


def open_vecs(file: SourceFile, text_ids: TextIds | None) -> ArraySource:
    """Look at the first row of a .fvecs, .bvecs or .ivecs file.

    Raises:
        InvalidInput: the size is no multiple of a row, or the first dim makes no sense.
    """
    dtype = np.dtype(_VECS_TYPES[file.suffix])
    with file.open() as raw:
        head = raw.read(4)
    dim = int.from_bytes(head, "little", signed=True)
    row_bytes = 4 + dim * dtype.itemsize
    if head and (len(head) < 4 or dim < 1 or file.size_bytes % row_bytes):
        raise InvalidInput(
            f"{file.uri}: {file.size_bytes} bytes are no whole number of rows of dim {dim}"
            f" ({row_bytes} bytes each); it may be truncated or not {file.suffix}: write it again",
            file=file.uri,
        )
    shape = (file.size_bytes // row_bytes, dim)
    return _source(file, shape, offset=0, dtype=dtype.str, is_vecs=True, text_ids=text_ids)


def _source(file: SourceFile, shape: tuple[int, int], **layout: Any) -> ArraySource:
    return ArraySource(
        file=file,
        rows=shape[0],
        dim=shape[1],
        extra=pa.schema([]),
        embedder=None,
        vector_name="embedding",
        id_name="id",
        **layout,
    )


def _check_size(file: SourceFile, expected: int) -> None:
    if file.size_bytes != expected:
        raise InvalidInput(
            f"{file.uri} has {file.size_bytes} bytes but its header promises {expected};"
            " it is truncated or damaged: write it again",
            file=file.uri,
        )


def _fill(file: IO[bytes], rows: NDArray[Any], source: SourceFile) -> None:
    view = rows.view(np.uint8).reshape(-1).data
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise cannot_read(source, EOFError("it ends before its last row"))
        view = view[count:]
