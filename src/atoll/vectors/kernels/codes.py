"""Codes of rows and of queries; `rabitq` calls these."""
# Types of arguments are numba's to infer.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

from atoll.vectors.kernels.bits import WORDS, load_byte, pointer
from atoll.vectors.kernels.compiling import compiled, inner
from atoll.vectors.kernels.lanes import LANES, float_lanes, lanes_sum, no_lanes
from atoll.vectors.rabitq import ROWS_TOGETHER as ROWS

# Widths of a level tried for a code of several bits, as shares of the one expected to be best.
_WIDTHS = np.array([0.75, 0.85, 0.92, 1.0, 1.08, 1.16, 1.3, 1.5])
_GATHER = np.uint64(0x0102040810204080)
_LOWEST = np.uint64(0x0101010101010101)


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
        best, found = 0.0, largest(residual) / (top + np.float32(0.5))
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
def largest(row):
    """Give the largest absolute value."""
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
def interleave(codes, rows, size, out):
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
