"""Compiled loops of encoding and search; `rabitq`, `scan` and `distance` call them.

Import it late: it imports numba. Kernels take addresses where rows may come read-only, from a
file or from Arrow, since numba compiles a second time for an array that may not be written. An
array made in a kernel is freed after the last line that names it: its address does not hold it.
"""
# Types of arguments are numba's to infer.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

from atoll.vectors.lanes import (
    LANES,
    WORDS,
    add_looked_up,
    bit_dot,
    bits_of_float,
    byte_lanes,
    compiled,
    count_bits,
    fill_tables,
    float_lanes,
    float_of_bits,
    half_lanes,
    inner,
    lanes_sum,
    level_dot,
    load_byte,
    load_float,
    load_int,
    load_short,
    load_word,
    narrow,
    no_lanes,
    pointer,
    read_at,
    widen,
)
from atoll.vectors.rabitq import BIT_QUERY_BITS, COSINE, DOT, L2
from atoll.vectors.rabitq import ROWS_TOGETHER as ROWS

_bit_dot = bit_dot(BIT_QUERY_BITS)
_two_bit_dot, _four_bit_dot, _byte_dot = level_dot(2), level_dot(4), level_dot(8)
# Widths of a level tried for a code of several bits, as shares of the one expected to be best.
_WIDTHS = np.array([0.75, 0.85, 0.92, 1.0, 1.08, 1.16, 1.3, 1.5])
_GATHER = np.uint64(0x0102040810204080)
_LOWEST = np.uint64(0x0101010101010101)
_SIGN = np.uint32(1 << 31)
_TILE = 64
# The least that four levels of a query add up to, so that the entries of tables start at 0.
_LEAST = 4 * ((1 << (BIT_QUERY_BITS - 1)) - 1)
# Bytes of bits whose sums of entries stay within 16 bits.
_COLUMNS = ((1 << 16) - 1) // (2 * 2 * _LEAST)


# -- reading --------------------------------------------------------------------------------------


@compiled
def read_rows(descriptor, at, out):
    """Read rows of a file, from bytes `at` (n,), into `out` (n, width) uint8.

    Returns:
        How many were read before some could not be, or not whole.
    """
    width = out.shape[1]
    start = 0
    while start < len(at):
        stop = start + 1
        while stop < len(at) and at[stop] == at[stop - 1] + width:
            stop += 1
        size = (stop - start) * width
        if read_at(descriptor, out.ctypes.data + start * width, size, at[start]) != size:
            break
        start = stop
    return start


# -- rotation -------------------------------------------------------------------------------------


@compiled
def rotate_rows(rows, signs, out):
    """Rotate the rows at an address into `out` (n, dim); `signs` is (rounds, dim) float32."""
    dim = out.shape[1]
    spare = np.empty(dim, np.float32)
    for i in range(len(out)):
        out[i] = numba.carray(pointer(rows + 4 * dim * i), dim, np.float32)
        _rotate(out[i], signs, spare)


@inner
def _rotate(row, signs, spare):
    dim = len(row)
    block = 1
    while 2 * block <= dim:
        block *= 2
    for number in range(len(signs)):
        for i in range(dim):
            row[i] *= signs[number, i]
        first = 0 if number % 2 == 0 else dim - block
        _hadamard(row[first : first + block], spare[:block])


@inner
def _hadamard(row, spare):
    """Transform in place; each stage adds and subtracts neighbours, which LLVM vectorises."""
    half = len(row) // 2
    source, target = row, spare
    width = 1
    while width < len(row):
        for j in range(half):
            left, right = source[2 * j], source[2 * j + 1]
            target[j] = left + right
            target[j + half] = left - right
        source, target = target, source
        width *= 2
    scale = np.float32(1 / np.sqrt(len(row)))
    for j in range(len(row)):
        row[j] = source[j] * scale


# -- codes ----------------------------------------------------------------------------------------


