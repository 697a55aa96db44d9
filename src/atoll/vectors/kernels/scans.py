"""Estimates from codes, and the best of each query; `scan` calls these."""
# Types of arguments are numba's to infer.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

from atoll.vectors.kernels.bits import (
    WORDS,
    add_looked_up,
    bit_dot,
    count_bits,
    fill_tables,
    float_of_bits,
    level_dot,
    load_byte,
    load_float,
    load_int,
    load_short,
    load_word,
    ordered,
    pointer,
)
from atoll.vectors.kernels.compiling import compiled, inner
from atoll.vectors.rabitq import BIT_QUERY_BITS, COSINE, DOT
from atoll.vectors.rabitq import ROWS_TOGETHER as ROWS

_bit_dot = bit_dot(BIT_QUERY_BITS)
_two_bit_dot, _four_bit_dot, _byte_dot = level_dot(2), level_dot(4), level_dot(8)
_SIGN = np.uint32(1 << 31)
_TILE = 64
# The least that four levels of a query add up to, so that the entries of tables start at 0.
_LEAST = 4 * ((1 << (BIT_QUERY_BITS - 1)) - 1)
# Bytes of bits whose sums of entries stay within 16 bits.
_COLUMNS = ((1 << 16) - 1) // (2 * 2 * _LEAST)


# -- estimates ------------------------------------------------------------------------------------


@inner
def _estimate(signed, scale, offset, step, base, kind):
    """Estimate one distance; the only place where any path does it.

    Args:
        signed: product of the code's levels, doubled and less their mean, so that they are odd,
            and the query's levels; a whole number.
        scale, offset: of the code, float32.
        step, base: of the prepared query, float32.
        kind: of distance.
    """
    product = scale * (step * np.float32(signed))
    if kind == DOT:
        return np.float32(1) - (product + (base + offset))
    squared = (offset + base) - np.float32(2) * product
    return squared * np.float32(0.5) if kind == COSINE else squared


@inner
def _key_of(estimate, id_hash):
    """Fold an estimate and an id hash into one integer that sorts like the pair."""
    return (np.uint64(ordered(estimate)) << np.uint64(32)) | np.uint64(id_hash)


# -- the best of each query -----------------------------------------------------------------------


@inner
def _offer(keys, refs, sizes, limits, query, keep, key, ref):
    """Add an entry that is not beyond the limit; when there is no room, keep the best."""
    size = sizes[query]
    keys[query, size], refs[query, size] = key, ref
    sizes[query] = size + 1
    if size + 1 == keys.shape[1]:
        _cut(keys, refs, sizes, limits, query, keep)


@inner
def _cut(keys, refs, sizes, limits, query, keep):
    _select(keys[query], refs[query], sizes[query], keep)
    sizes[query] = keep
    limits[query] = keys[query, :keep].max()


