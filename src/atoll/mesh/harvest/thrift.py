"""Reads Thrift's compact protocol, field by field, keeping nothing: footers may be anybody's.

Source: Apache Thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from atoll.core.errors import Corrupt, InvalidInput

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)

_MAX_DEPTH = 32
# Of fields and elements in one footer; one of 32 MiB has 10 to 17 million.
MAX_VALUES = 20 << 20
_VARINT_BITS = 70
_FIXED_BYTES = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8, UUID: 16}


class CompactReader:
    """A position in bytes that the compact protocol has written.

    Every value that `fields` or `elements` announces is read or skipped before the next one is
    asked for. Each method raises `Corrupt` where the bytes make no sense, and `InvalidInput` where
    they hold more than `MAX_VALUES` values.

    Attributes:
        at: the position.
    """

    def __init__(self, data: bytes) -> None:
        """Begin at the front."""
        self._data = data
        self._left = MAX_VALUES
        self.at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and type of each field of a structure."""
        number = 0
        while head := self._byte():
            # Not `_announce`: most time goes here.
            self._left -= 1
            if self._left < 0:
                raise self._too_many()
            number = number + (head >> 4) if head > 15 else self.integer()
            yield number, head & 15

    def elements(self, kind: int) -> Iterator[None]:
        """Yield once for each element of a list that must be of some type."""
        found, count = self._list_head()
        if count and found != kind:
            raise Corrupt("a list in its footer holds what it should not")
        for _ in range(count):
            yield

    def integer(self) -> int:
        """Read a signed integer."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self) -> bytes:
        """Read bytes or text."""
        start = self._advance(self._varint())
        return self._data[start : self.at]

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value."""
        if depth > _MAX_DEPTH:
            raise Corrupt("its footer is nested too deeply")
        if I16 <= kind <= I64:
            self._varint()
        elif kind == BINARY:
            self._advance(self._varint())
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in (LIST, SET):
            inner, count = self._list_head()
            self._skip_elements((inner,), count, depth)
        elif kind == MAP:
            if count := self._varint():
                self._announce(2 * count)
                kinds = self._byte()
                self._skip_elements((kinds >> 4, kinds & 15), count, depth)
        elif kind in _FIXED_BYTES:
            self._advance(_FIXED_BYTES[kind])
        else:
            raise Corrupt("its footer holds values of no known type")

    def _skip_elements(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        for _ in range(count):
            for kind in kinds:
                # Alone, a truth value is part of its field's head.
                self.skip(BYTE if kind in (TRUE, FALSE) else kind, depth + 1)

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        count = head >> 4
        count = count if count < 15 else self._varint()
        self._announce(count)
        return head & 15, count

    def _announce(self, values: int) -> None:
        """See to it that so many values may follow, each of a byte or more."""
        if values > len(self._data) - self.at:
            raise Corrupt("its footer ends too early")
        self._left -= values
        if self._left < 0:
            raise self._too_many()

    def _too_many(self) -> InvalidInput:
        return InvalidInput(f"its footer has more than {MAX_VALUES:,} values; write it anew")

    def _varint(self) -> int:
        value = shift = 0
        while shift < _VARINT_BITS:
            byte = self._byte()
            if byte < 128:
                return value | byte << shift
            value |= (byte & 127) << shift
            shift += 7
        raise Corrupt("a number in its footer is too long")

    def _byte(self) -> int:
        # Most calls come here: no bounds are checked but Python's own.
        try:
            byte = self._data[self.at]
        except IndexError:
            raise Corrupt("its footer ends too early") from None
        self.at += 1
        return byte

    def _advance(self, length: int) -> int:
        """Go on by some bytes; returns where they begin."""
        at = self.at
        if length > len(self._data) - at:
            raise Corrupt("its footer ends too early")
        self.at = at + length
        return at
