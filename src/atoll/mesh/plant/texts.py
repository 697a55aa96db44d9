"""Arrow strings made of digits, letters and lists, without a Python object for each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.mesh.plant.draws import Ints

Codes = NDArray[np.uint8]
_ZERO = ord("0")


def padded(numbers: Ints, width: int, before: str = "", after: str = "") -> pa.Array:
    """Write numbers with leading zeros, and what stands before and after each."""
    return strings(codes(before, len(numbers)), digits(numbers, width), codes(after, len(numbers)))


def digits(numbers: Ints, width: int) -> Codes:
    """Take numbers apart: (rows, width) ASCII codes, the highest place first."""
    places = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return ((numbers[:, None] // places) % 10 + _ZERO).astype(np.uint8)


def letters(numbers: Ints, alphabet: str) -> Codes:
    """Choose a letter for each number: (rows, 1) ASCII codes."""
    return np.frombuffer(alphabet.encode(), np.uint8)[numbers][:, None]


def codes(text: str, rows: int) -> Codes:
    """Repeat an ASCII text: (rows, length)."""
    return np.tile(np.frombuffer(text.encode(), np.uint8), (rows, 1))


def strings(*parts: Codes) -> pa.Array:
    """Join columns of ASCII codes into one string for each row."""
    whole = np.ascontiguousarray(np.concatenate(parts, axis=1))
    offsets = np.arange(len(whole) + 1, dtype=np.int32) * whole.shape[1]
    return pa.Array.from_buffers(
        pa.string(), len(whole), [None, pa.py_buffer(offsets), pa.py_buffer(whole)]
    )


def chosen(places: Ints, of: Sequence[str]) -> pa.Array:
    """Take texts out of a list."""
    return pa.array(of, pa.string()).take(pa.array(places))


def joined(*parts: pa.Array | str, between: str = "") -> pa.Array:
    """Join texts of the same row; a plain one is the same in each."""
    return pc.binary_join_element_wise(*parts, between)


def modulo(numbers: Codes, divisor: int) -> Ints:
    """Divide numbers of any length, given as digits: what is left of each."""
    rest = np.zeros(len(numbers), np.int64)
    for column in numbers.T:
        rest = (rest * 10 + column - _ZERO) % divisor
    return rest
