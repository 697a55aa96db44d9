"""How a CSV file is written: its encoding and its delimiter, found by looking."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from itertools import islice

from atoll.core.errors import InvalidInput
from atoll.core.text import sized
from atoll.mesh.harvest.schemas import MAX_COLUMNS

# Of a file, how many characters and records tell its delimiter.
_SNIFFED_CHARACTERS = 1 << 20
_SNIFFED_RECORDS = 200
# In order of trust where several fit: a comma may be a decimal point, the others hardly that.
_DELIMITERS = "\t;|,"
# Stands for none: it is in no text.
NO_DELIMITER = "\x1f"
# Of the records, how many at least must have as many fields as the header.
_FITTING_SHARE = 0.5
# The longer before those that they begin with.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WHOLE = re.compile(r"([+-]?\d+)?")
_FRACTION = re.compile(r"[+-]?\d+[.,]\d+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T].*)?|\d\d?[./]\d\d?[./]\d{4}.*")


def decode(data: bytes, *, is_whole: bool) -> tuple[str, str]:
    """Make text of the beginning of a file.

    Args:
        data: the bytes.
        is_whole: whether they are all; else the last character may be cut.

    Returns:
        The text without its byte order mark, and Python's name of the encoding: UTF-8, UTF-16 or
        UTF-32 by mark, by zeros or by trial, else Windows-1252.

    Raises:
        InvalidInput: it is no text.
    """
    marked = [name for mark, name in _MARKS.items() if data.startswith(mark)]
    for encoding in marked[:1] or [*_by_zeros(data), "utf-8", "cp1252"]:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(data, final=is_whole)
        except UnicodeDecodeError:
            continue
        if _CONTROL.search(text):
            raise InvalidInput("it holds control characters: it is no text, or damaged")
        return text, encoding
    raise InvalidInput("it is no text in UTF-8, UTF-16 or Windows-1252; write it as UTF-8")


def find_delimiter(text: str, *, is_whole: bool) -> str:
    """Find what separates the fields of a CSV file with a header.

    The best is what gives most records as many fields as the header; among equals tab, semicolon
    and bar go before the comma, which may be a decimal point. Where none splits the header, there
    is one column.

    Args:
        text: the beginning of the file.
        is_whole: whether it is all; else the last record may be cut.

    Raises:
        InvalidInput: there is no header, a field has no end, the header looks like data, or nothing
            fits.
    """
    shares = {}
    for delimiter in _DELIMITERS:
        header, *rows = _records(text, delimiter, is_whole=is_whole) or [[]]
        if len(header) > 1:
            fitting = sum(len(row) == len(header) for row in rows)
            shares[delimiter] = fitting / len(rows) if rows else 1.0
    best = max(shares, key=lambda each: shares[each], default=NO_DELIMITER)
    records = _records(text, best, is_whole=is_whole)
    if not records:
        raise InvalidInput(
            "it has no first line of column names, or one of its first fields does not end within"
            f" {sized(csv.field_size_limit())}; is it CSV?"
        )
    if shares.get(best, 1.0) < _FITTING_SHARE:
        raise InvalidInput(
            "most of its rows have not as many fields as its first line, whatever separates them;"
            " begin the file with a line of column names"
        )
    _check_header(*records[:2])
    return best


def _by_zeros(data: bytes) -> list[str]:
    """Guess UTF-16 without a mark: every other byte of western text is zero."""
    start = data[:1024]
    even, odd = (start[at::2].count(0) / max(1, len(start[at::2])) for at in (0, 1))
    if max(even, odd) < 1 / 3:
        return []
    return ["utf-16-le" if odd > even else "utf-16-be"]


def _records(text: str, delimiter: str, *, is_whole: bool) -> list[list[str]]:
    """Read the first records; none where one of their fields has no end."""
    lines = io.StringIO(text[:_SNIFFED_CHARACTERS], newline="")
    try:
        found = islice(csv.reader(lines, delimiter=delimiter), _SNIFFED_RECORDS)
        records = [record for record in found if record]
    except csv.Error:
        return []
    is_cut = not is_whole or len(text) > _SNIFFED_CHARACTERS
    if is_cut and lines.tell() >= min(len(text), _SNIFFED_CHARACTERS):
        return records[:-1]
    return records


def _check_header(header: Sequence[str], row: Sequence[str] | None = None) -> None:
    """Refuse a header that is data: values would stand where everybody sees column names."""
    if len(header) > MAX_COLUMNS:
        raise InvalidInput(f"it has {len(header):,} columns; {MAX_COLUMNS:,} are the most")
    pairs = [
        (above.strip(), below.strip()) for above, below in zip(header, row or header, strict=False)
    ]
    is_like_row = any(
        pattern.fullmatch(above) and pattern.fullmatch(below)
        for pattern in (_FRACTION, _DATE)
        for above, below in pairs
    )
    if is_like_row or all(_WHOLE.fullmatch(above) for above, _ in pairs):
        raise InvalidInput(
            "its first line looks like data; begin the file with a line of column names"
        )