@compiled
def encode_bits(rows, dim, partition, centroids, signs, is_dot, bits, scale, offset):
    """Fill bits (n, words) uint64, scale and offset (n,) float32; `rows` is an address."""
    residual, spare = np.empty(dim, np.float32), np.empty(dim, np.float32)
    for i in range(len(partition)):
        row = numba.carray(pointer(rows + 4 * dim * i), dim, np.float32)
        squared, offset[i] = _residual(row, centroids[partition[i]], is_dot, residual)
        _rotate(residual, signs, spare)
        weight = _pack_signs(residual, bits[i])
        scale[i] = squared / weight if weight > 0 else 0


@inner
def _residual(row, home, is_dot, out):
    """Subtract the centroid; give the squared length, and what a code's offset holds."""
    for d in range(len(row)):
        out[d] = row[d] - home[d]
    squared = _product(out, out)
    return squared, _product(out, home) if is_dot else squared


@inner
def _product(left, right):
    total = no_lanes()
    whole = len(left) - len(left) % LANES
    for d in range(0, whole, LANES):
        at = 4 * d
        total = total + float_lanes(left.ctypes.data + at) * float_lanes(right.ctypes.data + at)
    found = lanes_sum(total)
    for d in range(whole, len(left)):
        found += np.float64(left[d]) * np.float64(right[d])
    return found


@inner
def _pack_signs(row, bits):
    """Set the bit of each positive value; give the sum of all magnitudes."""
    for word in range(len(bits)):
        found = np.uint64(0)
        for d in range(64 * word, min(len(row), 64 * word + 64)):
            found |= np.uint64(row[d] > 0) << np.uint64(d % 64)
        bits[word] = found
    total = no_lanes()
    whole = len(row) - len(row) % LANES
    for d in range(0, whole, LANES):
        total = total + abs(float_lanes(row.ctypes.data + 4 * d))
    weight = lanes_sum(total)
    for d in range(whole, len(row)):
        weight += np.float64(abs(row[d]))
    return weight


@compiled
def encode_levels(
    rows, dim, partition, centroids, signs, is_dot, bits, width, packed, scale, offset
):
    """Fill packed (n, bytes) uint8, scale and offset (n,) float32; `rows` is an address.

    Of the grids tried for a row, the one whose point is nearest to the residual in direction
    stays; `width` is that of a level, in standard deviations, to try others around.
    """
    residual, spare = np.empty(dim, np.float32), np.empty(dim, np.float32)
    top = np.float32((1 << (bits - 1)) - 0.5)
    for i in range(len(partition)):
        row = numba.carray(pointer(rows + 4 * dim * i), dim, np.float32)
        squared, offset[i] = _residual(row, centroids[partition[i]], is_dot, residual)
        _rotate(residual, signs, spare)
        best, found = 0.0, _largest(residual) / (top + np.float32(0.5))
        for number in range(len(_WIDTHS) + 1):
            step = found
            if number < len(_WIDTHS):
                step = np.float32(_WIDTHS[number] * width * np.sqrt(squared / dim))
            likeness = _likeness(residual, step, top, spare)
            if likeness > best:
                best, found = likeness, step
        _to_grid(residual, found, top, spare)
        scale[i] = squared / (2 * _product(spare, residual)) if squared > 0 else 0
        _pack_levels(spare, bits, top, packed[i])


@inner
def _largest(row):
    found = np.float32(0)
    for d in range(len(row)):
        found = max(found, abs(row[d]))
    return found


@inner
def _to_grid(row, step, top, out):
    """Write the nearest of -top, 1 - top ... top steps, of which none is whole."""
    inverse = np.float32(1) / step if step > 0 else np.float32(0)
    for d in range(len(row)):
        level = np.floor(row[d] * inverse) + np.float32(0.5)
        out[d] = min(max(level, -top), top)