@inner
def _select(keys, refs, size, keep):
    """Bring the `keep` smallest (key, ref) of `size` to the front: Hoare's selection."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        key, ref = keys[middle], refs[middle]
        i, j = low, high
        while i <= j:
            while keys[i] < key or (keys[i] == key and refs[i] < ref):
                i += 1
            while keys[j] > key or (keys[j] == key and refs[j] > ref):
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                refs[i], refs[j] = refs[j], refs[i]
                i += 1
                j -= 1
        if keep - 1 <= j:
            high = j
        elif keep - 1 >= i:
            low = i
        else:
            return


@compiled
def offer_all(query, key, ref, keep, keys, refs, sizes, limits):
    """Fold ready entries, (n,) each, into the best."""
    for i in range(len(query)):
        if key[i] <= limits[query[i]]:
            _offer(keys, refs, sizes, limits, query[i], keep, key[i], ref[i])


@compiled
def settle(keep, keys, refs, sizes, limits):
    """Cut every query to its best `keep`."""
    for query in range(len(sizes)):
        if sizes[query] > keep:
            _cut(keys, refs, sizes, limits, query, keep)


@inner
def _estimate_of(key):
    """Give the highest estimate that a key may stand for, infinity where there is none."""
    ordered = np.uint32(key >> np.uint64(32))
    if ordered == np.uint32(0xFFFFFFFF):
        return np.float32(np.inf)
    return float_of_bits(ordered & ~_SIGN if ordered & _SIGN else ~ordered)


# -- scans ----------------------------------------------------------------------------------------


@compiled
def scan_interleaved(
    blocks, size, kind, levels, step, total, base,
    keep, keys, refs, sizes, limits,
):  # fmt: skip
    """Do what `scan_blocks` does, to the last bit, with codes that `interleave` has interleaved.

    `levels` (pairs, 8 x size) are int8; those that meet a byte make its two tables of 16 sums.
    """
    sums, found = np.empty(ROWS, np.int32), np.empty(ROWS, np.float32)
    tables = np.empty(ROWS * size, np.uint8)
    excess = np.int32(2 * size * _LEAST)
    filled = -1
    for number in range(len(blocks)):
        at, rows, allowed = blocks[number].address, blocks[number].rows, blocks[number].allowed
        pair, query, ref = blocks[number].pair, blocks[number].query, blocks[number].ref
        width, home, whole = step[pair], base[pair], total[pair]
        table = tables.ctypes.data
        if pair != filled:
            for byte in range(size):
                at_level = levels.ctypes.data + pair * levels.shape[1] + 8 * byte
                fill_tables(at_level, table + ROWS * byte, _LEAST)
            filled = pair
        limit = limits[query]
        most = _estimate_of(limit)
        for first in range(0, rows, ROWS):
            code = at + first * (size + 12)
            sums[:] = -excess
            for byte in range(0, size, _COLUMNS):
                count = min(_COLUMNS, size - byte)
                add_looked_up(code + ROWS * byte, table + ROWS * byte, count, sums.ctypes.data)
            factors = numba.carray(pointer(code + ROWS * size), (2, ROWS), np.float32)
            hashes = code + ROWS * (size + 8)
            for i in range(ROWS):
                signed = np.int64(2 * sums[i]) - whole
                found[i] = _estimate(signed, factors[0, i], factors[1, i], width, home, kind)
            for i in range(min(ROWS, rows - first)):
                row = first + i
                if found[i] <= most and (not allowed or load_byte(allowed + row)):
                    key = _key_of(found[i], load_int(hashes + 4 * i))
                    if key <= limit:
                        _offer(keys, refs, sizes, limits, query, keep, key, ref + np.uint64(row))
                        limit = limits[query]
                        most = _estimate_of(limit)


@compiled
def scan_blocks(
    blocks, bits, size, kind, operands, step, total, base,
    keep, keys, refs, sizes, limits,
):  # fmt: skip
    """Estimate every allowed row of `blocks`; see `scan.scan`.

    `size` is that of a code's levels in bytes, `operands` (pairs, ...) what the pairs meet them
    with.
    """
    stride = size + 12
    dots = np.empty(_TILE, np.int64)
    for number in range(len(blocks)):
        # Read once: LLVM cannot know that the stores below leave them alone.
        at, rows, allowed = blocks[number].address, blocks[number].rows, blocks[number].allowed
        pair, query, ref = blocks[number].pair, blocks[number].query, blocks[number].ref
        width, home, excess = step[pair], base[pair], ((1 << bits) - 1) * total[pair]
        operand = operands.ctypes.data + pair * (operands.nbytes // len(operands))
        limit = limits[query]
        # In two loops, since a row is as long as what a CPU has in flight: 29 ns, not 34.
        for first in range(0, rows, _TILE):
            count = min(_TILE, rows - first)
            _dots(
                at + first * stride, count, size, bits, allowed and allowed + first, operand, dots
            )
            for i in range(count):
                row = first + i
                if allowed and not load_byte(allowed + row):
                    continue
                code = at + row * stride + size
                scale, offset = load_float(code), load_float(code + 4)
                found = _estimate(2 * dots[i] - excess, scale, offset, width, home, kind)
                key = _key_of(found, load_int(code + 8))
                if key <= limit:
                    _offer(keys, refs, sizes, limits, query, keep, key, ref + np.uint64(row))
                    limit = limits[query]


@inner
def _dots(codes, count, size, bits, allowed, operand, out):
    for i in range(count):
        if not allowed or load_byte(allowed + i):
            code = codes + i * (size + 12)
            out[i] = (
                _bits_dot(code, operand, size) if bits == 1 else _dot(code, operand, size, bits)
            )


@inner
def _bits_dot(code, planes, size):
    words = size // 8
    fours = (words + 1) // WORDS  # a lone missing word reads scale and offset, against no level
    dot = _bit_dot(code, planes, fours)
    for word in range(WORDS * fours, words):
        bits, at = load_word(code + 8 * word), planes + 8 * (WORDS * fours * BIT_QUERY_BITS)
        for plane in range(BIT_QUERY_BITS):
            level = load_word(at + 8 * (WORDS * plane + word % WORDS))
            count = count_bits(bits & level) << plane
            dot += count if plane < BIT_QUERY_BITS - 1 else -count
    return dot


@inner
def _dot(code, levels, size, bits):
    whole = size - size % 16
    if bits == 2:
        dot = _two_bit_dot(code, levels, size, whole)
    elif bits == 4:
        dot = _four_bit_dot(code, levels, size, whole)
    else:
        dot = _byte_dot(code, levels, size, whole)
    for byte in range(whole, size):
        packed = np.int64(load_byte(code + byte))
        for part in range(8 // bits):
            level = (packed >> (part * bits)) & ((1 << bits) - 1)
            dot += level * np.int64(load_short(levels + 2 * (part * size + byte)))
    return dot
