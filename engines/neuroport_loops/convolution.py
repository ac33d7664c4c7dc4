"""Convolutions of many samples on a CPU, forward and in reverse, without an image of all windows in memory.

A sample is laid out once as (rows, columns, channels), with the zeros around it; then every sum of a window reads
stretches of it. COLUMNS output channels and ROWS positions are worked on at a time, their sums in registers. Of a
sample that is mostly zeros, as spikes are, only what is not zero is multiplied, with the weights of each window that
it lies in. Where a weight is not finite that differs: zero times infinity is not a number, and is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from neuroport_loops.kept import kept

ROWS, COLUMNS = 6, 16  # twelve registers of sums of AVX2, and room for what is multiplied
DENSE = 0.07  # share of events in a sample above which all of it is multiplied
WORD = ir.IntType(64)


@intrinsic
def sum_tile(
    typing: Any, x: Any, base: Any, run: Any, length: Any, step: Any, matrix: Any, into: Any
) -> Any:
    """into[i] = the sum over r and l of x[base[i] + run[r] + l * step] * matrix[r * length + l], in that order.

    x: a block of numbers. base (ROWS,), run: places in it, int64. matrix (len(run) * length, COLUMNS), into
    (ROWS, COLUMNS). A product and its sum may be rounded once, where the processor does them as one.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def array(place: int) -> Any:
            return context.make_array(signature.args[place])(context, builder, arguments[place])

        numbers, bases, runs, weights, sums = (array(place).data for place in (0, 1, 2, 5, 6))
        real = context.get_data_type(x.dtype)
        vector, size = ir.VectorType(real, COLUMNS), x.dtype.bitwidth // 8
        undefined = ir.Constant(vector, ir.Undefined)
        same = ir.Constant(ir.VectorType(ir.IntType(32), COLUMNS), [0] * COLUMNS)
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{COLUMNS}f{x.dtype.bitwidth}")
        totals = [cgutils.alloca_once(builder, vector) for _ in range(ROWS)]
        for total in totals:
            builder.store(ir.Constant(vector, [ir.Constant(real, 0.0)] * COLUMNS), total)
        first = [builder.load(builder.gep(bases, [ir.Constant(WORD, row)])) for row in range(ROWS)]
        with cgutils.for_range(builder, builder.extract_value(array(2).shape, 0)) as outer:
            begin = builder.load(builder.gep(runs, [outer.index]))
            places = [builder.gep(numbers, [builder.add(one, begin)]) for one in first]
            top = builder.mul(outer.index, arguments[3])
            with cgutils.for_range(builder, arguments[3]) as inner:
                at = builder.mul(builder.add(top, inner.index), ir.Constant(WORD, COLUMNS))
                row = builder.load(builder.bitcast(builder.gep(weights, [at]), vector.as_pointer()), align=size)
                term = builder.mul(inner.index, arguments[4])
                for place, total in zip(places, totals, strict=True):
                    one = builder.insert_element(
                        undefined, builder.load(builder.gep(place, [term])), ir.Constant(ir.IntType(32), 0))
                    spread = builder.shuffle_vector(one, undefined, same)
                    builder.store(builder.call(fused, [spread, row, builder.load(total)]), total)
        for number, total in enumerate(totals):
            place = builder.gep(sums, [ir.Constant(WORD, number * COLUMNS)])
            builder.store(builder.load(total), builder.bitcast(place, vector.as_pointer()), align=size)
        return context.get_dummy_value()

    return types.void(x, base, run, types.intp, types.intp, matrix, into), build