@inner
def _likeness(row, step, top, out):
    """Give the squared cosine between a row and its point of the grid, but for its length."""
    _to_grid(row, step, top, out)
    return _product(out, row) ** 2 / _product(out, out)


@inner
def _pack_levels(grid, bits, top, out):
    out[:] = 0
    for d in range(len(grid)):
        part, byte = d // len(out), d % len(out)
        out[byte] |= np.uint8(np.uint8(grid[d] + top) << np.uint8(part * bits))


# -- queries --------------------------------------------------------------------------------------


@compiled
def quantise(rotated, query, centroids, partition, top, levels, step, total):
    """Quantise residuals of (query, partition) pairs to whole levels -top to top.

    Args:
        rotated: (queries, dim) float32.
        query, partition: (n,) int64 the pairs.
        centroids: (partitions, dim) float32, rotated.
        top: the highest level.
        levels: (n, at least dim) int8, to fill.
        step, total: (n,) float32 and int64, to fill: width of a level, sum of the levels.
    """
    dim = rotated.shape[1]
    residual = np.empty(dim, np.float32)
    for i in range(len(query)):
        row, home = rotated[query[i]], centroids[partition[i]]
        largest = np.float32(0)
        for d in range(dim):
            residual[d] = row[d] - home[d]
            largest = max(largest, abs(residual[d]))
        step[i] = largest / np.float32(top) if largest > 0 else np.float32(1)
        found = np.int64(0)
        inverse = np.float32(1) / step[i]
        for d in range(dim):
            levels[i, d] = np.rint(residual[d] * inverse)
            found += np.int64(levels[i, d])
        total[i] = found


