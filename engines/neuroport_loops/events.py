"""Products that read only what is not zero: sums over the spikes of a row.

Real networks spike at 2-8 %, and then most multiplications of a dense product are by zero. Sums run
in the order of the inputs, whatever the number of threads. Matrices are cut into chunks of LANES
columns, each of which lies together: a sum then reads one stretch of a cache's size again and again.
"""

from __future__ import annotations

import numpy as np

from neuroport_loops.kept import kept
from neuroport_loops.lanes import LANES, add_rows, how_many, lowest, marks

SHEAF = 128  # rows whose events are sorted by column: LANES columns of them fit into the first cache


@kept
def mark(x, lo, hi, bits, count):
    """Which entries of rows lo to hi of x (M, K) are not zero: bits (M, K / 64), count (M,).

    Returns how many words hold one that is not 1.
    """
    k, others = x.shape[1], 0
    whole = k // 64
    for m in range(lo, hi):
        row, n = x[m], 0
        for w in range(whole):
            word, ones = marks(row, w * 64)
            bits[m, w] = word
            n += how_many(word)
            others += word != ones
        if whole * 64 < k:
            word = np.uint64(0)
            for j in range(whole * 64, k):
                word |= np.uint64(row[j] != 0) << np.uint64(j - whole * 64)
                others += row[j] != 0 and row[j] != 1
            bits[m, whole] = word
            n += how_many(word)
        count[m] = n
    return others


@kept
def count(bits, lo, hi, found):
    """How many are marked in rows lo to hi: bits (M, words of 64), found (M,)."""
    for m in range(lo, hi):
        n = 0
        for w in range(bits.shape[1]):
            n += how_many(bits[m, w])
        found[m] = n


@kept
def enumerate_bits(bits, start, lo, hi, index):
    """The columns that are marked in rows lo to hi: index (events,); start (M + 1,), where each row's lie there."""
    for m in range(lo, hi):
        at = start[m]
        for w in range(bits.shape[1]):
            word = bits[m, w]
            while word:
                index[at] = w * 64 + lowest(word)
                at += 1
                word &= word - np.uint64(1)


@kept
def find(x, first, width, index):
    """The places of what is not zero in x[first : first + width]: index (width,). How many; whether all are 1."""
    n, others, whole = 0, False, width // 64
    for w in range(whole):
        word, ones = marks(x, first + w * 64)
        others |= word != ones
        while word:
            index[n] = w * 64 + lowest(word)
            n += 1
            word &= word - np.uint64(1)
    for j in range(whole * 64, width):
        xj = x[first + j]
        if xj != 0:
            index[n] = j
            n += 1
            others |= xj != 1
    return n, not others


@kept
def fetch(x, start, index, lo, hi, value):
    """The values of the events of rows lo to hi of x (M, K): value (events,)."""
    for m in range(lo, hi):
        row = x[m]
        for at in range(start[m], start[m + 1]):
            value[at] = row[index[at]]


@kept
def gather(start, index, value, chunks, bias, y, lo, hi):
    """Rows lo to hi of y = x W^T + b, x as events. chunks: W^T as (N / LANES, K, LANES). bias (N,), y (M, N).

    value: None where all are 1.
    """
    sums = np.empty(LANES, y.dtype)
    for c in range(len(chunks)):
        chunk, b = chunks[c], bias[c * LANES : (c + 1) * LANES]
        for m in range(lo, hi):
            row = y[m, c * LANES : (c + 1) * LANES]
            for o in range(len(b)):
                sums[o] = b[o]
            add_rows(sums, 0, chunk, index, value, start[m], start[m + 1])
            for o in range(len(row)):
                row[o] = sums[o]


@kept
def sort(start, index, lo, hi, place, order):
    """The events of sheaves lo to hi by column, and in a column by row.

    order: (events,), rows counted from the sheaf's first. place: (sheaves, K + 1), where each column's lie there.
    """
    k = place.shape[1] - 1
    free = np.empty(k, np.int64)
    for s in range(lo, hi):
        top, bottom, at = s * SHEAF, min((s + 1) * SHEAF, len(start) - 1), place[s]
        at[:] = 0
        for event in range(start[top], start[bottom]):
            at[index[event] + 1] += 1
        at[0] = start[top]
        for j in range(k):
            free[j] = at[j]
            at[j + 1] += at[j]
        for m in range(top, bottom):
            for event in range(start[m], start[m + 1]):
                j = index[event]
                order[free[j]] = m - top
                free[j] += 1


@kept
def sorted_values(start, index, value, lo, hi, place, moved):
    """The values of the events of sheaves lo to hi, in the order of ``sort``."""
    for s in range(lo, hi):
        free = place[s].copy()
        for event in range(start[s * SHEAF], start[min((s + 1) * SHEAF, len(start) - 1)]):
            j = index[event]
            moved[free[j]] = value[event]
            free[j] += 1


@kept
def scatter(place, order, value, dy, dw, lo, hi):
    """Rows lo to hi of dW = dy^T x, x as sorted events; dy (M, N), dw (N, K). value: None where all are 1."""
    k = dw.shape[1]
    part, chunk = np.empty((SHEAF, LANES), dw.dtype), np.empty((k, LANES), dw.dtype)
    for first in range(lo, hi, LANES):
        width = min(LANES, hi - first)
        chunk[:] = 0
        part[:] = 0
        for s in range(len(place)):
            for m in range(s * SHEAF, min((s + 1) * SHEAF, len(dy))):
                d, into = dy[m, first : first + width], part[m - s * SHEAF]
                for o in range(width):
                    into[o] = d[o]
            at = place[s]
            for j in range(k):
                if at[j] < at[j + 1]:
                    add_rows(chunk[j], 0, part, order, value, at[j], at[j + 1])
        for j in range(0, k, 16):  # a few at a time, so that neither side leaves the first cache
            for o in range(width):
                row = dw[first + o]
                for i in range(j, min(j + 16, k)):
                    row[i] = chunk[i, o]
