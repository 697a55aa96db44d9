"""The part of CBOR that Smithy's RPC v2 protocol uses, to and from bytes.

Integers of 64 bits, byte and text strings, arrays, maps with text keys, floats, booleans, null, and
tag 1, an instant. Other tags and simple values, which the protocol does not have, are refused: no
value can grow beyond the bytes that carry it.

Source: RFC 8949; Smithy 2.0, "Smithy RPC v2 CBOR protocol".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from atoll.fleet.wire import instants
from atoll.fleet.wire.errors import Malformed
from atoll.fleet.wire.tree import MAX_DEPTH

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE = 31
_BREAK = 0xFF
_INSTANT_TAG = 1
# "undefined" counts as null, as in botocore.
_SIMPLE_VALUES = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_ARGUMENT_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}


def decode(data: bytes) -> Any:
    """Read one value, which all of the bytes must be.

    Raises:
        Malformed: the bytes are cut short, nested too deep, or not of the part named above.
    """
    reader = _Reader(data)
    value = reader.item(0)
    if reader.at != len(data):
        raise Malformed(f"{len(data) - reader.at} bytes follow the CBOR value; send one value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def item(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Malformed(f"the CBOR is nested more than {MAX_DEPTH} deep; send it flatter")
        major, info = self._head()
        if major == _SIMPLE:
            return self._simple(info)
        if major == _TAG:
            return self._instant(self._argument(info), depth)
        if major == _UNSIGNED:
            return self._argument(info)
        if major == _NEGATIVE:
            return -1 - self._argument(info)
        if major in (_BYTES, _TEXT):
            return self._string(major, info)
        if major == _ARRAY:
            return [self.item(depth + 1) for _ in self._counted(info)]
        return self._map(info, depth)

    def _head(self) -> tuple[int, int]:
        (first,) = self._take(1)
        return first >> 5, first & 31

    def _take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise Malformed(f"the CBOR ends early: {size} bytes wanted at byte {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info not in _ARGUMENT_BYTES:
            raise Malformed(f"the CBOR has a head at byte {self.at - 1} that nothing allows")
        return int.from_bytes(self._take(_ARGUMENT_BYTES[info]), "big")

    def _counted(self, info: int) -> Iterator[None]:
        """Go as many rounds as a container has items; ends early only by an error."""
        if info != _INDEFINITE:
            # Each item takes a byte at least: a huge count ends where the bytes do.
            for _ in range(self._argument(info)):
                yield
            return
        while self.data[self.at : self.at + 1] != bytes([_BREAK]):
            yield
        self.at += 1

    def _string(self, major: int, info: int) -> bytes | str:
        parts = []
        if info == _INDEFINITE:
            for _ in self._counted(info):
                inner, length = self._head()
                if inner != major or length == _INDEFINITE:
                    raise Malformed(f"the CBOR has a chunk at byte {self.at - 1} of another type")
                parts.append(self._take(self._argument(length)))
        else:
            parts.append(self._take(self._argument(info)))
        joined = b"".join(parts)
        try:
            return joined.decode() if major == _TEXT else joined
        except UnicodeDecodeError as error:
            raise Malformed(f"the CBOR has text before byte {self.at} that is no UTF-8") from error

    def _map(self, info: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in self._counted(info):
            key = self.item(depth + 1)
            if not isinstance(key, str) or key in found:
                raise Malformed(f"the CBOR has a key before byte {self.at} twice, or not as text")
            found[key] = self.item(depth + 1)
        return found

    def _instant(self, tag: int, depth: int) -> datetime:
        seconds = self.item(depth + 1)
        if tag != _INSTANT_TAG or isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise Malformed(f"the CBOR has tag {tag} before byte {self.at}; only instants have one")
        try:
            return instants.from_seconds(seconds)
        except (ValueError, OverflowError) as error:
            raise Malformed(f"the CBOR has an instant before byte {self.at} of no date") from error

    def _simple(self, info: int) -> bool | float | None:
        if info in _SIMPLE_VALUES:
            return _SIMPLE_VALUES[info]
        if info not in _FLOATS:
            raise Malformed(f"the CBOR has simple value {info} at byte {self.at - 1}; none is used")
        form = _FLOATS[info]
        found: float = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return found


def encode(value: Any) -> bytes:
    """Write a value of None, bool, int of 64 bits, float, str, bytes, datetime, list and dict."""
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def _encode(value: Any, out: bytearray) -> None:
    if value is None or isinstance(value, bool):
        out.append(_SIMPLE << 5 | {False: 20, True: 21, None: 22}[value])
    elif isinstance(value, int):
        out += _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", _SIMPLE << 5 | 27, value)
    elif isinstance(value, str):
        text = value.encode()
        out += _head(_TEXT, len(text)) + text
    elif isinstance(value, bytes):
        out += _head(_BYTES, len(value)) + value
    elif isinstance(value, datetime):
        out += _head(_TAG, _INSTANT_TAG)
        _encode(instants.to_seconds(value), out)
    elif isinstance(value, list):
        out += _head(_ARRAY, len(value))
        for item in value:
            _encode(item, out)
    else:
        out += _head(_MAP, len(value))
        for key, item in value.items():
            _encode(key, out)
            _encode(item, out)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    info, size = next((i, n) for i, n in _ARGUMENT_BYTES.items() if argument < 1 << 8 * n)
    return bytes([major << 5 | info]) + argument.to_bytes(size, "big")
