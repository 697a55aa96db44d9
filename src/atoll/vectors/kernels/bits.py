"""What numba lacks for codes: loads from addresses, bit counts, products of packed numbers."""
# The intrinsics below are functions of numba's typing context and builder, which have no types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from atoll.vectors.kernels.compiling import inner
from atoll.vectors.rabitq import ROWS_TOGETHER as ROWS

# Words of a code taken at once.
WORDS = 4
# Whether the CPU that numba compiles for, NUMBA_CPU_NAME where that is set, looks up 32 bytes at
# once in tables of 16.
HAS_TABLES = "+avx2" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")

_INT = ir.IntType(64)
_WORDS = ir.VectorType(_INT, WORDS)
_SIGN = np.uint32(1 << 31)


def is_interleaved(bits: int) -> bool:
    """Tell whether codes are searched interleaved: of one bit, where the CPU can."""
    return bits == 1 and HAS_TABLES


def _loader(kind: types.Type, llvm: ir.Type) -> Any:
    @intrinsic
    def load(context, address):
        def build(_context, builder, _signature, arguments):
            # align=1: rows of codes start anywhere.
            return builder.load(builder.inttoptr(arguments[0], llvm.as_pointer()), align=1)

        return kind(types.int64), build

    return load


load_byte = _loader(types.uint8, ir.IntType(8))
load_word = _loader(types.uint64, _INT)
load_short = _loader(types.int16, ir.IntType(16))
load_int = _loader(types.uint32, ir.IntType(32))
load_float = _loader(types.float32, ir.FloatType())


def _bitcast(source: types.Type, target: types.Type, llvm: ir.Type) -> Any:
    @intrinsic
    def cast(context, value):
        def build(_context, builder, _signature, arguments):
            return builder.bitcast(arguments[0], llvm)

        return target(source), build

    return cast


bits_of_float = _bitcast(types.float32, types.uint32, ir.IntType(32))
float_of_bits = _bitcast(types.uint32, types.float32, ir.FloatType())


