"""What numba has no words for: many numbers at once, as vector registers hold them, and bits of a word.

Each is an intrinsic, written in LLVM's own operations, and leaves the order of sums as it is.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # numbers that a sum takes through its loop at once: eight registers of AVX2
WORD = ir.IntType(64)


def _size(real: Any) -> int:
    return int(real.bitwidth) // 8


@intrinsic
def marks(typing: Any, row: Any, first: Any) -> Any:
    """(bits of which of row[first : first + 64] are not zero, and of which are one)."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(row)(context, builder, arguments[0])
        real = context.get_data_type(row.dtype)
        vector = ir.VectorType(real, 64)
        at = builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer())
        values = builder.load(at, align=_size(row.dtype))
        zeros, ones = (ir.Constant(vector, [ir.Constant(real, value)] * 64) for value in (0.0, 1.0))
        found = builder.fcmp_unordered("!=", values, zeros), builder.fcmp_ordered("==", values, ones)
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(bits, WORD) for bits in found])

    return types.UniTuple(types.uint64, 2)(row, types.intp), build


@intrinsic
def lowest(typing: Any, word: Any) -> Any:
    """The place of the lowest bit that is set; of a word that is not zero."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), build


@intrinsic
def how_many(typing: Any, word: Any) -> Any:
    """The number of bits that are set."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), build


@intrinsic
def round_lanes(typing: Any, values: Any, into: Any, first: Any) -> Any:
    """into[first : first + LANES], float32, becomes the nearest bfloat16 to values there, ties to even."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.VectorType(ir.IntType(32), LANES)

        def every(number: int) -> Any:
            return ir.Constant(bits, [number] * LANES)

        def at(place: int) -> Any:
            data = context.make_array(signature.args[place])(context, builder, arguments[place]).data
            return builder.bitcast(builder.gep(data, [arguments[2]]), bits.as_pointer())

        given = builder.load(at(0), align=4)
        odd = builder.and_(builder.lshr(given, every(16)), every(1))
        up = builder.and_(builder.add(builder.add(given, every(0x7FFF)), odd), every(0xFFFF0000))
        number = builder.icmp_unsigned("<=", builder.and_(given, every(0x7FFFFFFF)), every(0x7F800000))
        builder.store(builder.select(number, up, every(0x7FC00000)), at(1), align=4)  # NaN stays one
        return context.get_dummy_value()

    return types.void(values, into, types.intp), build


@intrinsic
def add_rows(
    typing: Any, sums: Any, place: Any, rows: Any, index: Any, value: Any, first: Any, last: Any
) -> Any:
    """sums[place : place + LANES] += rows[index[i]], in the order of i = first .. last; times value[i], unless value
    is None.

    rows: (M, LANES). The sums stay in registers from the first row to the last.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(place: int) -> Any:
            return context.make_array(signature.args[place])(context, builder, arguments[place]).data

        vector, size = ir.VectorType(context.get_data_type(sums.dtype), LANES), _size(sums.dtype)
        into = builder.bitcast(builder.gep(data(0), [arguments[1]]), vector.as_pointer())
        total = cgutils.alloca_once(builder, vector)
        builder.store(builder.load(into, align=size), total)
        step = ir.Constant(WORD, 1)
        with cgutils.for_range_slice(builder, arguments[5], arguments[6], step, WORD) as (at, _):
            row = context.cast(builder, builder.load(builder.gep(data(3), [at])), index.dtype, types.intp)
            begin = builder.gep(data(2), [builder.mul(row, ir.Constant(WORD, LANES))])
            term = builder.load(builder.bitcast(begin, vector.as_pointer()), align=size)
            if weighted:
                one = builder.insert_element(
                    ir.Constant(vector, ir.Undefined), builder.load(builder.gep(data(4), [at])),
                    ir.Constant(ir.IntType(32), 0))
                same = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                term = builder.fmul(builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), same), term)
            builder.store(builder.fadd(builder.load(total), term), total)
        builder.store(builder.load(total), into, align=size)
        return context.get_dummy_value()

    weighted = isinstance(value, types.Array)
    return types.void(sums, types.intp, rows, index, value, types.intp, types.intp), build


@intrinsic
def move_lanes(typing: Any, given: Any, first: Any, into: Any, place: Any) -> Any:
    """into[place : place + LANES] = given[first : first + LANES]."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, size = ir.VectorType(context.get_data_type(given.dtype), LANES), _size(given.dtype)

        def at(number: int) -> Any:
            data = context.make_array(signature.args[number])(context, builder, arguments[number]).data
            return builder.bitcast(builder.gep(data, [arguments[number + 1]]), vector.as_pointer())

        builder.store(builder.load(at(0), align=size), at(2), align=size)
        return context.get_dummy_value()

    return types.void(given, types.intp, into, types.intp), build


TILE_ROWS, TILE_COLUMNS = 4, 16  # eight registers of sums of AVX2, and room for what is multiplied


@intrinsic
def multiply_tile(typing: Any, x: Any, first: Any, width: Any, matrix: Any, into: Any) -> Any:
    """into (TILE_ROWS * TILE_COLUMNS,) = X matrix, the sums in registers, each in the order of its terms.

    matrix: (width, TILE_COLUMNS). X: TILE_ROWS rows of ``width`` numbers that lie one after the other in ``x`` from
    ``first`` on. A product and its sum may be rounded once, where the processor does them as one.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(place: int) -> Any:
            return context.make_array(signature.args[place])(context, builder, arguments[place]).data

        real = context.get_data_type(x.dtype)
        vector, size = ir.VectorType(real, TILE_COLUMNS), _size(x.dtype)
        undefined = ir.Constant(vector, ir.Undefined)
        same = ir.Constant(ir.VectorType(ir.IntType(32), TILE_COLUMNS), [0] * TILE_COLUMNS)
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{TILE_COLUMNS}f{real_bits}")
        sums = [cgutils.alloca_once(builder, vector) for _ in range(TILE_ROWS)]
        for total in sums:
            builder.store(ir.Constant(vector, [ir.Constant(real, 0.0)] * TILE_COLUMNS), total)
        with cgutils.for_range(builder, arguments[2]) as loop:
            at = builder.mul(loop.index, ir.Constant(WORD, TILE_COLUMNS))
            row = builder.load(builder.bitcast(builder.gep(data(3), [at]), vector.as_pointer()), align=size)
            for number, total in enumerate(sums):
                place = builder.add(builder.add(arguments[1], loop.index), builder.mul(
                    ir.Constant(WORD, number), arguments[2]))
                one = builder.insert_element(
                    undefined, builder.load(builder.gep(data(0), [place])), ir.Constant(ir.IntType(32), 0))
                spread = builder.shuffle_vector(one, undefined, same)
                builder.store(builder.call(fused, [spread, row, builder.load(total)]), total)
        for number, total in enumerate(sums):
            place = builder.gep(data(4), [ir.Constant(WORD, number * TILE_COLUMNS)])
            builder.store(builder.load(total), builder.bitcast(place, vector.as_pointer()), align=size)
        return context.get_dummy_value()

    real_bits = x.dtype.bitwidth
    return types.void(x, types.intp, types.intp, matrix, into), build