@compiled
def pack_planes(levels, planes):
    """Cut levels (n, 64 x words) int8 into `planes` (n, words / 4, bits, 4) uint64."""
    for i in range(len(levels)):
        eights = levels[i].view(np.uint64)
        for word in range(len(eights) // 8):
            for plane in range(planes.shape[2]):
                found = np.uint64(0)
                for byte in range(8):
                    low = (eights[8 * word + byte] >> np.uint64(plane)) & _LOWEST
                    found |= ((low * _GATHER) >> np.uint64(56)) << np.uint64(8 * byte)
                planes[i, word // WORDS, plane, word % WORDS] = found


@compiled
def turn_codes(codes, rows, size, out):
    """Put the codes at an address in blocks of 32: first bytes of all rows, second bytes of all.

    A block of `out` (blocks, 32, size + 12) ends with the scales, offsets and hashes of its rows.
    """
    out[:] = 0
    for row in range(rows):
        code = codes + row * (size + 12)
        block, lane = out[row // ROWS].reshape(-1), row % ROWS
        for byte in range(size):
            block[ROWS * byte + lane] = load_byte(code + byte)
        for byte in range(12):
            at = ROWS * (size + 4 * (byte // 4)) + 4 * lane + byte % 4
            block[at] = load_byte(code + size + byte)


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
    return (np.uint64(_ordered(estimate)) << np.uint64(32)) | np.uint64(id_hash)


@inner
def _ordered(value):
    """Turn a float32 into an integer that sorts like it."""
    bits = bits_of_float(value + np.float32(0))  # + 0 turns -0 into 0
    return ~bits if bits & _SIGN else bits | _SIGN


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
def scan_turned(
    blocks, start, stop, size, kind, levels, step, total, base,
    keep, keys, refs, sizes, limits,
):  # fmt: skip
    """Do what `scan_blocks` does, to the last bit, with codes that `turn_codes` has turned.

    `levels` (pairs, 8 x size) are int8; those that meet a byte make its two tables of 16 sums.
    """
    sums, found = np.empty(ROWS, np.int32), np.empty(ROWS, np.float32)
    tables = np.empty(ROWS * size, np.uint8)
    excess = np.int32(2 * size * _LEAST)
    filled = -1
    for number in range(start, stop):
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
    blocks, start, stop, bits, size, kind, operands, step, total, base,
    keep, keys, refs, sizes, limits,
):  # fmt: skip
    """Estimate every allowed row of `blocks[start:stop]`; see `scan.scan`.

    `size` is that of a code's levels in bytes, `operands` (pairs, ...) what the pairs meet them
    with.
    """
    stride = size + 12
    dots = np.empty(_TILE, np.int64)
    for number in range(start, stop):
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


# -- exact distances ------------------------------------------------------------------------------


@compiled
def distances(queries, query_of, rows, width, dim, row_of, kind, out):
    """Fill `out` with the distances of pairs; see `distance.distances_of`.

    `queries` and `rows` are addresses; the rows are int8, float16 or float32, by their width.
    """
    whole = dim - dim % LANES
    # A rest that fills no eight is taken among zeros, which change no sum.
    rest = np.zeros((2, LANES), np.float32)
    query_rest, row_rest = rest[0].ctypes.data, rest[1].ctypes.data
    # Squared lengths of the queries, once they are known.
    own_square = np.full(query_of.max() + 1 if kind == COSINE and len(out) else 0, -1.0)
    for i in range(len(out)):
        query = queries + 4 * dim * query_of[i]
        row = rows + width * dim * row_of[i]
        if whole < dim:
            _copy(query + 4 * whole, 4 * (dim - whole), rest[0])
            _copy(row + width * whole, width * (dim - whole), rest[1])
        if kind == L2:
            total = _squares(query, row, whole, width) + _squares(
                query_rest, row_rest, LANES, width
            )
            out[i] = lanes_sum(total)
            continue
        product, other = _products(query, row, whole, width)
        product_rest, other_rest = _products(query_rest, row_rest, LANES, width)
        product, other = lanes_sum(product + product_rest), other + other_rest
        if kind == DOT:
            out[i] = 1 - product
            continue
        if own_square[query_of[i]] < 0:
            own, _ = _products(query, query, whole, 4)
            own_rest, _ = _products(query_rest, query_rest, LANES, 4)
            own_square[query_of[i]] = lanes_sum(own + own_rest)
        norms = np.sqrt(own_square[query_of[i]] * lanes_sum(other))
        # NaN stays: a zero vector is at distance 1, one without distances is not.
        far = 1 - product / norms if norms != 0 else 1.0
        out[i] = 0.0 if far < 0 else far


@inner
def _copy(source, size, target):
    """Copy bytes to the front of eight numbers."""
    found = target.view(np.uint8)
    for i in range(size):
        found[i] = load_byte(source + i)


@inner
def _squares(query, row, stop, width):
    total = no_lanes()
    for d in range(0, stop, LANES):
        gap = float_lanes(query + 4 * d) - _lanes_at(row, d, width)
        total = total + gap * gap
    return total


@inner
def _products(query, row, stop, width):
    """Give the products of the two and the squares of the second."""
    total, squares = no_lanes(), no_lanes()
    for d in range(0, stop, LANES):
        value = _lanes_at(row, d, width)
        total = total + float_lanes(query + 4 * d) * value
        squares = squares + value * value
    return total, squares


@inner
def _lanes_at(address, d, width):
    if width == 1:
        return byte_lanes(address + d)
    return half_lanes(address + 2 * d) if width == 2 else float_lanes(address + 4 * d)


@compiled
def order_nearest(query, distance, k, order, key, tied):
    """Order entries of each query by distance; keep the k nearest, and what ties with the last.

    Args:
        query: (n,) int64, ascending.
        distance: (n,) float32.
        k: entries wanted of each query.
        order, key, tied: (n,) int64, uint64 and bool, to fill in order: which entry, what sorts
            like (query, distance), and whether a neighbour's is the same.

    Returns:
        How many are kept.
    """
    size = start = 0
    while start < len(query):
        stop = start
        while stop < len(query) and query[stop] == query[start]:
            key[stop] = (np.uint64(query[stop]) << np.uint64(32)) | np.uint64(
                _ordered(distance[stop])
            )
            stop += 1
        mine = np.argsort(key[start:stop], kind="mergesort")
        found = key[start:stop][mine]
        count = min(k, stop - start)
        while count < stop - start and found[count] == found[count - 1]:
            count += 1
        for i in range(count):
            order[size + i], key[size + i] = start + mine[i], found[i]
            tied[size + i] = (i > 0 and found[i] == found[i - 1]) or (
                i + 1 < count and found[i] == found[i + 1]
            )
        size, start = size + count, stop
    return size


@compiled
def widen_all(halves, out):
    """Convert float16 at an address to `out`, (n,) float32."""
    whole = len(out) - len(out) % LANES
    for i in range(0, whole, LANES):
        widen(halves + 2 * i, out.ctypes.data + 4 * i)
    if whole < len(out):
        rest = np.zeros(3 * LANES, np.uint16)
        _copy(halves + 2 * whole, 2 * (len(out) - whole), rest)
        widen(rest.ctypes.data, rest.ctypes.data + 2 * LANES)
        out[whole:] = rest[LANES:].view(np.float32)[: len(out) - whole]


@compiled
def narrow_all(floats, out):
    """Convert float32 at an address to `out`, (n,) float16 as uint16.

    Returns:
        Sums in float64 of the squared errors and of the squares.
    """
    whole = len(out) - len(out) % LANES
    error, size = no_lanes(), no_lanes()
    for i in range(0, whole, LANES):
        source, target = floats + 4 * i, out.ctypes.data + 2 * i
        narrow(source, target)
        value = float_lanes(source)
        gap = value - half_lanes(target)
        error, size = error + gap * gap, size + value * value
    if whole < len(out):
        rest = np.zeros(3 * LANES, np.uint16)
        _copy(floats + 4 * whole, 4 * (len(out) - whole), rest)
        source, target = rest.ctypes.data, rest.ctypes.data + 4 * LANES
        narrow(source, target)
        value = float_lanes(source)
        gap = value - half_lanes(target)
        error, size = error + gap * gap, size + value * value
        out[whole:] = rest[2 * LANES : 2 * LANES + len(out) - whole]
    return lanes_sum(error), lanes_sum(size)


@compiled
def level_all(floats, out):
    """Round float32 at an address to `out`, (n, dim) int8: the largest of each row is 127."""
    rows = numba.carray(pointer(floats), out.shape, np.float32)
    for i in range(len(rows)):
        inverse = np.float32(127) / _largest(rows[i])
        for d in range(out.shape[1]):
            out[i, d] = np.rint(rows[i, d] * inverse)


@compiled
def close_pairs(near, slack, limits, k):
    """List the pairs that may be among the k nearest; see `distance.close_pairs`."""
    queries, rows = near.shape
    room = min(queries * (k + 8), near.size)
    query_of, row_of = np.empty(room, np.int64), np.empty(room, np.int64)
    close, where = np.empty(rows, np.float32), np.empty(rows, np.int64)
    size = 0
    for query in range(queries):
        # In float64, so that no tie is lost to rounding.
        gap = np.float64(slack[query])
        limit, count = limits[query] + gap, 0
        for row in range(rows):
            if near[query, row] <= limit:
                close[count], where[count] = near[query, row], row
                count += 1
        if count > k:
            limit = min(limit, np.partition(close[:count], k - 1)[k - 1] + 2 * gap)
        if size + count > len(query_of):
            query_of, row_of = _grown(query_of, size + count), _grown(row_of, size + count)
        for i in range(count):
            if close[i] <= limit:
                query_of[size], row_of[size] = query, where[i]
                size += 1
    return query_of[:size], row_of[:size]


@inner
def _grown(values, size):
    out = np.empty(2 * size, np.int64)
    out[: len(values)] = values
    return out