@intrinsic
def add_row(typing: Any, into: Any, at: Any, value: Any, rows: Any, which: Any) -> Any:
    """into[at] += value * rows[which], of rows of COLUMNS numbers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real = context.get_data_type(into.dtype)
        vector, size = ir.VectorType(real, COLUMNS), into.dtype.bitwidth // 8

        def row(array: int, index: int) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            place = builder.gep(data, [builder.mul(arguments[index], ir.Constant(WORD, COLUMNS))])
            return builder.bitcast(place, vector.as_pointer())

        undefined = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(undefined, arguments[2], ir.Constant(ir.IntType(32), 0))
        spread = builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), COLUMNS), None))
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{COLUMNS}f{into.dtype.bitwidth}")
        term, total = (builder.load(row(*places), align=size) for places in ((3, 4), (0, 1)))
        builder.store(builder.call(fused, [spread, term, total]), row(0, 1), align=size)
        return context.get_dummy_value()

    return types.void(into, types.intp, into.dtype, rows, types.intp), build


@kept
def lay_out(x, top, left, spread_y, spread_x, into):
    """A sample (C, H, W) into (rows, columns, C): its number (i, j) at row top + i * spread_y, likewise its column.

    What falls outside is left out; nothing else in ``into`` changes. Returns how many numbers are not zero.
    """
    rows, columns, channels = into.shape
    count = 0
    for i in range(x.shape[1]):
        row = top + i * spread_y
        if 0 <= row < rows:
            for c in range(channels):
                line = x[c, i]
                for j in range(len(line)):
                    column = left + j * spread_x
                    if 0 <= column < columns:
                        into[row, column, c] = line[j]
                        count += line[j] != 0
    return count


@kept
def windows(laid, size, stride, dilation, kernel):
    """Where the windows of a laid out sample begin: (positions,); and where in one its numbers lie: (terms,)."""
    _, columns, channels = laid
    begin = np.empty(size[0] * size[1], np.int64)
    for p in range(len(begin)):
        begin[p] = (p // size[1] * stride[0] * columns + p % size[1] * stride[1]) * channels
    inside = np.empty(kernel[0] * kernel[1] * channels, np.int64)
    for k in range(len(inside)):
        at = k // channels
        inside[k] = (at // kernel[1] * dilation[0] * columns + at % kernel[1] * dilation[1]) * channels + k % channels
    return begin, inside


@kept
def in_tiles(places):
    """Filled up to a multiple of ROWS with the last one."""
    found = np.empty(-(-len(places) // ROWS) * ROWS, np.int64)
    for p in range(len(found)):
        found[p] = places[min(p, len(places) - 1)]
    return found


@kept
def extent(count, stride, dilation, kernel):
    """How far windows reach along an axis."""
    return (count - 1) * stride + (kernel - 1) * dilation + 1


@kept
def hit(count, stride, dilation, kernel, position, term):
    """The windows that each place of an axis lies in: many (places,), at (places, kernel, 2), of which the first many
    count: what it adds to the window's number, ``position`` a step, and to the term's, ``term`` a place in the kernel.
    """
    places = extent(count, stride, dilation, kernel)
    many, at = np.zeros(places, np.int64), np.empty((places, kernel, 2), np.int64)
    for step in range(count):
        for k in range(kernel):
            place = step * stride + k * dilation
            at[place, many[place], 0], at[place, many[place], 1] = step * position, k * term
            many[place] += 1
    return many, at


@kept
def enumerate_pairs(laid, down, right, window, term, value):
    """What is not zero, once for each window that it lies in: the window, the term in it, the value. Returns how many
    there are. down, right: of ``hit`` for rows and for columns.
    """
    n = 0
    for row in range(laid.shape[0]):
        for column in range(laid.shape[1]):
            line = laid[row, column]
            for c in range(len(line)):
                v = line[c]
                if v != 0:
                    for i in range(down[0][row]):
                        for j in range(right[0][column]):
                            window[n] = down[1][row, i, 0] + right[1][column, j, 0]
                            term[n] = down[1][row, i, 1] + right[1][column, j, 1] + c
                            value[n] = v
                            n += 1
    return n


@kept
def room_for_pairs(laid, kernel):
    """Arrays for the pairs of a sample in which few numbers are not zero."""
    most = int(DENSE * laid.size) * kernel[0] * kernel[1]
    return np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, laid.dtype)


@kept
def prepared(laid, size, stride, dilation, kernel):
    """What all samples share: of ``windows``, of ``hit`` for rows and for columns, and of ``room_for_pairs``."""
    channels = laid.shape[2]
    begin, inside = windows(laid.shape, size, stride, dilation, kernel)
    down = hit(size[0], stride[0], dilation[0], kernel[0], size[1], kernel[1] * channels)
    right = hit(size[1], stride[1], dilation[1], kernel[1], 1, channels)
    return begin, inside, down, right, room_for_pairs(laid, kernel)


@kept
def correlate(
    lo, hi, groups, kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left, spread_y, spread_x, x,
    matrix, bias, y,
):
    """Samples lo to hi of y (M, O, P, Q): windows over x (M, C, H, W), which lies as ``lay_out`` says.

    matrix: (chunks, kernel_y * kernel_x * C / groups, COLUMNS), in each group a chunk for COLUMNS of its outputs.
    bias: (O,).
    """
    (_, outputs, height, width), channels = y.shape, x.shape[1] // groups
    outputs, chunks = outputs // groups, len(matrix) // groups
    laid = np.zeros((extent(height, stride_y, dilation_y, kernel_y), extent(width, stride_x, dilation_x, kernel_x),
                     channels), x.dtype)
    begin, inside, down, right, (window, term, value) = prepared(
        laid, (height, width), (stride_y, stride_x), (dilation_y, dilation_x), (kernel_y, kernel_x))
    tiles, flat = in_tiles(begin), laid.reshape(-1)
    length = channels * (kernel_x if dilation_x == 1 else 1)  # numbers of a window that lie side by side
    run = inside[::length].copy()
    sums = np.empty((len(tiles), COLUMNS), x.dtype)
    for m in range(lo, hi):
        into = y[m].reshape((-1, len(begin)))
        for g in range(groups):
            own = x[m, g * channels : (g + 1) * channels]
            few = lay_out(own, top, left, spread_y, spread_x, laid) <= int(DENSE * laid.size)
            pairs = enumerate_pairs(laid, down, right, window, term, value) if few else 0
            for chunk in range(chunks):
                weights, first = matrix[g * chunks + chunk], g * outputs + chunk * COLUMNS
                if few:
                    sums[:] = 0
                    for n in range(pairs):
                        add_row(sums, window[n], value[n], weights, term[n])
                else:
                    for p in range(0, len(tiles), ROWS):
                        sum_tile(flat, tiles[p : p + ROWS], run, length, 1, weights, sums[p : p + ROWS])
                for o in range(min(COLUMNS, outputs - chunk * COLUMNS)):
                    b = bias[first + o]
                    for p in range(len(begin)):
                        into[first + o, p] = sums[p, o] + b


@kept
def outer(
    lo, hi, grain, groups, kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left, x, dy, parts,
):
    """Of samples lo to hi, the gradient of the matrix of ``correlate``; a part for each ``grain`` samples.

    parts: (ceil(M / grain), *matrix). lo is a multiple of grain.
    """
    (_, outputs, height, width), channels = dy.shape, x.shape[1] // groups
    outputs, chunks = outputs // groups, parts.shape[1] // groups
    laid = np.zeros((extent(height, stride_y, dilation_y, kernel_y), extent(width, stride_x, dilation_x, kernel_x),
                     channels), x.dtype)
    begin, inside, down, right, (window, term, value) = prepared(
        laid, (height, width), (stride_y, stride_x), (dilation_y, dilation_x), (kernel_y, kernel_x))
    tiles, flat, terms = in_tiles(inside), laid.reshape(-1), len(inside)
    run = begin[::width].copy()
    turned, sums = np.empty((len(begin), COLUMNS), x.dtype), np.empty((ROWS, COLUMNS), x.dtype)
    for m in range(lo, hi):
        part, of = parts[m // grain], dy[m].reshape((-1, len(begin)))
        if m % grain == 0:
            part[:] = 0
        for g in range(groups):
            own = x[m, g * channels : (g + 1) * channels]
            few = lay_out(own, top, left, 1, 1, laid) <= int(DENSE * laid.size)
            pairs = enumerate_pairs(laid, down, right, window, term, value) if few else 0
            for chunk in range(chunks):
                total, first = part[g * chunks + chunk], g * outputs + chunk * COLUMNS
                filled = min(COLUMNS, outputs - chunk * COLUMNS)
                for o in range(COLUMNS):
                    for p in range(len(begin)):
                        turned[p, o] = of[first + o, p] if o < filled else 0
                if few:
                    for n in range(pairs):
                        add_row(total, term[n], value[n], turned, window[n])
                else:
                    for k in range(0, terms, ROWS):
                        sum_tile(flat, tiles[k : k + ROWS], run, width, stride_x * channels, turned, sums)
                        for i in range(min(ROWS, terms - k)):
                            add_row(total, k + i, x.dtype.type(1), sums, i)
