"""Eight float64 side by side, which numba lacks.

A sum over `Lanes` has one order, written in the code: term i goes to sum i % 8, and the eight meet
in pairs. LLVM spreads them over whatever vectors the CPU has, which changes no bit.
"""
# The intrinsics below are functions of numba's typing context and builder, which have no types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from atoll.vectors.kernels.bits import stored, sum_of

LANES = 8
_INT = ir.IntType(64)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)


class Lanes(types.Type):
    """Eight float64, in compiled code only."""

    def __init__(self) -> None:
        """Name the type; numba knows types by their names."""
        super().__init__(name="Lanes")


lanes_type = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _DOUBLES)


@intrinsic
def no_lanes(context):
    """Eight zeros."""

    def build(_context, _builder, _signature, _arguments):
        return ir.Constant(_DOUBLES, [0.0] * LANES)

    return lanes_type(), build


@intrinsic
def float_lanes(context, address):
    """Load eight float32."""

    def build(_context, builder, _signature, arguments):
        kind = ir.VectorType(ir.FloatType(), LANES)
        found = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
        return builder.fpext(found, _DOUBLES)

    return lanes_type(types.int64), build


@intrinsic
def half_lanes(context, address):
    """Load eight float16."""

    def build(_context, builder, _signature, arguments):
        return builder.fpext(_widened(builder, _loaded(builder, arguments[0], 16)), _DOUBLES)

    return lanes_type(types.int64), build


@intrinsic
def byte_lanes(context, address):
    """Load eight int8."""

    def build(_context, builder, _signature, arguments):
        return builder.sitofp(_loaded(builder, arguments[0], 8), _DOUBLES)

    return lanes_type(types.int64), build


@intrinsic
def widen(context, source, target):
    """Convert the eight float16 at an address to float32 at another."""

    def build(_context, builder, _signature, arguments):
        found = _widened(builder, _loaded(builder, arguments[0], 16))
        stored(builder, builder.bitcast(found, _ints(32)), arguments[1])

    return types.void(types.int64, types.int64), build


@intrinsic
def narrow(context, source, target):
    """Convert eight float32 at an address to float16 at another, ties to even."""

    def build(_context, builder, _signature, arguments):
        found = _narrowed(builder, _loaded(builder, arguments[0], 32))
        stored(builder, builder.trunc(found, _ints(16)), arguments[1])

    return types.void(types.int64, types.int64), build


def _ints(bits):
    return ir.VectorType(ir.IntType(bits), LANES)


def _all(value):
    return ir.Constant(_ints(32), [value] * LANES)


def _loaded(builder, address, bits):
    return builder.load(builder.inttoptr(address, _ints(bits).as_pointer()), align=1)


def _widened(builder, halves):
    """Write float16 as float32, exactly: numba has no float16, and LLVM's needs F16C."""
    floats = ir.VectorType(ir.FloatType(), LANES)
    wide = builder.zext(halves, _ints(32))
    size = builder.shl(builder.and_(wide, _all(0x7FFF)), _all(13))
    whole = builder.add(size, _all(112 << 23))
    least = ir.Constant(floats, [2.0**-14] * LANES)
    tiny = builder.fsub(builder.bitcast(builder.add(size, _all(113 << 23)), floats), least)
    found = builder.select(
        builder.icmp_unsigned("<", size, _all(1 << 23)), builder.bitcast(tiny, _ints(32)), whole
    )
    endless = builder.icmp_unsigned(">=", size, _all(31 << 23))
    found = builder.select(endless, builder.add(size, _all(224 << 23)), found)
    sign = builder.shl(builder.and_(wide, _all(0x8000)), _all(16))
    return builder.bitcast(builder.or_(found, sign), floats)


def _narrowed(builder, bits):
    """Round the bits of float32 to those of float16, in 32 bits each."""
    floats = ir.VectorType(ir.FloatType(), LANES)
    size = builder.and_(bits, _all(0x7FFFFFFF))
    odd = builder.and_(builder.lshr(size, _all(13)), _all(1))
    # 2**32 - (112 << 23) takes the difference of the exponents' biases away.
    whole = builder.add(builder.add(size, odd), _all((1 << 32) - (112 << 23) + 0xFFF))
    # Added to a half, a number below 2^-14 is rounded to the step of subnormal float16.
    half = ir.Constant(floats, [0.5] * LANES)
    tiny = builder.bitcast(builder.fadd(builder.bitcast(size, floats), half), _ints(32))
    found = builder.select(
        builder.icmp_unsigned("<", size, _all(113 << 23)),
        builder.sub(tiny, _all(126 << 23)),
        builder.lshr(whole, _all(13)),
    )
    found = builder.select(builder.icmp_unsigned(">=", size, _all(143 << 23)), _all(0x7C00), found)
    found = builder.select(builder.icmp_unsigned(">", size, _all(255 << 23)), _all(0x7E00), found)
    return builder.or_(found, builder.and_(builder.lshr(bits, _all(16)), _all(0x8000)))


@intrinsic
def lanes_sum(context, lanes):
    """Add the eight, in pairs."""

    def build(_context, builder, _signature, arguments):
        return sum_of(builder, arguments[0], builder.fadd)

    return types.float64(lanes_type), build


@intrinsic
def _lanes_size(context, lanes):
    def build(_context, builder, _signature, arguments):
        kind = ir.FunctionType(_DOUBLES, [_DOUBLES])
        size = cgutils.get_or_insert_function(builder.module, kind, "llvm.fabs.v8f64")
        return builder.call(size, arguments)

    return lanes_type(lanes_type), build


@overload(abs)
def _abs_of_lanes(lanes):
    return (lambda lanes: _lanes_size(lanes)) if isinstance(lanes, Lanes) else None


def _between_lanes(operation: Callable[..., Any], name: str) -> None:
    @intrinsic
    def combine(context, left, right):
        def build(_context, builder, _signature, arguments):
            return getattr(builder, name)(*arguments)

        return lanes_type(lanes_type, lanes_type), build

    @overload(operation)
    def of_lanes(left, right):
        if isinstance(left, Lanes) and isinstance(right, Lanes):
            return lambda left, right: combine(left, right)
        return None


_between_lanes(operator.add, "fadd")
_between_lanes(operator.sub, "fsub")
_between_lanes(operator.mul, "fmul")
