"""Ids of files that hold none: lines of a text file, or file name and row number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atoll.core.config import StorageOptions
from atoll.core.errors import InvalidInput
from atoll.vectors.sources.columns import checked_utf8
from atoll.vectors.sources.files import SourceFile, find_file

_LINES_PER_MARK = 1 << 16
_READ_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextIds:
    """One id per line, found by line number.

    Attributes:
        file: where it lies.
        rows: number of lines; the last one may lack its newline.
        marks: byte at which every 65,536th line starts, so that a range is not read from the top.
    """

    file: SourceFile
    rows: int
    marks: tuple[int, ...]

    def read(self, start: int, stop: int) -> pa.StringArray:
        """Return the ids of lines `start` to `stop` (exclusive), from 0.

        Raises:
            InvalidInput: a line is empty or not UTF-8; names it.
        """
        lines = self._lines(start, stop)
        empty = pc.equal(pc.binary_length(lines), 0)
        if pc.any(empty).as_py():
            row = start + int(pc.index(empty, True).as_py())
            raise InvalidInput(
                f"{self.file.uri}: line {row + 1} is empty; write one id per line",
                file=self.file.uri,
                row=row,
            )
        return lines

    def _lines(self, start: int, stop: int) -> pa.StringArray:
        number, skip = divmod(start, _LINES_PER_MARK)
        beyond = -(-stop // _LINES_PER_MARK)
        end = self.marks[beyond] if beyond < len(self.marks) else self.file.size_bytes
        with self.file.open() as file:
            file.seek(self.marks[number])
            text = file.read(end - self.marks[number])
        starts = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
        edges = np.concatenate([[0], starts, [len(text)]])[skip : skip + stop - start + 1]
        lines = pa.BinaryArray.from_buffers(
            pa.binary(),
            stop - start,
            [None, pa.py_buffer(edges.astype(np.int32)), pa.py_buffer(text)],
        )
        return pc.ascii_rtrim(checked_utf8(lines, self.file.uri, start), "\r\n")


def read_ids(uri: str | Path, options: StorageOptions) -> list[str]:
    """Read all ids of a text file, one a line.

    Raises:
        NotFound, Forbidden: there is no such file, or it may not be read.
        InvalidInput: a line is empty or not UTF-8; names it.
    """
    found = open_text_ids(find_file(str(uri), options))
    ids: list[str] = found.read(0, found.rows).to_pylist() if found.rows else []
    return ids


def open_text_ids(file: SourceFile) -> TextIds:
    """Count the lines of an id file; it is read once, in blocks."""
    lines, at, ends_line, marks = 0, 0, True, [0]
    with file.open() as raw:
        while block := raw.read(_READ_BYTES):
            if not at and block.startswith(_BOM):
                marks = [len(_BOM)]
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
            first = -lines % _LINES_PER_MARK or _LINES_PER_MARK
            marks += (at + ends[first - 1 :: _LINES_PER_MARK] + 1).tolist()
            lines, at, ends_line = lines + len(ends), at + len(block), block.endswith(b"\n")
    return TextIds(file, lines + (not ends_line), tuple(marks))


def row_numbers(name: str, start: int, stop: int) -> pa.StringArray:
    """Make ids of a file name and row numbers: "x.npy:0", "x.npy:1", ..."""
    rows = pa.array(np.arange(start, stop)).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(f"{name}:"), rows, "")