@intrinsic
def pointer(context, address):
    """Make an address a pointer, for `numba.carray`."""

    def build(_context, builder, _signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


@intrinsic
def count_bits(context, word):
    """Count the ones of a uint64."""

    def build(_context, builder, _signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


def bit_dot(planes: int) -> Any:
    """Make `dot(code, query, fours)`: bits of a code times signed levels, over 4 x `fours` words.

    `code` is the address of the code's words. `query` is that of the levels in two's complement:
    for each four words of the code the same four words of plane 0, of plane 1 and so on; the last
    plane counts negative.
    """

    @intrinsic
    def dot(context, code, query, fours):
        def build(_context, builder, _signature, arguments):
            code, query, fours = arguments
            kind = ir.FunctionType(_WORDS, [_WORDS])
            pop = cgutils.get_or_insert_function(builder.module, kind, "llvm.ctpop.v4i64")
            total = cgutils.alloca_once_value(builder, ir.Constant(_WORDS, [0] * WORDS))
            with cgutils.for_range(builder, fours) as loop:
                at = builder.add(code, builder.mul(loop.index, _INT(8 * WORDS)))
                bits = builder.load(builder.inttoptr(at, _WORDS.as_pointer()), align=1)
                at = builder.add(query, builder.mul(loop.index, _INT(8 * WORDS * planes)))
                found = builder.load(total)
                for plane in range(planes):
                    here = builder.add(at, _INT(8 * WORDS * plane))
                    level = builder.load(builder.inttoptr(here, _WORDS.as_pointer()), align=8)
                    count = builder.call(pop, [builder.and_(bits, level)])
                    count = builder.shl(count, ir.Constant(_WORDS, [plane] * WORDS))
                    join = builder.add if plane < planes - 1 else builder.sub
                    found = join(found, count)
                builder.store(found, total)
            return sum_of(builder, builder.load(total), builder.add)

        return types.int64(types.int64, types.int64, types.int64), build

    return dot


_BYTES = ir.VectorType(ir.IntType(8), ROWS)
_SHORTS = ir.VectorType(ir.IntType(16), ROWS // 2)


@intrinsic
def fill_tables(context, levels, tables, bias):
    """Write the two tables of a byte of bits: for each half of it, `bias` + the levels it picks.

    `levels` is the address of eight int8, `tables` that of 32 bytes.
    """

    def build(_context, builder, _signature, arguments):
        levels, tables, bias = arguments
        eight = ir.VectorType(ir.IntType(8), 8)
        given = builder.load(builder.inttoptr(levels, eight.as_pointer()), align=1)
        one = builder.insert_element(
            ir.Constant(_BYTES, None), builder.trunc(bias, ir.IntType(8)), ir.IntType(32)(0)
        )
        lanes = ir.VectorType(ir.IntType(32), ROWS)
        found = builder.shuffle_vector(one, one, ir.Constant(lanes, [0] * ROWS))
        for bit in range(4):
            where = ir.Constant(lanes, [bit] * 16 + [4 + bit] * 16)
            picked = ir.Constant(_BYTES, [-(lane >> bit & 1) & 0xFF for lane in range(16)] * 2)
            level = builder.shuffle_vector(given, given, where)
            found = builder.add(found, builder.and_(level, picked))
        stored(builder, found, tables)

    return types.void(types.int64, types.int64, types.int64), build


@intrinsic
def add_looked_up(context, codes, tables, columns, sums):
    """Add to 32 int32, one for each row, what the tables hold for the bits of `columns` bytes.

    `codes` is the address of 32 bytes for each column, a byte for each row; `tables` that of the
    two tables for each. The sums must stay within 16 bits.
    """

    def build(_context, builder, _signature, arguments):
        codes, tables, columns, sums = arguments
        look_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_BYTES, [_BYTES, _BYTES]), "llvm.x86.avx2.pshuf.b"
        )
        table = ir.VectorType(ir.IntType(8), 16)
        twice = ir.Constant(ir.VectorType(ir.IntType(32), ROWS), [*range(16), *range(16)])
        low, four = (ir.Constant(_BYTES, [value] * ROWS) for value in (15, 4))
        eight = ir.Constant(_SHORTS, [8] * (ROWS // 2))
        # Each 16 bits hold two rows: their sum modulo 2**16, and beside it that of the upper one.
        both, upper = (
            cgutils.alloca_once_value(builder, ir.Constant(_SHORTS, [0] * (ROWS // 2)))
            for _ in range(2)
        )
        with cgutils.for_range(builder, columns) as loop:
            at = builder.mul(loop.index, _INT(ROWS))
            where = builder.inttoptr(builder.add(codes, at), _BYTES.as_pointer())
            bits = builder.load(where, align=1)
            all_of, of_upper = builder.load(both), builder.load(upper)
            for half in range(2):
                at_table = builder.add(builder.add(tables, at), _INT(16 * half))
                entries = builder.load(builder.inttoptr(at_table, table.as_pointer()), align=1)
                entries = builder.shuffle_vector(entries, entries, twice)
                index = builder.lshr(bits, four) if half else builder.and_(bits, low)
                found = builder.bitcast(builder.call(look_up, [entries, index]), _SHORTS)
                all_of = builder.add(all_of, found)
                of_upper = builder.add(of_upper, builder.lshr(found, eight))
            builder.store(all_of, both)
            builder.store(of_upper, upper)
        of_upper = builder.load(upper)
        of_lower = builder.sub(builder.load(both), builder.shl(of_upper, eight))
        turns = [lane // 2 + (ROWS // 2) * (lane % 2) for lane in range(ROWS)]
        turns = ir.Constant(ir.VectorType(ir.IntType(32), ROWS), turns)
        wide = ir.VectorType(ir.IntType(32), ROWS)
        found = builder.zext(builder.shuffle_vector(of_lower, of_upper, turns), wide)
        before = builder.load(builder.inttoptr(sums, wide.as_pointer()), align=1)
        stored(builder, builder.add(before, found), sums)

    return types.void(types.int64, types.int64, types.int64, types.int64), build


def level_dot(bits: int) -> Any:
    """Make `dot(code, query, size, count)`: packed levels times signed ones, in int32.

    `code` is the address of `size` bytes, of which the first `count`, whole sixteens, are taken.
    `query` is that of int16 levels: those that meet the lowest bits of each byte, then the next.
    """
    shorts, products = ir.VectorType(ir.IntType(16), 16), ir.VectorType(ir.IntType(32), 16)
    half = ir.VectorType(ir.IntType(32), 8)
    even, odd = (ir.Constant(half, list(range(first, 16, 2))) for first in (0, 1))

    @intrinsic
    def dot(context, code, query, size, count):
        def build(_context, builder, _signature, arguments):
            code, query, size, count = arguments
            total = cgutils.alloca_once_value(builder, ir.Constant(half, [0] * 8))
            with cgutils.for_range(builder, builder.udiv(count, _INT(16))) as loop:
                at = builder.mul(loop.index, _INT(16))
                kind = ir.VectorType(ir.IntType(8), 16).as_pointer()
                packed = builder.load(builder.inttoptr(builder.add(code, at), kind), align=1)
                packed, found = builder.zext(packed, shorts), builder.load(total)
                for part in range(8 // bits):
                    level = builder.lshr(packed, ir.Constant(shorts, [part * bits] * 16))
                    level = builder.and_(level, ir.Constant(shorts, [(1 << bits) - 1] * 16))
                    where = builder.add(at, builder.mul(size, _INT(part)))
                    where = builder.add(query, builder.mul(where, _INT(2)))
                    other = builder.load(builder.inttoptr(where, shorts.as_pointer()), align=2)
                    # Products and sums of neighbours, which are one instruction of many CPUs.
                    product = builder.mul(
                        builder.sext(level, products), builder.sext(other, products)
                    )
                    pairs = [builder.shuffle_vector(product, product, mask) for mask in (even, odd)]
                    found = builder.add(found, builder.add(*pairs))
                builder.store(found, total)
            return builder.sext(sum_of(builder, builder.load(total), builder.add), _INT)

        return types.int64(types.int64, types.int64, types.int64, types.int64), build

    return dot


@intrinsic
def byte_dot(context, left, right, count):
    """Sum up products of signed bytes at two addresses, of the first `count`, whole sixteens."""
    shorts, products = ir.VectorType(ir.IntType(16), 16), ir.VectorType(ir.IntType(32), 16)
    half = ir.VectorType(ir.IntType(32), 8)
    masks = [ir.Constant(half, list(range(first, 16, 2))) for first in (0, 1)]

    def build(_context, builder, _signature, arguments):
        *addresses, count = arguments
        total = cgutils.alloca_once_value(builder, ir.Constant(half, [0] * 8))
        kind = ir.VectorType(ir.IntType(8), 16).as_pointer()
        with cgutils.for_range(builder, builder.udiv(count, _INT(16))) as loop:
            at = builder.mul(loop.index, _INT(16))
            places = [builder.inttoptr(builder.add(each, at), kind) for each in addresses]
            loaded = [builder.sext(builder.load(place, align=1), shorts) for place in places]
            product = builder.mul(*(builder.sext(each, products) for each in loaded))
            pairs = [builder.shuffle_vector(product, product, mask) for mask in masks]
            builder.store(builder.add(builder.load(total), builder.add(*pairs)), total)
        return builder.sext(sum_of(builder, builder.load(total), builder.add), _INT)

    return types.int64(types.int64, types.int64, types.int64), build


def stored(builder, value, address):
    """Store a value that may lie anywhere."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=1)


def sum_of(builder, vector, add):
    """Add neighbours until one is left."""
    parts = [builder.extract_element(vector, ir.IntType(32)(i)) for i in range(vector.type.count)]
    while len(parts) > 1:
        parts = [add(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


@inner
def ordered(value):
    """Turn a float32 into an integer that sorts like it."""
    bits = bits_of_float(value + np.float32(0))  # + 0 turns -0 into 0
    return ~bits if bits & _SIGN else bits | _SIGN
