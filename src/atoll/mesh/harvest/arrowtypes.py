"""Arrow's types, read back from the texts that the catalog keeps of them.

Arrow writes names of fields as they are, so a text may be read in several ways. A name ends at the
first ": "; what then cannot be read whole is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of
from atoll.mesh.harvest.model import Technical

MAX_DEPTH = 32
_UNITS = ("s", "ms", "us", "ns")
_PLAIN = {
    str(one): one
    for one in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
        *(pa.string(), pa.large_string(), pa.string_view()),
        *(pa.binary(), pa.large_binary(), pa.binary_view()),
        *(pa.date32(), pa.date64(), pa.month_day_nano_interval()),
        *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
        *(pa.timestamp(unit) for unit in _UNITS),
        *(pa.duration(unit) for unit in _UNITS),
        *(pa.json_(), pa.uuid(), pa.bool8()),
    )
}
_PLAIN_TEXT = re.compile("|".join(map(re.escape, sorted(_PLAIN, key=len, reverse=True))))
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=([\w+:/-]{1,64})\]", re.ASCII)
_DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d{1,2}), (-?\d{1,3})\)", re.ASCII)
_BYTES = re.compile(r"fixed_size_binary\[(\d{1,9})\]", re.ASCII)
_OPENED = re.compile(r"([a-z_]+)<")
_NAME = re.compile(r"(.*?): ", re.DOTALL)
_MAP_NAME = re.compile(r" \('(.*?)'\)", re.DOTALL)
_LENGTH = re.compile(r">\[(\d{1,9})\]", re.ASCII)
_CODE = re.compile(r"=(\d{1,3})", re.ASCII)
_FLAG = re.compile(r"[01]")
_DECIMALS = {
    "32": pa.decimal32,
    "64": pa.decimal64,
    "128": pa.decimal128,
    "256": pa.decimal256,
}


def arrow_schema(technical: Technical | None) -> pa.Schema:
    """Return the columns of a table, partitions last, as a filter is held against them.

    A column whose type cannot be told from its text is left out: no filter shows it.
    """
    fields = []
    for column in technical.schema if technical else ():
        try:
            fields.append(pa.field(column.name, arrow_type(column.type), column.nullable))
        except InvalidInput:
            continue
    return pa.schema(fields)


def arrow_type(text: str) -> pa.DataType:
    """Read Arrow's text for a type.

    What the text does not tell is lost: whether a map's values may be missing, how an extension
    type of somebody else's is stored; so such a type is refused.

    >>> arrow_type("list<item: timestamp[us, tz=UTC] not null>").value_type
    TimestampType(timestamp[us, tz=UTC])

    Raises:
        InvalidInput: it is none that can be read.
    """
    reader = _Text(text)
    try:
        found = reader.type()
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise reader.refusal() from error
    if reader.at != len(text) or str(found) != text:
        raise reader.refusal()
    return found


class _Text:
    """A text, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def type(self) -> pa.DataType:
        if self.depth == MAX_DEPTH:
            raise self.refusal()
        if found := self.next(_PLAIN_TEXT):
            return _PLAIN[found[0]]
        if found := self.next(_ZONED):
            return pa.timestamp(found[1], found[2])
        if found := self.next(_DECIMAL):
            return _DECIMALS[found[1]](int(found[2]), int(found[3]))
        if found := self.next(_BYTES):
            return pa.binary(int(found[1]))
        opened = self.next(_OPENED)
        read = _NESTED.get(opened[1]) if opened else None
        if read is None:
            raise self.refusal()
        self.depth += 1
        made = read(self)
        self.depth -= 1
        return made

    def refusal(self) -> InvalidInput:
        return InvalidInput(f"the type {some_of([ascii(self.text[:60])])} cannot be read")

    def next(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def need(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = self.next(pattern)
        if found is None:
            raise self.refusal()
        return found

    def skips(self, word: str) -> bool:
        is_there = self.text.startswith(word, self.at)
        self.at += len(word) if is_there else 0
        return is_there

    def pass_over(self, word: str) -> None:
        if not self.skips(word):
            raise self.refusal()

    def field(self) -> pa.Field:
        name = self.need(_NAME)[1]
        return pa.field(name, self.type(), not self.skips(" not null"))

    def lone(self, make: Callable[[pa.Field], pa.DataType]) -> pa.DataType:
        made = make(self.field())
        self.pass_over(">")
        return made

    def sized(self) -> pa.DataType:
        inner = self.field()
        return pa.list_(inner, int(self.need(_LENGTH)[1]))

    def struct(self) -> pa.DataType:
        fields: list[pa.Field] = []
        while not self.skips(">"):
            if fields:
                self.pass_over(", ")
            fields.append(self.field())
        return pa.struct(fields)

    def map(self) -> pa.DataType:
        key = self.named("key", nullable=False)
        self.pass_over(", ")
        value = self.named("value", nullable=True)
        is_sorted = self.skips(", keys_sorted")
        self.pass_over(">")
        return pa.map_(key, value, keys_sorted=is_sorted)

    def named(self, name: str, *, nullable: bool) -> pa.Field:
        kind = self.type()
        found = self.next(_MAP_NAME)
        return pa.field(found[1] if found else name, kind, nullable)

    def dictionary(self) -> pa.DataType:
        self.pass_over("values=")
        values = self.type()
        self.pass_over(", indices=")
        indices = self.type()
        self.pass_over(", ordered=")
        is_ordered = self.need(_FLAG)[0] == "1"
        self.pass_over(">")
        return pa.dictionary(indices, values, is_ordered)

    def run_ends(self) -> pa.DataType:
        self.pass_over("run_ends: ")
        ends = self.type()
        self.pass_over(", values: ")
        values = self.type()
        self.pass_over(">")
        return pa.run_end_encoded(ends, values)

    def union(self, make: Callable[..., pa.DataType]) -> pa.DataType:
        fields: list[pa.Field] = []
        codes: list[int] = []
        while not self.skips(">"):
            if fields:
                self.pass_over(", ")
            fields.append(self.field())
            codes.append(int(self.need(_CODE)[1]))
        return make(fields, codes)


_NESTED: dict[str, Callable[[_Text], pa.DataType]] = {
    "list": lambda text: text.lone(pa.list_),
    "large_list": lambda text: text.lone(pa.large_list),
    "list_view": lambda text: text.lone(pa.list_view),
    "large_list_view": lambda text: text.lone(pa.large_list_view),
    "fixed_size_list": _Text.sized,
    "struct": _Text.struct,
    "map": _Text.map,
    "dictionary": _Text.dictionary,
    "run_end_encoded": _Text.run_ends,
    "sparse_union": lambda text: text.union(pa.sparse_union),
    "dense_union": lambda text: text.union(pa.dense_union),
}
